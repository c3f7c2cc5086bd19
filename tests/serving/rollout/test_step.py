"""A rollout, step by step: who is compared, what is decided, what is changed within the gates."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from components.config.rollout import Rollout
from components.contracts.serving_state import ApprovalPolicy
from serving.models import promotion, stopping
from serving.models.changes import current_state, read_entries
from serving.models.storage import Storage
from serving.models.stores import open_storage
from serving.rollout.pairs import Asked, Pair, Said
from serving.rollout.step import (
    Contest,
    Step,
    as_json,
    decide,
    describe_step,
    find_contest,
    nothing_to_decide,
    take,
)
from tests.serving.models.folders import write_version

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
LATER = NOON + timedelta(days=60)
CLASSES = ("low", "high")


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    """Versions 1 and 2, of which 1 is stable, and 3, which has failed a gate."""
    serving = tmp_path / "sample" / "serving"
    for number in (1, 2):
        write_version(serving, number)
    storage = open_storage(str(serving))
    promotion.promote(storage, 1)
    return storage


def said(name: str, probability: float = 0.9) -> Said:
    other = CLASSES[1 - CLASSES.index(name)]
    return Said(name, {name: probability, other: 1 - probability}, None)


def contest_of(
    *, champion: float, challenger: float, learners: int = 400, seed: int = 1
) -> tuple[list[Pair], dict[str, Asked]]:
    """Returns pairs, two per learner, and outcomes; each version is right as often as given."""
    draw = np.random.default_rng(seed)
    pairs, asked = [], {}
    for number in range(2 * learners):
        label = CLASSES[int(draw.integers(2))]
        wrong = CLASSES[1 - CLASSES.index(label)]
        chance = draw.random()
        digest = f"{number:064x}"
        first, other = (label if chance < right else wrong for right in (champion, challenger))
        at = NOON + timedelta(minutes=number)
        pairs.append(Pair(digest, at, said(first), said(other)))
        asked[digest] = Asked(f"learner-{number // 2}", label)
    return pairs, asked


SHADOW, CANARY = Contest(1, 2, "shadow"), Contest(1, 2, "canary")


def decided(contest: Contest, rollout: Rollout | None = None, **given: float) -> Step:
    pairs, asked = contest_of(**given)
    return decide(contest, pairs, asked, rollout or Rollout(), now=LATER)


def test_a_challenger_that_agrees_becomes_the_canary() -> None:
    step = decided(SHADOW, champion=0.8, challenger=0.8)
    assert step.decision == "canary"
    assert step.exit_code == 0
    assert step.reason.startswith("agreement: same answer 1.000 (0.9")


def test_a_challenger_that_says_something_else_goes_no_further() -> None:
    step = decided(SHADOW, Rollout(tolerance=1.0), champion=0.9, challenger=0.3)
    assert step.decision == "reject"
    assert step.exit_code == 1


def test_a_canary_that_is_as_right_becomes_stable() -> None:
    step = decided(CANARY, champion=0.8, challenger=0.85)
    assert step.decision == "promote"
    assert "outcomes: difference in correctness +0.05" in step.reason


def test_a_canary_that_is_wrong_is_stopped() -> None:
    step = decided(CANARY, champion=0.8, challenger=0.6)
    assert step.decision == "stop canary"
    assert step.exit_code == 1


def test_outcomes_speak_against_a_challenger_at_any_stage() -> None:
    # Nine of ten answers are the same, so agreement alone would let it pass.
    step = decided(SHADOW, Rollout(agreement=0.5), champion=0.9, challenger=0.75, learners=1000)
    assert step.decision == "reject"
    assert step.reason.startswith("outcomes")
    assert {item.by: item.finding for item in step.evidence} == {
        "outcomes": "loses", "agreement": "wins"
    }  # fmt: skip


def test_few_learners_decide_nothing() -> None:
    step = decided(SHADOW, champion=0.8, challenger=0.8, learners=49)
    assert step.decision == "continue"
    assert decided(SHADOW, Rollout(learners=10), champion=0.8, challenger=0.8, learners=49)
    pairs, _ = contest_of(champion=0.8, challenger=0.8)
    assert decide(CANARY, pairs, {}, Rollout(), now=LATER).decision == "continue"  # no outcomes yet


def test_log_loss_sees_what_correctness_does_not() -> None:
    pairs, asked = contest_of(champion=0.8, challenger=0.8, learners=1500)
    surer = []
    for pair in pairs:
        name = pair.champion.predicted_class or ""  # both say the same
        surer.append(Pair(pair.input_hash, pair.at, said(name, 0.6), said(name, 0.8)))
    by_class = decide(CANARY, surer, asked, Rollout(tolerance=0.0), now=LATER)
    by_loss = decide(CANARY, surer, asked, Rollout(tolerance=0.0, measure="log_loss"), now=LATER)
    assert by_class.decision == "continue"
    assert by_loss.decision == "promote"


def test_of_a_regression_the_nearer_answer_is_better() -> None:
    pairs, asked = [], {}
    for number in range(300):
        digest = f"{number:064x}"
        at = NOON + timedelta(minutes=number)
        far, near = (Said(None, {}, 0.5 + error) for error in (0.3, 0.1))
        pairs.append(Pair(digest, at, far, near))
        asked[digest] = Asked(f"learner-{number}", 0.5)
    step = decide(CANARY, pairs, asked, Rollout(), now=LATER)
    assert step.decision == "promote"
    found = {item.by: item for item in step.evidence}
    assert found["outcomes"].mean == 1.0
    assert found["agreement"].mean == 0.0  # they differ by 0.2


def test_a_learner_counts_once_and_that_number_stays() -> None:
    pairs, asked = contest_of(champion=0.8, challenger=0.8, learners=100)
    one = {digest: Asked("ann", known.label) for digest, known in asked.items()}
    step = decide(SHADOW, pairs, one, Rollout(), now=LATER)
    assert {item.learners for item in step.evidence} == {1}

    rollout = Rollout(settle_hours=1.0)
    last = pairs[-1].at
    early = decide(SHADOW, pairs, asked, rollout, now=last).evidence[0]
    late = decide(SHADOW, pairs, asked, rollout, now=LATER).evidence[0]
    assert early.learners < late.learners == 100  # the last ones are not settled yet
    again = contest_of(champion=0.1, challenger=0.1, learners=100)[0]
    more = [*pairs, *(Pair(f"a{p.input_hash}", LATER, p.champion, p.challenger) for p in again)]
    known = {**asked, **{f"a{key}": item for key, item in asked.items()}}
    assert decide(SHADOW, more, known, rollout, now=LATER).evidence[0] == late


def test_who_is_compared(storage: Storage) -> None:
    assert find_contest(storage) == SHADOW
    promotion.start_canary(storage, 2, 20)
    assert find_contest(storage) == CANARY
    promotion.stop_canary(storage)
    assert find_contest(storage) is None  # it was tried
    assert "apart from those that were tried" in nothing_to_decide(storage).reason
    promotion.promote(storage, 2)
    promotion.roll_back(storage)
    assert find_contest(storage) is None  # a person has taken it back
    stopping.stop(storage, 1, "wrong")
    assert find_contest(storage) is None
    assert "was stopped by" in nothing_to_decide(storage).reason


def test_a_rollout_goes_from_shadow_to_stable_and_says_why(storage: Storage) -> None:
    rollout = Rollout(share=25)
    step = take(storage, decided(SHADOW, champion=0.8, challenger=0.8), rollout)
    assert step.changed
    state, _ = current_state(storage)
    assert (state.stable, state.canary, state.share) == (1, 2, 25)
    step = take(storage, decided(CANARY, champion=0.8, challenger=0.85), rollout)
    state, _ = current_state(storage)
    assert (state.stable, state.canary) == (2, None)
    entries = read_entries(storage)[-2:]
    assert [entry.action for entry in entries] == ["canary", "promote"]
    assert entries[1].reason == f"rollout: {step.reason}"
    assert "400 learners" in (entries[1].reason or "")
    assert not any(entry.forced for entry in entries)
    assert f"Done: make it stable (revision {entries[1].revision})" in describe_step(
        step, automatic=True, dry_run=False
    )


def test_a_canary_that_loses_is_taken_back(storage: Storage) -> None:
    promotion.start_canary(storage, 2, 20)
    step = take(storage, decided(CANARY, champion=0.8, challenger=0.6), Rollout())
    assert (step.changed, step.exit_code) == (True, 1)
    state, _ = current_state(storage)
    assert (state.stable, state.canary) == (1, None)
    assert (read_entries(storage)[-1].reason or "").startswith("rollout: rejected: outcomes")


def test_gates_and_approvals_are_never_overruled(storage: Storage, tmp_path: Path) -> None:
    policy = ApprovalPolicy(needed=1)
    wins = decided(SHADOW, champion=0.8, challenger=0.8)
    step = take(storage, wins, Rollout(), policy=policy)
    assert "approval" in (step.refused or "")
    assert (step.changed, step.exit_code) == (False, 1)

    write_version(tmp_path / "sample" / "serving", 3, failed=True)
    failed = wins.model_copy(update={"challenger": 3})
    step = take(storage, failed, Rollout())
    assert "f1_macro >= 0.88" in (step.refused or "")
    state, _ = current_state(storage)
    assert (state.stable, state.canary) == (1, None)


def test_a_change_of_others_meanwhile_is_respected(storage: Storage) -> None:
    step = decided(SHADOW, champion=0.8, challenger=0.8)
    promotion.promote(storage, 2)
    assert "changed meanwhile" in (take(storage, step, Rollout()).refused or "")
    assert current_state(storage)[0].stable == 2


def test_a_step_in_words_and_for_programs() -> None:
    step = decided(CANARY, champion=0.8, challenger=0.85)
    text = describe_step(step, automatic=False, dry_run=False)
    assert text.splitlines()[0] == "canary: 2 against 1"
    assert text.endswith("To do: make it stable; nothing was changed (rollout.automatic is off)")
    assert describe_step(step, automatic=True, dry_run=True).endswith("(--dry-run)")
    assert json.loads(as_json(step))["decision"] == "promote"
