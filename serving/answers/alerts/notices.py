"""What alerts say: the learners of a decision as messages for people, in their language."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from babel.dates import format_date
from babel.numbers import format_decimal
from sqlalchemy import Row, select, tuple_

from serving.answers.alerts.condition import classes_in, parse_condition
from serving.answers.delivery.notice import Notice, NoticeRow
from serving.answers.tables import CurrentAnswer, Group, Learner, Unit
from serving.answers.words import (
    reasons_in,
    sure_in_words,
    translations,
    unlike_in_words,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy.orm import Session

    from serving.answers.alert_settings import AlertRule, Alerts
    from serving.answers.alerts.selection import Candidate, Decision
    from serving.answers.alerts.sql import Reader

MOST_ROWS = 100  # of one message; a digest of more learners is several messages
_PAIRS = 400  # of one query, below SQLite's limit on parameters


def write_notices(
    session: Session, settings: Alerts, decision: Decision, reader: Reader
) -> list[tuple[Notice, list[Candidate]]]:
    """Returns the messages of a decision, each with the learners whom it is about."""
    rows = dict(_read(session, decision.told))
    writer = _Writer(settings, decision, reader, rows)
    # A learner may have been erased since the decision.
    told = [candidate for candidate in decision.told if candidate.learner_id in rows]

    notices = []
    for group, digest in _digests(decision.rule, told):
        parts = [*_parts(digest, MOST_ROWS)]
        for number, part in enumerate(parts):
            place = f" ({number + 1}/{len(parts)})" if len(parts) > 1 else ""
            notices.append((writer.notice(group, part, place, is_first=number == 0), [*part]))
    return notices


def _digests(
    rule: AlertRule, told: list[Candidate]
) -> Iterator[tuple[str | None, list[Candidate]]]:
    """Yields what is told in one message, with the group if it is about one."""
    if not told:
        return
    if rule.digest == "per_rule":
        yield None, told
    elif rule.digest == "per_learner":
        yield from ((None, [candidate]) for candidate in told)
    else:
        groups: dict[str | None, list[Candidate]] = {}
        for candidate in told:
            groups.setdefault(candidate.group_id, []).append(candidate)
        yield from groups.items()


class _Writer:
    """Words the messages of a decision."""

    def __init__(
        self, settings: Alerts, decision: Decision, reader: Reader, rows: dict[str, Row[Any]]
    ) -> None:
        self._settings = settings
        self._decision = decision
        self._reader = reader
        self._texts = translations(settings.language)
        self._rows = rows
        self._groups = {row.group_id: row.group_name for row in rows.values()}
        named = classes_in(parse_condition(decision.rule.when))
        self._class = named[0] if len(named) == 1 else None

    def notice(
        self, group: str | None, told: Sequence[Candidate], place: str, *, is_first: bool
    ) -> Notice:
        """Returns a message about learners."""
        rule, count = self._decision.rule, len(told)
        name = f"{rule.name} · {self._groups[group] or group}" if group is not None else rule.name
        subject = self._texts.ngettext(
            "%(rule)s: %(num)d learner", "%(rule)s: %(num)d learners", count
        )
        return Notice(
            subject=subject % {"rule": name, "num": count} + place,
            text=" ".join(self._sentences(group, count, is_first=is_first)),
            rows=[self._row(candidate) for candidate in told],
            rule=rule.name,
            language=self._settings.language,
        )

    def _sentences(self, group: str | None, count: int, *, is_first: bool) -> Iterator[str]:
        rule = self._decision.rule
        day = format_date(
            self._reader.moment.astimezone(self._settings.zone), "long",
            locale=self._settings.language,
        )  # fmt: skip
        yield self._texts.ngettext(
            "This learner fits the rule “%(rule)s” as of %(day)s.",
            "These learners fit the rule “%(rule)s” as of %(day)s, the greatest need first.",
            count,
        ) % {"rule": rule.name, "day": day}

        rest = self._over_capacity(group)
        if rest and is_first:
            yield self._texts.ngettext(
                "%(num)d more learner fits it, beyond the capacity that the rule has.",
                "%(num)d more learners fit it, beyond the capacity that the rule has.",
                rest,
            ) % {"num": rest}
        yield self._texts.gettext("A model's estimate: look for yourself before you act.")

    def _over_capacity(self, group: str | None) -> int:
        digest, over = self._decision.rule.digest, self._decision.over_capacity
        if digest == "per_learner":
            return 0
        return over[group] if digest == "per_group" else over.total()

    def _row(self, candidate: Candidate) -> NoticeRow:
        row = self._rows[candidate.learner_id]
        class_, probability = self._estimate(row)
        return NoticeRow(
            learner_id=candidate.learner_id,
            learner=row.name or candidate.learner_id,
            unit_id=candidate.unit_id,
            unit=row.title or candidate.unit_id,
            class_=class_,
            probability=probability,
            since=row.since if class_ == row.predicted_class else None,
            reasons=[*self._reasons(row, candidate)],
            link=self._settings.link_to(candidate.learner_id, candidate.unit_id),
        )

    def _estimate(self, row: Row[Any]) -> tuple[str | None, float | None]:
        """Returns the class that the rule asks about, else the most probable one."""
        classes = [*self._reader.classes[row.version_id]]
        wanted = self._class if self._class in classes else row.predicted_class
        if wanted not in classes:
            return None, None
        return wanted, float(row.probabilities[classes.index(wanted)])

    def _reasons(self, row: Row[Any], candidate: Candidate) -> Iterator[str]:
        if row.prediction is not None:
            number = format_decimal(round(row.prediction, 3), locale=self._settings.language)
            yield self._texts.gettext("predicted: %(number)s") % {"number": number}
        is_sure = row.prediction_set == [row.predicted_class]
        if not is_sure and (sure := sure_in_words(row, self._settings.language)):
            yield sure
        yield from reasons_in(row.reasons, self._settings.language)
        if unlike := unlike_in_words(row.unfamiliar, self._settings.language):
            yield unlike
        if others := candidate.units - 1:
            yield self._texts.ngettext(
                "%(num)d more unit fits the rule", "%(num)d more units fit the rule", others
            ) % {"num": others}


def _read(session: Session, told: Sequence[Candidate]) -> Iterator[tuple[str, Row[Any]]]:
    """Yields what messages say of each learner."""
    key = tuple_(CurrentAnswer.learner_id, CurrentAnswer.unit_id)
    for part in _parts(told, _PAIRS):
        query = (
            select(
                CurrentAnswer.learner_id, CurrentAnswer.version_id, CurrentAnswer.group_id,
                CurrentAnswer.predicted_class, CurrentAnswer.probabilities,
                CurrentAnswer.prediction, CurrentAnswer.since, CurrentAnswer.reasons,
                CurrentAnswer.prediction_set, CurrentAnswer.answer_text,
                CurrentAnswer.prediction_interval, CurrentAnswer.unfamiliar,
                Learner.name, Unit.title, Group.name.label("group_name"),
            )
            .outerjoin(Learner, Learner.learner_id == CurrentAnswer.learner_id)
            .outerjoin(Unit, Unit.unit_id == CurrentAnswer.unit_id)
            .outerjoin(Group, Group.group_id == CurrentAnswer.group_id)
            .where(key.in_([(candidate.learner_id, candidate.unit_id) for candidate in part]))
        )  # fmt: skip
        for row in session.execute(query):
            yield row.learner_id, row


def _parts(told: Sequence[Candidate], most: int) -> Iterator[Sequence[Candidate]]:
    for start in range(0, len(told), most):
        yield told[start : start + most]
