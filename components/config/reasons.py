"""The words of reasons, in the course's own terms."""

from __future__ import annotations

from pydantic import Field

from components.config.section import Section


class Reasons(Section):
    """How reasons are worded. A feature without words of its own gets a general sentence."""

    top: int = Field(3, ge=1, le=10, description="reasons that are shown and stored with an answer")
