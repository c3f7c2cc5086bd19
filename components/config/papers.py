"""What people have to write themselves for a version's papers."""

from __future__ import annotations

from pydantic import Field

from components.config.section import Section


class Papers(Section):
    """What people write for a version's papers; an empty text is a blank that the papers name."""

    purpose: str = Field("", description="what the model is for")
    provider: str = Field("", description="who is responsible for it, with an address")
    representative: str = Field(
        "", description="the provider's authorised representative in the Union, or why none is due"
    )
    contact: str = Field("", description="where a learner can contest an answer, and how")
    intended_users: str = Field("", description="who works with the answers")
    learners: str = Field("", description="which learners it is meant for")
    out_of_scope: str = Field("", description="what it must not be used for")
    oversight: str = Field(
        "",
        description="who looks at an answer before anything follows from it, and may overrule it",
    )
    risks: str = Field(
        "", description="what may go wrong for learners, and what is done against it"
    )
    collection: str = Field(
        "", description="how the log came about, and on which legal basis it is used"
    )
    labels: str = Field("", description="who or what decides the outcomes of the log, and how")
    metrics: str = Field("", description="why these metrics and gates fit the purpose")
    limits: str = Field("", description="known limits that no figure of the run shows")
    changes: str = Field("", description="changes of the system that are planned, or were made")
    lifetime: str = Field("", description="how long a version is used, and how it is maintained")
    security: str = Field("", description="how the place where it runs is protected")
    monitoring: str = Field("", description="how it is watched in use, and what is done then")
    standards: str = Field("", description="harmonised standards that are applied")
    declaration: str = Field("", description="where the EU declaration of conformity is")

    @property
    def blanks(self) -> dict[str, str]:
        """What is missing: the meaning of each empty text, by its key."""
        described = {
            name: field.description or "" for name, field in type(self).model_fields.items()
        }
        return {name: text for name, text in described.items() if not getattr(self, name).strip()}
