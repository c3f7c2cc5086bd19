"""Two versions on a simulated log: the better one wins; what cannot be compared is an error."""

from __future__ import annotations

import json
import shutil
from io import StringIO
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import tensorflow as tf

from components.command.console import PlainConsole
from components.config import load_config
from components.contracts.manifest import Manifest
from components.errors import MasteryError, VersionError
from components.model_version.verify import file_digests
from components.simulator.simulate import simulate
from serving.models import compare as comparing
from serving.models.compare import Comparison, compare_versions, print_comparison
from serving.models.stores import open_storage

REPOSITORY = Path(__file__).parents[3]
CLASSES = ["not_mastered", "partial", "proficient"]


class Rule(tf.Module):
    """Predicts from the share of correct answers; a small `weight` makes it uncertain."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = tf.Variable(weight)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serving_default(self, examples):
        correct = tf.io.RaggedFeature(tf.float32, row_splits_dtype=tf.int64)
        steps = tf.io.parse_example(examples, {"correct": correct})["correct"].to_tensor(np.nan)
        known = tf.cast(~tf.math.is_nan(steps), tf.float32)
        right = tf.math.divide_no_nan(
            tf.reduce_sum(tf.where(known > 0, steps, 0.0), 1), tf.reduce_sum(known, 1)
        )
        logits = -self.weight * tf.abs(right[:, None] - [[0.3, 0.55, 0.8]])
        probabilities = tf.nn.softmax(logits)
        return {
            "classes": tf.broadcast_to(tf.constant([CLASSES]), tf.shape(probabilities)),
            "probabilities": probabilities,
            "predicted_class": tf.gather(tf.constant(CLASSES), tf.argmax(probabilities, 1)),
            "basis": tf.fill(tf.shape(right), "sequence"),
        }


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("log")
    simulate(150, 3, folder)
    return folder


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Version 1 is poor, 2 is good, 3 is 2 with fewer steps, and 4 has another label."""
    folder = tmp_path_factory.mktemp("serving")
    config = load_config(REPOSITORY / "configs" / "sample.yaml").recipe
    fewer = config | {"steps": config["steps"] | {"max_steps": 8}}
    other = config | {"label": config["label"] | {"classes": ["not_mastered", "partial"]}}
    for number, weight, made_with in (
        (1, -9.0, config),
        (2, 9.0, config),
        (3, 9.0, fewer),
        (4, 9.0, other),
    ):
        model = Rule(weight)
        signatures = {"serving_default": model.serving_default}
        tf.saved_model.save(model, str(folder / str(number)), signatures)
        manifest = json.dumps({"version": number, "config": made_with})
        (folder / str(number) / "manifest.json").write_text(manifest)
    return folder


def compare(serving: Path, log: Path, a: int, b: int, **options: object) -> dict:
    events, outcomes = [str(log / "events.parquet")], [str(log / "outcomes.parquet")]
    storage = open_storage(str(serving))
    compared = compare_versions(storage, a, b, events, outcomes, draws=200, **options)
    return compared.model_dump(mode="json", by_alias=True)


def test_the_better_version_is_found_in_either_order(serving: Path, log: Path) -> None:
    there, back = compare(serving, log, 1, 2), compare(serving, log, 2, 1)
    assert (there["verdict"], back["verdict"]) == ("better", "worse")
    rows = {(row["metric"], row["class"]): row for row in there["metrics"]}
    assert [*rows] == [
        *((name, None) for name in ("accuracy", "f1_macro", "auc", "log_loss")),
        *(("recall", name) for name in CLASSES),
    ]
    f1, loss = rows["f1_macro", None], rows["log_loss", None]
    assert f1["low"] < f1["difference"] < f1["high"]
    assert f1["difference"] == pytest.approx(f1["b"] - f1["a"])
    assert loss["difference"] < 0
    assert loss["verdict"] == "better"  # lower is
    mirrored = next(row for row in back["metrics"] if row["metric"] == "f1_macro")
    assert (mirrored["low"], mirrored["high"]) == pytest.approx((-f1["high"], -f1["low"]))
    outcomes = pl.read_parquet(log / "outcomes.parquet")
    assert (there["examples"], there["learners"]) == (
        outcomes.height,
        outcomes["learner_id"].n_unique(),
    )
    assert there == json.loads(json.dumps(there, allow_nan=False))


def test_each_version_reads_the_log_as_it_was_made_to(serving: Path, log: Path) -> None:
    """The same rule gives other answers from the last 8 steps than from 32."""
    compared = compare(serving, log, 2, 3, metric="log_loss")
    assert compared["unpaired"] == {"a": 0, "b": 0}
    assert compared["metric"] == "log_loss"
    assert any(row["difference"] for row in compared["metrics"])


def test_a_version_against_itself_is_not_distinguishable(serving: Path, log: Path) -> None:
    compared = compare(serving, log, 2, 2)
    assert (
        {row["verdict"] for row in compared["metrics"]}
        == {compared["verdict"]}
        == {"not distinguishable"}
    )


def test_versions_with_other_classes_and_unknown_metrics_are_refused(
    serving: Path, log: Path
) -> None:
    with pytest.raises(MasteryError, match="expected versions that predict the same"):
        compare(serving, log, 2, 4)
    with pytest.raises(MasteryError, match="--metric f2: expected one of accuracy, f1_macro, auc"):
        compare(serving, log, 2, 2, metric="f2")


def test_a_version_changed_since_it_was_pushed_is_refused(
    serving: Path, log: Path, tmp_path: Path
) -> None:
    changed = shutil.copytree(serving, tmp_path / "serving")
    manifest = json.loads((changed / "2" / "manifest.json").read_text())
    (changed / "2" / "manifest.json").write_text(
        json.dumps({**manifest, "files": file_digests(changed / "2")})
    )
    assert compare(changed, log, 1, 2)["verdict"] == "better"
    (changed / "2" / "more").touch()
    with pytest.raises(VersionError, match=r"found others \(never pushed: more\)"):
        compare(changed, log, 1, 2)


def test_a_comparison_is_printed(serving: Path, log: Path) -> None:
    storage = open_storage(str(serving))
    events, outcomes = [str(log / "events.parquet")], [str(log / "outcomes.parquet")]
    compared = compare_versions(storage, 1, 2, events, outcomes, draws=100)
    console = PlainConsole(file=StringIO(), width=120)
    print_comparison(compared, console)
    lines = console.file.getvalue().splitlines()
    outcomes_of = f"{compared.examples} outcomes of {compared.learners} learners"
    assert lines[0] == f"A is 1, B is 2: {outcomes_of}"
    assert lines[1].split() == ["Metric", "A", "B", "B", "−", "A", "95%", "interval", "B", "is"]
    assert lines[-1] == "By f1_macro, 2 is better than 1."


def table(learners: str, answers: list[float], labels: list[float]) -> pl.DataFrame:
    """Returns predictions of numbers, one outcome per learner."""
    rows = len(learners)
    return pl.DataFrame(
        {
            "learner_id": list(learners),
            "unit_id": ["u"] * rows,
            "as_of": [0.0] * rows,
            "label": labels,
            "prediction": answers,
        }
    )


def compare_tables(
    folder: Path, tables: list[pl.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> Comparison:
    """Compares two versions of a regression that answered with these tables."""
    config = load_config(REPOSITORY / "configs" / "sample.yaml").recipe
    config |= {"label": {"column": "score", "task": "regression"}, "decisions": [], "fairness": {}}
    config |= {"gates": [{"metric": "rmse", "max": 1}]}
    for number in (1, 2):
        Manifest(config=config).write(folder / str(number))
    answers = iter(tables)
    monkeypatch.setattr(comparing, "_predict", lambda *_: next(answers))
    return compare_versions(open_storage(str(folder)), 1, 2, ["e"], ["o"], draws=100)


def test_numbers_are_compared_on_outcomes_that_both_have_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = table("abcdx", [2.0, 3.0, 4.0, 6.0, 9.0], [1.0, 2.0, 3.0, 5.0, 8.0])
    second = table("dcba", [5.0, 3.0, 2.0, 1.0], [5.0, 3.0, 2.0, 1.0])
    compared = compare_tables(tmp_path, [first, second], monkeypatch)
    assert (compared.metric, compared.verdict, compared.examples) == ("rmse", "better", 4)
    assert (compared.unpaired.a, compared.unpaired.b) == (1, 0)
    rmse = next(row for row in compared.metrics if row.metric == "rmse")
    assert (rmse.a, rmse.b, rmse.difference, rmse.verdict) == (1.0, 0.0, -1.0, "better")

    console = PlainConsole(file=StringIO(), width=120)
    print_comparison(compared, console)
    text = console.file.getvalue()
    assert "Left out, because the other version has no answer: 1 of A, 0 of B" in text
    assert "By rmse, 2 is better than 1." in text


def test_a_metric_that_few_draws_define_has_no_interval(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    same = table("ab", [1.0, 1.0], [1.0, 1.0])  # labels do not vary, and R² needs that they do
    compared = compare_tables(tmp_path, [same, same], monkeypatch)
    r2 = next(row for row in compared.metrics if row.metric == "r2")
    assert (r2.difference, r2.low, r2.verdict) == (0.0, None, "not distinguishable")
    console = PlainConsole(file=StringIO(), width=120)
    print_comparison(compared, console)
    assert "By rmse, 2 is not distinguishable from 1." in console.file.getvalue()


def test_outcomes_that_cannot_be_paired_are_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = table("ab", [1.0, 2.0], [1.0, 2.0])
    twice = table("aab", [1.0, 1.0, 2.0], [1.0, 1.0, 2.0])
    with pytest.raises(MasteryError, match="expected one outcome per learner_id, unit_id, as_of"):
        compare_tables(tmp_path, [first, twice], monkeypatch)
    with pytest.raises(MasteryError, match="expected outcomes that both versions can answer"):
        compare_tables(tmp_path, [first, table("yz", [1.0, 2.0], [1.0, 2.0])], monkeypatch)


def test_decisions_that_both_versions_take_are_compared_at_their_own_points(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load_config(REPOSITORY / "configs" / "sample.yaml").recipe
    call = {"name": "call", "class": "not_mastered", "cost": {"miss": 5, "false_alarm": 1}}
    about = {"name": "other", "class": "partial", "recall": 0.5}
    for number, other in ((1, about), (2, about | {"class": "proficient"})):
        Manifest(config=config | {"decisions": [call, other]}).write(tmp_path / str(number))

    random = np.random.default_rng(6)
    low = random.random(400) < 0.4
    share = np.where(low, 0.7, 0.2)
    tables = []
    for threshold in (0.5, 0.8):
        named = random.random(400) < share if threshold == 0.5 else low
        columns = {
            "learner_id": [f"{index // 2}" for index in range(400)],
            "unit_id": ["u"] * 400,
            "as_of": [*range(400)],
            "label": np.where(low, "not_mastered", "partial").tolist(),
            "predicted_class": ["partial"] * 400,
            "probabilities": np.column_stack([share, 0.9 - share, [0.1] * 400]).tolist(),
            **dict.fromkeys(("decision_call", "decision_other"), named.tolist()),
        }
        tables.append(pl.DataFrame(columns))
    answers = iter(tables)
    monkeypatch.setattr(comparing, "_predict", lambda *_: next(answers))

    compared = compare_versions(open_storage(str(tmp_path)), 1, 2, ["e"], ["o"], draws=200)
    rows = {row.metric: row for row in compared.metrics if row.decision}
    assert {row.decision for row in rows.values()} == {"call"}  # the other is about another class
    assert {*rows} == {"recall", "precision", "cost"}
    named = tables[0]["decision_call"].to_numpy()
    assert rows["recall"].a == (named & low).sum() / low.sum()
    assert rows["recall"].b == rows["precision"].b == 1
    wrong = 5 * (low & ~named).sum() + (named & ~low).sum()
    assert rows["cost"].a == pytest.approx(wrong / 400)
    assert {row.verdict for row in rows.values()} == {"better"}  # less cost is better
