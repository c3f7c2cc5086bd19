"""The section `alerts` of `answers.yaml`."""

from __future__ import annotations

import string
from datetime import timedelta
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from components.command.suggest import did_you_mean
from components.config.section import Address, KeyedError, Section
from serving.answers.alerts.condition import parse_condition
from serving.answers.alerts.timing import Capacity, QuietTimes, parse_duration, parse_hours
from serving.answers.words import Language
from serving.board.links import as_segment

UNLIMITED = "unlimited"
LINK_NAMES = ("learner_id", "unit_id")

RuleName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


def _checked_condition(text: str) -> str:
    parse_condition(text)
    return text


def _checked_capacity(text: str) -> str:
    if text != UNLIMITED:
        Capacity.parse(text)
    return text


def _checked_duration(text: str) -> str:
    parse_duration(text)
    return text


def _checked_hours(text: str | None) -> str | None:
    if text is not None:
        parse_hours(text)
    return text


def _checked_zone(name: str) -> str:
    known = available_timezones()
    if name not in known:
        expected = "expected a time zone such as Europe/Berlin"
        raise ValueError(f"{expected}, found {name!r}{did_you_mean(name, known)}")
    return name


def _checked_link(link: str | None) -> str | None:
    if link is None:
        return None
    try:
        names = [name for _, name, _, _ in string.Formatter().parse(link) if name is not None]
    except ValueError:
        raise ValueError(f"expected an address with {{learner_id}} in it, found {link!r}") from None
    for name in names:
        if name not in LINK_NAMES:
            expected = "expected {learner_id} or {unit_id}"
            raise ValueError(f"{expected}, found {{{name}}}{did_you_mean(name, LINK_NAMES)}")
    return link


class AlertRule(Section):
    """Whom to tell about which answers."""

    name: RuleName = Field(
        description="the rule's name, unique; what was told is remembered by it, so a rule of "
        "another name starts anew"
    )
    when: Annotated[str, AfterValidator(_checked_condition)] = Field(
        description="the condition, e.g. `p(not_mastered) >= 0.7 and horizon <= 14`"
    )
    units: list[str] = Field(default_factory=list, description="ids of units; default: all")
    groups: list[str] = Field(default_factory=list, description="ids of groups; default: all")
    capacity: Annotated[str, AfterValidator(_checked_capacity)] = Field(
        "20 per week and group",
        description="most learners to tell about per calendar day, week or month, in all or for "
        "each group (`and group`), those with the greatest need first; or `unlimited`",
    )
    cool_down: Annotated[str, AfterValidator(_checked_duration)] = Field(
        "14d",
        description="how long a learner of whom the rule told, or about whom somebody did "
        "something, is left in peace: hours, days or weeks such as 36h, 14d, 2w",
    )
    quiet_hours: Annotated[str | None, AfterValidator(_checked_hours)] = Field(
        None, description="when messages wait, e.g. `20:00-07:00`; default: never"
    )
    quiet_weekends: bool = Field(False, description="messages wait on Saturdays and Sundays, too")
    only_new: bool = Field(
        False, description="tell only about answers whose class changed in the newest scoring"
    )
    must_tell: bool = Field(
        False,
        description="whoever fits is never held out by `effect.hold_out`, by no rule and not on "
        "the worklist",
    )
    to: list[str] = Field(description="names of channels", min_length=1)
    digest: Literal["per_rule", "per_group", "per_learner"] = Field(
        "per_rule", description="what makes a message: all learners, those of a group, or each one"
    )

    @property
    def most(self) -> Capacity | None:
        """The capacity; None without a limit."""
        return None if self.capacity == UNLIMITED else Capacity.parse(self.capacity)

    @property
    def peace(self) -> timedelta:
        """The cool-down."""
        return parse_duration(self.cool_down)


class Alerts(Section):
    """Rules that are evaluated after each scoring."""

    language: Language = Field("en", description="of the texts")
    time_zone: Annotated[str, AfterValidator(_checked_zone)] = Field(
        "UTC", description="of quiet hours, days, weeks and months, e.g. Europe/Berlin"
    )
    link: Annotated[Address | None, AfterValidator(_checked_link)] = Field(
        None,
        description="a learner's page on the board, e.g. "
        "`https://board.example/learners/{learner_id}`",
    )
    rules: list[AlertRule] = Field(default_factory=list, description="in the order of the file")

    @model_validator(mode="after")
    def _names_are_unique(self) -> Alerts:
        seen: set[str] = set()
        for place, rule in enumerate(self.rules):
            if rule.name in seen:
                raise KeyedError(
                    ["rules", place, "name"], f"expected every name once, found {rule.name} again"
                )
            seen.add(rule.name)
        return self

    @property
    def zone(self) -> ZoneInfo:
        """The time zone."""
        return ZoneInfo(self.time_zone)

    def quiet_times(self, rule: AlertRule) -> QuietTimes:
        """Returns when messages of a rule wait."""
        begin, end = parse_hours(rule.quiet_hours) if rule.quiet_hours else (None, None)
        return QuietTimes(begin, end, rule.quiet_weekends, self.zone)

    def link_to(self, learner_id: str, unit_id: str) -> str | None:
        """Returns the address of a learner's page; None without a board."""
        if self.link is None:
            return None
        return self.link.format(learner_id=as_segment(learner_id), unit_id=as_segment(unit_id))
