"""When a model is trained again, and on what: the section `retrain`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from components.config.section import Section
from components.config.spans import parse_span

Occasion = Literal["drift", "schedule", "always", "quality"]


class Retrain(Section):
    """When `mastery retrain` trains again, and on what. `mastery run` reads none of it."""

    when: Occasion = Field(
        "drift",
        description="why a model is trained again: drift, what came in since differs from what the "
        "version in service was trained on; quality, that version is worse than it was, measured "
        "or estimated; schedule, there is new data; always",
    )
    window: str = Field(
        "last:90",
        description="which spans it is trained on: `newest`, or `last: 90`, the newest ninety; a "
        "log without spans is read whole",
    )
    replay: float = Field(
        0.2,
        ge=0,
        le=1,
        description="share of the learners of the spans before the window that are trained on once "
        "more, so that the model does not forget them; see `data.replay`",
    )
    warm_start: bool = Field(
        True,
        description="go on from the version in service, instead of `training.start_from` or "
        "`training.warm_start`; false: from scratch",
    )
    max_per_week: int = Field(
        2, ge=1, description="most retrainings in any seven days that got as far as training"
    )

    @field_validator("window", mode="before")
    @classmethod
    def _window_in_one_way(cls, value: object) -> str:
        choice = parse_span(value)
        if choice.given is not None or choice.until is not None:
            raise ValueError(
                "expected newest, or last: 90 (as text last:90), since a window moves with the "
                f"log; found {value!r}"
            )
        return str(choice)
