"""A version is asked again; its answer is that which a server logged and a scoring stored."""

from __future__ import annotations

import base64
import json
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sqlalchemy import Engine, update

from components.config import Config
from components.contracts.left_out import LeftOutList
from components.contracts.serving_state import AuditEntry, ServedState
from components.errors import MasteryError
from serving.answers.database import open_database
from serving.answers.outcomes import store_outcomes
from serving.answers.scoring.run import ScoringOptions, score
from serving.answers.scoring.versions import open_version
from serving.answers.tables import Answer
from serving.models import promotion
from serving.models.changes import change
from serving.models.stores import open_storage
from serving.predict import questions_from_log
from serving.prediction_log.log_store import open_store
from serving.prediction_log.settings import PredictionLogSettings
from serving.replay.replay import Asked, Kept, replay
from serving.replay.result import Replayed
from tests.pipeline.cli.typed import mastery
from tests.serving.answers.scoring.conftest import BEAM, CONFIG, events, people, push
from tests.serving.explaining import save
from tests.serving.server.running import running

NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
START = NOW - timedelta(days=12)  # of the log, which has ten days
MOMENT = NOW - timedelta(days=3)
SHIFT = START - datetime(2026, 3, 1, tzinfo=UTC)
LEARNER, UNIT = "l4", "unit-0"


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SavedModel that explains its answers."""
    return save(tmp_path_factory.mktemp("replayed") / "model")


@dataclass(frozen=True)
class Place:
    """A log, a serving folder with two versions, and where answers are kept.

    Attributes:
        folder: everything.
        config: of the log.
    """

    folder: Path
    config: Config

    @property
    def serving(self) -> str:
        return str(self.folder / "serving")

    @property
    def database(self) -> str:
        return f"sqlite:///{self.folder}/answers.db"

    @property
    def asked(self) -> Asked:
        table = str(self.folder / "learners.csv")
        return Asked(LEARNER, MOMENT.isoformat(), UNIT, learners=[table])

    def replay(self, asked: Asked | None = None, **kept: Any) -> list[Replayed]:
        return replay(open_storage(self.serving), self.config, asked or self.asked, Kept(**kept))

    def replay_all(self, asked: Asked | None = None) -> list[Replayed]:
        """Compares with the prediction log and the database."""
        engine = open_database(self.database)
        try:
            with closing(open_store(str(self.folder / "predictions"))) as log:
                return self.replay(asked, log=log, database=engine)
        finally:
            engine.dispose()


@pytest.fixture
def place(tmp_path: Path, model: Path) -> Place:
    """Version 8 was stable from the beginning of the log on, and version 9 since yesterday."""
    events().with_columns(pl.col("time") + SHIFT).write_parquet(tmp_path / "events.parquet")
    people().write_csv(tmp_path / "learners.csv")
    outcomes().write_parquet(tmp_path / "outcomes.parquet")
    data = {
        "events": [str(tmp_path / "events.parquet")],
        "outcomes": [str(tmp_path / "outcomes.parquet")],
    }
    config = CONFIG.model_copy(update={"data": CONFIG.data.model_copy(update=data)})
    for number in (8, 9):
        push(model, tmp_path / "serving", number)
    promote(tmp_path / "serving", 8, START)
    promote(tmp_path / "serving", 9, NOW - timedelta(days=1))
    return Place(tmp_path, config)


def outcomes() -> pl.DataFrame:
    """Returns what turned out to be true a day after the moment."""
    return pl.DataFrame(
        {
            "learner_id": [f"l{row}" for row in range(9)],
            "unit_id": [UNIT] * 9,
            "as_of": [MOMENT + timedelta(days=1)] * 9,
            "level": [float(row % 4) for row in range(9)],
            "mastery": [["low", "middle", "high"][row % 3] for row in range(9)],
        }
    )


def promote(serving: Path, number: int, time: datetime) -> None:
    """Writes a promotion into the audit log as if it had been made at a time."""

    def decide(state: ServedState, revision: int) -> AuditEntry:
        loaded = tuple(sorted({*state.loaded, number}))
        found = {"name": "tiny", "base_path": str(serving), "stable": number, "loaded": loaded}
        return AuditEntry(
            revision=revision, action="promote", version=number, before=state,
            after=state.model_copy(update=found), time=time.isoformat(timespec="milliseconds"),
        )  # fmt: skip

    change(open_storage(str(serving)), decide)


def ask_server(place: Place) -> dict[str, Any]:
    """Asks a real server about the learner, as a client does; returns the answer."""
    asked = people().filter(pl.col("learner_id") == LEARNER)
    table = place.folder / "asked.parquet"
    asked.with_columns(unit_id=pl.lit(UNIT), as_of=pl.lit(MOMENT)).write_parquet(table)
    questions = questions_from_log(place.config, place.config.data.events, [str(table)])
    rows = [{"b64": base64.b64encode(item).decode()} for item in questions.examples]
    log = PredictionLogSettings(target=str(place.folder / "predictions"))
    with running(place.folder / "serving", prediction_log=log) as server:
        answer = server.predict({"instances": rows}, "/versions/8")
        assert answer.headers["x-prediction-log"] == "logged"
    answered: dict[str, Any] = answer.json()["predictions"][0]
    return answered


def score_all(place: Place) -> None:
    """Stores the answers about everybody."""
    options = ScoringOptions(
        events=place.config.data.events,
        moments=[MOMENT],
        learners=[str(place.folder / "learners.csv")],
        beam=BEAM,
    )
    score(place.database, open_version(place.folder / "serving" / "8"), options)


def add_late_event(place: Place, **changed: Any) -> dict[str, Any]:
    """Adds an event from before the moment at the end of the log."""
    path = place.folder / "events.parquet"
    log = pl.read_parquet(path)
    mine = log.filter(
        (pl.col("learner_id") == LEARNER) & (pl.col("unit_id") == UNIT), pl.col("time") < MOMENT
    )
    late = mine.sort("time")[-1:].with_columns(pl.col("time") + timedelta(minutes=5))
    late = late.with_columns(**{name: pl.lit(value) for name, value in changed.items()})
    pl.concat([log, late.cast(log.schema)]).write_parquet(path)
    [row] = late.iter_rows(named=True)
    return row


def test_an_answer_of_then_is_given_again_byte_for_byte(place: Place) -> None:
    answered = ask_server(place)
    score_all(place)
    [found] = place.replay_all()
    assert found.version == 8  # not the one that is stable now
    assert "stable since" in found.why_version
    assert [(item.where, item.verdict) for item in found.kept] == [
        ("prediction log", "equal"),
        ("answers' database", "equal"),
    ]
    assert found.answer == answered
    assert found.not_found == []
    assert found.reasons
    assert found.events == sum(
        row["time"] < MOMENT
        for row in pl.read_parquet(place.folder / "events.parquet").iter_rows(named=True)
        if (row["learner_id"], row["unit_id"]) == (LEARNER, UNIT)
    )


def test_an_event_that_arrived_late_is_named(place: Place) -> None:
    answered = ask_server(place)
    score_all(place)
    late = add_late_event(place, correct=1.0, event_type="quiz")
    [found] = place.replay_all()
    assert found.answer != answered
    assert found.differs
    for item in found.kept:
        assert item.verdict == "differs"
        [event] = item.late
        assert (event.time, event.unit_id) == (
            f"{late['time']:%Y-%m-%dT%H:%M:%S}Z", UNIT,
        )  # fmt: skip
        assert event.event_type == "quiz"
        assert "events.parquet, row 201" in event.place
    assert "since these events arrived later" in found.describe()


def test_an_answer_that_no_late_event_explains_says_so(place: Place) -> None:
    score_all(place)
    engine = open_database(place.database)
    with engine.begin() as connection:
        forged = {"probabilities": [0.1, 0.1, 0.8], "predicted_class": "high"}
        connection.execute(update(Answer).values(**forged))
    [found] = place.replay(database=engine)
    engine.dispose()
    [stored] = found.kept
    assert (stored.verdict, stored.late) == ("differs", [])
    assert "no late event explains it" in stored.describe()


def test_whether_it_was_right(place: Place) -> None:
    [found] = place.replay()
    assert found.outcome is not None
    assert found.outcome.label == "middle"  # l4, by the log's outcomes
    assert found.outcome.right == (found.answer["predicted_class"] == "middle")

    score_all(place)
    engine = open_database(place.database)
    label = CONFIG.label
    truth = found.answer["predicted_class"]
    rows = outcomes().drop("level").with_columns(mastery=pl.lit(truth))
    store_outcomes(engine, rows, label, now=NOW)
    [found] = place.replay(database=engine)
    engine.dispose()
    assert found.outcome is not None
    assert found.outcome.right is True


def test_all_units_with_events_are_asked_by_default(place: Place) -> None:
    found = place.replay(replace(place.asked, unit=None))
    assert [item.unit_id for item in found] == ["unit-0", "unit-1"]


@pytest.mark.parametrize("reason", ["erased", "opted out"])
def test_who_is_left_out_is_refused(place: Place, reason: Any) -> None:
    listed = LeftOutList.empty().adding([LEARNER], reason).write(place.folder)
    data = place.config.data.model_copy(update={"left_out": str(listed)})
    config = place.config.model_copy(update={"data": data})
    with pytest.raises(MasteryError, match=f"{LEARNER} .*{reason}"):
        replay(open_storage(place.serving), config, place.asked, Kept())


def test_what_cannot_be_answered_is_an_error(place: Place) -> None:
    early = replace(place.asked, as_of=(START - timedelta(days=1)).isoformat())
    with pytest.raises(MasteryError, match="no version was stable at"):
        place.replay(early)
    with pytest.raises(MasteryError, match="no event of the learner nobody"):
        place.replay(replace(place.asked, learner="nobody"))
    with pytest.raises(MasteryError, match="expected version 7, found no such version"):
        place.replay(replace(place.asked, version=7))

    push(place.folder / "serving" / "9", place.folder / "serving", 10)
    promotion.promote(open_storage(place.serving), 10)
    promotion.promote(open_storage(place.serving), 9)
    assert promotion.prune(open_storage(place.serving), 1) == [8]
    with pytest.raises(MasteryError, match=r"version 8 was pruned on .* can answer no more"):
        place.replay()


def test_where_nothing_was_kept_is_an_error(place: Place) -> None:
    ask_server(place)
    with (
        closing(open_store(str(place.folder / "predictions"))) as log,
        pytest.raises(MasteryError, match="nothing was kept to compare with: not found in the"),
    ):
        place.replay(replace(place.asked, version=9), log=log)


def test_the_command_ends_with_what_it_found(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    score_all(place)
    config = place.folder / "small.yaml"
    content = CONFIG.recipe | {"data": place.config.data.model_dump(mode="json")}
    config.write_text(json.dumps(content))
    arguments = [
        "models", "replay", "--config", str(config), "--models", place.serving,
        "--as-of", MOMENT.isoformat(), "--learner", LEARNER, "--unit", UNIT,
        "--learners", str(place.folder / "learners.csv"), "--db", place.database,
    ]  # fmt: skip
    assert mastery(monkeypatch, *arguments) == 0
    printed = capsys.readouterr().out
    assert f"{LEARNER} in {UNIT} as of" in printed
    assert "equal, byte for byte" in printed

    add_late_event(place, correct=1.0)
    assert mastery(monkeypatch, *arguments, "--json") == 1
    [found] = json.loads(capsys.readouterr().out)
    assert found["kept"][0]["verdict"] == "differs"
    assert mastery(monkeypatch, *arguments, "--version", "7") == 2
    assert "expected version 7" in capsys.readouterr().err


def test_answers_of_both_databases_are_found(
    database: Engine, database_url: str, place: Place
) -> None:
    options = ScoringOptions(
        events=place.config.data.events,
        moments=[MOMENT],
        learners=[str(place.folder / "learners.csv")],
        beam=BEAM,
    )
    score(database_url, open_version(place.folder / "serving" / "8"), options)
    [found] = place.replay(database=database)
    assert [item.verdict for item in found.kept] == ["equal"]
