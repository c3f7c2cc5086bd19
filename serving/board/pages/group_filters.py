"""What part of the groups' page somebody looks at, as its address says it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, Self, get_args
from urllib.parse import urlencode

By = Literal["group", "region", "course"]
Sort = Literal["attention", "share", "change", "learners", "actions", "name"]

PAGE_ROWS = 25
LAST_PAGE = 10_000
LONGEST_VALUE = 200  # characters


@dataclass(frozen=True)
class Filters:
    """Which rows are shown, in which order.

    Attributes:
        by: what a row is.
        search: a part of its name or id.
        region: only groups of this region; empty for all.
        page: from 1.
    """

    by: By = "group"
    search: str = ""
    region: str = ""
    sort: Sort = "attention"
    page: int = 1

    @classmethod
    def of(cls, values: Mapping[str, str]) -> Self:
        """Returns the filters of an address; what is not understood is left out."""
        by, sort, page = values.get("by"), values.get("sort"), values.get("page", "")
        known_by: By = by if by in get_args(By) else "group"  # type: ignore[assignment]
        return cls(
            by=known_by,
            search=_text(values.get("search", "")),
            region=_text(values.get("region", "")) if known_by == "group" else "",
            sort=sort if sort in get_args(Sort) else "attention",  # type: ignore[arg-type]
            page=min(max(int(page), 1), LAST_PAGE) if page.isdecimal() and len(page) < 6 else 1,
        )

    @property
    def offset(self) -> int:
        """How many rows are on earlier pages."""
        return (self.page - 1) * PAGE_ROWS

    def path(self, **more: str) -> str:
        """Returns the address, with more parameters."""
        default = Filters()
        said = {name: str(value) for name, value in vars(self).items()}
        usual = {name: str(value) for name, value in vars(default).items()}
        query = urlencode({name: said[name] for name in said if said[name] != usual[name]} | more)
        return f"/groups?{query}" if query else "/groups"

    def but(self, **changes: object) -> Self:
        """Returns the filters with changes, at the first page unless that is one of them."""
        return replace(self, **{"page": 1, **changes})  # type: ignore[arg-type]


def _text(value: str) -> str:
    return value.replace("\0", "").strip()[:LONGEST_VALUE]
