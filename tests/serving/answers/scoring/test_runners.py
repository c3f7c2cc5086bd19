"""A scoring by workers of Beam leaves what one in this process leaves, also if some are lost."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
import pytest
from sqlalchemy import Engine

from serving.answers.database import open_database
from serving.answers.scoring.job import Job
from serving.answers.scoring.run import Scored, score
from serving.answers.scoring.versions import PushedVersion
from tests.restless import restless  # noqa: F401 - a fixture
from tests.serving.answers.scoring.conftest import BEAM, at, options
from tests.serving.answers.scoring.test_killed import content

THREADS = (
    "--runner=FnApiRunner",
    "--direct_running_mode=multi_threading",
    "--direct_num_workers=3",
)
PROCESSES = (
    "--runner=FnApiRunner",
    "--direct_running_mode=multi_processing",
    "--direct_num_workers=2",
)
MOMENTS = [at(days=5), at(days=8)]


@pytest.fixture
def expected(explaining_version: PushedVersion, log: Path, tmp_path: Path) -> tuple[Scored, Engine]:
    """What a scoring in this process returns and leaves, in a database of its own."""
    url = f"sqlite:///{tmp_path}/expected.db"
    return score(url, explaining_version, options(log, MOMENTS)), open_database(url)


@pytest.mark.parametrize(
    "runner",
    [
        pytest.param(THREADS, id="threads"),
        pytest.param(PROCESSES, id="processes", marks=pytest.mark.slow),
        pytest.param(BEAM, id="restless"),
    ],
)
def test_workers_write_the_same_rows_once(
    database_url: str,
    database: Engine,
    explaining_version: PushedVersion,
    log: Path,
    expected: tuple[Scored, Engine],
    runner: tuple[str, ...],
    request: pytest.FixtureRequest,
) -> None:
    scored, engine = expected
    if runner is BEAM:
        request.getfixturevalue("restless")
    found = score(database_url, explaining_version, options(log, MOMENTS, beam=runner))
    assert found == scored
    assert found.new == found.answers > 30
    assert content(database) == content(engine)
    engine.dispose()


def test_a_part_that_is_asked_about_twice_leaves_the_same_files(
    explaining_version: PushedVersion,
    log: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counts: list[dict[str, int]] = []

    def ask(job: Job) -> None:
        with ThreadPoolExecutor(4) as pool:
            [*pool.map(lambda _: [*job.ask(0)], range(4))]
        counts.append(dict(job.counts()))
        folder = Path(job.scratch)
        assert sorted(path.name for path in folder.iterdir() if path.name.startswith("counts")) == [
            "counts-00000.json"
        ]
        assert not list(folder.glob(".*"))
        assert pl.read_parquet(folder / "activity-*.parquet").height > 0

    monkeypatch.setattr("serving.answers.scoring.run.answer_questions", lambda job, *_: ask(job))
    url = f"sqlite:///{tmp_path}/a.db"
    found = score(url, explaining_version, options(log, MOMENTS, partitions=1))
    assert counts == [{"learners": 9, "skipped": 0, "unknown": 1}]
    assert (found.learners, found.answers, found.new) == (9, 0, 0)
