"""A log of sixty learners with missing values, cold starts, and several units and moments."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tfx.orchestration import metadata, pipeline
from tfx.orchestration.local.local_dag_runner import LocalDagRunner

from components.config import Config
from components.example_gen.component import make_example_gen

LEARNERS = 60
CLASSES = ["low", "high"]


@pytest.fixture
def events() -> pl.DataFrame:
    rows = LEARNERS * 10
    return pl.DataFrame(
        {
            "learner_id": [f"l{row % LEARNERS}" for row in range(rows)],
            "unit_id": [f"u{row % 7 % 2}" for row in range(rows)],
            "time": [datetime(2024, 3, 1) + timedelta(hours=row * 7 % 200) for row in range(rows)],  # noqa: DTZ001
            "event_type": [
                None if row % 11 == 0 else "quiz" if row % 2 else "vidéo" for row in range(rows)
            ],
            "dwell": [None if row % 13 == 0 else row / 8 for row in range(rows)],
            "correct": [row % 3 == 0 for row in range(rows)],
        }
    )


@pytest.fixture
def outcomes() -> pl.DataFrame:
    rows = LEARNERS * 4
    return pl.DataFrame(
        {
            "learner_id": [f"l{row % LEARNERS}" for row in range(rows)],
            "unit_id": [f"u{row // LEARNERS % 2}" for row in range(rows)],
            "as_of": [
                datetime(2024, 3, 5) + timedelta(days=row // LEARNERS)  # noqa: DTZ001
                for row in range(rows)
            ],
            "mastery": [CLASSES[(row % 5 + row // LEARNERS) % 2] for row in range(rows)],
            "region": [
                None if row % 9 == 0 else "north, south"[: 5 + row % 8] for row in range(rows)
            ],
            "year": [2020 + row % 3 for row in range(rows)],
            "height": [None if row % 4 == 0 else 1.5 + row for row in range(rows)],
        }
    )


@pytest.fixture
def configure(tmp_path: Path) -> Callable[..., Config]:
    """Returns a function that configures the log in the test's folder, with changes of `data`."""

    def build(**data: Any) -> Config:
        tables = {table: str(tmp_path / f"{table}.parquet") for table in ("events", "outcomes")}
        shared = {
            "min_class_examples": 1,
            "max_cold_start_share": 0.5,
            "splits": {"train": 4, "eval": 2, "test": 2},
        }
        return Config.model_validate(
            {
                "name": "test",
                "schema": "none.pbtxt",
                "data": {**tables, **shared, **data},
                "label": {"column": "mastery", "classes": CLASSES},
                "steps": {
                    "max_steps": 4,
                    "features": {
                        "event_type": {"type": "categorical"},
                        "dwell": {"type": "numeric"},
                        "correct": {"type": "numeric"},
                        "time_since_previous": {"type": "numeric"},
                        "time_to_as_of": {"type": "numeric"},
                    },
                },
                "context": {"unit_id": {"type": "categorical"}},
                "evaluation": {"slices": ["region", "year", "height", "as_of"]},
                "gates": [{"metric": "accuracy", "min": 0}],
                # Without the name of an image TFX would pack itself for workers at every start.
                "beam": {
                    "partitions": 3,
                    "args": ["--direct_running_mode=in_memory", "--sdk_container_image=none"],
                },
            }
        )

    return build


@pytest.fixture
def log(tmp_path: Path, events: pl.DataFrame, outcomes: pl.DataFrame) -> Path:
    """The log as Parquet; returns its folder."""
    events.write_parquet(tmp_path / "events.parquet")
    outcomes.write_parquet(tmp_path / "outcomes.parquet")
    return tmp_path


@pytest.fixture
def run(tmp_path: Path) -> Callable[[Config], Path]:
    """Returns a function that runs the node, with cache, and returns its output folder."""

    def run_node(config: Config) -> Path:
        database = metadata.sqlite_metadata_connection_config(str(tmp_path / "metadata.sqlite"))
        LocalDagRunner().run(
            pipeline.Pipeline(
                pipeline_name="test",
                pipeline_root=str(tmp_path / "root"),
                components=[make_example_gen(config)],
                enable_cache=True,
                metadata_connection_config=database,
                beam_pipeline_args=config.beam.node_options,
            )
        )
        with metadata.Metadata(database) as handle:
            newest = max(execution.id for execution in handle.store.get_executions())
            [event] = handle.store.get_events_by_execution_ids([newest])
            [artifact] = handle.store.get_artifacts_by_id([event.artifact_id])
        return Path(artifact.uri)

    return run_node
