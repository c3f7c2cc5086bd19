"""The Trainer node: TFX's own, with our run function."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfx.dsl.components.base.base_component import BaseComponent
from tfx.proto import trainer_pb2
from tfx.types import BaseChannel

from components.contracts.names import SPLITS
from components.node.cache_key import code_fingerprint
from components.node.definitions import Trainer, make_node
from components.node.settings import TrainerSettings
from components.trainer.start_from import digest_start

if TYPE_CHECKING:
    from components.config.root import Config

RUN_FN = "components.trainer.run.run_fn"  # TFX loads it by name


def make_trainer(
    config: Config,
    examples: BaseChannel,
    transform_graph: BaseChannel,
    base_model: BaseChannel | None = None,
) -> BaseComponent:
    """Returns the node that fits the model and exports it.

    Args:
        config: the sections of `TrainerSettings` are part of the cache key and of the card.
        examples: transformed examples, splits train and eval.
        transform_graph: Transform's `transform_graph`.
        base_model: the model to start from, for `training.warm_start`; may be empty.

    Raises:
        MasteryError: `training.start_from` is configured and holds no model to start from.
    """
    train, evaluation, _ = SPLITS
    node: BaseComponent = make_node(
        Trainer,
        run_fn=RUN_FN,
        examples=examples,
        transform_graph=transform_graph,
        base_model=base_model,
        train_args=trainer_pb2.TrainArgs(splits=[train]),
        eval_args=trainer_pb2.EvalArgs(splits=[evaluation]),
        custom_config={
            "config": TrainerSettings.of(config).to_property(),
            "code_fingerprint": code_fingerprint(RUN_FN),
            "start_digest": digest_start(config.training.start_from, config.label.task),
        },
    )
    return node
