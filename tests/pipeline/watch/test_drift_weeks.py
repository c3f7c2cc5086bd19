"""Drift over simulated weeks: few false calls, and changes of course are found; and a real course.

The version is a rule: its answers move with its inputs, as a network's do.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from components.config import load_config
from components.contracts.drift_report import DriftReport
from components.simulator.changes import CONTENT, INTAKE, RELATION, Change
from components.simulator.weeks import draw_week, monday_of
from pipeline.watch.drift import measure_drift
from tests.pipeline.watch.pushed import REPOSITORY, Pushed, push, spans_of

LEARNERS = 250  # per week
MADE_WITH = range(1, 5)
WEEKS = range(5, 15)
CHANGED = 9


def write_week(folder: Path, week: int, *changes: Change) -> None:
    [part] = draw_week(1, week, LEARNERS, changes)
    span = folder / monday_of(week).isoformat()
    span.mkdir(parents=True)
    pl.DataFrame(part.events()).write_parquet(span / "events.parquet")
    pl.DataFrame(part.outcomes()).write_parquet(span / "outcomes.parquet")


@pytest.fixture(scope="module")
def pushed(tmp_path_factory: pytest.TempPathFactory) -> Pushed:
    """A version that was made with four weeks."""
    log = tmp_path_factory.mktemp("made-with")
    for week in MADE_WITH:
        write_week(log, week)
    last = f"data.span=last:{len(MADE_WITH)}"
    return push(tmp_path_factory.mktemp("root"), *spans_of(log), last)


def measured(pushed: Pushed, log: Path, week: int) -> DriftReport:
    settings = [*spans_of(log), f"data.span={monday_of(week).isoformat()}"]
    config = load_config(REPOSITORY / "configs" / "sample.yaml", settings)
    return measure_drift(config, version=pushed.folder, root=pushed.root, draws=400)


def test_at_most_one_of_ten_weeks_of_the_same_course_calls(pushed: Pushed, tmp_path: Path) -> None:
    for week in WEEKS:
        write_week(tmp_path, week)
    reports = [measured(pushed, tmp_path, week) for week in WEEKS]
    assert sum(report.calls_for_retraining for report in reports) <= 1
    # Not because nothing is ever seen to move: distances are above 0 by chance.
    sizes = [column.size for report in reports for column in report.columns if column.threshold]
    assert sum(bool(size) for size in sizes) > 0.8 * len(sizes)


@pytest.mark.parametrize(
    ("kind", "column", "words"),
    [
        (CONTENT, "unit_id", "unit `data-stories` was never seen: "),
        (INTAKE, "job_level", "`job_level` junior "),
        (RELATION, "correct", "mean `correct` "),
    ],
)
def test_a_change_of_course_is_found_within_two_weeks(
    pushed: Pushed, tmp_path: Path, kind: str, column: str, words: str
) -> None:
    for week in (CHANGED, CHANGED + 1):
        write_week(tmp_path, week, Change(kind, CHANGED))
    reports = [measured(pushed, tmp_path, week) for week in (CHANGED, CHANGED + 1)]
    assert any(report.calls_for_retraining for report in reports)
    [found] = [item for item in reports[0].columns if item.column == column and item.threshold]
    assert found.words.startswith(words), found.words


REAL_LOG = REPOSITORY.parent / "shared" / "data" / "epfl"
FIRST_COHORT, SECOND_COHORT = "Y2-2018-19", "Y3-2019-20"


@pytest.fixture(scope="module")
def cohorts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The outcomes of each cohort, and of two halves of the first one, in files of their own."""
    if not REAL_LOG.is_dir():
        pytest.skip(f"the real log is not here: expected {REAL_LOG}")
    folder = tmp_path_factory.mktemp("cohorts")
    outcomes = pl.read_parquet(REAL_LOG / "outcomes.parquet")
    for cohort in (FIRST_COHORT, SECOND_COHORT):
        outcomes.filter(pl.col("year") == cohort).write_parquet(folder / f"{cohort}.parquet")
    of_first = outcomes.filter(pl.col("year") == FIRST_COHORT)
    is_one = of_first["learner_id"].hash(seed=1) % 2 == 0
    for half, mask in (("one", is_one), ("other", ~is_one)):
        of_first.filter(mask).write_parquet(folder / f"{half}.parquet")
    return folder


def between(cohorts: Path, first: str, second: str, root: Path) -> DriftReport:
    """Drift from some outcomes to others."""
    events = f"data.events={REAL_LOG}/events.parquet"
    made = push(root, events, f"data.outcomes={cohorts}/{first}.parquet", config="epfl")
    settings = [events, f"data.outcomes={cohorts}/{second}.parquet"]
    config = load_config(REPOSITORY / "configs" / "epfl.yaml", settings)
    return measure_drift(config, version=made.folder, root=root, predictions=False)


def test_two_cohorts_of_a_course_are_told_apart(cohorts: Path, tmp_path: Path) -> None:
    report = between(cohorts, FIRST_COHORT, SECOND_COHORT, tmp_path)
    assert report.calls_for_retraining
    assert [item.column for item in report.drifted] == ["mean_playback_speed"]


def test_two_halves_of_a_cohort_are_not(cohorts: Path, tmp_path: Path) -> None:
    assert not between(cohorts, "one", "other", tmp_path).calls_for_retraining
