"""The papers of a pushed version: the JSON files in its folder `release/`.

```
release/
  metrics.json               what the Evaluator measured: where every figure of the papers is from
  model-card.html, .json     what the model is for, how good it is, and for whom it is not
  technical-file.html        after Annex IV of Regulation (EU) 2024/1689
  instructions-for-use.html  after Article 13 of the same
  data-statement.html, .json what the model learned from
  sbom.cdx.json              the software that made it: CycloneDX 1.6
  release.json               which papers there are, and what the provider has left blank
```
"""

from __future__ import annotations

from typing import ClassVar

from components.config.metrics import Task, describe_metric
from components.contracts.contract import Contract, Part
from components.contracts.decision_results import DecisionResults
from components.contracts.evaluation import GateVerdict, Interval, Result, SliceResult
from components.contracts.fairness_results import FairnessResults
from components.contracts.importance_results import ImportanceResults
from components.contracts.names import RELEASE
from components.contracts.provenance import DataProvenance
from components.contracts.uncertainty_results import UncertaintyResults

CARD_PAGE = f"{RELEASE}/model-card.html"
TECHNICAL_FILE = f"{RELEASE}/technical-file.html"
INSTRUCTIONS = f"{RELEASE}/instructions-for-use.html"
STATEMENT_PAGE = f"{RELEASE}/data-statement.html"
PAGES = {
    CARD_PAGE: "Model card",
    INSTRUCTIONS: "Instructions for use",
    TECHNICAL_FILE: "Technical file",
    STATEMENT_PAGE: "Data statement",
}  # what people read, in the order of the contents
BILL_OF_MATERIALS = f"{RELEASE}/sbom.cdx.json"


class Blank(Part):
    """Something that only the provider can write, and has not written.

    Attributes:
        key: of the configuration's section `papers`.
        meaning: what belongs there.
    """

    key: str
    meaning: str


class Weakness(Part):
    """A group of learners whom the model serves worse than all learners together, by one metric.

    Attributes:
        slice: which learners.
        examples: how many outcomes of theirs were judged.
        metric: the metric that says so.
        class_: the class that it is taken for; None for all classes.
        decision: the decision that it is taken for; None for the answers themselves.
        value: the metric in the group.
        interval: of the value; None where none was computed.
        overall: the metric on all examples.
        beyond_chance: whether the whole interval is worse than that.
    """

    slice: dict[str, str]
    examples: int
    metric: str
    class_: str | None = None
    decision: str | None = None
    value: float
    interval: Interval | None = None
    overall: float
    beyond_chance: bool = False

    @property
    def measure(self) -> str:
        """What was measured, in words.

        >>> found = {"slice": {}, "examples": 90, "value": 0.8, "overall": 0.9}
        >>> Weakness(metric="recall", class_="low", **found).measure
        'recall of low'
        """
        words = describe_metric(self.metric).short
        if self.decision is not None:
            return f"{words} of decision {self.decision}"
        return words if self.class_ is None else f"{words} of {self.class_}"


class VersionCard(Contract):
    """What people should know about a version before they use it.

    Attributes:
        name: the model's name.
        version: its number.
        run: id of the run that made it.
        pushed_at: when it was pushed, ISO 8601 in UTC.
        answers: what it answers, and from what, in a sentence.
        task: what kind of label it predicts.
        classes: the classes in their order; empty for a regression.
        written: what the provider wrote, by key of the section `papers`.
        blanks: what the provider has not written.
        data: where the examples came from.
        confidence: of all intervals; None where none were computed.
        basis: how many test examples were answered from the sequence, and how many from the prior.
        overall: metrics on all test examples, without curves.
        slices: metrics by slice.
        gates: how the gates went.
        uncertainty: how often prediction sets hold the truth.
        decisions: how each decision went.
        fairness: gaps between groups.
        importance: what answers rest on.
        weaknesses: whom it serves badly, the worst first.
        limits: what a reader has to bear in mind, in sentences.
    """

    FILE: ClassVar[str] = f"{RELEASE}/model-card.json"

    name: str
    version: int
    run: str = ""
    pushed_at: str = ""
    answers: str = ""
    task: Task
    classes: list[str] = []
    written: dict[str, str] = {}
    blanks: list[Blank] = []
    data: DataProvenance = DataProvenance()
    confidence: float | None = None
    basis: dict[str, int] = {}
    overall: Result
    slices: list[SliceResult] = []
    gates: list[GateVerdict] = []
    uncertainty: UncertaintyResults | None = None
    decisions: list[DecisionResults] = []
    fairness: FairnessResults | None = None
    importance: ImportanceResults | None = None
    weaknesses: list[Weakness] = []
    limits: list[str] = []


class FeatureStatement(Part):
    """One column of a split.

    Attributes:
        name: its name.
        kind: what its values are: `number` or `category`.
        missing: share of outcomes, or of steps, without a value; None where that is unknown.
        mean: mean of the numbers.
        deviation: their standard deviation.
        low: the smallest number.
        high: the largest number.
        different: how many different values a category has.
        shares: shares of the most frequent values of a category.
    """

    name: str
    kind: str
    missing: float | None = None
    mean: float | None = None
    deviation: float | None = None
    low: float | None = None
    high: float | None = None
    different: int = 0
    shares: dict[str, float] = {}


class SplitStatement(Part):
    """One split of the data.

    Attributes:
        name: of the split.
        outcomes: how many examples it has.
        classes: examples by class; the class of a regression is `""`.
        shares: the same as shares of the split.
        features: its columns.
    """

    name: str
    outcomes: int
    classes: dict[str, int] = {}
    shares: dict[str, float] = {}
    features: list[FeatureStatement] = []


class DataStatement(Contract):
    """What a version learned from.

    Attributes:
        data: where the examples came from.
        events: rows of events.
        outcomes: rows of outcomes, which is the number of examples.
        learners: learners with outcomes.
        units: units with outcomes.
        first_event: the earliest event.
        last_event: the latest event.
        first_outcome: the earliest outcome.
        last_outcome: the latest outcome.
        cold_starts: outcomes with no event before them.
        truncated: outcomes with more events before them than the model reads.
        files: rows per table and file.
        splits: train, eval and test.
        included: who is in the data, in sentences.
        excluded: who is not.
        warnings: oddities of the log.
    """

    FILE: ClassVar[str] = f"{RELEASE}/data-statement.json"

    data: DataProvenance = DataProvenance()
    events: int
    outcomes: int
    learners: int
    units: int
    first_event: str = ""
    last_event: str = ""
    first_outcome: str = ""
    last_outcome: str = ""
    cold_starts: int = 0
    truncated: int = 0
    files: dict[str, dict[str, int]] = {}
    splits: list[SplitStatement] = []
    included: list[str] = []
    excluded: list[str] = []
    warnings: list[str] = []


class Paper(Part):
    """One file of the release.

    Attributes:
        title: what people call it.
        sha256: digest of the file, in hexadecimal.
    """

    title: str
    sha256: str


class ReleaseIndex(Contract):
    """`release.json`: which papers a version has.

    Attributes:
        name: the model's name.
        version: its number.
        pushed_at: when it was pushed, ISO 8601 in UTC.
        mastery: the version of Mastery that wrote the papers.
        papers: the files by their path below the version's folder.
        blanks: what the provider has not written.
    """

    FILE: ClassVar[str] = f"{RELEASE}/release.json"

    name: str
    version: int
    pushed_at: str = ""
    mastery: str = ""
    papers: dict[str, Paper] = {}
    blanks: list[Blank] = []
