"""What people have to write themselves for a version's papers."""

from __future__ import annotations

from pydantic import Field

from components.config.section import Section


class Papers(Section):
    """What the papers of a version cannot read off the run; what is missing is named in them."""

    purpose: str = Field("", description="what the model is for, and what it is not for")
    provider: str = Field("", description="who is responsible for it, with an address")
    contact: str = Field("", description="where a learner can contest an answer")
