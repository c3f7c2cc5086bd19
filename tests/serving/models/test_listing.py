"""What `mastery models list` and `show` print of versions, as tables and as JSON."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import pytest

from components.command.console import PlainConsole
from components.contracts.manifest import Manifest
from components.errors import MasteryError
from serving.models import promotion
from serving.models.changes import RefusedError, read_entries
from serving.models.listing import (
    check_version,
    describe_log,
    list_versions,
    print_version,
    print_versions,
    read_version,
    resolve,
)
from serving.models.storage import Storage
from serving.models.stores import LocalStorage, open_storage


def edit(folder: Path, number: int, **changes: object) -> None:
    """Changes a version's manifest; None removes a key."""
    file = folder / str(number) / "manifest.json"
    content = json.loads(file.read_text()) | changes
    kept = {key: value for key, value in content.items() if value is not None}
    file.write_text(json.dumps(kept))


def problems(folder: Path, version: int) -> tuple[str, ...]:
    return read_version(LocalStorage(folder), version, servable=True).problems


def printed(storage: Storage, version: str | None = None) -> str:
    listing = list_versions(storage)
    console = PlainConsole(file=StringIO(), width=120)
    if version is None:
        print_versions(listing, console)
    else:
        number = resolve(storage, version)
        found = next(item for item in listing.versions if item.version == number)
        print_version(listing, found, console)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_versions_are_listed_with_labels_and_lineage(storage: Storage) -> None:
    promotion.promote(storage, 1)
    promotion.promote(storage, 2)
    promotion.start_canary(storage, 4, 25)
    listing = list_versions(storage)
    assert (listing.address, listing.model, listing.note) == (storage.address, "sample", None)
    assert [version.version for version in listing.versions] == [1, 2, 3, 4]
    labels = [["previous"], ["stable"], [], ["canary"]]
    assert [version.labels for version in listing.versions] == labels
    assert [version.share for version in listing.versions] == [None, None, None, 25]
    assert [version.loaded for version in listing.versions] == [True, True, False, True]
    assert listing.versions[0].run == "run-1"
    assert listing.versions[0].metrics == {"f1_macro": 0.9, "auc": None}
    assert [resolve(storage, name) for name in ("previous", "stable", "canary", "3")] == [
        1,
        2,
        4,
        3,
    ]


def test_a_table_shows_labels_and_problems(folder: Path) -> None:
    storage = open_storage(str(folder))
    promotion.promote(storage, 1)
    promotion.start_canary(storage, 2, 10)
    text = printed(storage)
    assert "Version  Label        f1_macro  auc  Pushed      Run" in text
    assert "2        canary 10 %  0.9000    –    2026-11-20  run-2" in text
    assert "3 is not for serving: a gate failed: f1_macro >= 0.88: 0.912" in text

    (folder / "models.config").unlink()
    assert "models.config is missing; the next change writes it again." in printed(storage)


def test_an_empty_folder_has_no_versions(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path))
    assert printed(storage) == f"No versions in {tmp_path} yet.\n"
    assert describe_log(read_entries(storage)) == "Nothing has been changed yet."


def test_a_version_is_shown_with_all_that_is_known(folder: Path) -> None:
    storage = open_storage(str(folder))
    promotion.promote(storage, 1)
    text = printed(storage, "stable")
    assert "Label     stable" in text
    assert f"Folder    {folder}/1" in text
    assert "Data      dddddddddddd, span 1" in text
    assert "Baseline  –" in text
    assert "  f1_macro            0.9000" in text
    assert "  f1_macro >= 0.88: 0.912" in text
    assert "Not for serving: a gate failed" in printed(storage, "3")

    (folder / "2" / "manifest.json").unlink()
    assert "Data      –" in printed(storage, "2")


def test_decisions_of_a_version_are_shown_with_how_they_went(folder: Path) -> None:
    assert "decision call" not in printed(open_storage(str(folder)), "1")  # an older version
    measured = {"examples": 100, "of_class": 30, "named": 40, "right": 27, "recall": 0.9,
                "precision": 0.675, "intervals": {"recall": [0.85, 0.95]}}  # fmt: skip
    call = {"name": "call", "class": "low", "threshold": 0.1634, "purpose": "recall"}
    early = {"early_warning": "By day 7 it finds all of them."}
    edit(folder, 1, decisions=[{**call, "measured": measured, **early}])
    assert (
        "  decision call: low from 0.1634 on; recall 0.9000 (0.8500 to 0.9500), precision 0.6750\n"
        "    By day 7 it finds all of them.\n" in printed(open_storage(str(folder)), "1")
    )


def test_a_labelled_version_is_listed_when_its_files_are_gone(folder: Path) -> None:
    storage = open_storage(str(folder))
    promotion.promote(storage, 2)
    storage.remove(2)
    gone = next(item for item in list_versions(storage).versions if item.version == 2)
    assert (gone.labels, gone.servable) == (["stable"], False)
    assert gone.problems[0] == "it is incomplete: there is no saved_model.pb"


def test_missing_parts_of_a_manifest_are_problems_of_the_version(folder: Path) -> None:
    assert problems(folder, 1) == ()
    edit(folder, 1, gates=None)
    assert problems(folder, 1) == ("its manifest.json does not say whether it passed its gates",)
    edit(folder, 2, version=7)
    assert problems(folder, 2) == ("its manifest.json is that of version 7",)
    (folder / "4" / "manifest.json").unlink()
    assert problems(folder, 4) == (
        "it has no manifest.json, so it is unknown whether it passed its gates",
    )


@pytest.mark.parametrize("content", ["{", "[]", '{"gates": 7}'])
def test_a_manifest_that_cannot_be_used_is_named(folder: Path, content: str) -> None:
    file = folder / "1" / "manifest.json"
    file.write_text(content)
    (problem,) = problems(folder, 1)
    assert problem.startswith(f"its manifest.json cannot be used: {file}: expected manifest.json")


def test_a_manifest_of_an_unknown_format_is_refused(storage: Storage) -> None:
    newer = Manifest(name="sample").to_json().replace('"format": 1', '"format": 2')
    storage.replace("1/manifest.json", newer.encode())
    with pytest.raises(
        RefusedError,
        match=r"1/manifest\.json: .*expected format 1 or earlier, found 2: a newer version",
    ):
        promotion.promote(storage, 1)


def test_the_manifest_of_a_folder_with_zeros_before_its_number(folder: Path) -> None:
    (folder / "1").rename(folder / "0001")
    version = check_version(LocalStorage(folder), 1)
    assert version.problems == ()
    assert version.manifest is not None
    assert version.manifest.run == "run-1"


def test_unreadable_files_are_problems_of_the_version(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "variables.index")

    monkeypatch.setattr("serving.models.listing.difference", fail)
    (problem,) = check_version(LocalStorage(folder), 1).problems
    assert problem == "its files cannot be read: Permission denied (variables.index)"


@pytest.mark.parametrize("name", ["9", "canary", "newest", "٣"])
def test_an_unknown_version_is_refused_with_the_known_ones(storage: Storage, name: str) -> None:
    promotion.promote(storage, 1)
    with pytest.raises(MasteryError) as caught:
        resolve(storage, name)
    expected = (
        f"expected a version {name} (a number, or stable, canary, previous), found 1, 2, 3, 4"
    )
    assert expected in str(caught.value)


def test_the_log_has_one_line_per_entry(folder: Path) -> None:
    storage = open_storage(str(folder))
    promotion.promote(storage, 1)
    promotion.promote(storage, 3, force=True, reason="the gate\nwas wrong")
    promotion.start_canary(storage, 4, 25)
    promotion.prune(storage, 1)
    promotion.prune(storage, 0)
    lines = [line.partition("  ")[2] for line in describe_log(read_entries(storage)).splitlines()]
    found = [line.rpartition("  ")[2] for line in lines]
    assert found == [
        "promote: stable – → 1",
        "promote: stable 1 → 3",
        "overruled: a gate failed: f1_macro >= 0.88: 0.912",
        "reason: the gate\\u000awas wrong",
        "canary: canary – → 4; share 25 %",
        "prune: removed 2",
    ]
