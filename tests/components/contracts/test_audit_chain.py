"""The chain of the audit log: whatever is changed in it is found."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.contracts.audit_chain import BEGINNING, check_chain, head_in, head_of, seal
from components.contracts.serving_state import AuditEntry, ServedState

STATES = [ServedState(), *(ServedState(name="sample", stable=number) for number in range(1, 9))]


def entry(number: int) -> AuditEntry:
    """Returns entry `number`, as it was before there were digests."""
    return AuditEntry(
        revision=number,
        id=f"{number:032x}",
        time="2026-11-27T08:00:00.000+00:00",
        who="ann@laptop",
        action="promote",
        version=number,
        reason='so called "reason", digest: ü',
        before=STATES[number - 1],
        after=STATES[number],
    )


def log(count: int, *, older: int = 0) -> list[bytes]:
    """Returns the lines of a log whose first entries are from before there were digests."""
    lines: list[bytes] = []
    for number in range(1, count + 1):
        if number <= older:
            lines.append(entry(number).model_dump_json(exclude={"previous", "digest"}).encode())
        else:
            lines.append(seal(entry(number), lines).to_line())
    return lines


def test_an_entry_holds_the_digest_of_the_one_before_and_its_own() -> None:
    first, second = log(2)
    assert json.loads(first)["previous"] == BEGINNING
    before_the_digest = first[: -len(',"digest":""}') - 64]
    assert json.loads(first)["digest"] == hashlib.sha256(before_the_digest).hexdigest()
    assert json.loads(second)["previous"] == json.loads(first)["digest"]
    assert [*json.loads(second)][-1] == "digest"


def test_a_log_that_nobody_changed_has_no_problem() -> None:
    checked = check_chain(log(5))
    assert checked.problems == ()
    assert checked.head == head_of(log(5)) == json.loads(log(5)[-1])["digest"]
    assert checked.place_of(checked.heads[2][:12]) == 3
    assert check_chain([]).head == BEGINNING


def test_the_first_new_entry_covers_every_byte_of_an_older_log() -> None:
    lines = log(5, older=3)
    before = b"".join(line + b"\n" for line in lines[:3])
    assert json.loads(lines[3])["previous"] == hashlib.sha256(before).hexdigest()
    assert check_chain(lines).problems == ()
    assert check_chain(lines[:3]).head == hashlib.sha256(before).hexdigest()


@given(data=st.data(), older=st.integers(0, 3))
def test_any_changed_byte_is_found(data: st.DataObject, older: int) -> None:
    lines = log(4, older=older)
    place = data.draw(st.integers(0, 3))
    at = data.draw(st.integers(0, len(lines[place]) - 1))
    change = data.draw(st.integers(1, 255))
    edited = bytearray(lines[place])
    edited[at] ^= change
    lines[place] = bytes(edited)

    problems = check_chain(lines).problems
    assert problems
    # An older entry has no digest of its own: the first one with a digest tells.
    expected = {place + 1, place + 2} if place >= older else {*range(1, older + 2)}
    assert {int(problem.split()[1]) for problem in problems} <= expected


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda lines: lines.pop(0), "entry 1 "),
        (lambda lines: lines.pop(2), "entry 3 "),
        (lambda lines: lines.insert(2, lines[1]), "entry 3 "),
        (lambda lines: lines.insert(2, entry(3).to_line()), "entry 3 "),
        (lambda lines: lines.insert(4, b""), "entry 5 "),
        (lambda lines: lines.append(lines.pop(2)), "entry 3 "),
    ],
    ids=["first", "middle", "copy", "without a digest", "blank", "order"],
)
def test_removed_added_and_reordered_entries_are_found(
    change: Callable[[list[bytes]], object], named: str
) -> None:
    lines = log(5)
    change(lines)
    assert check_chain(lines).problems[0].startswith(named)


def test_an_entry_whose_digest_was_computed_anew_is_found_by_the_next() -> None:
    lines = log(4)
    forged = entry(2).model_copy(update={"reason": "nothing happened"})
    lines[1] = seal(forged, lines[:1]).to_line()
    assert check_chain(lines).problems == (
        "entry 3 does not follow entry 2: that was changed, or entries were removed, added or "
        "reordered",
    )


def test_a_log_that_was_cut_off_or_written_anew_never_had_the_head() -> None:
    head = check_chain(log(5)).head
    shorter = check_chain(log(4))
    assert shorter.problems == ()  # a chain alone cannot show it
    assert shorter.place_of(head) is None

    anew: list[bytes] = []
    for number in range(1, 6):
        other = entry(number).model_copy(update={"who": "ben@laptop"})
        anew.append(seal(other, anew).to_line())
    assert check_chain(anew).problems == ()
    assert check_chain(anew).place_of(head) is None


def test_the_head_in_a_folder_leaves_out_what_a_crash_cut_off(tmp_path: Path) -> None:
    assert head_in(tmp_path) is None
    lines = log(3)
    content = b"".join(line + b"\n" for line in lines)
    (tmp_path / "audit.jsonl").write_bytes(content + b'{"format":1')
    assert head_in(tmp_path) == json.loads(lines[-1])["digest"]
