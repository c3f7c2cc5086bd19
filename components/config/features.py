"""What the model reads: steps of a sequence, and the context the sequence stands in."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from components.config.section import Bound, Section


def _is_plain(name: str) -> str:
    # It becomes the name of a tensor in the served model, and there is little that those may hold.
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise ValueError(
            f"expected letters, digits and _ in the name of an input, found {name!r}; rename the column"
        )
    return name


InputName = Annotated[str, AfterValidator(_is_plain)]


class Categorical(Section):
    """A column of names: one embedding per word of a vocabulary learned on the training split."""

    type: Literal["categorical"] = Field(description="a column of names")
    vocabulary: int = Field(
        1000, ge=1, description="most frequent words kept; the rest share out-of-vocabulary ids"
    )
    embedding: int = Field(16, ge=1, description="width of the embedding")
    allow_protected: bool = Field(
        False,
        description="must be true for a column listed in `protected` to be an input of the model",
    )


class Numeric(Section):
    """A column of numbers, scaled on the training split; missing values get an indicator of their own."""

    type: Literal["numeric"] = Field(description="a column of numbers")
    scale: Literal["z_score", "buckets", "none"] = Field(
        "z_score",
        description="z-score, quantile buckets with an embedding each, or the number as it is",
    )
    buckets: int = Field(10, ge=2, description="number of quantile buckets, with `scale: buckets`")
    embedding: int = Field(
        8, ge=1, description="width of a bucket's embedding, with `scale: buckets`"
    )
    clip: tuple[Bound, Bound] | None = Field(
        None,
        description="[lowest, highest]: values outside are moved to the edge; .inf: no edge there",
    )
    log: bool = Field(
        False, description="take sign(x) * log(1 + |x|) before scaling, for heavy tails"
    )
    allow_protected: bool = Field(
        False,
        description="must be true for a column listed in `protected` to be an input of the model",
    )

    @model_validator(mode="after")
    def _clip_is_a_range(self) -> Numeric:
        if self.clip is not None and not self.clip[0] < self.clip[1]:
            raise ValueError(f"clip: expected [lowest, highest], found {list(self.clip)}")
        return self


Feature = Annotated[Categorical | Numeric, Field(discriminator="type")]


class Steps(Section):
    """The sequence: which columns of the events are inputs, and how much of the past is seen."""

    max_steps: int = Field(
        100, ge=1, le=10_000, description="how many of the last events before `as_of` are seen"
    )
    min_steps: int = Field(
        1,
        ge=1,
        description="with fewer events than this the answer is the prior of the learner's group",
    )
    features: dict[InputName, Feature] = Field(
        description="columns of events, plus `time_since_previous` and `time_to_as_of`, by name",
        min_length=1,
    )

    @model_validator(mode="after")
    def _min_fits_max(self) -> Steps:
        if self.min_steps > self.max_steps:
            raise ValueError(
                f"min_steps: expected at most max_steps ({self.max_steps}), found {self.min_steps}"
            )
        return self


class Prior(Section):
    """The answer for a cold start: the smoothed mean of the label over the cold starts in the learner's group."""

    group_by: list[InputName] = Field(
        default_factory=lambda: ["unit_id"],
        description="columns of outcomes that make a group; [] for one prior",
    )
    smoothing: float = Field(
        20.0,
        ge=0,
        description="how many examples of the wider level are mixed into each mean: of the whole training split into "
        "a group's, of the group into its cold starts'",
    )
    allow_protected: bool = Field(
        False, description="must be true to group by a column listed in `protected`"
    )
