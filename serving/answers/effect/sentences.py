"""A report of an effect in English sentences: what was found, and what it does not say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from components.effect.estimate import MIN_LEARNERS

if TYPE_CHECKING:
    from components.contracts.effect_report import EffectEstimate, EffectReport

NO_HOLD_OUT = (
    "It cannot be known from these data what calling changes: nobody was held out by lot.",
    "Comparing learners who were called with learners who were not would mislead. Whoever is "
    "called was chosen for being in need, and by somebody who knows more than the log; such "
    "learners do worse without any call, so calling would look harmful, or useful where people "
    "call those who can still be reached. No adjustment for what the log knows mends that.",
    "Set effect: {hold_out: 0.1} in the answers' settings, after reading docs/effect.md; from then "
    "on one in ten of those who would be named is not, by lot, and the difference can be known.",
)


def sentences_of(report: EffectReport) -> list[str]:
    """Returns the report in sentences; the first one is the answer."""
    if report.verdict == "no_hold_out":
        return [*NO_HOLD_OUT]
    return [*_answer(report), *_doubts(report), *_cost(report), *_power(report)]


def described(estimate: EffectEstimate, *, is_share: bool) -> str:
    """Returns a difference with its interval.

    >>> from components.contracts.effect_report import EffectEstimate
    >>> described(EffectEstimate(value=0.081, low=-0.01, high=0.17), is_share=True)
    '+8.1 points (95% interval -1.0 to +17.0)'
    """
    if is_share:
        value, low, high = (f"{number * 100:+.1f}" for number in _ends(estimate))
        return f"{value} points (95% interval {low} to {high})"
    value, low, high = (f"{number:+.4g}" for number in _ends(estimate))
    return f"{value} (95% interval {low} to {high})"


def _ends(estimate: EffectEstimate) -> tuple[float, float, float]:
    return estimate.value, estimate.low, estimate.high


def _answer(report: EffectReport) -> Iterator[str]:
    if report.difference is None:
        yield (
            f"Too few outcomes came in: {report.named.with_outcome} of learners who were named and "
            f"{report.held_out.with_outcome} of learners who were held out; an interval needs "
            f"{MIN_LEARNERS} learners of each, in strata that have both."
        )
        return

    size = described(report.difference, is_share=report.is_share)
    what = "good outcomes" if report.is_share else "the label"
    yield {
        "better": f"Naming learners helped: {what} {size}.",
        "worse": f"Naming learners did harm: {what} {size}.",
        "unclear": f"It is not clear whether naming learners helps: {what} {size}.",
    }[report.verdict]
    if report.of_calling is not None:
        yield (
            "Per learner who was called or helped because he or she was named: "
            f"{described(report.of_calling, is_share=report.is_share)}, if being named changes "
            "outcomes through that alone."
        )


def _doubts(report: EffectReport) -> Iterator[str]:
    if report.missing_differs:
        yield (
            "Outcomes are missing in one arm more than in the other, beyond chance: the difference "
            "may be one between those of whom something is known."
        )
    if report.held_out.acted:
        yield (
            f"{report.held_out.acted:.0%} of those held out were called or helped all the same; "
            "that makes the difference smaller, not wrong."
        )


def _cost(report: EffectReport) -> Iterator[str]:
    cost = report.cost
    if cost is None or not report.is_share:
        return
    if cost.per_kept is None:
        yield f"No learner was kept, at {cost.per_named:.2f} {cost.currency} per named learner."
        return
    most = "no upper end" if cost.at_most is None else f"{cost.at_most:,.0f} {cost.currency}"
    yield (
        f"One more good outcome cost {cost.per_kept:,.0f} {cost.currency} (from "
        f"{cost.at_least or 0:,.0f} {cost.currency} to {most}), {cost.per_named:.2f} "
        f"{cost.currency} per named learner."
    )


def _power(report: EffectReport) -> Iterator[str]:
    power = report.power
    if power is None:
        return
    unit = (lambda size: f"{size * 100:.1f} points") if report.is_share else "{:.3g}".format
    yield f"A trial of this size finds a difference of {unit(power.visible)} four times in five."
    if power.more_cases:
        yield (
            f"To find one of {unit(power.smallest)} takes about {power.more_cases:,} more "
            f"outcomes, {power.cases_needed:,} in all, with the same share held out."
        )
