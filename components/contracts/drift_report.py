"""`drift.json`: how far new data are from those that a version was made with."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from components.contracts.contract import Contract, Part

# Of the schema's comparators; `share` is that of outcomes in units that were never seen.
Distance = Literal["infinity_norm", "jensen_shannon_divergence", "share"]
Kind = Literal["input", "prediction", "label", "unit"]


class Bucket(Part):
    """Values that are counted together.

    Attributes:
        name: the word, or the range of numbers; empty for missing values.
        reference: their share in the data of the version.
        new: their share in the new data.
    """

    name: str
    reference: float
    new: float


class ColumnDrift(Part):
    """How far one column has moved.

    Attributes:
        column: its name; `predicted_class` or `prediction` for the version's answers.
        kind: what the column is to the model.
        distance: which distance of the two distributions.
        size: the distance; None where one side has no values.
        low: lower end of its interval, by drawing learners; None with too few of them.
        high: upper end.
        threshold: what the schema allows; None where it says nothing, and nothing is judged.
        drifted: whether `low` is above `threshold`.
        words: what changed, in a sentence.
        buckets: the shares that are compared, those that moved most first; at most
            `MOST_BUCKETS`.
    """

    MOST_BUCKETS: ClassVar[int] = 24

    column: str
    kind: Kind
    distance: Distance
    size: float | None
    low: float | None = None
    high: float | None = None
    threshold: float | None = None
    drifted: bool = False
    words: str
    buckets: list[Bucket] = []


class DriftReport(Contract):
    """New data, or served traffic, beside the data of a version.

    Attributes:
        name: of the model.
        version: the version's number; None where its manifest has none.
        run: the run that made it.
        compared: `log`, or `served` for the inputs and answers of a prediction log.
        reference_spans: what the version was made with; empty for a log without spans.
        spans: what is new.
        reference_learners: learners of the version's data with enough events.
        learners: new learners with enough events.
        outcomes: of the new learners.
        few_events: new learners with fewer than `steps.min_steps` events, who are left out.
        confidence: of each lower end. It is chosen so that with no more drift than the thresholds
            allow, nine of ten reports call for nothing.
        draws: how often learners were drawn.
        columns: inputs, then predictions, labels and units.
        calls_for_retraining: whether any column drifted.
        notes: what could not be compared, and why.
    """

    FILE: ClassVar[str] = "drift.json"

    name: str
    version: int | None = None
    run: str | None = None
    compared: Literal["log", "served"] = "log"
    reference_spans: list[str] = []
    spans: list[str] = []
    reference_learners: int
    learners: int
    outcomes: int
    few_events: int = 0
    confidence: float
    draws: int
    columns: list[ColumnDrift]
    calls_for_retraining: bool = False
    notes: list[str] = []

    @classmethod
    def judged(cls, **fields: object) -> Self:
        """Returns a report that calls for retraining if any of its columns drifted."""
        report = cls.model_validate(fields)
        return report.model_copy(update={"calls_for_retraining": bool(report.drifted)})

    @property
    def drifted(self) -> list[ColumnDrift]:
        """The columns that call for retraining."""
        return [column for column in self.columns if column.drifted]

    @property
    def headline(self) -> str:
        """What the report says, in a sentence.

        >>> still = DriftReport.judged(name="sample", reference_learners=900, learners=200,
        ...     outcomes=310, confidence=0.99, draws=1000, columns=[])
        >>> still.headline
        'No drift: 200 learners are like those of the version.'
        """
        if not self.drifted and self.compared == "served":
            return "No drift: what was served is like the data of the version."
        if not self.drifted:
            return f"No drift: {self.learners:,} learners are like those of the version."
        return "Drift calls for retraining: " + "; ".join(item.words for item in self.drifted) + "."
