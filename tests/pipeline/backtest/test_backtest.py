"""The spans of a backtest: what each is trained on, compared with and asked about."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from components.command.console import PlainConsole
from components.config import Config
from components.contracts.backtest import Backtest
from components.contracts.evaluation import Evaluation
from components.contracts.run_record import RunRecord
from components.errors import ConfigError
from pipeline.backtest.backtest import backtest, digest_of, span_config
from pipeline.backtest.render import print_table, render_markdown
from pipeline.layout import Layout
from pipeline.retrain.causes import VersionInService
from pipeline.run import series
from pipeline.run.series import SeriesError

QUIET = PlainConsole(quiet=True)
SPANS = 5
Configure = Callable[..., Config]


@pytest.fixture
def configure(tmp_path: Path) -> Configure:
    """Returns a function that configures a log of five spans."""
    for number in range(1, SPANS + 1):
        (tmp_path / "log" / str(number)).mkdir(parents=True)
        for table in ("events", "outcomes"):
            (tmp_path / "log" / str(number) / f"{table}.csv").touch()

    def build(**sections: Any) -> Config:
        tables = {name: f"{tmp_path}/log/{{SPAN}}/{name}.csv" for name in ("events", "outcomes")}
        return Config.model_validate(
            {
                "name": "algebra",
                "data": tables,
                "schema": "/algebra.pbtxt",
                "label": {"column": "mastery", "classes": ["no", "yes"]},
                "steps": {"features": {"correct": {"type": "numeric"}}},
                "gates": [{"metric": "f1_macro", "min": 0.6}],
                "push": {"directory": "/models/algebra"},
                "retrain": {"window": "last:2"},
                **sections,
            }
        )

    return build


class StandIn:
    """Stands for the runs of a backtest and for asking versions.

    Attributes:
        asked: the configuration and root of each run.
        failing: numbers of the spans whose models fail a gate.
        evaluated: versions that were asked, and about which files.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[Config, Path]] = []
        self.failing: set[int] = set()
        self.broken: set[int] = set()
        self.evaluated: list[tuple[Path, list[str], list[str]]] = []

    def run(self, config: Config, root: Path, *, console: PlainConsole) -> RunRecord:
        assert console is QUIET
        self.asked.append((config, root))
        span = int(root.name)
        passed = span not in self.failing
        folder = root / "evaluation"
        gate = {"text": f"gate of {span}", "metric": "f1_macro", "bound": "min", "threshold": 0.6}
        evaluation(0.5 + span / 100, gates=[{**gate, "passed": passed}]).write(folder)
        record = RunRecord.model_validate(
            {
                "run": f"run-{span}",
                "name": config.name,
                "state": "failed"
                if span in self.broken
                else "passed"
                if passed
                else "gates failed",
                "started": datetime.now(UTC),
                "seconds": 10.0,
                "metrics": str(folder / "metrics.json"),
                "pushed_version": f"/versions/{span}" if passed else None,
                "error": "no memory",
            }
        )
        record.write(Layout(root, config.name).run(record.run))
        return record

    def evaluate(self, model: Path, events: list[str], outcomes: list[str]) -> Evaluation:
        self.evaluated.append((model, events, outcomes))
        return evaluation(0.9, intervals={"f1_macro": (0.85, 0.95)})


def evaluation(f1: float, *, gates: Any = (), **overall: Any) -> Evaluation:
    metrics = {"f1_macro": f1, "accuracy": 0.75, "auc": 0.8, "log_loss": 0.5}
    values = {"overall": {"examples": 40, "metrics": metrics, **overall}, "gates": [*gates]}
    return Evaluation.model_validate({"task": "classification", **values})


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    stand_in = StandIn()
    monkeypatch.setattr(series, "run_pipeline", stand_in.run)
    monkeypatch.setattr("pipeline.evaluate_log.evaluate_log", stand_in.evaluate)
    return stand_in


def test_each_span_is_trained_on_what_was_known_then_from_the_version_in_service(
    runs: StandIn, configure: Configure, tmp_path: Path
) -> None:
    config = configure()
    runs.failing = {1, 3}
    result = backtest(config, tmp_path, 12, console=QUIET)

    folder = tmp_path / "algebra" / "backtest" / digest_of(config)
    assert [root for _, root in runs.asked] == [folder / str(span) for span in range(1, SPANS)]
    started_from = [None, None, "/versions/2", "/versions/2"]
    for (asked, root), start in zip(runs.asked, started_from, strict=True):
        assert asked.data.span == f"last:2 until {root.name}"
        assert asked.data.replay == 0.2
        assert (asked.training.start_from, asked.evaluation.baseline) == (start, start)
        assert (asked.push.enabled, asked.push.directory) == (True, None)

    assert [span.in_service for span in result.spans] == [None, "2", "2", "4"]
    assert [span.after for span in result.spans] == ["2", "3", "4", "5"]
    assert [bool(span.metrics) for span in result.spans] == [False, True, True, True]
    assert [span.failed_gates for span in result.spans] == [["gate of 1"], [], ["gate of 3"], []]
    assert [span.span for span in result.pushed] == ["2", "4"]
    asked_about = [(str(model), outcomes) for model, _, outcomes in runs.evaluated]
    assert asked_about == [
        (f"/versions/{version}", [f"{tmp_path}/log/{after}/outcomes.csv"])
        for version, after in ((2, 3), (2, 4), (4, 5))
    ]
    # Outcomes of the span after see the events of the window before as well.
    assert runs.evaluated[0][1] == [f"{tmp_path}/log/{span}/events.csv" for span in (1, 2, 3)]

    assert Backtest.read(folder) == result
    page = (folder / "backtest.md").read_text()
    assert page == render_markdown(result)
    assert "| 3 | failed | 0.530 | 2 | 4 | 40 | 0.900 (0.850 to 0.950) | 0.750 |" in page
    assert "| 1 | failed | 0.510 | none | 2 | 0 | – | – |" in page
    assert "2 of 4 models would have been pushed" in page
    assert "- 3: gate of 3" in page


def test_few_spans_are_the_newest(runs: StandIn, configure: Configure, tmp_path: Path) -> None:
    result = backtest(configure(), tmp_path, 2, console=QUIET)
    assert [(span.span, span.after) for span in result.spans] == [("3", "4"), ("4", "5")]
    assert [root.name for _, root in runs.asked] == ["3", "4"]


def test_other_rules_have_roots_of_their_own(configure: Configure) -> None:
    digests = {digest_of(configure(retrain={"replay": share})) for share in (0.0, 0.2)}
    assert len({*digests, digest_of(configure(training={"epochs": 3}))}) == 3


def test_from_scratch_nothing_is_taken_over_but_the_gates_compare(configure: Configure) -> None:
    version = VersionInService(2, Path("/versions/2"))
    found = span_config(configure(retrain={"warm_start": False}), "3", version)
    assert (found.training.start_from, found.evaluation.baseline) == (None, "/versions/2")


def test_a_span_that_fails_ends_it_and_the_others_are_kept(
    runs: StandIn, configure: Configure, tmp_path: Path
) -> None:
    runs.broken = {2}
    with pytest.raises(SeriesError) as caught:
        backtest(configure(), tmp_path, 12, console=QUIET)
    assert str(caught.value) == (
        "span 2: no memory\n1 span is done and kept. The same command goes on with span 2."
    )
    assert not [*tmp_path.rglob("backtest.*")]


def test_a_log_without_spans_has_no_past(configure: Configure, tmp_path: Path) -> None:
    tables = {name: f"{tmp_path}/log/1/{name}.csv" for name in ("events", "outcomes")}
    with pytest.raises(ConfigError, match="since a backtest goes through the spans of a log"):
        backtest(configure(data=tables), tmp_path, 12, console=QUIET)
    single = {name: f"{tmp_path}/log/{{SPAN:1}}/{name}.csv" for name in ("events", "outcomes")}
    for number in range(2, SPANS + 1):
        (tmp_path / "log" / str(number)).rename(tmp_path / f"later-{number}")
    with pytest.raises(ConfigError, match=r"expected two spans or more, .* found 1"):
        backtest(configure(data=single), tmp_path, 12, console=QUIET)


def test_the_table_is_printed(
    runs: StandIn, configure: Configure, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs.failing = {3}
    print_table(backtest(configure(), tmp_path, 2, console=QUIET), PlainConsole(width=160))
    shown = capsys.readouterr().out
    assert "3: gate of 3" in shown
    assert "0.900 (0.850 to 0.950)" in shown
