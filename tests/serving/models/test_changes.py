"""Changes that are interrupted, concurrent or made by hand never leave a wrong file."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.contracts.serving_state import Routing, ServedState, whoami
from components.errors import MasteryError
from serving.models import changes, promotion
from serving.models.changes import current_state, read_entries
from serving.models.storage import Storage
from serving.models.stores import open_storage
from tests.serving.models.folders import (
    CrashError,
    Crashing,
    check,
    labels,
    loaded,
    served,
    write_version,
)

ROOT = Path(__file__).parents[3]


KILL = """
import os, signal, sys
from serving.models import promotion
from serving.models.stores import open_storage
def die(event, arguments):
    if event == "os.rename" and sys.argv[3] in str(arguments):
        sys.argv[3] = "dying"  # os.kill is an event, too
        os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(die)
promotion.promote(open_storage(sys.argv[1]), int(sys.argv[2]))
"""


@pytest.mark.parametrize(("file", "stable"), [("models.config", 1), ("routing.json", 2)])
def test_a_promotion_killed_between_write_and_rename_is_finished_by_the_next(
    folder: Path, file: str, stable: int
) -> None:
    storage = open_storage(str(folder))
    promotion.promote(storage, 1)
    killed = subprocess.run(
        [sys.executable, "-c", KILL, str(folder), "2", file], cwd=ROOT, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    assert labels(storage) == {"stable": stable}  # the old file or the new one
    state, note = current_state(storage)
    assert state.stable == stable
    if stable == 1:
        assert "revision 2 is not finished" in (note or "")
    assert (
        promotion.promote(storage, 2) is None
    )  # typed again: it is recorded already, and done now
    assert labels(storage) == {"stable": 2}
    assert [entry.version for entry in read_entries(storage)] == [1, 2]
    assert promotion.roll_back(storage).after.stable == 1


def test_a_line_of_the_log_without_its_end_counts_as_not_written(folder: Path) -> None:
    storage = open_storage(str(folder))
    promotion.promote(storage, 1)
    with (folder / "audit.jsonl").open("ab") as log:
        log.write(b'{"revision": 2, "act')
    promotion.promote(storage, 2)
    assert [entry.version for entry in read_entries(storage)] == [1, 2]


FULL = """
import resource, sys
from components.contracts.serving_state import Routing, ServedState, whoami
from components.errors import MasteryError
from serving.models import promotion
from serving.models.stores import open_storage
limit = int(sys.argv[2])
before = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
try:
    promotion.promote(open_storage(sys.argv[1]), 2)
except MasteryError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, before)  # coverage writes at the end
"""


@pytest.mark.parametrize(
    ("room", "reason"), [(100, "No space left on device"), (0, "File too large")]
)
def test_a_full_disk_leaves_everything_as_it_was(folder: Path, room: int, reason: str) -> None:
    storage = open_storage(str(folder))
    promotion.promote(storage, 1)
    before = {name: storage.read(name) for name in ("audit.jsonl", "models.config", "routing.json")}
    limit = len(before["audit.jsonl"] or b"") + room
    command = [sys.executable, "-c", FULL, str(folder), str(limit)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert f"{folder}: could not write there: {reason}" in ran.stdout
    assert {name: storage.read(name) for name in before} == before


def _promote(folder: str, version: int, rounds: int) -> None:
    storage = open_storage(folder)
    for _ in range(rounds):
        promotion.promote(storage, version)
        promotion.promote(storage, 4)


def test_processes_that_promote_at_once_do_so_one_after_the_other(folder: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=_promote, args=(str(folder), version, 5)) for version in (1, 2, 4)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    check(folder, [])
    storage = open_storage(str(folder))
    entries = read_entries(storage)
    assert {entry.version for entry in entries} == {1, 2, 4}
    assert labels(storage) == {"stable": 4}
    assert current_state(storage) == (entries[-1].after, None)


def test_an_invalid_entry_of_the_log_is_quoted_in_the_error(storage: Storage) -> None:
    storage.append(1, b'{"revision": 1, "action": "dance"}')
    with pytest.raises(
        MasteryError,
        match=r"the audit log has an entry that cannot be used, .*dance.*: expected audit\.jsonl",
    ):
        promotion.promote(storage, 1)


def test_a_file_edited_by_hand_is_taken_over_and_recorded(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "SETTLING", 0.0)
    promotion.promote(storage, 1)
    promotion.promote(storage, 2)
    text = (storage.read("models.config") or b"").replace(b"value: 2", b"value: 1")
    storage.replace("models.config", text)
    assert "was edited since revision 2" in (current_state(storage)[1] or "")
    promotion.start_canary(storage, 4, 10)
    assert labels(storage) == {"stable": 1, "canary": 4}
    assert [entry.action for entry in read_entries(storage)] == [
        "promote",
        "promote",
        "adopt",
        "canary",
    ]


class Outrun(Storage):
    """A storage in which another process takes the number of the first entry that is added."""

    def __init__(self, storage: Storage) -> None:
        self.storage, self.quicker = storage, True

    def __getattribute__(self, name: str) -> Any:
        if name in ("storage", "quicker", "append"):
            return object.__getattribute__(self, name)
        return getattr(self.storage, name)

    def append(self, revision: int, entry: bytes) -> bool:
        if self.quicker:
            self.quicker = False
            return False
        return self.storage.append(revision, entry)


Outrun.__abstractmethods__ = frozenset()


def test_taking_over_an_edited_file_starts_again_when_another_process_is_quicker(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "SETTLING", 0.0)
    promotion.promote(storage, 1)
    promotion.promote(storage, 2)
    text = (storage.read("models.config") or b"").replace(b"value: 2", b"value: 1")
    storage.replace("models.config", text)
    promotion.start_canary(Outrun(storage), 4, 10)
    actions = [entry.action for entry in read_entries(storage)]
    assert actions == ["promote", "promote", "adopt", "canary"]


MADE_BY_HAND = (
    'model_config_list { config { name: "%s" base_path: "/models/x" model_platform: "tensorflow" '
    'version_labels { key: "stable" value: 2 } '
    "model_version_policy { specific { versions: 2 } } } %s }"
)


@pytest.mark.parametrize("manifest", [None, "{", "{}"])
def test_the_first_change_continues_a_file_made_by_hand(folder: Path, manifest: str | None) -> None:
    (folder / "models.config").write_text(MADE_BY_HAND % ("algebra", ""))
    file = folder / "4" / "manifest.json"
    file.unlink()
    if manifest is not None:
        file.write_text(manifest)
    storage = open_storage(str(folder))
    assert current_state(storage)[0].stable == 2
    promotion.start_canary(storage, 1, 10)
    assert (served(storage).name, labels(storage)) == ("algebra", {"stable": 2, "canary": 1})


def test_a_file_made_by_hand_without_versions(tmp_path: Path) -> None:
    (tmp_path / "models.config").write_text(MADE_BY_HAND % ("algebra", ""))
    assert current_state(open_storage(str(tmp_path)))[0].name == "algebra"


def test_models_of_other_names_are_not_this_one(folder: Path) -> None:
    another = 'config { name: "geometry" base_path: "/models/y" }'
    (folder / "models.config").write_text(MADE_BY_HAND % ("algebra", another))
    storage = open_storage(str(folder))
    assert current_state(storage) == (ServedState(), None)
    (folder / "gpu").mkdir()
    promotion.promote(storage, 1)
    for file in ("models.config", "gpu/models.config"):
        text = (folder / file).read_text()
        assert [name in text for name in ("algebra", "geometry", "sample")] == [True] * 3
    assert '"/models/x"' in (folder / "gpu" / "models.config").read_text()


def test_a_label_of_another_tool_goes_with_its_version(folder: Path) -> None:
    storage = open_storage(str(folder))
    promotion.promote(storage, 1)
    text = (folder / "models.config").read_text()
    label = 'version_labels { key: "tried" value: 1 } version_labels { key: "stable"'
    (folder / "models.config").write_text(
        text.replace('version_labels {\n      key: "stable"', label)
    )
    assert labels(storage) == {"stable": 1, "tried": 1}
    promotion.promote(storage, 2)
    assert labels(storage) == {"stable": 2, "tried": 1}
    promotion.promote(storage, 4)
    assert labels(storage) == {"stable": 4}


def test_an_entry_of_an_unknown_format_is_refused_and_nothing_is_changed(storage: Storage) -> None:
    promotion.promote(storage, 1)
    before = storage.read("models.config")
    newer = storage.entries()[0].replace(b'"format":1', b'"format":2')
    storage.append(2, newer.replace(b'"revision":1', b'"revision":2'))
    with pytest.raises(
        MasteryError,
        match=r"the audit log has an entry that cannot be used, .*: expected audit\.jsonl of "
        r"Mastery; expected format 1 or earlier, found 2: a newer version of Mastery wrote it",
    ):
        promotion.promote(storage, 2)
    assert storage.read("models.config") == before


def test_a_routing_that_cannot_be_used_is_written_again(storage: Storage) -> None:
    promotion.promote(storage, 1)
    storage.replace("routing.json", b"{")
    promotion.promote(storage, 2)
    routing = Routing.from_json(storage.read("routing.json") or b"")
    assert (routing.revision, routing.routes[0].version) == (2, 2)


def test_a_user_without_a_name_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> str:
        raise KeyError("getpwuid(): uid not found: 4711")

    monkeypatch.setattr("getpass.getuser", fail)
    assert whoami().startswith("unknown@")


def test_a_deleted_file_is_written_anew(folder: Path) -> None:
    storage = open_storage(str(folder))
    promotion.promote(storage, 1)
    (folder / "models.config").unlink()
    assert "is missing" in (current_state(storage)[1] or "")
    promotion.start_canary(storage, 2, 10)
    assert labels(storage) == {"stable": 1, "canary": 2}


def test_other_models_and_settings_of_the_file_stay(folder: Path) -> None:
    (folder / "models.config").write_text(
        "model_config_list { "
        'config { name: "other" base_path: "/other" model_platform: "tensorflow" } '
        'config { name: "sample" base_path: "/models/sample" model_platform: "tensorflow" '
        "logging_config { sampling_config { sampling_rate: 0.5 } } "
        'version_labels { key: "stable" value: 1 } '
        "model_version_policy { specific { versions: 1 } } } }"
    )
    storage = open_storage(str(folder))
    promotion.promote(storage, 2)
    text = (folder / "models.config").read_text()
    assert 'name: "other"' in text
    assert "sampling_rate: 0.5" in text
    assert 'base_path: "/models/sample"' in text


def test_a_file_that_is_no_models_config_is_refused_and_left_alone(folder: Path) -> None:
    (folder / "models.config").write_text("models: [")
    with pytest.raises(
        MasteryError, match=r"models\.config: expected a ModelServerConfig in text format"
    ):
        promotion.promote(open_storage(str(folder)), 1)
    assert (folder / "models.config").read_text() == "models: ["
    assert not (folder / "audit.jsonl").exists()


def test_a_version_that_a_prune_is_removing_is_not_promoted(folder: Path) -> None:
    promotion.promote(open_storage(str(folder)), 4)
    with pytest.raises(CrashError):
        promotion.prune(Crashing(folder, 3), 0)  # recorded and published, and nothing removed yet
    storage = open_storage(str(folder))
    with pytest.raises(MasteryError, match="a prune has begun to remove it"):
        promotion.promote(storage, 2)
    assert promotion.prune(storage, 4) == [1, 2, 3]  # the next one does what is left
    assert storage.versions() == [4]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_the_right_to_write_is_a_clear_error(folder: Path) -> None:
    folder.chmod(0o555)
    try:
        with pytest.raises(MasteryError, match="Permission denied"):
            promotion.promote(open_storage(str(folder)), 1)
    finally:
        folder.chmod(0o755)


def test_an_incomplete_or_changed_version_is_refused(folder: Path) -> None:
    storage = open_storage(str(folder))
    (folder / "1" / "variables" / "variables.index").write_bytes(b"ind")
    (folder / "2" / "saved_model.pb").unlink()
    (folder / "4" / "manifest.json").unlink()
    for version, text in (
        (1, "not those that were pushed"),
        (2, "no server can load it"),
        (4, r"no manifest\.json"),
    ):
        with pytest.raises(MasteryError, match=text):
            promotion.promote(storage, version)
    with pytest.raises(MasteryError, match="no server can load it"):
        promotion.promote(storage, 2, force=True, reason="in a hurry")
    promotion.promote(storage, 4, force=True, reason="copied by hand")
    assert (labels(storage), served(storage).name) == ({"stable": 4}, "sample")


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
        "promote": promotion.promote,
        "rollback": promotion.roll_back,
        "canary": promotion.start_canary,
        "stop": promotion.stop_canary,
        "prune": promotion.prune,
    }
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
