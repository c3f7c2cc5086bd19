"""A configuration arrives as it left: at the worker, in cache keys and manifests, in containers."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from components.config import Beam, Config, Metadata, load_config
from components.config.section import Bound, Section
from components.config.strict_yaml import read_yaml
from components.contracts.run_plan import RunPlan
from components.errors import ConfigError
from components.evaluator.evaluator_settings import EvaluatorSettings
from components.event_log.log_spec import LogSpec
from pipeline.kubeflow.parameters import settings_of
from tests.components.config.any_config import BASE, configs, places, put, sections

FEW = settings(max_examples=60, deadline=None)


def as_it_travels(config: Config) -> Config:
    """Returns a configuration without what travels by the environment."""
    push = config.push.model_copy(update={"signing_key": None, "public_key": None})
    training = config.training.model_copy(update={"worker_folder": None})
    beam = Beam.model_validate(config.beam.model_dump())
    changes = {"metadata": Metadata(), "push": push, "training": training, "beam": beam}
    return config.model_copy(update=changes)


def strict_json(text: str) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


@given(configs())
@FEW
def test_the_worker_gets_what_was_configured(config: Config) -> None:
    plan = RunPlan(run="r", root=Path("/root"), config=config)
    text = plan.model_dump_json(by_alias=True, indent=1)
    strict_json(text.encode().decode())
    assert RunPlan.model_validate_json(text).config == as_it_travels(config)


@given(configs())
@FEW
def test_cache_keys_and_manifests_hold_what_was_configured(config: Config) -> None:
    recipe = strict_json(
        json.dumps(config.recipe, sort_keys=True, ensure_ascii=False).encode().decode()
    )
    assert Config.model_validate(recipe).recipe == config.recipe
    assert Config.model_validate(recipe).fingerprint == config.fingerprint
    read = dict.fromkeys(EvaluatorSettings.model_fields, True) | {"beam": {"args"}}
    of_evaluator = EvaluatorSettings.of(config).model_dump(include=read)
    assert of_evaluator == config.model_dump(include=read)
    spec = LogSpec.of(config)
    assert LogSpec.from_property(spec.to_property()) == spec


@given(configs())
@FEW
def test_a_file_is_loaded_with_its_values(
    tmp_path_factory: pytest.TempPathFactory, config: Config
) -> None:
    file = tmp_path_factory.getbasetemp() / "any.yaml"
    values = config.model_dump(by_alias=True, mode="json")
    file.write_text(yaml.dump(values), encoding="utf-8")
    # They hold paths, which become absolute.
    paths = {"data", "schema_", "push", "evaluation", "training", "kubeflow"}
    read = load_config(file)
    assert read.model_dump(exclude=paths) == as_it_travels(config).model_dump(exclude=paths)
    assert load_config(file).fingerprint == read.fingerprint


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
@settings(max_examples=200, deadline=None)
def test_a_container_gets_parameters_unchanged(text: str) -> None:
    for name in ("events", "outcomes", "span"):
        [setting] = settings_of({name: text})
        setting.encode("ascii")
        assert read_yaml(setting.partition("=")[2])[1] == text


def floats_of(section: type[Section]) -> list[str]:
    return [
        name for name, field in section.model_fields.items() if float in _types(field.annotation)
    ]


def _types(annotation: Any) -> list[Any]:
    if annotation == Bound or (isinstance(annotation, type) and issubclass(annotation, Section)):
        return []
    return [annotation, *(kind for argument in get_args(annotation) for kind in _types(argument))]


@pytest.mark.parametrize("section", sections(), ids=lambda section: section.__name__)
@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_nan_and_infinity_are_refused_in_every_section(
    section: type[Section], value: float
) -> None:
    for name in floats_of(section):
        field = section.model_fields[name]
        given = {"x": value} if dict in map(_origin, _types(field.annotation)) else value
        with pytest.raises(ValidationError) as caught:
            section.model_validate({field.alias or name: given})
        assert any(item["loc"][0] == (field.alias or name) for item in caught.value.errors())


def _origin(annotation: Any) -> Any:
    return getattr(annotation, "__origin__", None)


def test_every_section_with_numbers_is_tested() -> None:
    found = {(section.__name__, name) for section in sections() for name in floats_of(section)}
    assert {
        ("Gate", "min"), ("Gate", "max_gap"), ("Training", "learning_rate"),
        ("Training", "class_weights"), ("Prior", "smoothing"), ("Ci", "tolerance"),
        ("Retry", "backoff_factor"),
    } <= found  # fmt: skip


@pytest.mark.parametrize("text", [".inf", "-.inf", ".nan", "1e400", "true"])
def test_an_infinite_bound_is_named_with_key_and_line(tmp_path: Path, text: str) -> None:
    file = tmp_path / "algebra.yaml"
    file.write_text(
        yaml.safe_dump({**BASE, "gates": []}).replace(
            "gates: []", f"gates:\n- metric: auc\n  min: {text}"
        )
    )
    line = 1 + file.read_text().splitlines().index(f"  min: {text}")
    with pytest.raises(
        ConfigError, match=rf"algebra.yaml, line {line}, gates\[0\].min: expected .*, found "
    ):
        load_config(file)
    file.write_text(yaml.safe_dump(BASE))
    with pytest.raises(ConfigError, match=r"^--set gates, gates\[0\].max: expected "):
        load_config(file, [f"gates=[{{metric: auc, min: 0.5, max: {text}}}]"])


def test_an_open_range_is_natural(tmp_path: Path) -> None:
    file = tmp_path / "algebra.yaml"
    file.write_text(yaml.safe_dump(BASE))
    config = load_config(file, ["steps.features.correct.clip=[0, .inf]"])
    correct = config.steps.features["correct"]
    assert correct.type == "numeric"
    assert correct.clip == (0.0, math.inf)
    sent = RunPlan(run="r", root=tmp_path, config=config).model_dump_json(by_alias=True)
    assert RunPlan.model_validate_json(sent).config == config
    for wrong in ("[0, .nan]", "[.inf, 0]", "[.inf, .inf]", "[-.inf, -.inf]"):
        with pytest.raises(ConfigError, match=r"steps.features.correct"):
            load_config(file, [f"steps.features.correct.clip={wrong}"])


@pytest.mark.parametrize("number", [2**31, -(2**31), 2**63, 2**64, 10**29])
def test_a_number_beyond_32_bits_is_refused(tmp_path: Path, number: int) -> None:
    file = tmp_path / "algebra.yaml"
    for path, field in places():
        if field.annotation is int:
            file.write_text(yaml.safe_dump(put(BASE, path, number)))
            with pytest.raises(ConfigError, match=rf"line \d+, {'.'.join(path)}: "):
                load_config(file)


@pytest.mark.parametrize("text", ['"a\\0b"', '"\\ud800"', '"\\udcff"'])
def test_text_that_is_not_unicode_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "algebra.yaml"
    file.write_text(yaml.safe_dump(BASE))
    with pytest.raises(ConfigError, match=r"--set label.column: expected"):
        load_config(file, [f"label.column={text}"])
    for key in ("schema", "data.events", "kubeflow.ca_cert"):
        with pytest.raises(ConfigError, match=rf"--set {key}: expected "):
            load_config(file, [f"{key}={text}"])
