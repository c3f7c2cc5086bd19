"""Rows, charts and sentences about how sure answers are, and how often rightly so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from components.contracts.evaluation import MISSING, format_confidence
from components.contracts.names import BASIS_PRIOR, BASIS_SEQUENCE, BASIS_UNFAMILIAR
from components.report.cell_charts import Tone, domain_around, interval_chart
from components.report.formats import category, count, exact, percent, rough
from components.report.quality import MOST_RECALLS, MOST_SLICES, keep_largest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from components.contracts.evaluation import Evaluation
    from components.contracts.uncertainty_results import MeasuredCoverage, UncertaintyResults

BASES = {
    BASIS_SEQUENCE: "own sequence",
    BASIS_PRIOR: "prior of the group (cold starts)",
    BASIS_UNFAMILIAR: "unfamiliar",
}
MOST_NAMED = 5  # places below the promise that a sentence names


@dataclass(frozen=True)
class CoverageRow:
    """Coverage of some examples.

    Attributes:
        name: what they have in common.
        measured: the numbers.
        chart: the coverage with its interval, against the promise.
        tone: whether it is above the promise, below it, or within chance of it.
        by_class: the coverage of each class, in the configured order; None for one without any.
    """

    name: str
    measured: MeasuredCoverage
    chart: Markup
    tone: Tone
    by_class: list[float | None]

    @property
    def examples(self) -> int:
        """How many examples there are."""
        return self.measured.examples


@dataclass(frozen=True)
class CoverageTable:
    """Rows that belong together, such as the slices of a column.

    Attributes:
        title: what they are of.
        heading: of the first column.
        rows: the largest ones, in the Evaluator's order.
        classes: those whose coverage has a column.
        left_out: how many rows are left out.
    """

    title: str
    heading: str
    rows: list[CoverageRow]
    classes: list[str]
    left_out: int = 0


@dataclass(frozen=True)
class UncertaintyFacts:
    """What the section says.

    Attributes:
        promised: the coverage that was asked for.
        claims: sentences, each with `better`, `worse` or `open`.
        classes: coverage of all and of each class.
        tables: the same by slice, horizon and basis.
        sizes: how many answers name one class, two, and so on, each with its share as text.
        unfamiliar: how many examples are unlike the eval split, by name.
    """

    promised: float
    claims: list[tuple[str, str]]
    classes: CoverageTable
    tables: list[CoverageTable]
    sizes: list[tuple[str, int, str]]
    unfamiliar: list[tuple[str, int]]


def uncertainty(evaluation: Evaluation) -> UncertaintyFacts | None:
    """Returns what a report says about how sure answers are; None for a model that does not say."""
    found = evaluation.uncertainty
    if found is None or not found.measured:
        return None

    examples = evaluation.overall.examples
    shown = evaluation.classes if len(evaluation.classes) <= MOST_RECALLS else []
    tables = _Tables(found, shown)
    return UncertaintyFacts(
        promised=found.promised,
        claims=_claims(evaluation, found),
        classes=tables.of_classes(),
        tables=tables.of_groups(),
        sizes=[
            (_size_words(size, len(found.sizes)), number, percent(number / max(1, examples)))
            for size, number in enumerate(found.sizes, start=1)
        ],
        unfamiliar=[*(found.unfamiliar or {}).items()],
    )


@dataclass(frozen=True)
class _Tables:
    """Makes the tables of an evaluation; all charts have the same scale.

    Attributes:
        found: what was measured.
        classes: those that have a column.
    """

    found: UncertaintyResults
    classes: list[str]

    def of_classes(self) -> CoverageTable:
        """Returns the coverage of all examples, and of each class."""
        rows = [self._row(item.class_ or "all", item, []) for item in self.found.of("all")]
        return CoverageTable("Class by class", "Class", rows, [])

    def of_groups(self) -> list[CoverageTable]:
        """Returns tables of slices, horizons and bases."""
        groups: dict[tuple[str, str], list[MeasuredCoverage]] = {}
        for item in self.found.measured:
            if item.kind != "all":
                groups.setdefault(_title_and_heading(item), []).append(item)

        tables = []
        for (title, heading), items in groups.items():
            rows = self._rows(items)
            kept = keep_largest(rows, MOST_SLICES)
            table = CoverageTable(title, heading, kept, self.classes, len(rows) - len(kept))
            tables.append(table)
        return tables

    def _rows(self, items: list[MeasuredCoverage]) -> list[CoverageRow]:
        of_all = [item for item in items if item.class_ is None]
        by_class = {(*item.where.values(), item.class_): item.coverage for item in items}
        return [
            self._row(
                _name(item),
                item,
                [by_class.get((*item.where.values(), name)) for name in self.classes],
            )
            for item in of_all
        ]

    def _row(self, name: str, item: MeasuredCoverage, by_class: list[float | None]) -> CoverageRow:
        promised, tone = self.found.promised, _tone(item, self.found.promised)
        if item.coverage is None:
            return CoverageRow(name, item, Markup(""), tone, by_class)
        chart = interval_chart(
            item.coverage,
            item.interval,
            domain=self._domain(),
            mark=promised,
            label=f"{exact(100 * promised)}%",
            tone=tone,
        )
        return CoverageRow(name, item, chart, tone, by_class)

    def _domain(self) -> tuple[float, float]:
        low, _ = domain_around(_ends(self.found.of("all")))
        return max(0.0, min(low, self.found.promised) - 0.05), 1.0


def _title_and_heading(item: MeasuredCoverage) -> tuple[str, str]:
    """Returns the title of the table that a row is in, and the heading of its first column."""
    if item.kind == "horizon":
        return "By days that were seen", "Until day"
    if item.kind == "basis":
        return "By what an answer rests on", "Basis"
    column = " × ".join(item.where)
    return f"By {column}", column


def _ends(items: Iterable[MeasuredCoverage]) -> list[float | None]:
    return [end for item in items for end in (item.interval or (item.coverage,))]


def _tone(item: MeasuredCoverage, promised: float) -> Tone:
    """Returns whether coverage is above the promise, below it, or within chance of it."""
    if item.interval is None or item.interval[0] <= promised <= item.interval[1]:
        return "open"
    return "good" if item.interval[0] > promised else "bad"


def _name(item: MeasuredCoverage) -> str:
    if item.kind == "basis":
        return " ".join(BASES.get(value, value) for value in item.where.values())
    return " × ".join(category(value) or MISSING for value in item.where.values())


def _size_words(size: int, classes: int) -> str:
    """Returns what a set of that size says.

    >>> [_size_words(size, 3) for size in (1, 2, 3)]
    ['one class', '2 classes', 'all classes']
    """
    if size == 1:
        return "one class"
    return "all classes" if size == classes else f"{size} classes"


def _claims(evaluation: Evaluation, found: UncertaintyResults) -> list[tuple[str, str]]:
    whole = next(item for item in found.of("all") if item.class_ is None)
    claims = [_claim_coverage(whole, found, evaluation)]
    claims += _claim_places(found, evaluation.confidence)
    if whole.not_sure is not None:
        single = found.sizes[0] / max(1, whole.examples)
        claims.append(
            (
                f"{percent(single)} of answers name one class; {percent(whole.not_sure)} are “not "
                "sure”.",
                "open",
            )
        )
    if found.unfamiliar is not None:
        share = found.unfamiliar_examples / max(1, whole.examples)
        claims.append(
            (
                f"{count(found.unfamiliar_examples)} of {count(whole.examples)} outcomes "
                f"({percent(share)}) are of learners unlike any that the model knows.",
                "open",
            )
        )
    return claims


def _claim_coverage(
    whole: MeasuredCoverage, found: UncertaintyResults, evaluation: Evaluation
) -> tuple[str, str]:
    what = "set holds the true class" if evaluation.classes else "interval holds the true number"
    interval = ""
    if whole.interval is not None:
        low, high = (percent(end) for end in whole.interval)
        interval = f" ({format_confidence(evaluation.confidence)} interval {low} to {high})"
    tone = _tone(whole, found.promised)
    verdict = {"good": "more often than promised", "bad": "less often than promised"}
    return (
        f"The {what} for {percent(whole.coverage)} of outcomes{interval}; promised were "
        f"{percent(found.promised)}: {verdict.get(tone, 'as promised, within chance')}.",
        "worse" if tone == "bad" else "better",
    )


def _claim_places(found: UncertaintyResults, confidence: float | None) -> list[tuple[str, str]]:
    """Returns a sentence about places whose interval is below the promise."""
    measured = [item for item in found.measured if item.interval is not None]
    if not measured or confidence is None:
        return []
    below = [item for item in measured if _tone(item, found.promised) == "bad"]
    places = f"{count(len(measured))} classes, slices and horizons"
    if not below:
        return [(f"The interval of none of {places} is below the promise.", "better")]

    by_chance = len(measured) * (1 - confidence) / 2
    names = "; ".join(_place_words(item) for item in below[:MOST_NAMED])
    more = f" and {len(below) - MOST_NAMED} more" if len(below) > MOST_NAMED else ""
    text = (
        f"Of {places}, the interval is below the promise for {len(below)}, by chance alone for "
        f"about {rough(by_chance)}: {names}{more}."
    )
    return [(text, "worse" if len(below) > by_chance else "open")]


def _place_words(item: MeasuredCoverage) -> str:
    values = [f"{column} {category(value) or MISSING}" for column, value in item.where.items()]
    parts = [part for part in (item.class_, ", ".join(values)) if part]
    return f"{' where '.join(parts) or 'all'} ({percent(item.coverage)})"
