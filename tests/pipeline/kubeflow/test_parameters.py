"""The parameters of a run: what is refused at once, and the settings they become."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.config import load_config
from pipeline.kubeflow.parameters import PARAMETERS, settings_of
from tests.pipeline.kubeflow.conftest import Mastery
from tests.pipeline.kubeflow.stand_in import StandIn

REPOSITORY = Path(__file__).parents[3]
SAMPLE = REPOSITORY / "configs" / "sample.yaml"


def test_every_parameter_has_a_default_that_changes_nothing() -> None:
    config = load_config(SAMPLE)
    defaults = {parameter.name: parameter.default(config) for parameter in PARAMETERS}
    assert load_config(SAMPLE, settings_of(defaults)) == config
    assert {type(value) for value in defaults.values()} == {str, bool}


def test_parameters_become_settings_and_an_empty_text_none() -> None:
    values = {
        "events": "",
        "span": "2026-11-20",
        "gates": "[{metric: auc, min: 0.5}]",
        "warm_start": True,
        "push": False,
        "only_new_data": True,
    }
    assert settings_of(values) == [
        'data.span="2026-11-20"',  # a text, never a date of YAML
        "gates=[{metric: auc, min: 0.5}]",
        "training.warm_start=true",
        "push.enabled=false",
    ]


def test_the_page_explains_every_parameter() -> None:
    page = (REPOSITORY / "docs" / "kubeflow.md").read_text(encoding="utf-8")
    assert [item.name for item in PARAMETERS if f"`{item.name}`" not in page] == []


@pytest.mark.parametrize(
    ("parameter", "says"),
    [
        ("push=2.5", "--param push: expected true or false, found '2.5'"),
        ("push=", "--param push: expected true or false, found ''"),
        (
            "spam=2",
            "expected one of events, gates, only_new_data, outcomes, push, span, warm_start",
        ),
        ("spam=2", "found 'spam'; did you mean span?"),
        ("epochs=2", "found 'epochs'."),
        ("push", "--param push: expected name=value"),
        ("=true", "--param =true: expected name=value"),
    ],
)
def test_a_wrong_parameter_starts_nothing(
    mastery: Mastery, cluster: StandIn, parameter: str, says: str
) -> None:
    code, _, err = mastery("run", "--param", parameter)
    assert code == 2
    assert says in err
    assert not cluster.pipelines
    assert not cluster.runs


@pytest.mark.parametrize(
    ("parameter", "says"),
    [
        (
            "gates=[{metric: f2, min: 1}]",
            "--param gates, gates[0].metric: expected one of accuracy",
        ),
        (
            "gates=[{metric: f1_macro, min: .inf}]",
            "--param gates, gates[0].min: expected a finite number, found inf",
        ),
        (
            "gates=[{metric: auc, class: maybe, min: 0.5}]",
            "gates[0].class: expected one of no, yes, found 'maybe'",
        ),
        ("gates=[]", "--param gates: expected a length of at least 1, found []"),
        ("span=last:0", "--param span: expected newest"),
        ("span=2026-11-20", "--param span: expected {SPAN} or"),
    ],
)
@pytest.mark.parametrize(
    "command", [("run",), ("schedule", "--cron", "0 3 * * *")], ids=["run", "schedule"]
)
def test_a_parameter_that_the_containers_would_refuse_sends_nothing(
    mastery: Mastery,
    cluster: StandIn,
    command: tuple[str, ...],
    parameter: str,
    says: str,
) -> None:
    code, out, err = mastery(*command, "--param", parameter)
    assert (code, out) == (2, "")
    assert says in err
    assert not cluster.pipelines
    assert not cluster.versions
    assert not cluster.runs
    assert not cluster.schedules
