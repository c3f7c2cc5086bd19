"""`mastery convert`: the table holds what the log does, and is written whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from components.config import load_config
from components.config.root import Config
from components.errors import LogError, MasteryError
from components.example_gen.examples import examples_from_log
from components.simulator.platform_logs import FILES
from components.simulator.simulate import simulate
from pipeline import table_writer
from pipeline.convert import Request, convert
from tests.pipeline.cli.typed import mastery

FEATURES = {
    "event_type": "categorical",
    "component": "categorical",
    "dwell_seconds": "numeric",
    "completed": "numeric",
    "correct": "numeric",
    "playback_speed": "numeric",
    "time_since_previous": "numeric",
}


@pytest.fixture(scope="module", params=FILES)
def log(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a folder, named after its format, with a platform's log."""
    folder = tmp_path_factory.mktemp("log") / str(request.param)
    simulate(60, 2, folder, format=request.param)
    return folder


@pytest.fixture
def events(tmp_path: Path) -> Path:
    """Returns a small table of events, with a column of its own."""
    path = tmp_path / "log" / "events.csv"
    path.parent.mkdir()
    path.write_text(
        "learner_id,unit_id,time,event_type,score,device\n"
        "a,x,2026-01-05T08:00:00Z,quiz,0.5,phone\n"
        "b,x,2026-01-05 09:00,video,,\n"
    )
    return path


MASTERY = {"column": "mastery", "classes": ["not_mastered", "partial", "proficient"]}
ACTIVITY = {"column": "activity", "classes": ["inactive", "active"]}
INACTIVITY = {"derive": "inactivity", "at": ["3d", "7d"], "window": "3d"}


def configure(
    folder: Path,
    events: Path,
    outcomes: Path | dict[str, Any],
    *,
    label: Any = MASTERY,
    **data: Any,
) -> Config:
    document = {
        "name": "log",
        "data": {
            "events": str(events),
            "outcomes": outcomes if isinstance(outcomes, dict) else str(outcomes),
            "max_cold_start_share": 0.2,
            **data,
        },
        "schema": "schema.pbtxt",
        "label": label,
        "gates": [{"metric": "f1_macro", "min": 0.5}],
        "steps": {
            "max_steps": 32,
            "features": {name: {"type": type_} for name, type_ in FEATURES.items()},
        },
    }  # fmt: skip
    file = folder / "log.yaml"
    file.write_text(yaml.safe_dump(document), encoding="utf-8")
    return load_config(file)


@pytest.mark.parametrize("to", ["parquet", "csv", "jsonl"])
def test_the_table_gives_the_same_examples(log: Path, tmp_path: Path, to: str) -> None:
    outcomes = log / "outcomes.csv"
    original = configure(tmp_path, log / FILES[log.name], outcomes, format=log.name)

    converted = convert(Request.of(original), tmp_path / "table", to=to)

    table = configure(tmp_path, converted.path, outcomes, dwell_cap_seconds=1800)
    examples = [*examples_from_log(original)]
    assert len(examples) > 60
    assert [*examples_from_log(table)] == examples


def test_a_log_needs_no_configuration(log: Path, tmp_path: Path) -> None:
    file = str(log / FILES[log.name])
    outcomes = log / "outcomes.csv"
    by_config = convert(
        Request.of(configure(tmp_path, Path(file), outcomes, format=log.name)), tmp_path / "one"
    )

    by_format = convert(Request.of_format(log.name, [file]), tmp_path / "two")

    one, two = (pl.read_parquet(path.path) for path in (by_config, by_format))
    assert one.equals(two.select(one.columns), null_equal=True)
    assert "left out" in by_format.describe()


def test_columns_have_types_and_those_without_values_are_not_written(
    events: Path, tmp_path: Path
) -> None:
    converted = convert(Request.of_format("csv", [str(events)]), tmp_path / "table")

    table = pl.read_parquet(converted.path)
    assert dict(table.schema) == {
        "learner_id": pl.String,
        "unit_id": pl.String,
        "time": pl.Datetime("us", "UTC"),
        "event_type": pl.String,
        "score": pl.Float32,
    }
    assert table["score"].to_list() == [0.5, None]
    assert converted.empty == [
        "component",
        "dwell_seconds",
        "completed",
        "correct",
        "playback_speed",
    ]


def test_columns_that_the_configuration_maps_are_written(events: Path, tmp_path: Path) -> None:
    config = configure(tmp_path, events, events, mapping={"where": "device"})
    request = Request.of(config.model_copy(update={"steps": config.steps}))
    features = {name: {"type": "numeric"} for name in ("score",)}
    assert "where" in request.table.optional
    file = tmp_path / "log.yaml"
    document = yaml.safe_load(file.read_text())
    document["steps"]["features"] = features
    file.write_text(yaml.safe_dump(document))

    converted = convert(Request.of(load_config(file)), tmp_path / "table")

    assert pl.read_parquet(converted.path)["where"].to_list() == ["phone", None]


def test_numbers_of_a_clock_stay_numbers(tmp_path: Path) -> None:
    path = tmp_path / "steps.csv"
    path.write_text("learner_id,unit_id,time,event_type\na,x,1,quiz\na,x,2.5,quiz\n")

    converted = convert(Request.of_format("standard", [str(path)]), tmp_path / "table")

    assert pl.read_parquet(converted.path)["time"].to_list() == [1.0, 2.5]


def test_many_row_groups_keep_the_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_writer, "GROUP_ROWS", 10)
    for part in range(8):
        rows = (f"a,x,2026-01-05T08:{part:02}:{row:02}Z,quiz" for row in range(7))
        text = "\n".join(["learner_id,unit_id,time,event_type", *rows])
        (tmp_path / f"part-{part:02}.csv").write_text(text)

    converted = convert(
        Request.of_format("csv", [str(tmp_path / "part-*.csv")]), tmp_path / "table"
    )

    times = pl.read_parquet(converted.path)["time"]
    assert len(times) == converted.rows == 56
    assert times.is_sorted()


def test_a_wrong_line_is_explained_and_nothing_is_written(events: Path, tmp_path: Path) -> None:
    events.write_text(events.read_text() + "c,x,soon,quiz,1,\n")

    with pytest.raises(LogError, match=r"line 4, column time: expected .*, found 'soon'"):
        convert(Request.of_format("csv", [str(events)]), tmp_path / "table")

    assert not (tmp_path / "table").exists()


def test_a_table_is_replaced_only_if_asked(events: Path, tmp_path: Path) -> None:
    request = Request.of_format("csv", [str(events)])
    out = tmp_path / "table"
    first = convert(request, out).path.read_bytes()

    with pytest.raises(MasteryError, match=r"events\.parquet exists\..*--overwrite"):
        convert(request, out, to="csv")
    assert (out / "events.parquet").read_bytes() == first

    convert(request, out, to="csv", overwrite=True)
    assert [path.name for path in out.iterdir()] == ["events.csv"]


def test_the_log_itself_is_never_replaced(events: Path) -> None:
    request = Request.of_format("csv", [str(events)])
    before = events.read_bytes()
    for to in ("csv", "parquet"):
        with pytest.raises(MasteryError, match=r"a file of the log itself\. Choose another --out"):
            convert(request, events.parent, to=to, overwrite=True)
    assert events.read_bytes() == before


@pytest.mark.parametrize("existing", [False, True])
def test_an_interruption_leaves_nothing_behind(
    events: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, existing: bool
) -> None:
    out = tmp_path / "table"
    request = Request.of_format("csv", [str(events)])
    if existing:
        convert(request, out)
    before = {path.name: path.read_bytes() for path in out.iterdir()} if existing else {}

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(table_writer.TableWriter, "flush", interrupt)
    with pytest.raises(KeyboardInterrupt):
        convert(request, out, overwrite=True)

    assert out.exists() is existing
    after = {path.name: path.read_bytes() for path in out.iterdir()} if existing else {}
    assert after == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "mudle", "--events", "x"], "did you mean moodle"),
        (["--format", "moodle"], "expected --config FILE, or --format and --events"),
        (["--config", "c.yaml", "--format", "moodle"], "--config names the format"),
        (["--format", "csv", "--events", "x", "--set", "a=b"], "--set changes a configuration"),
        (
            ["--format", "csv", "--events", "x", "--to", "xlsx"],
            "expected one of parquet, csv, jsonl",
        ),
        (["--format", "csv", "--events", "missing.csv"], "expected a file or folder of events"),
    ],
)
def test_wrong_arguments_are_explained(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert mastery(monkeypatch, "convert", "--out", "table", *arguments) != 0
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "table").exists()


def test_the_command_says_what_was_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    event = {
        "type": "ViewEvent", "actor": {"id": "urn:a", "type": "Person"}, "action": "Viewed",
        "object": "urn:page", "eventTime": "2026-01-05T08:00:00.000Z", "group": "urn:course",
    }  # fmt: skip
    lines = [event, {"type": "Person", "id": "urn:a"}]
    (tmp_path / "log.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    monkeypatch.chdir(tmp_path)

    arguments = ["--format", "caliper", "--events", "log.jsonl", "--out", "table"]
    assert mastery(monkeypatch, "convert", *arguments) == 0

    printed = capsys.readouterr().out
    assert "1 rows, 1 left out" in printed
    assert "entities, which are not events: 1, such as line 2 of log.jsonl" in printed
    assert "Wrote table/events.parquet." in printed


def test_a_log_of_which_nothing_is_left_says_why(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text(
        '{"type": "Person", "id": "urn:a", "actor": null, "group": 1, "eventTime": 1}\n'
    )

    with pytest.raises(LogError, match=r"left out: 1 entities, which are not events"):
        convert(Request.of_format("caliper", [str(path)]), tmp_path / "table")


def test_derived_outcomes_are_a_table_too(log: Path, tmp_path: Path) -> None:
    events = log / FILES[log.name]
    original = configure(tmp_path, events, INACTIVITY, label=ACTIVITY, format=log.name)

    converted = convert(Request.of(original), tmp_path / "table")

    assert f"outcomes  {converted.outcomes:>12,}   derived" in converted.describe()
    table = configure(
        tmp_path, converted.path, converted.path.with_name("outcomes.parquet"), label=ACTIVITY,
        dwell_cap_seconds=1800,
    )  # fmt: skip
    examples = [*examples_from_log(original)]
    assert len(examples) == converted.outcomes
    assert [*examples_from_log(table)] == examples


def test_neither_table_is_there_if_nothing_can_be_derived(tmp_path: Path, log: Path) -> None:
    events = log / FILES[log.name]
    never = {**INACTIVITY, "at": ["900d"]}
    config = configure(tmp_path, events, never, label=ACTIVITY, format=log.name)

    with pytest.raises(LogError, match="at least one"):
        convert(Request.of(config), tmp_path / "table")

    assert not (tmp_path / "table").exists()
