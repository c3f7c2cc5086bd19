"""Which answers are explained, what is stored of it, and that it does not depend on who answers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from components.config.reasons import FeatureWords, Reasons
from components.config.section import KeyedError
from serving.answers.scoring import reasons as reasons_module
from serving.answers.scoring.reasons import Explaining
from serving.answers.scoring.run import score
from serving.answers.scoring.versions import PushedVersion, signature_names
from serving.answers.tables import Answer, CurrentAnswer, Learner, ModelVersion
from tests.serving.answers.scoring.conftest import CONFIG, at, options
from tests.serving.client.stand_in import serve

NEWEST = at(days=8)
STORED = ("prediction_set", "answer_text", "prediction_interval", "unfamiliar", "decisions")


def stored(engine: Engine, table: Any = Answer) -> list[Any]:
    with Session(engine) as session:
        return [*session.scalars(select(table).order_by(table.learner_id, table.unit_id))]


def test_answers_hold_what_the_version_says(
    database_url: str, database: Engine, explaining_version: PushedVersion, log: Path
) -> None:
    score(database_url, explaining_version, options(log, [NEWEST]))
    answers = stored(database)
    for answer in answers:
        likely = [
            name
            for name, value in zip(CONFIG.label.classes, answer.probabilities, strict=True)
            if value >= 0.3
        ]
        assert answer.prediction_set == likely
        assert answer.answer_text == (likely[0] if len(likely) == 1 else "not sure")
        assert answer.decisions == (["call"] if answer.probabilities[0] >= 0.4 else [])
        assert (answer.unfamiliar == "level") == (answer.basis == "unfamiliar")
        is_needed = answer.predicted_class != "high" or answer.decisions
        assert bool(answer.reasons) == bool(is_needed)
    assert {answer.basis for answer in answers} == {"sequence", "unfamiliar"}
    explained = [answer for answer in answers if answer.reasons]
    assert 0 < len(explained) < len(answers)
    for answer in explained:
        weights = [reason["weight"] for reason in answer.reasons]
        assert weights == sorted(weights, reverse=True)
        assert all({*reason["text"]} == {"en", "de", "zh"} for reason in answer.reasons)

    current = stored(database, CurrentAnswer)
    for one, answer in zip(current, answers, strict=True):
        assert one.reasons == answer.reasons
        assert all(getattr(one, name) == getattr(answer, name) for name in STORED)
    greatest = {
        answer.learner_id: answer.decisions
        for answer in sorted(current, key=lambda one: (one.need, one.unit_id))
    }
    with Session(database) as session:
        for learner in session.scalars(select(Learner)):
            assert learner.decisions == greatest[learner.learner_id]
        trust = session.scalars(select(ModelVersion.trust)).one()
    assert trust == {
        "coverage": {"promised": None, "measured": None},
        "decisions": [
            {"name": "call", "class": "low", "threshold": 0.4, "precision": 0.6, "recall": 0.8}
        ],
    }


def test_a_server_explains_the_same(
    explaining_model: Path, explaining_version: PushedVersion, log: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from serving.answers.database import open_database

    monkeypatch.setattr(reasons_module, "EXAMPLES_PER_CALL", 3)
    found = []
    with serve(explaining_model) as server:
        for name, address in (("local", None), ("grpc", server.grpc)):
            url = f"sqlite:///{tmp_path}/{name}.db"
            score(url, explaining_version, options(log, [NEWEST], server=address, reasons="all"))
            engine = open_database(url)
            found.append(stored(engine))
            engine.dispose()
    for others in found[1:]:
        for one, other in zip(found[0], others, strict=True):
            assert [reason["text"] for reason in one.reasons] == [
                reason["text"] for reason in other.reasons
            ]
            assert all(getattr(one, name) == getattr(other, name) for name in STORED)
    assert all(answer.reasons for answer in found[0])


def test_reasons_may_be_left_out_and_older_versions_have_none(
    database_url: str, database: Engine, version: PushedVersion,
    explaining_version: PushedVersion, log: Path,
) -> None:  # fmt: skip
    assert not version.explains
    assert explaining_version.explains
    assert "explain_steps" in signature_names(explaining_version.folder)
    score(database_url, version, options(log, [NEWEST]))
    for answer in stored(database):
        assert answer.reasons == []
        assert all(getattr(answer, name) is None for name in STORED)
    score(database_url, explaining_version, options(log, [at(days=9)], reasons="none"))
    assert all(answer.reasons == [] for answer in stored(database, CurrentAnswer))


def test_words_of_today_are_used_if_they_fit(
    database_url: str, database: Engine, explaining_version: PushedVersion, log: Path
) -> None:
    words = Reasons(languages=["en"], words={"level": FeatureWords(high="experienced")})
    today = CONFIG.model_copy(update={"reasons": words})
    score(database_url, explaining_version, options(log, [NEWEST], words=today, reasons="all"))
    texts = [reason["text"] for answer in stored(database) for reason in answer.reasons]
    assert {"en": "experienced"} in texts

    other = CONFIG.model_copy(update={"reasons": Reasons(words={"pace": FeatureWords(low="x")})})
    with pytest.raises(KeyedError, match="found 'pace'"):
        score(database_url, explaining_version, options(log, [NEWEST], words=other))


def test_what_calls_for_help_is_explained() -> None:
    answers = pl.DataFrame(
        {
            "basis": ["sequence", "sequence", "prior", "unfamiliar", "sequence"],
            "predicted_class": ["low", "high", "low", "high", "middle"],
            "decisions": [json.dumps(names) for names in (["call"], [], ["call"], ["call"], [])],
            "need": [0.9, 0.1, 0.9, 0.4, 0.5],
        }
    )
    needed, every = Explaining(CONFIG, "needed"), Explaining(CONFIG, "all")
    assert needed.explained_classes(answers) == ["", None, None, "low", ""]
    assert every.explained_classes(answers) == ["", "", None, "low", ""]

    label = CONFIG.label.model_copy(update={"task": "regression", "classes": []})
    numbers = replace(needed, config=CONFIG.model_copy(update={"label": label}))
    assert numbers.explained_classes(answers) == ["", None, None, None, ""]
