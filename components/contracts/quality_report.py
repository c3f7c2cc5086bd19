"""`quality.json`: how good answers are expected to be, and how good outcomes show them to be."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from components.contracts.contract import Contract, Part

Measure = Literal["accuracy", "f1_macro", "recall", "auc", "mean_absolute_error"]
GroupKind = Literal["all", "week", "horizon", "slice"]


class Measurement(Part):
    """One measure of some answers.

    Attributes:
        measure: its name.
        class_: of a recall, the class; in JSON `class`.
        value: None where it is undefined.
        low: lower end of its 95% interval; None with too few learners, and of an AUC.
        high: upper end, likewise.
    """

    measure: Measure
    class_: str | None = Field(None, alias="class")
    value: float | None
    low: float | None = None
    high: float | None = None


class QualityGroup(Part):
    """Answers that belong together.

    Attributes:
        kind: all of a version; those of a week; by weeks since the learner's first event in the
            unit; by a column.
        column: of a slice, `unit_id` or `region`.
        value: the Monday of the week (ISO 8601), the horizon, such as `week 2`, or the slice's
            value; empty for all.
        answers: how many, the last one per learner, unit and week.
        learners: whose they are.
        expected: what their probabilities lead to expect; empty for a regression.
        outcomes: how many outcomes came in.
        outcome_learners: whose they are.
        realised: what these outcomes show.
        expected_there: what was to be expected of the answers that have an outcome.
        contradicted: whether fewer of these answers were right than chance explains.
    """

    kind: GroupKind
    column: str | None = None
    value: str = ""
    answers: int
    learners: int
    expected: list[Measurement] = []
    outcomes: int = 0
    outcome_learners: int = 0
    realised: list[Measurement] = []
    expected_there: list[Measurement] = []
    contradicted: bool = False

    def find(
        self, measure: Measure, class_: str | None = None, *, realised: bool = False
    ) -> Measurement | None:
        """Returns a measure, expected or realised; None where the group does not have it."""
        for item in self.realised if realised else self.expected:
            if (item.measure, item.class_) == (measure, class_):
                return item
        return None


class VersionQuality(Part):
    """How good the answers of a version are.

    Attributes:
        model: its name.
        version: the version's number.
        classes: lowest first; empty for a regression.
        groups: all answers first, then weeks, oldest first, horizons and slices.
    """

    model: str
    version: int
    classes: list[str]
    groups: list[QualityGroup]

    @property
    def whole(self) -> QualityGroup:
        """The group of all answers."""
        return self.groups[0]

    def of(self, kind: GroupKind) -> list[QualityGroup]:
        """Returns the groups of a kind."""
        return [group for group in self.groups if group.kind == kind]

    @property
    def contradictions(self) -> list[QualityGroup]:
        """Contradicted groups that call for attention: all answers, and the newest judged week."""
        judged = [group for group in self.of("week") if group.outcomes]
        return [group for group in (self.whole, *judged[-1:]) if group.contradicted]


class QualityReport(Contract):
    """How good the answers of some weeks are, by version.

    Attributes:
        as_of: when it was measured, ISO 8601 in UTC.
        since: the Monday of the first week, ISO 8601.
        assumes: what expected quality takes for granted, and so cannot see.
        versions: that answered in these weeks, the oldest first.
        notes: what could not be measured, and why.
    """

    FILE: ClassVar[str] = "quality.json"

    as_of: str
    since: str
    assumes: str
    versions: list[VersionQuality]
    notes: list[str] = []
