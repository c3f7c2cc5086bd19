"""Which model a run is compared with and started from, in real runs of a small pipeline."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.components.baseline.small_pipeline import EVERYTHING, NotServableError, Runs


@pytest.fixture
def run(tmp_path: Path) -> Runs:
    return Runs(tmp_path)


def test_a_candidate_is_compared_with_the_model_blessed_before_it(run: Runs) -> None:
    first = run("monday", "a")
    assert (first["baseline"], first["base"], first["cached"]) == (None, None, set())

    again = run("monday", "a")
    assert again == first | {"cached": EVERYTHING}

    second = run("monday", "b")
    assert second["baseline"] == first["model"]
    assert second["cached"] == {"Gen"}

    assert run("monday", "b") == second | {"cached": EVERYTHING}


def test_a_failed_model_is_not_a_baseline(run: Runs) -> None:
    good = run("monday", "a")
    bad = run("monday", "b", gate="fail")
    assert bad["baseline"] == good["model"]
    assert run("monday", "c")["baseline"] == good["model"]


def test_a_model_that_cannot_be_served_is_neither_baseline_nor_start(run: Runs) -> None:
    good = run("monday", "a")
    with pytest.raises(NotServableError):
        run("tuesday", "b", gate="not servable")
    other = run("wednesday", "c")
    assert (other["baseline"], other["base"]) == (good["model"], good["model"])
    servable = run("tuesday", "b")
    assert run("thursday", "d")["baseline"] == servable["model"]


def test_a_returning_older_model_is_compared_with_the_newer_one(run: Runs) -> None:
    old, new = run("monday", "a"), run("monday", "b")
    back = run("monday", "a")
    assert (back["model"], back["baseline"]) == (old["model"], new["model"])
    assert back["cached"] == {"Gen", "Trainer"}
    assert run("monday", "a") == back | {"cached": EVERYTHING}
    # it was blessed again, so the next one is compared with it
    assert run("monday", "c")["baseline"] == old["model"]


def test_training_starts_from_a_model_of_other_examples(run: Runs) -> None:
    monday = run("monday", "a")
    tuesday = run("tuesday", "a")
    assert tuesday["base"] == monday["model"]
    assert run("tuesday", "a") == tuesday | {"cached": EVERYTHING}
    # another setting on the same examples starts where the first one did
    assert run("tuesday", "b")["base"] == monday["model"]


def test_a_model_has_seen_the_examples_of_its_warm_start(run: Runs) -> None:
    monday = run("monday", "a")
    run("tuesday", "a")
    back = run("monday", "a")
    assert back["base"] is None
    assert back["model"] == monday["model"]
