"""What the database holds of one learner: found in every table, and gone from every table."""

from __future__ import annotations

from sqlalchemy import Engine, insert, select
from sqlalchemy.orm import Session

from serving.answers.learner_record import count_rows, erase_rows, export_rows
from serving.answers.tables import Alert, CurrentAnswer, Message, Outcome, Table, UnitSum
from tests.serving.answers.classroom import DAYS, NOW, fill

ANN = "learner-0004"


def add_messages(engine: Engine) -> None:
    about_ann = {"learner_id": ANN, "learner": "Learner 4", "probability": 0.9}
    about_other = {"learner_id": "learner-0040", "learner": "Learner 40", "probability": 0.8}
    messages = [
        ("both", [about_ann, about_other], [ANN, "learner-0040"]),
        ("ann", [about_ann], [ANN]),
        ("other", [about_other], ["learner-0040"]),
    ]
    with Session(engine) as session, session.begin():
        for key, rows, learners in messages:
            text = f"Call {' and '.join(map(_described, rows))}."
            session.add(
                Message(
                    key=key, channel="teachers", payload={"text": text, "rows": rows},
                    learner_ids=learners, created_at=NOW, not_before=NOW, attempts=0,
                )
            )  # fmt: skip
        version = session.scalars(select(CurrentAnswer.version_id)).first()
        session.add(
            Alert(rule="call", learner_id=ANN, unit_id="unit-0", as_of=NOW, version_id=version,
                  at=NOW, key="ann")
        )  # fmt: skip
        session.execute(
            insert(Outcome),
            [{"learner_id": ANN, "unit_id": "unit-0", "as_of": NOW, "label": "partial",
              "received_at": NOW}],
        )  # fmt: skip


def _described(row: dict[str, object]) -> str:
    return f"{row['learner']} ({row['learner_id']})"


def everything(engine: Engine) -> str:
    """Returns all rows of all tables as text."""
    with engine.connect() as connection:
        return "\n".join(
            f"{table.name} {tuple(row)}"
            for table in Table.metadata.sorted_tables
            for row in connection.execute(select(table))
        )


def test_a_learner_is_found_in_every_table(database: Engine) -> None:
    fill(database, learners=50)
    add_messages(database)
    counts = count_rows(database, ANN)
    assert counts["answers"] == 4 * DAYS
    assert counts["current_answers"] == 4
    assert (counts["learners"], counts["alerts"], counts["outcomes"]) == (1, 1, 1)
    assert counts["outbox"] == 2

    rows = export_rows(database, ANN)
    assert {name: len(found) for name, found in rows.items()} == counts
    assert "learner-0040" not in str(rows)
    assert rows["learners"][0]["name"] == "Learner 4"


def test_an_erased_learner_is_in_no_table(database: Engine) -> None:
    fill(database, learners=50)
    add_messages(database)
    before = {name: len(found) for name, found in export_rows(database, "learner-0040").items()}
    assert ANN in everything(database)

    expected = count_rows(database, ANN)
    assert erase_rows(database, ANN) == expected
    left = everything(database)
    assert ANN not in left
    assert "Learner 4 " not in left
    assert {name: len(found) for name, found in export_rows(database, "learner-0040").items()} == (
        before
    )
    assert erase_rows(database, ANN) == {}

    with Session(database) as session:
        [both] = session.scalars(select(Message).where(Message.key == "both"))
        assert both.payload["text"] == ("Call (erased) ((erased)) and Learner 40 (learner-0040).")
        assert both.learner_ids == ["learner-0040"]
        sums = select(UnitSum)
        answers = sum(row.answers for row in session.scalars(sums))
        assert answers == 49 * 4
