"""What `mastery watch` expects of the log and of quality; no version depends on it."""

from __future__ import annotations

from pydantic import Field

from components.config.section import Section


class Watch(Section):
    """What `mastery watch` expects."""

    max_log_age_days: float = Field(
        7.0, gt=0, le=3660, description="how old the newest event may be before it is a finding"
    )
    weeks: int = Field(
        12,
        ge=1,
        le=104,
        description="weeks of answers whose quality is measured, this one included",
    )
