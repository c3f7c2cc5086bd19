"""No order of changes, and no crash in one of them, leaves a wrong file."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from components.errors import MasteryError
from serving.models import promotion
from serving.models.changes import current_state, read_entries
from serving.models.storage import Storage
from serving.models.stores import open_storage
from tests.serving.models.folders import CrashError, Crashing, check, loaded, write_version

NUMBERS = st.integers(1, 8)
CHANGES = st.one_of(
    st.tuples(st.just("push")),
    st.tuples(st.just("promote"), NUMBERS),
    st.tuples(st.just("rollback")),
    st.tuples(st.just("canary"), NUMBERS, st.integers(1, 99)),
    st.tuples(st.just("stop")),
    st.tuples(st.just("prune"), st.integers(0, 4)),
)
WRITES = st.integers(0, 5) | st.just(99)  # most changes write three times


def apply(storage: Storage, name: str, *arguments: int) -> None:
    actions = {
        "promote": promotion.promote, "rollback": promotion.roll_back, "canary": promotion.start_canary,
        "stop": promotion.stop_canary, "prune": promotion.prune,
    }  # fmt: skip
    with contextlib.suppress(MasteryError):  # a refusal
        actions[name](storage, *arguments)


@settings(max_examples=60)
@given(st.lists(st.tuples(CHANGES, WRITES), min_size=1, max_size=12))
def test_no_order_of_changes_and_crashes_leaves_a_wrong_file(
    steps: list[tuple[tuple, int]],
) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder, pushed = Path(temporary), 2
        for number in (1, 2):
            write_version(folder, number)
        for (name, *arguments), writes in steps:
            storage = Crashing(folder, writes)
            held = loaded(storage) if storage.read("models.config") else []
            if name == "push":
                pushed += 1
                write_version(folder, pushed)
            else:
                with contextlib.suppress(CrashError):
                    apply(storage, name, *arguments)
            check(folder, held)
        finished = open_storage(str(folder))
        apply(finished, "stop")  # any change finishes what was cut off
        entries = read_entries(finished)
        if entries:
            assert current_state(finished) == (entries[-1].after, None)
