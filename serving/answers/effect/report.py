"""What calling changed: the cases of a trial as a report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import select

from components.command.suggest import did_you_mean
from components.contracts.effect_report import (
    EffectArm,
    EffectByAction,
    EffectByGroup,
    EffectCost,
    EffectEstimate,
    EffectPower,
    EffectReport,
    Verdict,
)
from components.effect.estimate import (
    Estimate,
    cases_needed,
    difference,
    effect_of_doing,
    smallest_visible,
)
from components.errors import MasteryError
from serving.answers.effect.cases import NOTHING, Case, Sources, as_trial, read_cases
from serving.answers.effect.sentences import sentences_of
from serving.answers.feedback import VERDICTS

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from serving.answers.effect_settings import Effect


def report_effect(
    session: Session,
    effect: Effect,
    classes: Sequence[str],
    *,
    name: str,
    now: datetime,
    since: datetime | None = None,
    sources: Sources | None = None,
) -> EffectReport:
    """Returns what calling changed, or why that cannot be known.

    Args:
        session: of the answers' database.
        effect: what counts as good, costs, and how long outcomes are waited for.
        classes: of the label, lowest first; none for a regression.
        name: of the model's configuration.
        now: when it is reported.
        since: the earliest lot that counts; None for all.
        sources: what to read; by default, everything.

    Raises:
        MasteryError: a class that counts as good is none of the label's.
    """
    sources = sources or Sources()
    good = _good(effect, classes)
    cases = read_cases(
        session, sources, [*classes], good, effect.window, now=now, since=since
    )  # fmt: skip
    known = [case for case in cases if case.outcome is not None]
    trial = as_trial(known, [case.outcome or 0.0 for case in known])
    found = difference(trial) if known else None
    has_trial = any(not case.named for case in cases)
    of_calling = None
    if found is not None:
        helped = [float(case.was_helped) for case in known]
        of_calling = effect_of_doing(trial, as_trial(known, helped).outcome)

    report = EffectReport(
        made_at=now, since=since, name=name, is_share=bool(classes), good=good,
        hold_out=effect.hold_out, verdict=_verdict(found, has_trial=has_trial),
        named=_arm([case for case in cases if case.named]),
        held_out=_arm([case for case in cases if not case.named]),
        strata=len({*trial.comparable().stratum.tolist()}),
        difference=_public(found), of_calling=_public(of_calling),
        missing_differs=has_trial and _missing_differs(cases),
        actions=_by_action(known) if has_trial else [],
        groups=_by_group(session, sources, cases) if has_trial else [],
        cost=_cost(effect, cases, found),
        power=_power(effect, found, len(known)),
    )  # fmt: skip
    return report.model_copy(update={"words": sentences_of(report)})


def _good(effect: Effect, classes: Sequence[str]) -> list[str]:
    for place, name in enumerate(effect.good):
        if name not in classes:
            listed = ", ".join(classes) or "none: the label is a number"
            raise MasteryError(
                f"effect.good[{place}]: expected one of the label's classes ({listed}), found "
                f"{name}{did_you_mean(name, classes) or '.'}"
            )
    return [*effect.good] or [*classes[1:]]


def _verdict(found: Estimate | None, *, has_trial: bool) -> Verdict:
    if not has_trial:
        return "no_hold_out"
    if found is None:
        return "too_few"
    if not found.is_clear:
        return "unclear"
    return "better" if found.value > 0 else "worse"


def _public(estimate: Estimate | None) -> EffectEstimate | None:
    if estimate is None:
        return None
    return EffectEstimate(value=estimate.value, low=estimate.low, high=estimate.high)


def _arm(cases: Sequence[Case]) -> EffectArm:
    values = [case.outcome for case in cases if case.outcome is not None]
    return EffectArm(
        cases=len(cases),
        learners=len({case.learner_id for case in cases}),
        with_outcome=len(values),
        waiting=sum(case.outcome is None and not case.is_over for case in cases),
        outcome=sum(values) / len(values) if values else None,
        acted=sum(case.was_helped for case in cases) / len(cases) if cases else None,
    )


def _missing_differs(cases: Sequence[Case]) -> bool:
    """Returns whether outcomes are missing in one arm more than in the other, beyond chance."""
    over = [case for case in cases if case.is_over or case.outcome is not None]
    came = [float(case.outcome is not None) for case in over]
    found = difference(as_trial(over, came)) if over else None
    return found is not None and found.is_clear


def _by_action(known: Sequence[Case]) -> list[EffectByAction]:
    rows = []
    for kind in (*VERDICTS, NOTHING):
        cases = [case for case in known if case.named and case.first_action == kind]
        if cases:
            rows.append(EffectByAction(
                kind=kind, cases=len(cases), outcome=_mean(cases, lambda case: case.outcome or 0.0),
                probability=_mean(cases, lambda case: case.probability),
            ))  # fmt: skip
    return rows


def _mean(cases: Sequence[Case], value: Callable[[Case], float]) -> float:
    return sum(map(value, cases)) / len(cases)


def _by_group(session: Session, sources: Sources, cases: Sequence[Case]) -> list[EffectByGroup]:
    """Returns the groups, those with most cases first."""
    groups = sources.groups
    names: dict[str, str] = dict(session.execute(select(groups.group_id, groups.name)).all())
    by_group: dict[str, list[Case]] = {}
    for case in cases:
        by_group.setdefault(case.group_id or "", []).append(case)

    rows = []
    for group, members in by_group.items():
        known = [case for case in members if case.outcome is not None]
        trial = as_trial(known, [case.outcome or 0.0 for case in known])
        rows.append(EffectByGroup(
            group=group, name=names.get(group, group),
            named=_arm([case for case in members if case.named]),
            held_out=_arm([case for case in members if not case.named]),
            difference=_public(difference(trial) if known else None),
        ))  # fmt: skip
    return sorted(rows, key=lambda row: (-(row.named.cases + row.held_out.cases), row.name))


def _cost(effect: Effect, cases: Sequence[Case], found: Estimate | None) -> EffectCost | None:
    """Returns what one more good outcome cost, with the ends of the difference's interval."""
    if not effect.cost_per_action or found is None:
        return None
    prices: dict[str, float] = {str(kind): cost for kind, cost in effect.cost_per_action.items()}
    spent = {
        named: _mean(arm, lambda case: sum(prices.get(kind, 0.0) for kind in case.actions))
        for named in (True, False)
        if (arm := [case for case in cases if case.named is named])
    }
    more = max(0.0, spent[True] - spent[False])
    return EffectCost(
        currency=effect.currency,
        per_named=more,
        per_kept=more / found.value if found.value > 0 else None,
        at_least=more / found.high if found.high > 0 else None,
        at_most=more / found.low if found.low > 0 else None,
    )


def _power(effect: Effect, found: Estimate | None, cases: int) -> EffectPower | None:
    if found is None or not found.error:
        return None
    needed = cases_needed(found, cases, effect.smallest)
    return EffectPower(
        smallest=effect.smallest,
        visible=smallest_visible(found),
        cases_needed=needed,
        more_cases=0 if found.is_clear else max(0, needed - cases),
    )
