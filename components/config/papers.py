"""What people have to write themselves for a version's papers, and who has to approve it."""

from __future__ import annotations

from pydantic import Field

from components.config.section import Section


class Papers(Section):
    """What the papers of a version cannot read off the run; what is missing is named in them."""

    purpose: str = Field("", description="what the model is for, and what it is not for")
    provider: str = Field("", description="who is responsible for it, with an address")
    contact: str = Field("", description="where a learner can contest an answer")


class Approvals(Section):
    """Who has to approve a version before it is served."""

    needed: int = Field(
        0, ge=0, le=10, description="approvals by people other than the one who pushed it"
    )
    roles: list[str] = Field(
        default_factory=list,
        description="roles of the board whose approvals count; default: administrators",
    )
