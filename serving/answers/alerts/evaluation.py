"""Evaluates the rules of alerts: decides, remembers whom was told of, and hands messages over.

A rule is one transaction under a lock of its name: what it tells, and that it has told it, are
written together or not at all. So a run that was killed is repeated without telling anybody twice,
and of two runs at once the second sees what the first has told.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import Engine, func, insert, select, text
from sqlalchemy.orm import Session

from components.command.explain import as_sentence
from components.command.suggest import did_you_mean
from components.errors import MasteryError
from serving.answers.alerts.condition import ConditionError, check_classes
from serving.answers.alerts.notices import write_notices
from serving.answers.alerts.selection import Candidate, Decision, decide, unknown_names
from serving.answers.alerts.sql import Reader
from serving.answers.delivery.outbox import enqueue_all
from serving.answers.effect.hold_out import HoldOut
from serving.answers.tables import Alert, ModelVersion, Scoring

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from serving.answers.alert_settings import AlertRule, Alerts
    from serving.answers.delivery.notice import Notice
    from serving.answers.settings import AnswersSettings

_LOCKS = 0x616C6572  # of PostgreSQL: one run evaluates a rule, the others wait
_MESSAGES = 500  # of one statement, below SQLite's limit on parameters


class AlertsError(MasteryError):
    """The rules cannot be evaluated."""


@dataclass(frozen=True)
class Told:
    """What became of a rule.

    Attributes:
        decision: of whom it tells, and of whom not.
        messages: for each channel; a run hands them over, a test only shows them.
        remarks: what is odd about the rule, such as a unit that does not exist.
    """

    decision: Decision
    messages: list[Notice] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def run_alerts(
    engine: Engine,
    settings: AnswersSettings,
    now: datetime,
    *,
    rules: Collection[str] = (),
    is_left_out: Callable[[str], bool] = lambda _: False,
) -> list[Told]:
    """Evaluates the rules on the current answers, and writes their messages into the outbox.

    Args:
        engine: the answers' database.
        settings: rules, and the channels that they name.
        now: when the rules are evaluated; capacity, cool-down and quiet hours go by it.
        rules: names of the rules to evaluate; none for all.
        is_left_out: whether a learner has opted out; such learners are never told about.

    Returns:
        What became of each rule, in the order of the file.

    Raises:
        AlertsError: a rule does not fit the models that answered; nothing was told.
    """
    return [*_evaluate(engine, settings, now, rules, is_left_out, is_test=False)]


def try_alerts(
    engine: Engine,
    settings: AnswersSettings,
    now: datetime,
    *,
    rules: Collection[str] = (),
    is_left_out: Callable[[str], bool] = lambda _: False,
) -> list[Told]:
    """Returns what `run_alerts` would tell, and writes nothing."""
    return [*_evaluate(engine, settings, now, rules, is_left_out, is_test=True)]


def check_rules(
    settings: AnswersSettings,
    classes: Collection[str],
    *,
    has_numbers: bool = False,
    decisions: Collection[str] = (),
) -> None:
    """Checks rules against what models answer with, before anything is written.

    Args:
        settings: the rules.
        classes: of the models that answer.
        has_numbers: whether one of them predicts a number.
        decisions: names of those that they take.

    Raises:
        AlertsError: a rule does not fit; names the rule's key and shows the place.
    """
    for place, rule in enumerate(settings.alerts.rules):
        key = f"alerts.rules[{place}]"
        try:
            check_classes(rule.when, classes, has_numbers=has_numbers, decisions=decisions)
        except ConditionError as error:
            text = as_sentence(f"{key}.when, rule {rule.name}: {error}")
            raise AlertsError(text) from None
        if rule.only_new and not classes:
            raise AlertsError(
                f"{key}.only_new, rule {rule.name}: expected false, found true: the model predicts "
                "numbers, and no class can change."
            )


def _evaluate(
    engine: Engine,
    settings: AnswersSettings,
    now: datetime,
    names: Collection[str],
    is_left_out: Callable[[str], bool],
    *,
    is_test: bool,
) -> Iterator[Told]:
    rules = _chosen(settings.alerts, names)
    hold_out = HoldOut(settings, is_test=is_test) if settings.effect.hold_out else None
    with Session(engine) as session:
        answering = _answering(session)
        if not answering:
            return  # there is no answer yet
        classes = [name for version in answering for name in version.classes]
        has_numbers = not all(item.classes for item in answering)
        taken = [item["name"] for version in answering
                 for item in (version.trust or {}).get("decisions", ())]  # fmt: skip
        check_rules(settings, classes, has_numbers=has_numbers, decisions=taken)

    if hold_out is not None and settings.effect.who is not None:
        with Session(engine) as session, session.begin():
            if not is_test:
                _lock(session, "")
            hold_out.draw_for_worklist(session, _reader(session), now, is_left_out)

    for rule in rules:
        with Session(engine) as session, session.begin():
            if not is_test:
                _lock(session, rule.name)
            reader = _reader(session)
            quiet = settings.alerts.quiet_times(rule)
            if hold_out is not None and not rule.must_tell:
                hold_out.read(session, reader, quiet.hold(now))
            decision = decide(
                session, rule, quiet, reader, now, is_left_out,
                None if rule.must_tell else hold_out,
            )  # fmt: skip
            notices = write_notices(session, settings.alerts, decision, reader)
            if not is_test:
                _tell(session, decision, notices, reader.moment)
            remarks = [*_remarks(session, rule)]
        yield Told(decision, [notice for notice, _ in notices], remarks)


def _chosen(alerts: Alerts, names: Collection[str]) -> Sequence[AlertRule]:
    known = [rule.name for rule in alerts.rules]
    for name in names:
        if name not in known:
            listed = ", ".join(known) or "none"
            hint = did_you_mean(name, known)
            raise AlertsError(f"expected the name of a rule ({listed}), found {name}{hint or '.'}")
    return [rule for rule in alerts.rules if not names or rule.name in names]


def _answering(session: Session) -> Sequence[ModelVersion]:
    """Returns the version of each model that answered in the model's newest scoring."""
    newest = (
        select(func.max(Scoring.id))
        .join(ModelVersion, ModelVersion.id == Scoring.version_id)
        .where(Scoring.finished_at.is_not(None))
        .group_by(ModelVersion.model)
    )
    query = select(ModelVersion).join(Scoring, Scoring.version_id == ModelVersion.id)
    return session.scalars(query.where(Scoring.id.in_(newest))).all()


def _reader(session: Session) -> Reader:
    newest = select(func.max(Scoring.as_of)).where(Scoring.finished_at.is_not(None))
    moment = session.execute(newest).scalar_one()
    versions = session.execute(select(ModelVersion.id, ModelVersion.classes))
    return Reader(dict(versions.all()), moment)


def _lock(session: Session, rule: str) -> None:
    """Waits until no other run evaluates the rule; the lock ends with the transaction."""
    connection = session.connection()
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # writers of SQLite take turns
        return
    number = zlib.crc32(rule.encode()) - 2**31
    connection.execute(
        text("SELECT pg_advisory_xact_lock(:kind, :rule)"), {"kind": _LOCKS, "rule": number}
    )


def _tell(
    session: Session,
    decision: Decision,
    notices: Sequence[tuple[Notice, Sequence[Candidate]]],
    as_of: datetime,
) -> None:
    """Remembers whom the rule tells of, and puts the messages into the outbox."""
    rule = decision.rule
    remembered, messages = [], []
    for notice, told in notices:
        key = _key(rule, told, as_of)
        remembered += [
            {"rule": rule.name, "learner_id": item.learner_id, "unit_id": item.unit_id,
             "as_of": item.as_of, "version_id": item.version_id, "at": decision.told_at,
             "key": key}
            for item in told
        ]  # fmt: skip
        message = {
            "payload": notice.model_dump(mode="json", by_alias=True),
            "learner_ids": [item.learner_id for item in told],
            "created_at": datetime.now(UTC), "not_before": decision.told_at, "attempts": 0,
        }  # fmt: skip
        messages += [
            {**message, "key": f"{key}/{channel}", "channel": channel}
            for channel in dict.fromkeys(rule.to)
        ]

    if remembered:
        session.execute(insert(Alert), remembered)
    for start in range(0, len(messages), _MESSAGES):
        enqueue_all(session, messages[start : start + _MESSAGES])


def _key(rule: AlertRule, told: Sequence[Candidate], as_of: datetime) -> str:
    """Returns what is the same whenever a rule tells of the same answers."""
    answers = sorted((item.learner_id, item.unit_id, str(item.as_of)) for item in told)
    digest = hashlib.sha256(json.dumps(answers).encode()).hexdigest()[:32]
    return f"alert/{rule.name}/{as_of.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}/{digest}"


def _remarks(session: Session, rule: AlertRule) -> Iterator[str]:
    for kind, name, known in unknown_names(session, rule):
        yield f"there is no {kind} {name}{did_you_mean(name, known)}"
