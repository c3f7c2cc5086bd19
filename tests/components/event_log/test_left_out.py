"""Learners who are left out: a log reads as if they had never been in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.config import Config
from components.contracts.left_out import LeftOutList, read_left_out
from components.errors import ConfigError
from components.event_log.log import check_log, read_log, read_questions
from components.event_log.tables import are_left_out

Configure = Callable[..., Config]


@given(st.lists(st.text()), st.sets(st.text()))
def test_the_rows_of_others_stay_in_their_order(ids: list[str], listed: set[str]) -> None:
    known = LeftOutList.empty().adding(listed, "opted out")
    learners = pl.Series(ids, dtype=pl.String)
    kept = learners.filter(~are_left_out(learners, known)).to_list()
    assert kept == [name for name in ids if name not in listed]


def test_the_file_holds_no_id_and_lists_share_no_digest(tmp_path: Path) -> None:
    one, two = (LeftOutList.empty().adding(["ann@example.org"], "erased") for _ in range(2))
    assert one.digests.isdisjoint(two.digests)
    assert b"ann" not in one.write(tmp_path).read_bytes()
    assert LeftOutList.read(tmp_path).holds("ann@example.org")


def test_an_erasure_outlives_an_opt_out_and_is_added_once() -> None:
    known = LeftOutList.empty().adding(["ann", "ann", "ben"], "opted out")
    erased = known.adding(["ann"], "erased")
    assert [item.reason for item in erased.learners] == ["erased", "opted out"]
    assert erased.adding(["ann"], "opted out") == erased
    assert [item.digest for item in erased.opting_in(["ann", "ben"]).learners] == [
        known.digest("ann")
    ]


@pytest.mark.parametrize("content", [None, "", '{"salt": "zz"}', "learner-1\nlearner-2\n"])
def test_a_list_that_cannot_be_read_is_never_an_empty_one(
    tmp_path: Path, content: str | None
) -> None:
    path = tmp_path / "left-out.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=r"data\.left_out: .*left-out\.json.*opt-out --list"):
        read_left_out(str(path))


def test_a_log_reads_as_if_they_had_never_been_in_it(
    write: Callable[..., None], configure: Configure, tmp_path: Path
) -> None:
    write()
    log = tmp_path
    whole = pl.read_parquet(log / "outcomes.parquet")
    gone = whole["learner_id"].unique(maintain_order=True).head(2).to_list()
    listed = LeftOutList.empty().adding(gone, "erased").write(tmp_path)

    counted = check_log(configure(data={"left_out": str(listed)}))
    read = read_log(configure(data={"left_out": str(listed)}), splits=True, keys_only=False)
    for table in ("events", "outcomes"):
        rows = pl.read_parquet(log / f"{table}.parquet")
        rows.filter(~pl.col("learner_id").is_in(gone)).write_parquet(log / f"{table}.parquet")
    expected = check_log(configure())
    assert (counted.learners, counted.outcomes, counted.splits) == (
        expected.learners,
        expected.outcomes,
        expected.splits,
    )

    without = read_log(configure(), splits=True, keys_only=False)
    keys = ["learner_id", "unit_id", "as_of"]
    assert read.part.outcomes.select(keys).equals(without.part.outcomes.select(keys))
    assert any("outcomes of learners in data.left_out" in text for text in counted.warnings)
    assert not any(name in text for name in gone for text in counted.warnings)


def test_nobody_is_asked_about_them(
    write: Callable[..., None], configure: Configure, tmp_path: Path
) -> None:
    write()
    log = tmp_path
    gone = pl.read_parquet(log / "events.parquet")["learner_id"][0]
    listed = LeftOutList.empty().adding([gone], "opted out").write(tmp_path)
    events = [str(log / "events.parquet")]
    asked = read_questions(configure(), events, as_of="9")
    left = read_questions(configure(data={"left_out": str(listed)}), events, as_of="9")
    expected = [name for name in asked.outcomes["learner_id"] if name != gone]
    assert left.outcomes["learner_id"].to_list() == expected
    assert len(expected) < asked.outcomes.height
