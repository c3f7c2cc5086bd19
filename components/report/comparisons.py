"""Rows and charts about what the model is held against: thresholds, simple models, other seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from components.config.metrics import Metric, describe_metric, foremost_metrics
from components.contracts.evaluation import (
    Evaluation,
    Gain,
    GateVerdict,
    SimpleModelResults,
    SliceResult,
    describe_slice,
)
from components.report.cell_charts import Tone, domain_around, dots, interval_chart
from components.report.formats import exact, number, signed, span
from components.report.quality import (
    FEW_EXAMPLES,
    MOST_SLICES,
    keep_largest,
    slice_name,
    slices_by_column,
)
from components.report.sentences import (
    GateWords,
    claim_against,
    claim_metric,
    gate_words,
    seeds_sentence,
    simple_model,
)

if TYPE_CHECKING:
    from components.report.charts import Domain


@dataclass(frozen=True)
class GateRow:
    """A gate in words, and how far its interval reaches relative to the threshold."""

    words: GateWords
    chart: Markup


def gate_rows(evaluation: Evaluation) -> list[GateRow]:
    """Returns the gates, in the Evaluator's order."""
    return [GateRow(gate_words(gate), _gate_chart(gate)) for gate in evaluation.gates]


def _gate_chart(gate: GateVerdict) -> Markup:
    """Returns a chart of the interval beside the threshold; nothing without an interval."""
    if gate.measured is None or gate.interval is None:
        return Markup("")

    low, high = gate.interval
    is_missed = high < gate.threshold if gate.is_floor else low > gate.threshold
    tone: Tone = "open"
    if gate.passed:
        tone = "good"
    elif is_missed:
        tone = "bad"
    return interval_chart(
        gate.measured,
        gate.interval,
        domain=domain_around([low, high, gate.measured, gate.threshold]),
        mark=gate.threshold,
        label=exact(gate.threshold),
        tone=tone,
    )


@dataclass(frozen=True)
class GainCell:
    """A gain as text, with its interval, and as a chart with zero marked; empty if undefined."""

    value: str
    interval: str
    chart: Markup


@dataclass(frozen=True)
class SimpleModelRow:
    """A simple model, and what the model gains over it.

    Attributes:
        name: what people call it.
        meaning: what it is.
        values: its foremost metrics.
        gain: by the metric of the claim.
        gains: by each of the foremost metrics.
    """

    name: str
    meaning: str
    values: list[float | None]
    gain: GainCell
    gains: list[GainCell]


@dataclass(frozen=True)
class SliceGainsRow:
    """What the model gains over each simple model on a slice."""

    value: str
    examples: int
    gains: list[GainCell]

    @property
    def few(self) -> bool:
        """Whether there are too few examples to say much."""
        return self.examples < FEW_EXAMPLES


@dataclass(frozen=True)
class SliceGains:
    """The gains in the slices of one column, or of several.

    Attributes:
        column: its name.
        names: what people call the simple models.
        rows: the slices; the smallest are left out if there are many.
        left_out: how many are left out.
        behind: where a simple model is better by more than chance, as text.
    """

    column: str
    names: list[str]
    rows: list[SliceGainsRow]
    left_out: int
    behind: list[str]


@dataclass(frozen=True)
class SimplerModels:
    """The model beside what people would use instead.

    Attributes:
        claims: one sentence per simple model, and whether it says better, worse, or neither.
        metric: the metric of the claims.
        metrics: the foremost metrics.
        values: the model's own.
        rows: the simple models, in the configured order.
        by_slice: the gains by slice.
    """

    claims: list[tuple[str, str]]
    metric: Metric
    metrics: list[Metric]
    values: list[float | None]
    rows: list[SimpleModelRow]
    by_slice: list[SliceGains]


def simpler_models(evaluation: Evaluation) -> SimplerModels | None:
    """Returns the model beside the simple ones; None without any."""
    simple_models = evaluation.simple_models
    if not simple_models:
        return None

    metric = claim_metric(evaluation)
    names = foremost_metrics(evaluation.task)
    claims = [claim_against(simple, evaluation) for simple in simple_models]

    return SimplerModels(
        claims=[(claim.text, claim.verdict) for claim in claims],
        metric=describe_metric(metric),
        metrics=[describe_metric(name) for name in names],
        values=[evaluation.overall.value_of(name) for name in names],
        rows=[
            SimpleModelRow(
                name=simple_model(simple.name),
                meaning=simple.meaning,
                values=[simple.overall.value_of(name) for name in names],
                gain=_gain_of_all(simple, metric),
                gains=[_gain_of_all(simple, name) for name in names],
            )
            for simple in simple_models
        ],
        by_slice=_slice_gains(evaluation, metric),
    )


def _gain_of_all(simple: SimpleModelResults, name: str) -> GainCell:
    """Returns the gain on all examples, on a scale of its own: a large one would hide the rest."""
    gain = simple.gains.get(name, Gain())
    return _gain_cell(gain, _domain_of([gain]))


def _slice_gains(evaluation: Evaluation, metric: str) -> list[SliceGains]:
    """Returns the gains of the slices that are measured for the simple models, by column."""
    simple_models = [simple for simple in evaluation.simple_models if simple.slice_gains]
    if not simple_models:
        return []
    return [
        _column_gains(simple_models, columns, slices, metric)
        for columns, slices in slices_by_column(evaluation).items()
    ]


def _column_gains(
    simple_models: Sequence[SimpleModelResults],
    columns: tuple[str, ...],
    slices: Sequence[SliceResult],
    metric: str,
) -> SliceGains:
    gains = [[_gain_at(simple, item, metric) for simple in simple_models] for item in slices]
    domains = [_domain_of(of_model) for of_model in zip(*gains, strict=True)]
    rows = [
        SliceGainsRow(
            value=slice_name(item, columns),
            examples=item.examples,
            gains=[_gain_cell(*pair) for pair in zip(row, domains, strict=True)],
        )
        for item, row in zip(slices, gains, strict=True)
    ]
    behind = [
        f"{simple_model(simple.name)} where {describe_slice(item.slice)}"
        for item, row in zip(slices, gains, strict=True)
        for simple, gain in zip(simple_models, row, strict=True)
        if _tone(gain) == "bad"
    ]
    return SliceGains(
        column=" × ".join(columns),
        names=[simple_model(simple.name) for simple in simple_models],
        rows=keep_largest(rows, MOST_SLICES),
        left_out=max(0, len(rows) - MOST_SLICES),
        behind=behind,
    )


def _gain_at(simple: SimpleModelResults, item: SliceResult, metric: str) -> Gain:
    for results, gains in zip(simple.slices, simple.slice_gains, strict=True):
        if results.slice == item.slice:
            return gains.get(metric, Gain())
    return Gain()


def _gain_cell(gain: Gain, domain: Domain) -> GainCell:
    if gain.value is None:
        return GainCell(signed(None), "", Markup(""))
    chart = interval_chart(
        gain.value, gain.interval, domain=domain, mark=0.0, label="0", tone=_tone(gain)
    )
    return GainCell(signed(gain.value), span(gain.interval), chart)


def _tone(gain: Gain) -> Tone:
    if gain.interval is None or gain.interval[0] <= 0 <= gain.interval[1]:
        return "open"
    return "good" if gain.interval[0] > 0 else "bad"


def _domain_of(gains: Sequence[Gain]) -> Domain:
    """Returns a domain that holds zero, all gains and their intervals."""
    ends = [end for gain in gains for end in gain.interval or ()]
    return domain_around([0.0, *ends, *(gain.value for gain in gains)])


@dataclass(frozen=True)
class SeedRow:
    """One metric of the fits with several seeds; `chart` has a dot per fit.

    Attributes:
        metric: the metric.
        values: of the fits that it is defined for, as text, the candidate's first.
        spread: between the best and the worst of them.
    """

    metric: Metric
    values: list[str]
    spread: float | None
    chart: Markup


@dataclass(frozen=True)
class SeedSpread:
    """How much the foremost metrics move from seed to seed."""

    sentence: str
    seeds: list[int]
    rows: list[SeedRow]


def seed_spread(evaluation: Evaluation) -> SeedSpread | None:
    """Returns how much the metrics move from seed to seed; None with one seed."""
    fits = evaluation.seeds
    if fits is None or len(fits.seeds) < 2:
        return None
    names = [name for name in foremost_metrics(evaluation.task) if name in fits.metrics]
    rows = [_seed_row(name, fits.metrics[name]) for name in names]
    return SeedSpread(seeds_sentence(evaluation), fits.seeds, rows)


def _seed_row(name: str, values: Sequence[float | None]) -> SeedRow:
    known = [value for value in values if value is not None]
    return SeedRow(
        metric=describe_metric(name),
        values=[number(value) for value in values],
        spread=max(known) - min(known) if len(known) > 1 else None,
        chart=dots(values, domain=domain_around(values)),
    )
