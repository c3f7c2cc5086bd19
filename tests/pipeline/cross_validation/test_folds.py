"""Running folds one after the other: what is asked of runs, and what their ends mean."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from components.command.console import PlainConsole
from components.config import Config
from components.contracts.cross_validation import CrossValidation
from components.contracts.evaluation import Evaluation
from components.contracts.provenance import DataProvenance
from components.contracts.run_record import RunRecord
from components.errors import ConfigError, LogError, MasteryError
from pipeline.cross_validation.folds import cross_validate, fold_config
from pipeline.layout import Layout
from pipeline.run import series
from pipeline.run.series import SeriesError, SeriesInterruptedError
from tests.pipeline.cli.typed import mastery

CONFIG = {
    "name": "algebra",
    "data": {"events": "/e.csv", "outcomes": "/o.csv", "splits": {"folds": 3}},
    "schema": "/algebra.pbtxt",
    "label": {"column": "mastery", "classes": ["no", "yes"]},
    "steps": {"features": {"correct": {"type": "numeric"}}},
    "gates": [{"metric": "f1_macro", "min": 0.6}],
}
QUIET = PlainConsole(quiet=True)


def configure(**changes: Any) -> Config:
    return Config.model_validate({**CONFIG, **changes})


class StandIn:
    """Stands for `run_pipeline`: leaves the files of a run whose fold has ten outcomes.

    Attributes:
        asked: the configuration and root of each run.
        endings: what a run of a fold ends with, if not with all gates passed.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[Config, Path]] = []
        self.endings: dict[int, dict[str, Any] | BaseException] = {}
        self.data = DataProvenance(fingerprint="f" * 64)
        self.learner = "{fold}-{row}"
        self.unit = "u{fold}"

    def __call__(self, config: Config, root: Path, *, console: PlainConsole) -> RunRecord:
        assert console is QUIET
        self.asked.append((config, root))
        fold = config.data.splits.fold
        ending = self.endings.get(fold, {})
        if isinstance(ending, BaseException):
            raise ending

        folder = root / "evaluation"
        self._write_evaluation(folder, fold)
        earlier = len([*root.glob("*/runs/*")])
        record = RunRecord.model_validate(
            {
                "run": f"20261120-00000{earlier}-{fold}",
                "name": config.name,
                "state": "passed",
                "started": datetime.now(UTC),
                "seconds": 1.5 if earlier else 20.0 + fold,  # later runs come from the cache
                "metrics": str(folder / "metrics.json"),
                "data": self.data,
                **ending,
            }
        )
        record.write(Layout(root, config.name).run(record.run))
        return record

    def _write_evaluation(self, folder: Path, fold: int) -> None:
        metrics = {"f1_macro": 0.5 + fold / 8, "auc": 0.75}
        overall = {"examples": 10, "metrics": metrics}
        Evaluation.model_validate({"task": "classification", "overall": overall}).write(folder)
        keys = {
            "learner_id": [self.learner.format(fold=fold, row=row // 2) for row in range(10)],
            "unit_id": [self.unit.format(fold=fold)] * 10,
            "as_of": [*range(10)],
            "label": ["no"] * 10,
        }
        pl.DataFrame(keys).write_parquet(folder / "predictions.parquet")


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    stand_in = StandIn()
    monkeypatch.setattr(series, "run_pipeline", stand_in)
    return stand_in


def test_each_fold_runs_in_a_root_of_its_own_and_pushes_nothing(
    runs: StandIn, tmp_path: Path
) -> None:
    push = {"directory": "/models/algebra"}
    config = configure(push=push, training={"warm_start": True})
    cross_validate(config, tmp_path, console=QUIET)

    base = tmp_path / "algebra" / "cross-validation"
    assert [root for _, root in runs.asked] == [base / f"fold-{fold}" for fold in range(3)]
    assert [asked.data.splits.fold for asked, _ in runs.asked] == [0, 1, 2]
    for asked, _ in runs.asked:
        assert (asked.push.enabled, asked.push.directory) == (False, None)
        assert not asked.training.warm_start
        assert asked.metadata.store == "sqlite"
        for section in ("steps", "label", "model", "gates", "evaluation"):
            assert getattr(asked, section) == getattr(config, section)


def test_the_table_is_written_as_json_and_markdown(runs: StandIn, tmp_path: Path) -> None:
    runs.endings[1] = {"state": "gates failed"}
    result = cross_validate(configure(), tmp_path, console=QUIET)
    folder = tmp_path / "algebra" / "cross-validation"
    assert CrossValidation.read(folder) == result

    assert (result.outcomes, result.learners, result.seconds) == (30, 15, 63.0)
    assert [fold.gates_passed for fold in result.folds] == [True, False, True]
    assert [(fold.learners, fold.outcomes, fold.units) for fold in result.folds] == [
        (5, 10, [f"u{fold}"]) for fold in range(3)
    ]
    assert result.overall.metrics["f1_macro"].value.folds == [0.5, 0.625, 0.75]
    assert result.overall.metrics["f1_macro"].value.mean == 0.625
    assert result.data.fingerprint == "f" * 64
    assert result.config == fold_config(configure(), 0).fingerprint

    page = (folder / "cross-validation.md").read_text(encoding="utf-8")
    assert "| Macro F1 | network | 0.6250 | 0.1250 | 0.0722 | 0.5000 | 0.6250 | 0.7500 |" in page
    assert "| 1 | failed | 20261120-000000-1 | 5 | 10 | 1 | 21 s |" in page
    assert "3 folds by learner: 30 outcomes of 15 learners in 3 units" in page


def test_a_second_call_tells_how_long_making_the_metrics_took(
    runs: StandIn, tmp_path: Path
) -> None:
    first = cross_validate(configure(), tmp_path, console=QUIET)
    second = cross_validate(configure(), tmp_path, console=QUIET)
    assert [fold.seconds for fold in second.folds] == [20.0, 21.0, 22.0]
    assert second.overall == first.overall
    assert len(runs.asked) == 6


def test_the_first_fold_that_fails_ends_it(runs: StandIn, tmp_path: Path) -> None:
    runs.endings[1] = {"state": "failed", "error": "loss is not a number\nLog: /x", "metrics": None}
    with pytest.raises(SeriesError) as caught:
        cross_validate(configure(), tmp_path, console=QUIET)
    assert str(caught.value) == (
        "fold 1: loss is not a number\nLog: /x\n"
        "Fold 0 is done and kept. The same command goes on with fold 1."
    )
    assert len(runs.asked) == 2
    assert not [*tmp_path.rglob("cross-validation.*")]


def test_a_fold_that_cannot_start_is_named(runs: StandIn, tmp_path: Path) -> None:
    runs.endings[0] = LogError(["events.csv: expected rows"])
    with pytest.raises(LogError, match=r"^The log has 1 problem"):
        cross_validate(configure(), tmp_path, console=QUIET)
    del runs.endings[0]
    runs.endings[2] = LogError(["events.csv: expected rows"])
    with pytest.raises(SeriesError, match=r"(?s)^fold 2: The log has 1 .*Folds 0 to 1 are done"):
        cross_validate(configure(), tmp_path, console=QUIET)


def test_a_first_fold_that_is_interrupted_leaves_its_nodes(runs: StandIn, tmp_path: Path) -> None:
    runs.endings[0] = {"state": "interrupted"}
    with pytest.raises(SeriesInterruptedError) as caught:
        cross_validate(configure(), tmp_path, console=QUIET)
    assert str(caught.value) == (
        "interrupted in fold 0. No fold is done yet. "
        "The same command reuses the nodes that finished."
    )


@pytest.mark.parametrize("ending", [{"state": "interrupted"}, KeyboardInterrupt()])
def test_an_interrupted_fold_names_the_way_to_go_on(
    runs: StandIn, tmp_path: Path, ending: dict[str, Any] | BaseException
) -> None:
    runs.endings[2] = ending
    with pytest.raises(
        SeriesInterruptedError, match=r"interrupted in fold 2\. Folds 0 to 1 are done"
    ):
        cross_validate(configure(), tmp_path, console=QUIET)
    assert SeriesInterruptedError.exit_code == 130
    assert not [*tmp_path.rglob("cross-validation.*")]

    del runs.endings[2]
    cross_validate(configure(), tmp_path, console=QUIET)
    assert (tmp_path / "algebra" / "cross-validation" / "cross-validation.md").exists()


def test_an_outcome_in_two_test_splits_is_an_error(runs: StandIn, tmp_path: Path) -> None:
    runs.learner, runs.unit = "l{row}", "u"
    with pytest.raises(MasteryError) as caught:
        cross_validate(configure(), tmp_path, console=QUIET)
    assert "in the test split of one fold, found learner l0" in str(caught.value)
    assert "in folds [0, 1, 2]" in str(caught.value)


def test_folds_by_unit_name_the_units_and_may_share_learners(runs: StandIn, tmp_path: Path) -> None:
    splits = {"folds": 3, "by": "unit"}
    data = {"events": "/e.csv", "outcomes": "/o.csv", "splits": splits}
    runs.learner = "l{row}"  # learners may
    result = cross_validate(configure(data=data), tmp_path, console=QUIET)
    assert (result.learners, result.outcomes) == (5, 30)
    page = (tmp_path / "algebra" / "cross-validation" / "cross-validation.md").read_text()
    assert "- Fold 1: u1\n" in page


def test_a_log_that_changes_between_folds_is_an_error(
    runs: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(config: Config, root: Path, *, console: PlainConsole) -> RunRecord:
        runs.data = DataProvenance(fingerprint=str(config.data.splits.fold // 2))
        return runs(config, root, console=console)

    monkeypatch.setattr(series, "run_pipeline", run)
    with pytest.raises(MasteryError, match="fold 2 read other data than fold 0"):
        cross_validate(configure(), tmp_path, console=QUIET)


def test_without_folds_nothing_runs(runs: StandIn, tmp_path: Path) -> None:
    data = {"events": "/e.csv", "outcomes": "/o.csv"}
    with pytest.raises(ConfigError, match=r"data\.splits\.folds: .* found none; .* --folds"):
        cross_validate(configure(data=data), tmp_path, console=QUIET)
    assert not runs.asked
    assert not [*tmp_path.iterdir()]


def test_two_calls_do_not_share_a_root(runs: StandIn, tmp_path: Path) -> None:
    def run_inside(config: Config, root: Path, *, console: PlainConsole) -> RunRecord:
        with pytest.raises(MasteryError, match="another run is using it"):
            cross_validate(configure(), tmp_path, console=console)
        return runs(config, root, console=console)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(series, "run_pipeline", run_inside)
        cross_validate(configure(), tmp_path, console=QUIET)
    assert len(runs.asked) == 3


Command = Callable[..., int]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, runs: StandIn, tmp_path: Path) -> Command:
    """Types `mastery cross-validate` for the configuration in a file."""
    file = tmp_path / "algebra.yaml"
    file.write_text(json.dumps({**CONFIG, "data": {"events": "/e.csv", "outcomes": "/o.csv"}}))

    def run(config: Config, root: Path, **_: object) -> RunRecord:
        return runs(config, root, console=QUIET)

    monkeypatch.setattr(series, "run_pipeline", run)

    def type_command(*options: str) -> int:
        where = ["--config", str(file), "--root", str(tmp_path / "runs")]
        return mastery(monkeypatch, "cross-validate", *where, *options)

    return type_command


def test_the_command_prints_the_table_and_where_it_is(
    command: Command, runs: StandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs.endings[1] = {"state": "gates failed"}
    assert command("--folds", "2") == 0
    printed = capsys.readouterr().out
    assert "All examples (20 examples)" in printed
    assert "0.5625" in printed
    assert "Gates failed in fold 1\n" in printed
    assert f"Written  {tmp_path}/runs/algebra/cross-validation/cross-validation.md" in printed


def test_json_is_all_that_is_on_standard_output(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("--folds", "2", "--json") == 0
    captured = capsys.readouterr()
    assert CrossValidation.from_json(captured.out).outcomes == 20
    assert "Fold 1 (2 of 2)" in captured.err


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], "data.splits.folds: expected the number of folds, found none"),
        (["--folds", "1"], "data.splits.folds: expected at least 2, found 1"),
        (["--set", "data.splits.fold_s=3"], "did you mean data.splits.folds?"),
    ],
)
def test_wrong_options_are_errors(
    command: Command, capsys: pytest.CaptureFixture[str], options: list[str], expected: str
) -> None:
    assert command(*options) == 2
    assert expected in capsys.readouterr().err


def test_a_failed_and_an_interrupted_fold_have_their_exit_codes(
    command: Command, runs: StandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    runs.endings[1] = {"state": "failed", "error": "out of memory", "metrics": None}
    assert command("--folds", "2") == 2
    assert "mastery: fold 1: out of memory" in capsys.readouterr().err
    runs.endings[1] = {"state": "interrupted"}
    assert command("--folds", "2") == 130
    assert "mastery: interrupted in fold 1. Fold 0 is done" in capsys.readouterr().err
