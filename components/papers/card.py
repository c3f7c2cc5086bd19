"""The model card for machines: what a version is for, how good it is, and whom it serves badly."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from components.config.fairness import gap_words
from components.config.metrics import describe_metric, main_metric_of
from components.contracts.evaluation import (
    Evaluation,
    Interval,
    Result,
    SliceResult,
    describe_slice,
)
from components.contracts.names import BASIS_PRIOR
from components.contracts.papers import VersionCard, Weakness
from components.contracts.provenance import DataProvenance
from components.papers.system import describe_task
from components.report.formats import count, number, span
from components.report.quality import FEW_EXAMPLES, is_far_off
from components.report.sentences import closest_claim

if TYPE_CHECKING:
    from components.contracts.fairness_results import FairnessResults
    from components.papers.facts import VersionFacts

MOST_WEAKNESSES = 10
LEAST_WEAKNESSES = 3  # the worst groups are named even if chance explains them
_NAMED = 5  # groups that a sentence names


def make_card(facts: VersionFacts) -> VersionCard:
    """Returns the model card of a version."""
    evaluation, manifest = facts.evaluation, facts.manifest
    return VersionCard(
        name=facts.name,
        version=facts.number,
        run=manifest.run or "",
        pushed_at=manifest.pushed_at or "",
        answers=describe_task(facts.config),
        task=evaluation.task,
        classes=evaluation.classes,
        written=facts.written,
        blanks=facts.blanks,
        data=manifest.data or DataProvenance(),
        confidence=evaluation.confidence,
        basis=evaluation.basis,
        overall=evaluation.overall.model_copy(update={"curves": {}}),
        slices=evaluation.slices,
        gates=evaluation.gates,
        uncertainty=evaluation.uncertainty,
        decisions=[item.model_copy(update={"curve": None}) for item in evaluation.decisions],
        fairness=evaluation.fairness,
        importance=evaluation.importance,
        weaknesses=find_weaknesses(evaluation),
        limits=list(_limits(facts)),
    )


def find_weaknesses(evaluation: Evaluation) -> list[Weakness]:
    """Returns whom the model serves worse than all learners together, the worst first.

    Groups whose whole interval is worse than the value of all learners come first; the next are
    the groups that are worst by the main metric, of which chance may be the reason. Groups with too
    few examples are left out.
    """
    main = main_metric_of(evaluation.task)
    found = sorted(_weaknesses(evaluation), key=_how_much, reverse=True)
    surely = [weakness for weakness in found if weakness.beyond_chance]
    others = [item for item in found if not item.beyond_chance and item.metric == main]
    return [*surely[:MOST_WEAKNESSES], *others[: max(0, LEAST_WEAKNESSES - len(surely))]]


def _weaknesses(evaluation: Evaluation) -> Iterator[Weakness]:
    """Yields every group that is worse in the main metric, or of whom more are missed."""
    main = _Measure(main_metric_of(evaluation.task))
    for item in evaluation.slices:
        asked = [(main, item.examples)]
        for name, found in item.classes.items():
            asked.append((_Measure("recall", class_=name), found.support))
        for name, taken in item.decisions.items():
            asked.append((_Measure("recall", decision=name), taken.of_class))

        for measure, examples in asked:
            weakness = _weakness(evaluation.overall, item, measure)
            if weakness is not None and min(examples, item.examples) >= FEW_EXAMPLES:
                yield weakness


@dataclass(frozen=True)
class _Measure:
    """A metric of all answers, of those to one class, or of a decision."""

    metric: str
    class_: str | None = None
    decision: str | None = None

    def of(self, result: Result) -> tuple[float | None, Interval | None]:
        """Returns the value on some examples, and its interval."""
        keys = (self.metric, self.class_, self.decision)
        return result.value_of(*keys), result.interval_of(*keys)


def _weakness(overall: Result, item: SliceResult, measure: _Measure) -> Weakness | None:
    """Returns a group that is worse in a metric than all; None if it is not."""
    value, interval = measure.of(item)
    usual, _ = measure.of(overall)
    if value is None or usual is None:
        return None

    more_is_better = describe_metric(measure.metric).more_is_better
    if (value >= usual) if more_is_better else (value <= usual):
        return None
    best = None if interval is None else interval[1 if more_is_better else 0]
    return Weakness(
        slice=item.slice,
        examples=item.examples,
        **asdict(measure),
        value=value,
        interval=interval,
        overall=usual,
        beyond_chance=best is not None and (best < usual if more_is_better else best > usual),
    )


def _how_much(weakness: Weakness) -> float:
    """Returns how much worse a group is, relative to all."""
    return abs(weakness.value - weakness.overall) / (abs(weakness.overall) or 1.0)


def _limits(facts: VersionFacts) -> Iterator[str]:
    """Yields what figures of the run say about when not to rely on an answer."""
    evaluation, config = facts.evaluation, facts.config
    judged, prior = evaluation.overall.examples, evaluation.basis.get(BASIS_PRIOR, 0)
    fewest = config.steps.min_steps
    few = "Without any event" if fewest == 1 else f"With fewer than {count(fewest)} events"
    yield (
        f"{few} before the moment of judgement the answer is that of the learner's group, not the "
        f"learner's own: so it was for {count(prior)} of the {count(judged)} outcomes that it was "
        "judged on."
    )
    if evaluation.sampled_from is not None:
        yield (
            f"It was judged on {count(judged)} of the {count(evaluation.sampled_from)} outcomes of "
            "the test split: those of a sample of its learners."
        )
    yield (
        f"It sees the last {count(config.steps.max_steps)} events of a learner and nothing of what "
        "happens outside of the platform."
    )
    if facts.log is not None:
        yield (
            f"It learned from {count(facts.log.learners)} learners and {count(facts.log.units)} "
            "units. Of other courses, other years and other platforms nothing is known."
        )
    yield from _limits_of_groups(evaluation)

    yield from _limits_of_gaps(evaluation.fairness)
    claim = closest_claim(evaluation)
    if claim is not None and claim.verdict != "better":
        yield claim.text


def _limits_of_groups(evaluation: Evaluation) -> Iterator[str]:
    few = [item for item in evaluation.slices if item.examples < FEW_EXAMPLES]
    if few:
        yield (
            f"Too few learners to say how well it serves them (fewer than {FEW_EXAMPLES} outcomes "
            f"each): {_name_groups(few)}."
        )
    off = [item for item in evaluation.slices if is_far_off(item.examples, item.value_of("ece"))]
    if off:
        yield f"Its probabilities say something else than what happens for {_name_groups(off)}."
    if not evaluation.slices:
        yield "It is not known whether it serves some groups worse: none were compared."


def _limits_of_gaps(fairness: FairnessResults | None) -> Iterator[str]:
    """Yields the gaps between groups that are more than chance, the largest of each measure."""
    for measure in fairness.measures if fairness else ():
        gap = measure.widest
        if gap is None or not gap.is_shown:
            continue
        of = f" of decision {measure.decision}" if measure.decision else ""
        of = of or (f" of {measure.class_}" if measure.class_ else "")
        groups = " and ".join(map(describe_slice, gap.between))
        words = gap_words(measure.metric).short
        yield (
            f"{groups} differ in {words}{of} by {number(gap.size)} ({span(gap.interval)}), which "
            "is more than chance explains."
        )


def _name_groups(found: list[SliceResult]) -> str:
    names = [describe_slice(item.slice) for item in found[:_NAMED]]
    if len(found) > _NAMED:
        names.append(f"and {count(len(found) - _NAMED)} more")
    return "; ".join(names)
