"""The configuration of a small training, and the files that it writes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.command.console import PlainConsole
from components.config import Config
from components.contracts.run_record import RunRecord
from components.errors import MasteryError
from pipeline.ci import small_training
from pipeline.ci.results import Results
from pipeline.ci.small_training import no_worse_gate, small_config, train_small

Configure = Callable[..., Config]


def test_the_smaller_numbers_of_learners_and_epochs_win(configure: Configure) -> None:
    small = small_config(configure(ci={"learners": 50, "epochs": 2}))
    assert (small.data.sample_learners, small.training.epochs) == (50, 2)
    data = {"events": "e.csv", "outcomes": "o.csv", "sample_learners": 20}
    smaller = small_config(
        configure(data=data, training={"epochs": 1}, ci={"learners": 50, "epochs": 2})
    )
    assert (smaller.data.sample_learners, smaller.training.epochs) == (20, 1)


def test_nothing_of_the_configuration_is_lost(configure: Configure) -> None:
    config = configure(model={"lstm": [3], "dense": []}, push={"check_examples": 7})
    small = small_config(config)
    sections = "name schema_ label steps context protected prior model evaluation beam"
    for section in sections.split():
        assert getattr(small, section) == getattr(config, section)
    assert small.push == config.push


def test_nothing_is_pushed_to_where_models_are_served(configure: Configure) -> None:
    config = configure(push={"directory": "/models/algebra"})
    assert small_config(config).push.directory is None
    assert small_config(config, push=True).push.directory == "/models/algebra"


def test_metadata_stays_in_the_run_s_root(configure: Configure) -> None:
    server = {"store": "mysql", "host": "db", "database": "mlmd", "user": "mastery"}
    assert small_config(configure(metadata=server)).metadata.store == "sqlite"


def test_there_is_no_warm_start(configure: Configure) -> None:
    assert not small_config(configure(training={"warm_start": True})).training.warm_start


def test_the_gates_are_those_of_ci_and_one_against_getting_worse(configure: Configure) -> None:
    first, last = small_config(configure()).gates
    assert (first.metric, first.min) == ("f1_macro", 0.6)
    assert (last.metric, last.class_, last.min_change) == ("f1_macro", None, 0.0)
    ci = {"gates": [{"metric": "recall", "class": "no", "min": 0.1}], "tolerance": 0.02}
    first, last = small_config(configure(ci=ci)).gates
    assert (first.metric, first.min) == ("recall", 0.1)
    assert (last.metric, last.class_, last.min_change) == ("recall", "no", -0.02)


def test_a_loss_may_not_rise(configure: Configure) -> None:
    gate = no_worse_gate(configure(ci={"metric": "log_loss", "tolerance": 0.1}))
    assert (gate.max_change, gate.min_change) == (0.1, None)


def test_the_first_gate_may_be_on_a_decision(configure: Configure) -> None:
    decisions = [{"name": "call", "class": "no", "capacity": 20}]
    first = {"metric": "recall", "decision": "call", "min": 0.1}
    gate = small_config(configure(decisions=decisions, ci={"gates": [first]})).gates[-1]
    assert (gate.metric, gate.decision, gate.class_, gate.min_change) == (
        "recall", "call", None, 0.0,
    )  # fmt: skip
    cost = {"metric": "alarm_rate", "decision": "call", "max": 0.5}
    gate = no_worse_gate(configure(decisions=decisions, ci={"gates": [cost], "tolerance": 0.1}))
    assert (gate.decision, gate.max_change) == ("call", 0.1)


def test_a_baseline_has_to_be_a_model(configure: Configure, tmp_path: Path) -> None:
    with pytest.raises(
        MasteryError, match=r"--baseline .*: expected a pushed version .* found no saved_model\.pb"
    ):
        small_config(configure(), baseline=tmp_path)
    (tmp_path / "saved_model.pb").touch()
    assert small_config(configure(), baseline=tmp_path).evaluation.baseline == str(tmp_path)


@pytest.mark.parametrize(
    ("ci", "expected"),
    [
        ({"gates": [{"metric": "rmse", "max": 1}]}, r"ci\.gates\[0\]\.metric: expected one of"),
        (
            {"gates": [{"metric": "recall", "class": "perhaps", "min": 0}]},
            r"ci\.gates\[0\]\.class: expected one of",
        ),
        (
            {"gates": [{"metric": "auc", "slice": "age", "min": 0}]},
            r"ci\.gates\[0\]\.slice: .* is not in",
        ),
        ({"metric": "rmse"}, r"ci\.metric: expected one of .*, found 'rmse'"),
        ({"metric": "recall"}, "found 'recall'; did you mean recall_macro"),
        ({"gates": []}, "at least 1 item"),
    ],
)
def test_a_wrong_section_is_reported_when_it_is_read(
    configure: Configure, ci: dict[str, Any], expected: str
) -> None:
    with pytest.raises(ValueError, match=expected):
        configure(ci=ci)


@pytest.mark.parametrize("after", [0.75, None])
def test_files_of_an_earlier_run_are_removed(
    configure: Configure,
    finish: Callable[..., Results],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    after: float | None,
) -> None:
    record = finish(after, 0.7, **({} if after else {"error": "out of memory"})).record
    out = tmp_path / "ci"
    out.mkdir()
    for name in ("junit.xml", "summary.md", "metrics.json"):
        (out / name).write_text("of the run before")

    def run(config: Config, root: Path, *, console: PlainConsole) -> RunRecord:
        assert not [*out.iterdir()]
        assert (config.training.epochs, root, console) == (3, tmp_path / "runs", quiet)
        return record

    quiet = PlainConsole(quiet=True)
    monkeypatch.setattr(small_training, "run_pipeline", run)
    assert train_small(configure(), tmp_path / "runs", out, console=quiet) is record

    written = {file.name: file.read_text() for file in out.iterdir()}
    assert written.keys() == {"junit.xml", "summary.md"} | ({"metrics.json"} if after else set())
    assert "of the run before" not in written.values()
    assert ("Macro F1 0.700 → 0.750" in written["summary.md"]) is bool(after)
