"""From events to answers over the wire: the same predictions as the Evaluator's."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
import tensorflow as tf
from typer.testing import CliRunner

from components.config import Config
from components.errors import LogError, MasteryError
from components.evaluator.scoring import in_windows, write_predictions
from components.example_gen.examples import examples_from_log
from pipeline.cli.main import app
from serving.client import connect
from serving.predict import (
    explain_questions,
    format_answers,
    predict_questions,
    questions_from_log,
)
from tests.serving.client.conftest import CONFIG
from tests.serving.client.stand_in import Server

KEYS = ["learner_id", "unit_id", "as_of"]


@pytest.fixture(scope="session")
def evaluated(
    small_model: Path, log: Path, tmp_path_factory: pytest.TempPathFactory
) -> pl.DataFrame:
    """The Evaluator's predictions for the labelled log."""
    update = {"events": [str(log / "events.csv")], "outcomes": [str(log / "outcomes.csv")]}
    config = CONFIG.model_copy(update={"data": CONFIG.data.model_copy(update=update)})
    file = tmp_path_factory.mktemp("evaluation") / "predictions.parquet"
    write_predictions(small_model, in_windows(examples_from_log(config)), config.label, [], file)
    return pl.read_parquet(file)


@pytest.mark.parametrize("way", ["rest", "grpc"])
def test_a_server_answers_what_was_evaluated(
    addresses: dict[str, str], log: Path, evaluated: pl.DataFrame, way: str
) -> None:
    questions = questions_from_log(CONFIG, [str(log / "events.csv")], [str(log / "questions.csv")])
    with connect(addresses[way], addresses["model"], batch=10) as client:
        found = predict_questions(client, questions)

    asked = pl.read_csv(log / "questions.csv")
    assert found["learner_id"].to_list() == asked["learner_id"].to_list()
    both = found.with_columns(pl.col("as_of").to_physical()).join(
        evaluated, on=KEYS, suffix="_evaluated"
    )
    assert both.height == found.height == 44
    assert set(both["basis"]) == {"sequence", "prior"}
    for name in ("basis", "predicted_class"):
        assert both[name].to_list() == both[f"{name}_evaluated"].to_list()
    for place, name in enumerate(CONFIG.label.classes):
        expected = both["probabilities"].list.get(place).to_list()
        assert both[f"probability_{name}"].to_list() == pytest.approx(expected, abs=1e-6)


def test_only_columns_that_the_model_reads_are_sent(log: Path) -> None:
    questions = questions_from_log(CONFIG, [str(log / "events.csv")], [str(log / "outcomes.csv")])
    sent = {
        name
        for item in questions.examples
        for name in tf.train.Example.FromString(item).features.feature
    }
    assert sent == {"num_steps", "event_type", "correct", "level", "unit_id"}


def test_one_moment_predicts_for_every_learner_in_the_events(log: Path) -> None:
    config = CONFIG.model_copy(update={"context": {}})
    questions = questions_from_log(config, [str(log / "events.csv")], as_of="2026-03-02")
    events = pl.read_csv(log / "events.csv")
    pairs = events.select("learner_id", "unit_id").unique(keep="first", maintain_order=True)
    assert questions.keys.select("learner_id", "unit_id").rows() == pairs.rows()
    for key, example in zip(questions.keys.iter_rows(named=True), questions.examples, strict=True):
        seen = events.filter(
            (pl.col("learner_id") == key["learner_id"])
            & (pl.col("unit_id") == key["unit_id"])
            & (pl.col("time") < "2026-03-02")
        )
        [steps] = (
            tf.train.Example.FromString(example).features.feature["num_steps"].int64_list.value
        )
        assert steps == min(seen.height, 4)


def test_columns_missing_from_the_events_are_named(log: Path) -> None:
    with pytest.raises(
        MasteryError, match=r"this model also reads level, which events do not have\. Give a table"
    ):
        questions_from_log(CONFIG, [str(log / "events.csv")], as_of="2026-03-02")


def test_an_invalid_moment_is_refused(log: Path) -> None:
    config = CONFIG.model_copy(update={"context": {}})
    with pytest.raises(
        MasteryError, match=r"as_of: expected a number, or a timestamp .* found 'soon'"
    ):
        questions_from_log(config, [str(log / "events.csv")], as_of="soon")
    with pytest.raises(
        MasteryError, match=r"as_of: expected .* a year of four digits .* found '02-03-26'"
    ):
        questions_from_log(config, [str(log / "events.csv")], as_of="02-03-26")
    for number in ("12", "1772409600", "1772409600000"):
        with pytest.raises(
            LogError,
            match=rf"found timestamps in time .* in as_of \(1, first '{number}' in as_of\)",
        ):
            questions_from_log(config, [str(log / "events.csv")], as_of=number)
    with pytest.raises(MasteryError, match="either outcomes or as_of"):
        questions_from_log(config, [str(log / "events.csv")])


def test_a_moment_may_be_a_date_in_digits(log: Path) -> None:
    config = CONFIG.model_copy(update={"context": {}})
    written, digits = (
        questions_from_log(config, [str(log / "events.csv")], as_of=as_of)
        for as_of in ("2026-03-02", "20260302")
    )
    assert digits.examples == written.examples
    assert digits.keys.equals(written.keys)


def test_a_moment_in_another_unit_than_the_events_is_refused(log: Path, tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"context": {}})
    seconds = pl.col("time").str.to_datetime(time_zone="UTC").dt.epoch("s")
    pl.read_csv(log / "events.csv").with_columns(seconds).write_csv(tmp_path / "events.csv")
    path = [str(tmp_path / "events.csv")]
    assert len(questions_from_log(config, path, as_of="1772409600").examples) == 18
    for moment, name in (
        ("1772409600000", "milliseconds since 1970"),
        ("20260302", "dates"),
        ("2026-03-02", "timest"),
    ):
        with pytest.raises(LogError, match=f"seconds since 1970 in time .* and {name}"):
            questions_from_log(config, path, as_of=moment)


@pytest.mark.parametrize(
    ("kind", "whole", "fractional"),
    [("numeric", ["1", "2"], ["1.0", "2.0"]), ("categorical", ["100", "7"], ["100.0", "7.0"])],
)
def test_whole_numbers_match_categories_trained_as_floats(
    kind: str, whole: list[str], fractional: list[str], log: Path, tmp_path: Path
) -> None:
    context = {"level": {"type": kind}}
    config = Config.model_validate({**CONFIG.model_dump(by_alias=True), "context": context})
    asked = pl.read_csv(log / "questions.csv")
    examples = []
    for name, levels in (("whole", whole), ("fractional", fractional)):
        file = tmp_path / f"{name}.csv"
        asked.with_columns(level=pl.Series(levels * 22)).write_csv(file)
        examples.append(questions_from_log(config, [str(log / "events.csv")], [str(file)]).examples)
    assert examples[0] == examples[1]


def test_all_problems_of_the_questions_are_reported_at_once(log: Path, tmp_path: Path) -> None:
    (tmp_path / "asked.csv").write_text(
        "learner_id,unit_id,as_of,level\nl1,unit-0,never,1\nl2,,2026-03-02,x\n"
    )
    with pytest.raises(LogError) as caught:
        questions_from_log(CONFIG, [str(log / "events.csv")], [str(tmp_path / "asked.csv")])
    assert "as_of" in str(caught.value)
    assert "unit_id" in str(caught.value)


def test_the_table_has_three_forms() -> None:
    answers = pl.DataFrame(
        {
            "learner_id": ["a"],
            "as_of": [12],
            "predicted_class": ["low"],
            "probability_low": [0.75],
            "basis": ["prior"],
        }
    )
    assert format_answers(answers, "csv").splitlines() == [
        "learner_id,as_of,predicted_class,probability_low,basis", "a,12,low,0.75,prior",
    ]  # fmt: skip
    assert json.loads(format_answers(answers, "jsonl")) == answers.row(0, named=True)
    assert [line.split() for line in format_answers(answers, "table").splitlines()] == [
        ["learner_id", "as_of", "predicted_class", "probability_low", "basis"],
        ["a", "12", "low", "0.75", "prior"],
    ]  # fmt: skip


def _run(*options: str) -> str:
    result = CliRunner().invoke(app, ["predict", *options], catch_exceptions=False)
    assert result.exit_code == 0
    return str(result.stdout)


@pytest.fixture
def version(tmp_path: Path) -> Path:
    """A pushed version with what the command reads of one."""
    (tmp_path / "version").mkdir()
    (tmp_path / "version" / "manifest.json").write_text(json.dumps({"config": CONFIG.recipe}))
    return tmp_path / "version"


def test_the_command_writes_what_was_answered(
    server: Server, log: Path, version: Path, tmp_path: Path
) -> None:
    asked = [
        "--events",
        str(log / "events.csv"),
        "--outcomes",
        str(log / "questions.csv"),
        "--model",
        str(version),
    ]
    printed = _run(*asked, "--server", server.rest, "--label", "canary", "--format", "csv")
    assert server.asked == ["/v1/models/small/labels/canary:predict"]
    out = tmp_path / "answers.csv"
    assert (
        _run(*asked, "--server", server.grpc, "--version", "7", "--out", str(out))
        == f"44 answers in {out}\n"
    )
    assert (server.asked[-1].name, server.asked[-1].version.value) == ("small", 7)
    rest, grpc = pl.read_csv(printed.encode()), pl.read_csv(out)
    assert rest.columns == [
        *KEYS, "predicted_class", "probability_low", "probability_middle", "probability_high",
        "basis",
    ]  # fmt: skip
    assert rest["as_of"][0] == "2026-03-03T00:00:00Z"
    assert rest.drop("^probability.*$").equals(grpc.drop("^probability.*$"))


def test_the_command_requires_a_config_or_a_model(log: Path, server: Server) -> None:
    with pytest.raises(MasteryError, match="expected either --config or --model"):
        _run("--events", str(log / "events.csv"), "--server", server.rest, "--as-of", "2026-03-02")


def test_reasons_are_those_of_the_graph_in_the_order_asked(
    explaining_server: Server, log: Path
) -> None:
    asked = [str(log / "events.csv")], [str(log / "questions.csv")]
    questions = questions_from_log(CONFIG, *asked, for_reasons=True)
    with connect(explaining_server.grpc, "small", batch=10) as client:
        found = explain_questions(client, questions, CONFIG, "de")
        plain = predict_questions(client, questions)
        explanations = client.explain(questions.examples)
        with pytest.raises(MasteryError, match="--language fr: expected one of en, de, zh "):
            explain_questions(client, questions, CONFIG, "fr")

    assert found.drop("explained_class", "reasons").equals(plain)
    assert {"answer_text", "prediction_set", "unfamiliar", "decision_call"} < {*plain.columns}
    assert {*plain["decision_call"]} == {True, False}
    for row, explanation in zip(found.iter_rows(named=True), explanations, strict=True):
        assert row["explained_class"] == explanation.explained_class == row["predicted_class"]
        assert bool(row["reasons"]) == (row["basis"] != "prior")
        for reason in row["reasons"]:
            added = explanation.attributions[reason["feature"]]
            assert reason["weight"] == pytest.approx(added, abs=1e-4)
    said = {reason["text"] for reasons in found["reasons"] for reason in reasons}
    assert "Ereignisse der Art „quiz“" in said
    assert said & {"viele richtige Antworten", "wenige richtige Antworten"}


def test_the_command_explains(
    explaining_server: Server, log: Path, version: Path, tmp_path: Path
) -> None:
    asked = ["--events", str(log / "events.csv"), "--outcomes", str(log / "questions.csv")]
    asked += ["--model", str(version), "--server", explaining_server.rest, "--explain"]
    table = _run(*asked).splitlines()
    assert table[0].split()[-2:] == ["explained_class", "reasons"]
    assert any('events of type "quiz"; ' in line for line in table)

    sheet = pl.read_csv(_run(*asked, "--language", "zh", "--format", "csv").encode())
    assert any("“quiz”类型的活动" in (text or "") for text in sheet["reasons"])

    out = tmp_path / "answers.jsonl"
    _run(*asked, "--out", str(out))
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    some = next(line for line in lines if line["reasons"])
    assert {*some["reasons"][0]} == {"feature", "direction", "weight", "text"}
    assert [len(line["reasons"]) > 0 for line in lines] == [
        line["basis"] != "prior" for line in lines
    ]
