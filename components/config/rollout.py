"""How a new version takes over from the one in service: shadow, canary, stable."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from components.config.section import KeyedError, Section

Evidence = Literal["agreement", "outcomes"]
Share = Annotated[float, Field(ge=0.0, le=1.0)]


class Rollout(Section):
    """How a new version takes over from the one in service: shadow, canary, stable."""

    automatic: bool = Field(
        False,
        description="whether `mastery models rollout` makes the change that it finds right; "
        "otherwise it prints it",
    )
    shadow: Share = Field(
        0.0,
        description="share of the requests that `mastery serve` also asks the other version, whose "
        "answers are logged and not returned",
    )
    share: int = Field(10, ge=1, le=99, description="percent of the learners that a canary answers")
    to_canary: Evidence = Field(
        "agreement", description="what has to speak for a version before it is a canary"
    )
    to_stable: Evidence = Field(
        "outcomes", description="what has to speak for a canary before it is stable"
    )
    measure: Literal["correctness", "log_loss"] = Field(
        "correctness",
        description="what is compared on outcomes; of a regression, `correctness` is whose answer "
        "is nearer",
    )
    tolerance: Share = Field(
        0.02,
        description="by how much a new version may be worse on outcomes, in units of the measure",
    )
    agreement: Share = Field(
        0.8, description="share of the answers that have to be the same, on average over learners"
    )
    same_within: float = Field(
        0.05,
        ge=0.0,
        description="of a regression: answers that differ by at most this are the same",
    )
    alpha: float = Field(
        0.05,
        gt=0.0,
        lt=1.0,
        description="chance that an interval ever misses the truth, however often it is looked at",
    )
    learners: int = Field(
        50, ge=2, description="how many learners have to be compared before a version moves up"
    )
    settle_hours: float = Field(
        24.0,
        ge=0.0,
        description="a learner counts once, with the mean over this time from the first answer",
    )

    @model_validator(mode="after")
    def _an_answer_can_be_wrong(self) -> Rollout:
        if self.agreement == 0.0 and "agreement" in (self.to_canary, self.to_stable):
            raise KeyedError("agreement", "expected a share above 0, since agreement decides")
        return self
