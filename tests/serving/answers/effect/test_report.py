"""What a report says of a trial whose truth is known, and of data without one."""

from __future__ import annotations

import doctest

import pytest
from sqlalchemy import Engine, delete, insert, select
from sqlalchemy.orm import Session

from components.contracts.effect_report import EffectReport
from components.errors import MasteryError
from serving.answers.alerts.evaluation import run_alerts
from serving.answers.effect import sentences
from serving.answers.effect.report import report_effect
from serving.answers.settings import AnswersSettings
from serving.answers.tables import Action, Assignment, ModelVersion, Outcome
from tests.serving.answers.alerts.told import CLASSES, DAY, MONDAY, score, settings_with
from tests.serving.answers.effect.trials import (
    REPORTED,
    add_outcomes,
    lows,
    run_trial,
    settings_of,
)


def report(engine: Engine, settings: AnswersSettings, **options: object) -> EffectReport:
    given = {"classes": CLASSES, "name": "m", "now": REPORTED} | options
    with Session(engine) as session:
        return report_effect(session, settings.effect, **given)  # type: ignore[arg-type]


def test_the_examples_hold() -> None:
    assert doctest.testmod(sentences).failed == 0


def test_a_known_effect_is_reported(database: Engine) -> None:
    settings = settings_of(cost_per_action={"called": 10, "helped": 30}, currency="CHF")
    run_trial(database, settings, effect=0.3)
    found = report(database, settings)

    assert (found.verdict, found.is_share, found.good) == ("better", True, ["middle", "high"])
    assert (found.named.cases, found.held_out.cases) == (320, 80)
    assert (found.named.with_outcome, found.held_out.with_outcome) == (320, 80)
    assert found.difference is not None
    assert found.difference.low < 0.3 < found.difference.high
    assert found.words[0].startswith("Naming learners helped: good outcomes +")
    named, held_out = found.named.acted, found.held_out.acted
    assert named is not None
    assert held_out is not None
    assert named > 0.65 > 0.15 > held_out
    # Of those whom the lot had called, each one gains more than all of the named do on average.
    assert found.of_calling is not None
    assert found.of_calling.value == pytest.approx(
        found.difference.value / (named - held_out), rel=0.05
    )

    cost = found.cost
    assert cost is not None
    assert cost.currency == "CHF"
    assert 9 < cost.per_named < 15  # 0.7 actions of 18 on average
    assert cost.per_kept == pytest.approx(cost.per_named / found.difference.value)
    assert cost.at_least is not None
    assert cost.at_most is not None
    assert cost.at_least < 12 / 0.3 < cost.at_most
    assert EffectReport.from_json(found.to_json()) == found


def test_actions_and_groups_are_listed(database: Engine) -> None:
    settings = settings_of()
    run_trial(database, settings)
    found = report(database, settings)
    rows = {row.kind: row for row in found.actions}
    assert {*rows} == {"called", "helped", "none"}
    assert sum(row.cases for row in rows.values()) == found.named.with_outcome
    assert all(0.3 < row.probability < 0.9 for row in rows.values())
    assert [row.name for row in found.groups] == ["Group group-0", "Group group-1", "Group group-2"]
    assert sum(row.held_out.cases for row in found.groups) == 80
    assert all(row.difference is not None for row in found.groups)


def test_no_effect_is_unclear_and_says_how_many_more_are_needed(database: Engine) -> None:
    settings = settings_of(smallest=0.02)
    run_trial(database, settings, effect=0.0)
    found = report(database, settings)
    assert found.verdict == "unclear"
    assert found.difference is not None
    assert found.difference.low < 0 < found.difference.high
    power = found.power
    assert power is not None
    assert power.visible > 0.1
    assert power.cases_needed == pytest.approx(400 * (power.visible / 0.02) ** 2, rel=0.01)
    assert power.more_cases == power.cases_needed - 400
    assert f"about {power.more_cases:,} more outcomes" in " ".join(found.words)


def test_without_a_hold_out_nothing_is_claimed(database: Engine) -> None:
    """Whoever is in need is called, and does worse: a comparison would say that calling harms."""
    settings = settings_with({"when": "p(low) >= 0.5", "capacity": "unlimited"})
    known = lows(300)
    score(database, known)
    run_alerts(database, settings, MONDAY)
    columns = {"user": "ada", "at": MONDAY, "as_of": MONDAY, "version_id": 1, "kind": "called"}
    with Session(database) as session, session.begin():
        for (learner, unit), low in known.items():
            about = {"learner_id": learner, "unit_id": unit}
            if low >= 0.5:
                session.execute(insert(Action).values(**about, **columns))
            session.execute(insert(Outcome).values(
                **about, as_of=MONDAY + DAY, received_at=MONDAY,
                label="low" if low >= 0.5 else "high",
            ))  # fmt: skip
    found = report(database, settings)
    assert found.verdict == "no_hold_out"
    assert (found.difference, found.of_calling, found.cost, found.power) == (None,) * 4
    assert (found.actions, found.groups) == ([], [])
    assert "cannot be known" in found.words[0]
    assert "would mislead" in found.words[1]


def test_too_few_outcomes_have_no_interval(database: Engine) -> None:
    settings = settings_of()
    run_trial(database, settings, learners=40)
    found = report(database, settings)
    assert found.verdict == "too_few"
    assert found.difference is None
    assert found.words[0] == (
        "Too few outcomes came in: 32 of learners who were named and 8 of learners who were held "
        "out; an interval needs 10 learners of each, in strata that have both."
    )
    waiting = report(database, settings, now=MONDAY + DAY)
    assert waiting.verdict == "too_few"


def test_outcomes_that_are_missing_in_one_arm_are_noticed(database: Engine) -> None:
    settings = settings_of()
    run_trial(database, settings)
    assert not report(database, settings).missing_differs
    with Session(database) as session, session.begin():
        gone = select(Assignment.learner_id).where(Assignment.held_out)
        gone = gone.order_by(Assignment.learner_id).limit(30)
        session.execute(delete(Outcome).where(Outcome.learner_id.in_(gone)))
    found = report(database, settings)
    assert found.missing_differs
    assert "missing in one arm" in " ".join(found.words)
    assert (found.held_out.cases, found.held_out.with_outcome) == (80, 50)
    early = report(database, settings, now=MONDAY + 10 * DAY)
    assert (early.held_out.waiting, found.held_out.waiting) == (30, 0)


def test_only_lots_since_a_day_count_and_only_of_the_label(database: Engine) -> None:
    settings = settings_of()
    run_trial(database, settings)
    assert report(database, settings, since=MONDAY).named.cases == 320
    assert report(database, settings, since=MONDAY + DAY).verdict == "no_hold_out"
    assert report(database, settings, classes=["pass", "fail"]).verdict == "no_hold_out"


def test_shares_that_changed_are_compared_apart(database: Engine) -> None:
    """With the share, who is held out changes; together, both halves would be confounded."""
    first = settings_of(0.1, keep="7d")
    known = lows(200)
    score(database, known)
    run_alerts(database, first, MONDAY)
    later = {(f"later-{learner}", unit): low for (learner, unit), low in known.items()}
    score(database, later, as_of=MONDAY + DAY)
    run_alerts(database, settings_of(0.5, keep="7d"), MONDAY + DAY)
    add_outcomes(database, known | later, 0.0)
    found = report(database, settings_of(0.5))
    with Session(database) as session:
        lots = session.execute(select(Assignment.stratum, Assignment.share).distinct()).all()
    assert found.strata <= len(lots)
    assert len({share for _, share in lots}) == 2
    assert found.verdict == "unclear"


def test_good_classes_are_those_of_the_label(database: Engine) -> None:
    settings = settings_of(good=["high"])
    run_trial(database, settings)
    assert report(database, settings).named.outcome == 0
    with pytest.raises(MasteryError, match=r"effect\.good\[0\]: expected one of .* found midle"):
        report(database, settings_of(good=["midle"]))


def test_numbers_have_a_mean(database: Engine) -> None:
    settings = settings_of(smallest=2.0)
    known = lows(200)
    score(database, known, classes=["x", "y"])
    with Session(database) as session, session.begin():
        session.get_one(ModelVersion, 1).classes = []
    run_alerts(database, settings, MONDAY)
    with Session(database) as session, session.begin():
        for lot in session.scalars(select(Assignment)).all():
            value = 50.0 + int(lot.learner_id[-1]) + 10 * (not lot.held_out)
            session.add(
                Outcome(learner_id=lot.learner_id, unit_id=lot.unit_id, as_of=MONDAY + DAY,
                        value=value, received_at=MONDAY, label=None, version_id=None)
            )  # fmt: skip
    found = report(database, settings, classes=[])
    assert (found.is_share, found.good, found.cost) == (False, [], None)
    assert found.difference is not None
    assert found.difference.low < 10 < found.difference.high
    assert found.words[0].startswith("Naming learners helped: the label +")
