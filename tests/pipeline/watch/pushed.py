"""A pushed version with its run in ML Metadata, made in a second: a rule instead of a network."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import tensorflow as tf

from components.config import Config, load_config
from components.contracts.names import SPLITS
from components.event_log.log import find_log
from components.event_log.log_spec import LogSpec
from components.example_gen.job import Job
from components.example_gen.workers import run_job
from tests.pipeline.stored_runs import StoredRuns

REPOSITORY = Path(__file__).parents[3]
RUN = "2026-01-12T00-00-00"
VERSION = 1768176000


class Rule(tf.Module):
    """Predicts from the share of correct answers."""

    def __init__(self, classes: list[str]) -> None:
        super().__init__()
        self.classes = classes

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serving_default(self, examples):
        correct = tf.io.RaggedFeature(tf.float32, row_splits_dtype=tf.int64)
        steps = tf.io.parse_example(examples, {"correct": correct})["correct"].to_tensor(np.nan)
        known = tf.cast(~tf.math.is_nan(steps), tf.float32)
        right = tf.math.divide_no_nan(
            tf.reduce_sum(tf.where(known > 0, steps, 0.0), 1), tf.reduce_sum(known, 1)
        )
        probabilities = tf.nn.softmax(-9.0 * tf.abs(right[:, None] - [[0.3, 0.55, 0.8]]))
        return {
            "classes": tf.broadcast_to(tf.constant([self.classes]), tf.shape(probabilities)),
            "probabilities": probabilities,
            "predicted_class": tf.gather(tf.constant(self.classes), tf.argmax(probabilities, 1)),
            "basis": tf.fill(tf.shape(right), "sequence"),
        }


@dataclass(frozen=True)
class Pushed:
    """A version of the sample's model, pushed from a root.

    Attributes:
        root: with the metadata, the run's examples, and the serving folder.
        config: with which it was made.
    """

    root: Path
    config: Config

    @property
    def folder(self) -> Path:
        """The version's folder."""
        return self.root / self.config.name / "serving" / str(VERSION)

    @property
    def examples(self) -> Path:
        """The folder of the run's examples."""
        return self.root / self.config.name / "nodes" / "ExampleGen" / "examples" / "1"


def spans_of(log: Path) -> list[str]:
    """The settings for a log with a folder per span that holds both tables."""
    names = ("events", "outcomes")
    return [f"data.{name}={log}/{{YYYY}}-{{MM}}-{{DD}}/{name}.parquet" for name in names]


def push(root: Path, *settings: str, config: str = "sample") -> Pushed:
    """Pushes a version that was made with the log that the settings name.

    Args:
        root: where to.
        settings: as `--set` takes them.
        config: which of the repository's configurations.
    """
    loaded = load_config(REPOSITORY / "configs" / f"{config}.yaml", [*settings])
    pushed = Pushed(root, loaded)
    write_examples(loaded, pushed.examples)

    runs = StoredRuns(root, loaded.name)
    artifact = runs.artifact(str(pushed.examples), spans=",".join(find_log(loaded).spans))
    runs.execute(RUN, "ExampleGen", outputs={"examples": [artifact]})

    rule = Rule(loaded.label.classes)
    signatures = {"serving_default": rule.serving_default}
    tf.saved_model.save(rule, str(pushed.folder), signatures)
    manifest = {"version": VERSION, "name": loaded.name, "run": RUN, "config": loaded.recipe}
    (pushed.folder / "manifest.json").write_text(
        json.dumps(manifest, sort_keys=True)
    )  # as Pusher does
    return pushed


def write_examples(config: Config, folder: Path) -> None:
    """Writes a log's examples as ExampleGen does."""
    found = find_log(config)
    files = {"events": found.events.files, "outcomes": found.outcomes.files}
    folders = {split: str(folder / f"Split-{split}") for split in SPLITS}
    for path in folders.values():
        Path(path).mkdir(parents=True)
    with TemporaryDirectory() as scratch:
        run_job(Job.of(files, LogSpec.of(config), folders, scratch), workers=1)
