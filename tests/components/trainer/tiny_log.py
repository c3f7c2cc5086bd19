"""A log small enough to fit in a second, through real Transform."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import tensorflow_transform.beam as tft_beam
from tensorflow_transform.tf_metadata.dataset_metadata import DatasetMetadata
from tensorflow_transform.tf_metadata.metadata_io import write_metadata
from tfx.components.trainer.fn_args_utils import FnArgs
from tfx_bsl.coders.example_coder import RecordBatchToExamplesEncoder
from tfx_bsl.tfxio.tensor_adapter import TensorAdapterConfig
from tfx_bsl.tfxio.tensor_representation_util import InferTensorRepresentationsFromSchema

from components.config import Beam
from components.node.settings import TrainerSettings, TransformSettings
from components.transform.preprocessing import preprocessing_fn
from tests.components.transform.analysis import Columns, examples, raw_schema

FEATURES: dict[str, Any] = {
    "event_type": {"type": "categorical", "embedding": 3},
    "correct": {"type": "numeric"},
    "mean_dwell": {"type": "numeric", "scale": "buckets", "buckets": 3, "embedding": 2},
}
SETTINGS: dict[str, Any] = {
    "name": "tiny",
    "label": {"column": "mastery", "classes": ["low", "mid", "high"]},
    "steps": {"features": FEATURES, "max_steps": 6, "min_steps": 2},
    "context": {"unit_id": {"type": "categorical", "embedding": 2}, "horizon": {"type": "numeric"}},
    "prior": {"group_by": ["unit_id", "horizon"], "smoothing": 3.0},
    "model": {"lstm": [8, 4], "dense": [8], "dropout": 0.2},
    "training": {"epochs": 2, "batch_size": 16, "learning_rate": 0.01},
}
REGRESSION = {**SETTINGS, "label": {"column": "score", "task": "regression"}}


def tiny_log(rows: int, seed: int) -> Columns:
    """Returns raw examples as columns; who answers correctly more often masters more."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, 9, rows)
    skills = rng.random(rows)
    classes = SETTINGS["label"]["classes"]

    def steps(draw: Any) -> list[list[Any]]:
        return [
            draw(int(length), skill).tolist() for length, skill in zip(lengths, skills, strict=True)
        ]

    return {
        "event_type": steps(lambda length, _: rng.choice(["quiz", "video", "forum"], length)),
        "correct": steps(
            lambda length, skill: np.where(
                rng.random(length) < 0.1, np.nan, rng.random(length) < skill
            )
        ),
        "mean_dwell": steps(lambda length, _: rng.exponential(60.0, length)),
        "unit_id": [[unit] for unit in rng.choice(["algebra", "logic"], rows).tolist()],
        "horizon": [[day] if day else [] for day in rng.choice([0, 7, 14], rows).tolist()],
        "num_steps": [[length] for length in lengths.tolist()],
        "mastery": [[classes[min(int(3 * skill), 2)]] for skill in skills],
        "score": [[float(skill)] for skill in skills],
    }


def write_inputs(folder: Path, settings: dict[str, Any], *logs: Columns) -> FnArgs:
    """Runs Transform, on tiny logs or others, and returns the arguments of the run function."""
    train, evaluation = logs or (tiny_log(160, seed=1), tiny_log(60, seed=2))
    splits = {"train": examples(train), "eval": examples(evaluation)}
    schema = raw_schema(splits["train"])
    adapter = TensorAdapterConfig(
        splits["train"].schema, InferTensorRepresentationsFromSchema(schema)
    )

    sections = {name: settings[name] for name in TransformSettings.model_fields if name in settings}
    read = {**sections, "summaries": settings["model"].get("summaries", False)}

    def preprocess(inputs: Any) -> Any:
        return preprocessing_fn(inputs, {"config": json.dumps(read)})

    with beam.Pipeline(argv=Beam().options) as pipeline, tft_beam.Context(str(folder / "tmp")):
        raw = {
            name: pipeline | name >> beam.Create([batch], reshuffle=False)
            for name, batch in splits.items()
        }
        graph = (raw["train"], adapter) | tft_beam.AnalyzeDataset(preprocess)
        _ = graph | tft_beam.WriteTransformFn(str(folder / "graph"))
        for name, batches in raw.items():
            transformed, metadata = (
                (batches, adapter),
                graph,
            ) | f"Transform {name}" >> tft_beam.TransformDataset(output_record_batches=True)
            _ = (
                transformed
                | f"Encode {name}" >> beam.FlatMap(encode, metadata.schema)
                | f"Write {name}"
                >> beam.io.WriteToTFRecord(
                    str(folder / name / "examples"), file_name_suffix=".gz", num_shards=1
                )
            )
    write_metadata(DatasetMetadata(schema), str(folder / "graph" / "metadata"))
    return FnArgs(
        train_files=[str(folder / "train" / "*")],
        eval_files=[str(folder / "eval" / "*")],
        transform_graph_path=str(folder / "graph"),
    )


def encode(pair: tuple[pa.RecordBatch, Any], schema: Any) -> list[bytes]:
    """Returns transformed examples, serialized."""
    return list(RecordBatchToExamplesEncoder(schema).encode(pair[0]))


def fit(
    inputs: FnArgs, folder: Path, settings: dict[str, Any], base_model: Path | None = None
) -> Path:
    """Runs the run function and returns the folder that holds `model` and `run`."""
    from components.trainer.run import run_fn

    inputs.serving_model_dir = str(folder / "model")
    inputs.model_run_dir = str(folder / "run")
    inputs.base_model = base_model and str(base_model)
    inputs.custom_config = {
        "config": TrainerSettings.model_validate(settings).to_property(),
        "code_fingerprint": "abc",
    }
    run_fn(inputs)
    return folder
