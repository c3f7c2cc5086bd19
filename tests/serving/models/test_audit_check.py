"""`mastery models log --check`: the log, and what files outside it remember."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from components.errors import MasteryError
from serving.models import promotion
from serving.models.audit_check import check_log
from serving.models.changes import read_entries
from serving.models.storage import Storage
from serving.models.stores import open_storage
from tests.serving.models.folders import write_version


def change(storage: Storage) -> None:
    """Makes four changes of every kind."""
    promotion.promote(storage, 1)
    promotion.start_canary(storage, 2, 10)
    promotion.promote(storage, 2)
    promotion.roll_back(storage, "complaints")


def cut(folder: Path, count: int) -> None:
    """Removes entries from the end, as somebody would who knows what else tells of them."""
    log = folder / "audit.jsonl"
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:-count]))
    (folder / "routing.json").unlink()


def test_changes_in_folders_and_stores_make_one_chain(storage: Storage) -> None:
    change(storage)
    checked = check_log(storage)
    assert (checked.problems, checked.entries) == ([], 4)
    assert checked.head == read_entries(storage)[-1].digest
    assert checked.witnesses == ["routing.json"]
    assert checked.describe().splitlines() == [
        "4 entries, each follows the one before.",
        "As remembered by routing.json.",
        f"head {checked.head}",
    ]


def test_an_older_log_goes_on_as_a_chain(folder: Path) -> None:
    storage = open_storage(str(folder))
    change(storage)
    log = folder / "audit.jsonl"
    older = []
    for line in log.read_text().splitlines():
        entry = json.loads(line)
        del entry["previous"], entry["digest"]
        older.append(json.dumps(entry) + "\n")
    log.write_text("".join(older))
    routing = json.loads((folder / "routing.json").read_text())
    (folder / "routing.json").write_text(json.dumps(routing | {"head": None}))

    promotion.promote(storage, 4)
    promotion.roll_back(storage)
    assert check_log(storage).problems == []
    log.write_text(log.read_text().replace("complaints", "no reason!", 1))
    (problem,) = check_log(storage).problems
    assert problem.startswith("entry 5 does not follow entry 4")


def test_an_edit_is_named(folder: Path) -> None:
    storage = open_storage(str(folder))
    change(storage)
    log = folder / "audit.jsonl"
    log.write_text(log.read_text().replace("complaints", "compliments"))
    problems = check_log(storage).problems
    assert problems == ["entry 4 was changed: its content has another digest than it says"]


def test_a_last_entry_without_its_end_is_named(folder: Path) -> None:
    storage = open_storage(str(folder))
    change(storage)
    log = folder / "audit.jsonl"
    log.write_bytes(log.read_bytes()[:-1] + b" ")
    problems = check_log(storage).problems
    assert any("bytes that are none" in problem for problem in problems)
    assert any("which routing.json remembers" in problem for problem in problems)


def test_a_cut_off_end_shows_only_against_a_head_from_elsewhere(
    folder: Path, tmp_path: Path
) -> None:
    storage = open_storage(str(folder))
    change(storage)
    witness = tmp_path / "elsewhere" / "head"
    head = check_log(storage, witness=witness).head
    assert witness.read_text() == f"{head}\n"

    cut(folder, 1)
    assert check_log(storage).problems == []
    for checked in (check_log(storage, expect=head[:12]), check_log(storage, witness=witness)):
        (problem,) = checked.problems
        assert problem.startswith(f"the log never had the head {head[:12]}, which ")
    assert witness.read_text() == f"{head}\n"  # a wrong log is not remembered


def test_a_witness_is_renewed_by_each_check(folder: Path, tmp_path: Path) -> None:
    storage = open_storage(str(folder))
    promotion.promote(storage, 1)
    first = check_log(storage, witness=tmp_path / "head").head
    promotion.promote(storage, 2)
    second = check_log(storage, witness=tmp_path / "head", expect=first)
    assert second.problems == []
    assert (tmp_path / "head").read_text() == f"{second.head}\n" != f"{first}\n"


def test_the_manifest_of_a_later_push_remembers_the_log(folder: Path) -> None:
    storage = open_storage(str(folder))
    change(storage)
    write_version(folder, 5)
    manifest = folder / "5" / "manifest.json"
    head = check_log(storage).head
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"audit_head": head}))
    assert "the manifest of version 5" in check_log(storage).witnesses

    cut(folder, 2)
    (problem,) = check_log(storage).problems
    assert "which the manifest of version 5 remembers" in problem


@pytest.mark.parametrize("head", ["", "abc", "latest", "A" * 64])
def test_what_is_no_head_is_refused(folder: Path, tmp_path: Path, head: str) -> None:
    storage = open_storage(str(folder))
    with pytest.raises(MasteryError, match="expected the head that an earlier check"):
        check_log(storage, expect=head)
    (tmp_path / "head").write_text(head)
    with pytest.raises(MasteryError, match="expected the head that an earlier check"):
        check_log(storage, witness=tmp_path / "head")
