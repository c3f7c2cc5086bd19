"""How sure answers are, why, and what they decide: on every page, in all languages, in the file."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from sqlalchemy import Engine, select, update
from sqlalchemy.orm import Session

from serving.answers.database import open_database
from serving.answers.tables import Answer, CurrentAnswer, Learner, ModelVersion
from serving.board.links import learner_link
from tests.serving.answers.classroom import NOW, fill
from tests.serving.answers.conftest import new_database
from tests.serving.board.pages_of import text_of
from tests.serving.board.test_worklist import ROOT, by_need, client, names, page, row, text

TRUST = {
    "coverage": {"promised": 0.9, "measured": 0.917},
    "decisions": [
        {"name": "call", "class": "not_mastered", "threshold": 0.25, "precision": 0.66,
         "recall": 0.9},
        {"name": "re_call", "class": "partial", "threshold": 0.5, "precision": None,
         "recall": None},
    ],
}  # fmt: skip
REASONS = [
    {"feature": "exercises", "direction": "low", "weight": 0.3,
     "text": {"en": "few exercises finished", "de": "wenige Aufgaben", "zh": "完成的练习较少"}},
    {"feature": "pauses", "direction": "high", "weight": 0.2, "text": {"fr": "longues pauses"}},
]  # fmt: skip
SAID = {
    "predicted_class": "partial", "probabilities": [0.3, 0.4, 0.3], "basis": "unfamiliar",
    "prediction_set": ["partial", "proficient"], "answer_text": "partial or proficient",
    "unfamiliar": "sequence, job_level", "decisions": ["call"], "reasons": REASONS,
}  # fmt: skip
CALL = "call: named by the model; on test data 66% of those named were right"


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """The classroom; the learner of Ada's group in greatest need is called."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/answers.db"
    else:
        url = new_database(request.getfixturevalue("postgresql"))
    engine = open_database(url)
    fill(engine, learners=6, units=2, groups=3)
    name = by_need(engine)[0]
    with Session(engine) as session, session.begin():
        session.execute(update(ModelVersion).values(trust=TRUST))
        learner = session.scalars(select(Learner).where(Learner.name == name)).one()
        learner.decisions = ["call"]
        key = learner.learner_id, learner.unit_id
        for table in (CurrentAnswer, Answer):
            rows = update(table).where(table.learner_id == key[0], table.unit_id == key[1])
            session.execute(rows.values(SAID))
        for other in session.scalars(select(Learner).where(Learner.name != name)):
            other.decisions = ["re_call"] if other.learner_id.endswith("1") else []
            session.execute(
                update(CurrentAnswer)
                .where(CurrentAnswer.learner_id == other.learner_id)
                .values(decisions=other.decisions)
            )
    yield engine
    engine.dispose()


def test_a_row_of_the_worklist_says_how_far_to_trust_it(engine: Engine) -> None:
    name = by_need(engine)[0]
    shown = row(page(client(engine)), name)
    assert text(shown, "p.decision") == CALL
    assert text(shown, "p.unlike") == (
        "unlike what the model has seen: the course of events, job level"
    )
    assert "partial or proficient" in text(shown, ".answer")
    assert "few events so far" not in text(shown, ".answer")
    assert text(shown, ".why li").startswith("few exercises finished longues pauses")

    german = row(page(client(engine), **{"Accept-Language": "de"}), name)
    assert "teilweise beherrscht oder sicher beherrscht" in text(german, ".answer")
    assert "anders als alles, was das Modell kennt: der Verlauf der Ereignisse" in text(
        german, "p.unlike"
    )
    assert "66 % der Genannten" in text(german, "p.decision").replace("\xa0", " ")
    chinese = row(page(client(engine), **{"Accept-Language": "zh"}), name)
    assert "与模型见过的不同：活动过程、job level" in text(chinese, "p.unlike")
    assert "完成的练习较少" in text(chinese, ".why")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"prediction_set": ["partial"], "answer_text": "partial"}, "only this class fits"),
        ({"prediction_set": ["proficient"], "answer_text": "proficient"}, "proficient"),
        ({"prediction_set": [], "answer_text": "not sure"}, "not sure"),
        (
            {"prediction_set": ["not_mastered", "partial", "proficient"],
             "answer_text": "not sure"},
            "not sure",
        ),
        ({"basis": "prior"}, "few events so far: answered from similar learners; partial or"),
        (
            {"predicted_class": None, "probabilities": [], "prediction": 62.5,
             "prediction_set": None, "answer_text": None, "prediction_interval": [50, 75.25]},
            "probably from 50 to 75.25",
        ),
    ],
)  # fmt: skip
def test_how_sure_an_answer_is(engine: Engine, change: dict[str, object], said: str) -> None:
    name = by_need(engine)[0]
    with Session(engine) as session, session.begin():
        session.execute(update(CurrentAnswer).values(change))
    notes = text(row(page(client(engine)), name), ".answer p.quiet")
    assert said in notes
    assert ("not sure" in notes) == (said == "not sure")


def test_the_worklist_is_filtered_by_a_decision(engine: Engine) -> None:
    everybody = page(client(engine, ROOT))
    choices = everybody.xpath("//select[@name='decision']/option")
    assert [choice.get("value") for choice in choices] == ["", "call", "re_call"]
    assert "named: re call" in choices[2].text_content()

    called = by_need(engine)[0]
    assert names(page(client(engine, ROOT), "/worklist?decision=call")) == [called]
    assert names(page(client(engine, ROOT), "/worklist?decision=re_call")) == ["Learner 1"]
    assert names(page(client(engine, ROOT), "/worklist?decision=re%25call")) == []
    with Session(engine) as session:
        unit = session.scalars(select(Learner.unit_id).where(Learner.name == called)).one()
    assert names(page(client(engine, ROOT), f"/worklist?unit={unit}&decision=call")) == [called]
    other = "unit-0" if unit == "unit-1" else "unit-1"
    assert names(page(client(engine, ROOT), f"/worklist?unit={other}&decision=call")) == []

    with Session(engine) as session, session.begin():
        session.execute(update(ModelVersion).values(trust=None))
    assert not page(client(engine, ROOT)).xpath("//select[@name='decision']")


def test_the_file_has_sets_and_decisions(engine: Engine) -> None:
    sheet = client(engine, ROOT).get("/worklist.csv?decision=call").text
    [found] = pl.read_csv(io.StringIO(sheet)).to_dicts()
    assert (found["prediction_set"], found["decisions"]) == ("partial|proficient", "call")
    assert found["unfamiliar"] == "sequence, job_level"
    assert found["reasons"] == "few exercises finished; longues pauses"


def test_the_learners_pages_say_it_too(engine: Engine) -> None:
    name = by_need(engine)[0]
    with Session(engine) as session:
        learner = session.scalars(select(Learner).where(Learner.name == name)).one()
    overview = page(client(engine), learner_link(learner.learner_id))
    [cell] = overview.xpath("//table//td[contains(., 'partial or proficient')]")
    assert CALL in text_of(cell)
    steps = text(overview, "ol.steps")
    assert "the model's reasons: few exercises finished; longues pauses" in steps
    assert "unlike what the model has seen" in steps
    assert "few events so far" not in steps

    path = page(client(engine), learner_link(learner.learner_id, learner.unit_id))
    assert text(path, "ul.reasons") == "few exercises finishedlongues pauses"
    assert CALL in text(path, "ul.facts")
    opened = path.xpath(f"//label[input/@value='{NOW.date()}']")[0]
    assert "few exercises finished" in text(opened, "span.line")
    assert "partial or proficient" in text(opened, "span.line")


def test_the_versions_page_has_coverage_and_decisions(engine: Engine) -> None:
    with Session(engine) as session:
        number = session.scalars(select(ModelVersion.id)).one()
    shown = page(client(engine, ROOT), f"/versions/{number}")
    words = " ".join(shown.text_content().split())
    assert "In 90% of all cases, the true class is to be among those that it answers" in words
    assert "On the test split it was in 92%." in words
    rows = [
        [text_of(cell) for cell in line.xpath("th|td")]
        for line in shown.xpath("//table[contains(@class, 'decisions')]/tbody/tr")
    ]
    assert rows == [
        ["call", "not mastered is at least 25% probable", "66%", "90%"],
        ["re call", "partial is at least 50% probable", "–", "–"],
    ]
