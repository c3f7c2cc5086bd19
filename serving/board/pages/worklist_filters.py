"""What part of the worklist somebody looks at, as the page's address says it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from typing import Literal, Self, get_args
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

Show = Literal["open", "done", "snoozed", "all"]
Sort = Literal["need", "name", "visit"]

PAGE_ROWS = 50
LAST_PAGE = 20  # further rows are reached by filters: no page counts or skips more than 1,000
LONGEST_VALUE = 200  # characters


@dataclass(frozen=True)
class Filters:
    """Which learners are shown, in which order.

    Attributes:
        group: only learners of this group; empty for all.
        unit: each learner's answer in this unit; empty for the one with the greatest need.
        answered: only answers of this class; empty for all.
        decision: only answers that lead to this decision; empty for all.
        show: learners to attend to, those done with this week, those hidden for a while, or all.
        search: a part of the learner's name or id.
        page: from 1.
    """

    group: str = ""
    unit: str = ""
    answered: str = ""
    decision: str = ""
    show: Show = "open"
    search: str = ""
    sort: Sort = "need"
    page: int = 1

    @classmethod
    def of(cls, values: Mapping[str, str]) -> Self:
        """Returns the filters of an address; what is not understood is left out."""
        show, sort, page = values.get("show"), values.get("sort"), values.get("page", "")
        number = int(page) if page.isdecimal() and len(page) < 6 else 1
        return cls(
            group=values.get("group", ""),
            unit=values.get("unit", ""),
            answered=values.get("class", ""),
            decision=values.get("decision", ""),
            show=show if show in get_args(Show) else "open",  # type: ignore[arg-type]
            search=values.get("search", "").replace("\0", "").strip()[:LONGEST_VALUE],
            sort=sort if sort in get_args(Sort) else "need",  # type: ignore[arg-type]
            page=min(max(number, 1), LAST_PAGE),
        )

    @property
    def offset(self) -> int:
        """How many rows are on earlier pages."""
        return (self.page - 1) * PAGE_ROWS

    def query(self) -> str:
        """Returns what stands after the `?` of the address; empty for the page as it opens."""
        default = Filters()
        said = {
            "group": self.group, "unit": self.unit, "class": self.answered,
            "decision": self.decision, "show": self.show, "search": self.search,
            "sort": self.sort, "page": str(self.page),
        }  # fmt: skip
        usual = {"show": default.show, "sort": default.sort, "page": "1"}
        return urlencode(
            {name: value for name, value in said.items() if value != usual.get(name, "")}
        )

    def path(self, page: str = "/worklist") -> str:
        """Returns the address."""
        query = self.query()
        return f"{page}?{query}" if query else page

    def but(self, **changes: object) -> Self:
        """Returns the filters with changes, at the first page unless that is one of them."""
        return replace(self, **{"page": 1, **changes})  # type: ignore[arg-type]


def week_start(now: datetime, zone: str) -> datetime:
    """Returns when the calendar week of a moment began: Monday at midnight in a time zone.

    >>> week_start(datetime(2026, 3, 29, 21, 30, tzinfo=UTC), "Europe/Berlin").isoformat()
    '2026-03-22T23:00:00+00:00'
    """
    local = now.astimezone(ZoneInfo(zone))
    monday = local.date() - timedelta(days=local.weekday())
    return datetime.combine(monday, time(), ZoneInfo(zone)).astimezone(UTC)
