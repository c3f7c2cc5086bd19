"""The Transform node: TFX's own, with our preprocessing function and executor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfx.dsl.components.base.base_component import BaseComponent
from tfx.proto import transform_pb2
from tfx.types import BaseChannel

from components.contracts.names import SPLITS
from components.node.cache_key import code_fingerprint
from components.node.definitions import Transform, make_node
from components.node.settings import TransformSettings

if TYPE_CHECKING:
    from components.config.root import Config

EXECUTOR = "components.transform.executor"
PREPROCESSING_FN = "components.transform.preprocessing.preprocessing_fn"


def make_transform(config: Config, examples: BaseChannel, schema: BaseChannel) -> BaseComponent:
    """Returns the node that learns from the train split and transforms train and eval.

    Args:
        config: the sections of `TransformSettings` are part of the cache key.
        examples: ExampleGen's `examples`.
        schema: the curated schema.
    """
    train, evaluation, _ = SPLITS
    node: BaseComponent = make_node(
        Transform,
        examples=examples,
        schema=schema,
        preprocessing_fn=PREPROCESSING_FN,
        splits_config=transform_pb2.SplitsConfig(analyze=[train], transform=[train, evaluation]),
        disable_analyzer_cache=True,
        disable_statistics=True,  # StatisticsGen has made them already
        custom_config={
            "config": TransformSettings.of(config).to_property(),
            "code_fingerprint": code_fingerprint(EXECUTOR, PREPROCESSING_FN),
        },
    )
    return node
