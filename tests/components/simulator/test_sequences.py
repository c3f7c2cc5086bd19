from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from components.errors import MasteryError
from components.simulator import learner_model as model
from components.simulator.sequences import CHUNK, Sequences, check_request, draw


def test_the_same_seed_draws_the_same_learners(sequences: Sequences) -> None:
    again = draw(0, 0)
    for field in fields(Sequences):
        np.testing.assert_equal(getattr(again, field.name), getattr(sequences, field.name))


@pytest.mark.parametrize(("seed", "chunk"), [(1, 0), (0, 1)])
def test_another_seed_or_chunk_draws_others(sequences: Sequences, seed: int, chunk: int) -> None:
    other = draw(seed, chunk)
    assert other.learner[0] == chunk * CHUNK
    assert not np.array_equal(other.dwell[:100], sequences.dwell[:100], equal_nan=True)


def test_every_learner_has_a_sequence_and_no_unit_twice(sequences: Sequences) -> None:
    units = np.bincount(sequences.learner)
    assert len(units) == CHUNK
    np.testing.assert_allclose(np.bincount(units)[1:] / CHUNK, model.UNITS_PER_LEARNER, atol=0.02)
    assert len(np.unique(np.stack([sequences.learner, sequences.unit]), axis=1).T) == len(
        sequences.learner
    )


def test_times_ascend_and_as_of_falls_between_two_events(sequences: Sequences) -> None:
    rows = np.arange(len(sequences.label))
    assert (np.diff(sequences.time, axis=1) > 0).all()
    assert (sequences.time[rows, sequences.before - 1] < sequences.as_of).all()
    assert (sequences.as_of < sequences.time[rows, sequences.before]).all()
    assert sequences.before.min() == model.EVENTS_BEFORE[0]
    assert sequences.before.max() == model.EVENTS_BEFORE[1]


def test_wait_is_the_time_to_the_next_event_or_to_as_of(sequences: Sequences) -> None:
    rows = np.arange(len(sequences.label))
    step = np.arange(sequences.time.shape[1] - 1)
    others = step != sequences.before[:, None] - 1
    np.testing.assert_allclose(
        np.diff(sequences.time, axis=1)[others], sequences.wait[:, :-1][others], atol=1e-6
    )
    last = sequences.before - 1
    np.testing.assert_allclose(
        sequences.as_of - sequences.time[rows, last], sequences.wait[rows, last], atol=1e-6
    )


def test_an_ability_is_of_the_learner_and_a_third_have_each(sequences: Sequences) -> None:
    of_learner = np.full(CHUNK, -1)
    of_learner[sequences.learner] = sequences.ability
    assert (of_learner[sequences.learner] == sequences.ability).all()
    shares = np.bincount(of_learner) / CHUNK
    np.testing.assert_allclose(shares, 1 / len(model.ABILITIES), atol=0.03)


def test_abilities_carry_over_to_the_classes_of_other_units(sequences: Sequences) -> None:
    """Labels of two units of a learner agree more often than those of two learners."""
    second = np.flatnonzero(np.diff(sequences.learner, prepend=-1) == 0)
    label = sequences.label
    together = (label[second] == label[second - 1]).mean()
    shares = np.bincount(label[second]) / len(second) * (np.bincount(label) / len(label))
    error = np.sqrt(shares.sum() / len(second))
    assert together > shares.sum() + 5 * error
    job_level = sequences.attributes["job_level"]
    proficient = np.array([
        [(label[(sequences.ability == a) & (job_level == j)] == 2).mean() for a in range(3)]
        for j in range(4)
    ])  # fmt: skip
    assert (np.diff(proficient, axis=1) > 0).all()


def test_one_unit_looks_as_if_there_were_no_abilities(sequences: Sequences) -> None:
    """The first units and the later ones of learners are distributed alike."""
    first = np.diff(sequences.learner, prepend=-1) > 0
    for rows in (first, ~first):
        assert sequences.recorded[rows].mean() == pytest.approx(1 - model.COLD_START, abs=0.01)
    shares = [np.bincount(sequences.label[rows]) / rows.sum() for rows in (first, ~first)]
    np.testing.assert_allclose(*shares, atol=0.04)


def test_no_class_is_rare(sequences: Sequences) -> None:
    shares = np.bincount(sequences.label) / len(sequences.label)
    assert len(shares) == len(model.CLASSES)
    assert shares.min() > 0.25


def test_only_the_job_level_has_to_do_with_mastery(sequences: Sequences) -> None:
    proficient = sequences.label == model.CLASSES.index("proficient")
    for name, codes in sequences.attributes.items():
        counts = np.bincount(codes)
        shares = np.bincount(codes, weights=proficient) / counts
        spread = shares - proficient.mean()
        chi_square = (
            counts * spread**2
        ).sum() / proficient.var()  # expected: one less than there are groups
        if name == "job_level":
            assert chi_square > 20
            assert (np.diff(shares) > 0).all()
            assert shares[-1] - shares[0] < 0.2
        else:
            assert chi_square < 12


@pytest.mark.parametrize(
    ("learners", "seed", "text"), [(0, 1, "one learner or more, found 0"), (1, -1, "found -1")]
)
def test_an_invalid_request_is_explained(learners: int, seed: int, text: str) -> None:
    with pytest.raises(MasteryError, match=text):
        check_request(learners, seed)
