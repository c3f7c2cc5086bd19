"""The section `board` of `answers.yaml`."""

from __future__ import annotations

from pydantic import Field

from components.config.section import Section


class Board(Section):
    """The pages that teachers, training managers and administrators see."""

    capacity: int = Field(
        20,
        ge=1,
        description="learners whom a teacher can call in a week, unless the user's row "
        "has another number",
    )
    time_zone: str = Field("UTC", description="of the days and weeks that pages show")
