"""Loading a configuration: paths, overrides, and errors that say where and what."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from components.config import load_config
from components.errors import ConfigError
from tests.components.config.any_config import places, put

BASE = {
    "name": "algebra",
    "data": {"events": "log/events.csv", "outcomes": ["log/a.csv", "log/b.csv"]},
    "schema": "algebra.pbtxt",
    "label": {"column": "mastery", "classes": ["no", "yes"]},
    "steps": {"features": {"event_type": {"type": "categorical"}, "correct": {"type": "numeric"}}},
    "context": {"course": {"type": "categorical"}},
    "evaluation": {"slices": ["gender", ["gender", "region"]]},
    "gates": [{"metric": "f1_macro", "min": 0.5}],
}


RULE = {"above": 0.5, "class": "yes", "otherwise": "no"}
TAKEN = "expected a column that is not a key, a step, the label or a reserved name, found"


def write(folder: Path, **changes: object) -> Path:
    file = folder / "algebra.yaml"
    file.write_text(yaml.safe_dump({**BASE, **changes}, sort_keys=False))
    return file


def message(folder: Path, *overrides: str, **changes: object) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(write(folder, **changes), overrides)
    return str(caught.value)


def test_a_rule_may_count_a_word_that_is_not_known_yet(tmp_path: Path) -> None:
    steps = {"features": {"event_type": {"type": "categorical", "vocabulary": 5}}}
    rule = {**RULE, "summary": "event_type.a.b.count"}
    config = load_config(write(tmp_path, steps=steps, evaluation={"rule": rule}))
    assert config.evaluation.rule is not None
    assert config.evaluation.rule.summary == "event_type.a.b.count"


def test_paths_count_from_the_file(tmp_path: Path) -> None:
    config = load_config(write(tmp_path))
    assert config.data.events == [str(tmp_path / "log/events.csv")]
    assert config.data.outcomes == [str(tmp_path / "log/a.csv"), str(tmp_path / "log/b.csv")]
    assert config.schema_ == str(tmp_path / "algebra.pbtxt")


def test_paths_in_an_override_count_from_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    config = load_config(file, ["data.events=new.csv", "data.outcomes=[a.csv, s3://bucket/b.csv]"])
    assert config.data.events == [str(tmp_path / "elsewhere/new.csv")]
    assert config.data.outcomes == [str(tmp_path / "elsewhere/a.csv"), "s3://bucket/b.csv"]


def test_the_configuration_s_folder_is_not_taken_as_a_pattern(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "logs [2024]*"
    (folder / "[1]").mkdir(parents=True)
    patterns = {
        "events": "day-[0-9]/*.csv",
        "outcomes": ["o.csv", "[1]/o.csv", "../*.csv", "v{SPAN}/o.csv"],
    }
    config = load_config(write(folder, data=patterns))
    escaped = f"{tmp_path}/logs [[]2024][*]"
    assert config.data.events == [f"{escaped}/day-[0-9]/*.csv"]
    plain, *others = config.data.outcomes
    assert plain == f"{folder}/o.csv"
    assert others == [f"{escaped}/[1]/o.csv", f"{tmp_path}/*.csv", f"{escaped}/v{{SPAN}}/o.csv"]
    monkeypatch.chdir(folder)
    assert load_config(write(folder), ["data.events=*.csv"]).data.events == [f"{escaped}/*.csv"]


def test_overrides_are_yaml_and_reach_lists_and_new_sections(tmp_path: Path) -> None:
    config = load_config(
        write(tmp_path),
        ["gates.0.min=0.9", "training.epochs=3", "training.class_weights={no: 2, yes: 1}"],
    )
    assert config.gates[0].min == 0.9
    assert config.training.epochs == 3
    assert config.training.class_weights == {"no": 2.0, "yes": 1.0}


def test_outcome_columns_are_context_groups_and_slices_once(tmp_path: Path) -> None:
    assert load_config(write(tmp_path)).outcome_columns == ["course", "gender", "region"]


def test_integer_classes_become_their_digits(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, label={"column": "level", "classes": [0, 1, 2]}))
    assert config.label.classes == ["0", "1", "2"]


def test_the_fingerprint_follows_every_value(tmp_path: Path) -> None:
    file = write(tmp_path)
    assert load_config(file).fingerprint == load_config(file).fingerprint
    assert load_config(file).fingerprint != load_config(file, ["training.seed=8"]).fingerprint


def test_ci_changes_no_artifact(tmp_path: Path) -> None:
    file = write(tmp_path)
    plain, other = (load_config(file, options).recipe for options in ([], ["ci.learners=7"]))
    assert plain == other
    assert load_config(file, ["training.seed=8"]).recipe != plain


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.yaml: there is no such file"):
        load_config(tmp_path / "absent.yaml")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "expected a mapping"),
        ("- a\n", "found list"),
        ("a: [", "expected YAML"),
        ("\xff", "expected"),
    ],
)
def test_a_file_that_is_not_a_mapping_is_refused(tmp_path: Path, text: str, expected: str) -> None:
    file = tmp_path / "broken.yaml"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError, match=expected):
        load_config(file)


def test_errors_name_line_and_key(tmp_path: Path) -> None:
    assert "algebra.yaml, line 28, gates[0].metric: " in message(
        tmp_path, gates=[{"metric": "f2", "min": 1}]
    )
    assert "found 'f2'." in message(tmp_path, gates=[{"metric": "f2", "min": 1}])
    assert "found 'f1_marco'; did you mean f1_macro?" in message(
        tmp_path, gates=[{"metric": "f1_marco", "min": 1}]
    )
    assert "found 'yess'; did you mean yes?" in message(
        tmp_path, gates=[{"metric": "recall", "class": "yess", "min": 1}]
    )
    assert "colour: this key is not known" in message(tmp_path, colour="red")
    assert "training.epochs: " in message(tmp_path, "training.epochs=many")
    assert "training.class_weights: " in message(tmp_path, "training.class_weights=heavy")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"gates": []}, "gates: "),
        ({"gates": [{"metric": "f1_macro"}]}, "expected at least one of min, max"),
        ({"gates": [{"metric": "recall", "min": 0.5}]}, "expected `class:` beside it"),
        (
            {"gates": [{"metric": "recall", "class": "yess", "min": 0.5}]},
            "line 29, gates[0].class: expected one of no, yes, found 'yess'; did you mean yes?",
        ),
        (
            {"gates": [{"metric": "f1_macro", "class": "no", "min": 0.5}]},
            "beside `class:`, found f1_macro",
        ),
        (
            {"gates": [{"metric": "rmse", "max": 1}]},
            "gates[0].metric: expected one of accuracy, precision_macro",
        ),
        ({"ci": {"metric": "rmse"}}, "ci.metric: expected one of accuracy"),
        (
            {"ci": {"gates": [{"metric": "auc", "slice": "age", "min": 0.5}]}},
            "ci.gates[0].slice: age is not in evaluation.slices; add it there",
        ),
        (
            {"gates": [{"metric": "auc", "slice": "gendre", "min": 0.5}]},
            "gates[0].slice: gendre is not in evaluation.slices; add it there; "
            "did you mean gender?",
        ),
        (
            {"gates": [{"metric": "auc", "slice": {"gender": "f", "age": 7}, "min": 0.5}]},
            "gates[0].slice: age with gender is not in evaluation.slices",
        ),
        ({"gates": [{"metric": "auc", "max_gap": 0.5}]}, "expected `slice: COLUMN`"),
        (
            {"gates": [{"metric": "auc", "min": 0.5, "min_gain": 0.1}]},
            "gates[0].min_gain: expected min_gain_over in the same gate, found none",
        ),
        (
            {"gates": [{"metric": "auc", "min_gain_over": "trees"}]},
            "gates[0].min_gain_over: trees is not in evaluation.simple_models; add it there",
        ),
        (
            {"gates": [{"metric": "auc", "max_spread": 0.01}]},
            "gates[0].max_spread: expected evaluation.seeds of 2 or more, found 1",
        ),
        (
            {"gates": [{"metric": "auc", "max_spread": 0.01, "confidence": 0.95}]},
            "gates[0].confidence: expected none with max_spread alone: it has no interval",
        ),
        (
            {"gates": [{"metric": "auc", "min": 0.5, "confidence": 0.999}]},
            "gates[0].confidence: expected evaluation.draws of 2000 or more, found 1000",
        ),
        (
            {"context": {"gender": {"type": "categorical"}}},
            "line 20, context.gender: gender is listed in `protected` and cannot be an input",
        ),
        (
            {"prior": {"group_by": ["region"]}},
            "prior.group_by[0]: region is listed in `protected`",
        ),
        (
            {"context": {"correct": {"type": "numeric"}}},
            "context.correct: expected names that are not in steps.features, found 'correct' in",
        ),
        ({"context": {"mastery": {"type": "categorical"}}}, f"context.mastery: {TAKEN} 'mastery'"),
        (
            {"context": {"time_to_as_of": {"type": "numeric"}}},
            "context.time_to_as_of: expected columns of outcomes, found 'time_to_as_of', which is",
        ),
        (
            {"label": {"column": "mastery", "classes": ["one"]}},
            "label.classes: expected two or more different names",
        ),
        (
            {"label": {"column": "score", "task": "regression", "classes": ["a", "b"]}},
            "label.classes: expected none with task: regression, found ['a', 'b']",
        ),
        (
            {"training": {"class_weights": {"no": 1.0, "yess": 1.0}}},
            "training.class_weights: expected a weight for each of ['no', 'yes'], found them for "
            "['no', 'yess']; did you mean yes?",
        ),
        (
            {"steps": {"max_steps": 3, "min_steps": 4, "features": {"a": {"type": "numeric"}}}},
            "steps.min_steps: expected at most max_steps (3), found 4",
        ),
        (
            {
                "steps": {
                    "shared": True,
                    "max_steps": 10,
                    "min_steps": 7,
                    "features": {"a": {"type": "numeric"}},
                }
            },
            "steps.min_steps: expected at most 6 with `shared: true`, as chunks of max_steps (10) "
            "overlap by half, found 7",
        ),
        (
            {
                "steps": {"shared": True, "features": {"a": {"type": "numeric"}}},
                "training": {"workers": 2},
            },
            "training.workers: expected 1 with `steps.shared: true`, whose batches cannot be cut "
            "by outcomes: the sequence of an outcome would be elsewhere; found 2",
        ),
        (
            {"training": {"workers": 5, "batch_size": 4}},
            "training.workers: expected at most batch_size (4), found 5",
        ),
        (
            {"evaluation": {"slices": ["gender", "correct"]}},
            f"evaluation.slices[1]: {TAKEN} 'correct'",
        ),
        ({"prior": {"group_by": ["mastery"]}}, f"prior.group_by[0]: {TAKEN} 'mastery'"),
        ({"evaluation": {"slices": [["_split", "_order"]]}}, f"slices[0]: {TAKEN} '_split'"),
        (
            {"label": {"column": "unit_id", "classes": ["a", "b"]}},
            f"label.column: {TAKEN} 'unit_id'",
        ),
        (
            {"steps": {"features": {"unit_id": {"type": "categorical"}}}},
            f"steps.features.unit_id: {TAKEN} 'unit_id'",
        ),
        (
            {"context": {"unit_id": {"type": "numeric"}}},
            "context.unit_id.type: expected categorical, since a unit is a name, found numeric",
        ),
        (
            {"evaluation": {"rule": {**RULE, "summary": "correct.meen"}}},
            "evaluation.rule.summary: expected a summary of the steps (num_steps, "
            "event_type.different, event_type.repeats, correct.last, correct.mean, "
            "correct.recent, correct.sum, correct.missing), found 'correct.meen'; "
            "did you mean correct.mean?",
        ),
        (
            {"evaluation": {"rule": {**RULE, "summary": "event_type.video.count"}}},
            "found 'event_type.video.count'",  # only words of small vocabularies are counted
        ),
        ({"name": "Ä b"}, "expected lower-case letters"),
    ],
)
def test_rules_across_sections(tmp_path: Path, changes: dict[str, object], expected: str) -> None:
    text = message(tmp_path, **changes)
    assert expected in text
    assert "algebra.yaml, line " in text


@pytest.mark.parametrize(
    ("training", "says"),
    [
        (
            {"device": "cpu", "precision": "mixed_float16"},
            "training.precision: expected float32 or mixed_bfloat16 with device: cpu, found",
        ),
        (
            {"device": "cpu", "gpu_export": True},
            "training.gpu_export: expected false with device: cpu, found true",
        ),
        ({"device": "gpus"}, "expected 'auto', 'cpu' or 'gpu', found 'gpus'; did you mean gpu?"),
    ],
)
def test_what_needs_a_gpu_is_refused_on_a_cpu(
    tmp_path: Path, training: dict[str, object], says: str
) -> None:
    assert says in message(tmp_path, training=training)


def test_a_feature_of_an_unknown_type_is_named(tmp_path: Path) -> None:
    mistyped = {"features": {"correct": {"type": "numerc"}}}
    assert (
        "steps.features.correct: expected 'type' to be one of 'categorical', 'numeric', "
        "found 'numerc'; did you mean numeric?"
    ) in message(tmp_path, steps=mistyped)
    assert ("steps.features.correct: expected a mapping with the key 'type', found {}.") in message(
        tmp_path, steps={"features": {"correct": {}}}
    )


def test_a_protected_column_is_an_input_only_if_allowed_explicitly(tmp_path: Path) -> None:
    feature = {"gender": {"type": "categorical", "allow_protected": True}}
    assert "gender" in load_config(write(tmp_path, context=feature)).context


@pytest.mark.parametrize("override", ["nothing", "gates.9.min=1", "name.first=1", "gates.x=1"])
def test_an_override_that_fits_nowhere_is_refused(tmp_path: Path, override: str) -> None:
    assert "--set" in message(tmp_path, override)


def test_runner_sections_do_not_change_the_recipe(tmp_path: Path) -> None:
    here = load_config(write(tmp_path))
    there = load_config(
        write(tmp_path, kubeflow={"host": "https://cluster.example", "ca_cert": "ca.pem"})
    )
    assert there.kubeflow.ca_cert == str(tmp_path / "ca.pem")
    assert there.fingerprint == here.fingerprint
    assert there.recipe == here.recipe
    assert load_config(write(tmp_path), ["training.epochs=3"]).fingerprint != here.fingerprint


def test_an_unknown_time_zone_is_named(tmp_path: Path) -> None:
    assert "kubeflow.timezone: expected a time zone such as Europe/Zurich, found 'CEST'" in message(
        tmp_path, kubeflow={"timezone": "CEST"}
    )


def test_a_mistyped_key_gets_a_suggestion(tmp_path: Path) -> None:
    assert "epoch: this key is not known; did you mean training.epochs?" in message(
        tmp_path, "training.epoch=5"
    )
    assert "did you mean training?" in message(tmp_path, trainig={"epochs": 5})
    assert message(tmp_path, "trainig.epochs=5").startswith(
        "--set trainig.epochs, trainig: this key is not known; did you mean training?"
    )
    assert "did you mean training.epochs?" in message(tmp_path, "epochs=5")
    assert "did you mean gates[0].metric?" in message(
        tmp_path, gates=[{"metrik": "auc", "metric": "auc", "min": 0.5}]
    )
    mistyped = {"correct": {"type": "numeric", "skale": "none"}}
    assert "did you mean steps.features.correct.scale?" in message(
        tmp_path, steps={"features": mistyped}
    )


def test_a_wrong_override_names_its_option(tmp_path: Path) -> None:
    assert message(tmp_path, "training.epochs=many").startswith("--set training.epochs: ")
    assert message(tmp_path, "gates=[{metric: f2, min: 1}]").startswith(
        "--set gates, gates[0].metric: "
    )
    assert message(tmp_path, "gates=[{metric: auc, metric: auc}]").startswith(
        "--set gates=[{metric: auc, metric: auc}]:"
    )


@pytest.mark.parametrize(
    "override", ["=1", "a..b=1", ".a=1", "gates.-1.min=1", "gates.\u0661.min=1"]
)
def test_an_override_without_a_key_is_refused(tmp_path: Path, override: str) -> None:
    assert message(tmp_path, override).startswith("--set ")


def test_features_called_like_types_keep_their_names(tmp_path: Path) -> None:
    features = {
        "numeric": {"type": "numeric", "buckets": 1},
        "str": {"type": "categorical", "vocabulary": 0},
    }
    text = message(tmp_path, steps={"features": features})
    assert "steps.features.numeric.buckets: " in text
    assert "steps.features.str.vocabulary: " in text


def test_only_the_first_problems_are_listed(tmp_path: Path) -> None:
    text = message(tmp_path, gates=[{"metric": "f2", "min": 1}] * 100)
    assert len(text.splitlines()) == 21
    assert text.endswith("and 80 more problems.")


def test_a_long_value_is_cut(tmp_path: Path) -> None:
    assert len(message(tmp_path, gates=[{"metric": "x" * 10_000, "min": 1}])) < 1000


def test_a_section_behind_an_alias_is_a_copy(tmp_path: Path) -> None:
    file = write(tmp_path)
    file.write_text(file.read_text().replace("gates:", "gates: &gates") + "ci: {gates: *gates}\n")
    config = load_config(file, ["gates.0.min=0.9"])
    assert config.ci.gates
    assert (config.gates[0].min, config.ci.gates[0].min) == (0.9, 0.5)


def test_the_home_of_an_unknown_user_is_named(tmp_path: Path) -> None:
    assert "schema: expected a path, found '~nobody-at-all/x'" in message(
        tmp_path, schema="~nobody-at-all/x"
    )
    assert "--set schema: expected a path" in message(tmp_path, "schema=~nobody-at-all/x")


def test_true_is_not_a_number(tmp_path: Path) -> None:
    assert "training.epochs: expected a value other than true or false, found True" in message(
        tmp_path, training={"epochs": True}
    )
    assert "gates[0].min: expected a value other than true or false" in message(
        tmp_path, gates=[{"metric": "auc", "min": True}]
    )
    assert "model.lstm: expected a value other than true or false" in message(
        tmp_path, model={"lstm": [True]}
    )
    assert load_config(write(tmp_path, push={"enabled": "off"})).push.enabled is False


def test_integer_classes_have_weights_by_their_digits(tmp_path: Path) -> None:
    label = {"column": "level", "classes": [0, 1]}
    config = load_config(write(tmp_path, label=label, training={"class_weights": {0: 1, 1: 3}}))
    assert config.training.class_weights == {"0": 1.0, "1": 3.0}
    assert "expected more than 0, found 0" in message(
        tmp_path, training={"class_weights": {"no": 0, "yes": 1}}
    )


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


@given(
    st.lists(
        st.tuples(st.sampled_from([path for path, _ in places()]), VALUES), min_size=1, max_size=3
    )
)
@settings(max_examples=150, deadline=None)
def test_random_configurations_load_or_are_explained(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[tuple[str, ...], object]]
) -> None:
    values = BASE
    for path, value in changes:
        try:
            values = put(values, path, value)
        except (AttributeError, TypeError):  # below a value
            continue
    file = tmp_path_factory.getbasetemp() / "odd.yaml"
    file.write_text(yaml.dump(values), encoding="utf-8")
    try:
        load_config(file)
    except ConfigError as error:
        longest = max(map(len, str(error).splitlines()))
    else:
        longest = 0
    assert longest < 2000


@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
@settings(max_examples=150, deadline=None)
def test_random_bytes_load_or_are_explained(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    file = tmp_path_factory.getbasetemp() / "bytes.yaml"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=re.escape(str(file))):
        load_config(file)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (
            {"time": "learner_id"},
            "data.columns.time: expected another column than for learner_id, found 'learner_id'",
        ),
        ({"event_type": "time"}, "data.columns.event_type: expected another column than for time"),
        ({"as_of": "unit_id"}, "data.columns.as_of: expected another column than for unit_id"),
        ({"unit_id": "mastery"}, f"label.column: {TAKEN} 'mastery'"),
    ],
)
def test_a_column_has_one_role(tmp_path: Path, data: dict[str, str], says: str) -> None:
    assert says in message(tmp_path, data={**BASE["data"], "columns": data})  # type: ignore[dict-item]


def test_moments_of_both_tables_may_have_one_name(tmp_path: Path) -> None:
    same = {**BASE["data"], "columns": {"time": "when", "as_of": "when"}}  # type: ignore[dict-item]
    assert load_config(write(tmp_path, data=same)).data.columns.as_of == "when"
