"""The audit passes on honest logs of every kind, and fails for each leak that is planted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from components.config import Config
from components.errors import MasteryError
from components.event_log import point_in_time
from components.event_log.log_spec import LogSpec
from pipeline.audit import audit as auditing
from pipeline.audit.audit import Finding, audit
from pipeline.audit.examples import CONTENT, make_examples
from pipeline.audit.log import Files
from tests.pipeline.audit.conftest import CLASSES, Configure, in_fractions, on_calendar
from tests.pipeline.cli.typed import mastery

SPLITS, LABELS = "no learner in two splits", "labels show in the label alone"
FUTURE, PAST = "nothing from as_of on is seen", "an event before as_of is seen"
SHUFFLED, TRUE = "shuffled labels cannot be found", "true labels can be found"


@pytest.fixture(autouse=True)
def few_shuffles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Saves time: `tests/end_to_end` has the real tolerance."""
    monkeypatch.setattr(auditing, "TOLERANCE", 0.05)


def run(config: Config, **options: Any) -> dict[str, Finding]:
    return {finding.name: finding for finding in audit(config, **{"rounds": 2, **options})}


def failed(findings: dict[str, Finding]) -> set[str]:
    return {name for name, finding in findings.items() if not finding.passed}


def test_an_honest_log_passes(configure: Configure) -> None:
    findings = run(configure(), rounds=99)
    assert [*findings] == [SPLITS, LABELS, FUTURE, PAST, SHUFFLED, TRUE]
    assert not failed(findings), findings
    assert findings[SPLITS].text == "240, each in one; 2,640 outcomes, each once."
    assert findings[LABELS].text.startswith("2,640 labels")
    assert findings[FUTURE].text.startswith("2,640 of 2,640 outcomes")
    assert findings[PAST].text.startswith("2,640 of 2,640 outcomes")


@pytest.mark.parametrize(
    ("change", "sections"),
    [
        (on_calendar, {}),
        (in_fractions, {}),
        (None, {"steps": {"shared": True}}),
        (None, {"steps": {"history": "unit"}, "data": {"max_cold_start_share": 1.0}}),
        (None, {"data": {"sample_learners": 160}}),
        (None, {"label": {"column": "score", "classes": [], "task": "regression"}}),
    ],
    ids=["calendar", "fractions", "shared", "unit", "sample", "regression"],
)
def test_logs_and_sequences_of_every_kind_pass(
    configure: Configure,
    change: Callable[..., tuple[pl.DataFrame, pl.DataFrame]] | None,
    sections: dict[str, dict[str, Any]],
) -> None:
    def with_score(
        events: pl.DataFrame, outcomes: pl.DataFrame
    ) -> tuple[pl.DataFrame, pl.DataFrame]:
        score = (pl.col("answer") == "correct") + pl.int_range(pl.len()) % 7 / 10
        tables = events, outcomes.with_columns(score.alias("score"))
        return change(*tables) if change else tables

    sections = {name: {**section} for name, section in sections.items()}
    if "data" in sections:
        data = configure().data.model_dump(include={"events", "outcomes", "splits"})
        sections["data"] = {**data, **sections["data"]}
    if sections.get("steps", {}).get("history") == "unit":
        numeric = {"type": "numeric"}
        sections["steps"]["features"] = {"correct": numeric, "time_since_previous": numeric}
    findings = run(configure(with_score, **sections), rounds=3)
    assert not failed(findings), findings


def test_an_answer_inside_its_own_window_is_found(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = point_in_time.find_windows

    def find_late(events: pl.DataFrame, outcomes: pl.DataFrame, *options: Any) -> Any:
        return find(events, outcomes.with_columns(pl.col("as_of") + 1), *options)

    monkeypatch.setattr(point_in_time, "find_windows", find_late)
    findings = run(configure())
    assert failed(findings) == {FUTURE, TRUE}, findings
    assert "these see events at or after their as_of: 480, such as learner 'l0', unit 'u" in (
        findings[FUTURE].text
    )
    assert "is too good" in findings[TRUE].text


def test_an_example_that_misses_its_last_event_is_found(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = point_in_time.find_windows

    def find_early(events: pl.DataFrame, outcomes: pl.DataFrame, *options: Any) -> Any:
        return find(events, outcomes.with_columns(pl.col("as_of") - 1), *options)

    monkeypatch.setattr(point_in_time, "find_windows", find_early)
    data = configure().data.model_dump(include={"events", "outcomes", "splits"})
    findings = run(configure(data={**data, "max_cold_start_share": 0.1}))
    assert failed(findings) == {PAST}, findings
    assert "do not see an event just before as_of: 480" in findings[PAST].text


def leaking(column: str, content: pl.Expr) -> Callable[..., pl.DataFrame]:
    """Returns ExampleGen with a fault: a column of examples shows something else."""

    def make(files: Files, spec: LogSpec, *, whole: bool = True) -> pl.DataFrame:
        rows = make_examples(files, spec, whole=whole)
        shown = rows.with_columns(content.alias(column))
        return shown.with_columns(pl.col(CONTENT) + pl.col(column).cast(pl.String).cast(pl.Binary))

    return make


def test_a_column_that_is_made_from_the_label_is_found(configure: Configure) -> None:
    findings = run(configure(), make=leaking("hint", pl.col("answer")))
    assert failed(findings) == {LABELS, SHUFFLED, TRUE}, findings
    assert findings[LABELS].text == "With other labels, examples have another hint."
    assert "1.0000 where the labels of the log itself were shuffled" in findings[SHUFFLED].text


def test_a_column_of_the_log_that_shows_the_label_is_found(configure: Configure) -> None:
    def show(events: pl.DataFrame, outcomes: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        return events, outcomes.with_columns(pl.col("answer").str.head(1).alias("hint"))

    findings = run(configure(show))
    assert failed(findings) == {TRUE}, findings
    assert "is too good: something in the examples shows the label" in findings[TRUE].text


def test_a_learner_in_two_splits_is_found(configure: Configure) -> None:
    is_one = (pl.col("learner_id") == "l7") & (pl.col("as_of") > 6)
    split = pl.when(is_one & (pl.col("_split") == "test")).then(pl.lit("eval"))
    split = split.when(is_one).then(pl.lit("test")).otherwise(pl.col("_split"))
    findings = run(configure(), make=leaking("_split", split))
    assert failed(findings) == {SPLITS}, findings
    assert findings[SPLITS].text == "1 are in two splits, such as 'l7'."


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (lambda rows: pl.concat([rows, rows[:1]]), "several examples: 2, such as learner 'l"),
        (lambda rows: rows[:-3], "3 outcomes have no example."),
    ],
)
def test_an_outcome_that_is_twice_or_lost_is_found(
    configure: Configure, rows: Callable[[pl.DataFrame], pl.DataFrame], expected: str
) -> None:
    def make(files: Files, spec: LogSpec, *, whole: bool = True) -> pl.DataFrame:
        return rows(make_examples(files, spec, whole=whole))

    finding = next(audit(configure(), rounds=1, make=make))
    assert (finding.name, finding.passed) == (SPLITS, False)
    assert expected in finding.text


def test_an_audit_whose_copy_of_the_log_differs_proves_nothing(configure: Configure) -> None:
    def make(files: Files, spec: LogSpec, *, whole: bool = True) -> pl.DataFrame:
        rows = make_examples(files, spec, whole=whole)
        return rows if whole else rows.with_columns(pl.lit(b"").alias(CONTENT))

    findings = audit(configure(), rounds=1, make=make)
    assert next(findings).passed
    with pytest.raises(MasteryError, match="stay the same after the log was read and written"):
        next(findings)


def test_there_has_to_be_a_round(configure: Configure) -> None:
    with pytest.raises(MasteryError, match="--rounds 0: expected at least 1"):
        next(audit(configure(), rounds=0))


def test_labels_without_any_relation_are_reported(configure: Configure) -> None:
    def draw(events: pl.DataFrame, outcomes: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        coins = np.random.default_rng(1).integers(0, 2, outcomes.height)
        return events, outcomes.with_columns(answer=pl.Series([CLASSES[coin] for coin in coins]))

    findings = run(configure(draw))
    assert failed(findings) == {TRUE}
    assert "or the audit is blind" in findings[TRUE].text


@pytest.fixture
def file(configure: Configure, tmp_path: Path) -> Path:
    values = configure().model_dump(mode="json", by_alias=True)
    path = tmp_path / "answers.yaml"
    path.write_text(json.dumps(values))
    return path


def test_the_command_prints_findings_and_ends_with_their_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], file: Path
) -> None:
    options = ["audit", "--config", str(file), "--rounds", "1"]
    assert mastery(monkeypatch, *options) == 0
    printed = capsys.readouterr().out
    for name in (SPLITS, LABELS, FUTURE, PAST, SHUFFLED, TRUE):
        assert f"✓ {name}\n" in printed

    leak = leaking("hint", pl.col("answer"))
    monkeypatch.setattr(
        "pipeline.audit.audit.audit", lambda config, rounds: audit(config, rounds=rounds, make=leak)
    )
    assert mastery(monkeypatch, *options, "--json") == 1
    captured = capsys.readouterr()
    assert {item["name"] for item in json.loads(captured.out) if not item["passed"]} == {
        LABELS, SHUFFLED, TRUE,
    }  # fmt: skip
    assert f"✗ {LABELS}" in captured.err
