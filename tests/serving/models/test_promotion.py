"""Promote, rollback, canary and prune, in a folder and in an object store."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from components.errors import MasteryError
from serving.models import promotion
from serving.models.changes import RefusedError, read_entries
from serving.models.listing import Version, check_version, describe_log
from serving.models.storage import Storage
from serving.models.stores import open_storage
from tests.serving.models.folders import labels, loaded, served, write_version


def routes(storage: Storage) -> dict[str, tuple[int, int]]:
    content = json.loads(storage.read("routing.json") or b"")
    return {route["label"]: (route["version"], route["percent"]) for route in content["routes"]}


def test_a_first_promotion_writes_what_the_server_polls(storage: Storage) -> None:
    promotion.promote(storage, 1)
    model = served(storage)
    assert (model.name, model.base_path, model.model_platform) == (
        "sample",
        storage.address,
        "tensorflow",
    )
    assert (labels(storage), loaded(storage)) == ({"stable": 1}, [1])
    assert routes(storage) == {"stable": (1, 100)}


def test_servers_with_a_gpu_get_the_same_with_their_own_place(storage: Storage) -> None:
    promotion.promote(storage, 1, base_path="/models/sample/")
    assert storage.read("gpu/models.config") is None
    storage.replace("4/gpu/saved_model.pb", b"graph with cuDNN")
    storage.replace("gpu/of-the-pusher", b"")
    promotion.promote(storage, 4, force=True, reason="an export was added by hand")
    expected = served(storage)
    expected.base_path = "/models/sample/gpu"
    assert served(storage, "gpu/models.config") == expected
    promotion.roll_back(storage)
    assert dict(served(storage, "gpu/models.config").version_labels) == {"stable": 1}


def test_a_version_s_link_for_gpus_goes_with_it(folder: Path) -> None:
    storage = open_storage(str(folder))
    (folder / "gpu").mkdir()
    for version in (1, 2, 4):
        (folder / "gpu" / str(version)).symlink_to(f"../{version}")
    promotion.promote(storage, 4)
    assert promotion.prune(storage, 1) == [1, 2, 3]
    assert sorted(item.name for item in (folder / "gpu").iterdir()) == ["4", "models.config"]


def test_repeated_rollbacks_go_further_back(storage: Storage) -> None:
    for version in (1, 2, 4):
        promotion.promote(storage, version)
    assert loaded(storage) == [2, 4]  # so that going back is instant
    assert promotion.roll_back(storage, "complaints").after.stable == 2
    assert (labels(storage), loaded(storage)) == ({"stable": 2}, [1, 2, 4])
    assert promotion.roll_back(storage).after.stable == 1
    with pytest.raises(RefusedError, match="stable before and is still there, found none"):
        promotion.roll_back(storage)
    assert labels(storage) == {"stable": 1}


def test_a_canary_gets_its_share_and_becomes_stable(storage: Storage) -> None:
    promotion.promote(storage, 1)
    promotion.start_canary(storage, 2, 10)
    assert (labels(storage), loaded(storage)) == ({"stable": 1, "canary": 2}, [1, 2])
    assert routes(storage) == {"stable": (1, 90), "canary": (2, 10)}
    promotion.promote(storage, 2)
    assert (labels(storage), loaded(storage)) == ({"stable": 2}, [1, 2])
    assert routes(storage) == {"stable": (2, 100)}
    assert promotion.stop_canary(storage) is None


def test_a_version_stays_loaded_in_the_change_that_takes_its_label(storage: Storage) -> None:
    promotion.promote(storage, 1)
    promotion.start_canary(storage, 2, 10)
    promotion.stop_canary(storage)
    assert (labels(storage), loaded(storage)) == ({"stable": 1}, [1, 2])
    promotion.promote(storage, 4)
    assert (labels(storage), loaded(storage)) == ({"stable": 4}, [1, 4])


def test_a_canary_without_a_stable_version_is_refused(storage: Storage) -> None:
    with pytest.raises(RefusedError, match="expected a stable version for the other requests"):
        promotion.start_canary(storage, 1, 10)
    promotion.promote(storage, 1)
    with pytest.raises(RefusedError, match="another version than the stable one"):
        promotion.start_canary(storage, 1, 10)


def test_a_version_that_failed_a_gate_is_refused_and_can_be_forced_with_a_reason(
    storage: Storage,
) -> None:
    promotion.promote(storage, 1)
    before = storage.read("models.config")
    for attempt in ({}, {"force": True}, {"force": True, "reason": " "}):
        with pytest.raises(
            RefusedError, match=r"a gate failed: f1_macro >= 0\.88|expected --reason"
        ):
            promotion.promote(storage, 3, **attempt)
        with pytest.raises(
            RefusedError, match=r"a gate failed: f1_macro >= 0\.88|expected --reason"
        ):
            promotion.start_canary(storage, 3, 10, **attempt)
    assert storage.read("models.config") == before
    promotion.promote(storage, 3, force=True, reason="the gate was wrong")
    last = read_entries(storage)[-1]
    assert labels(storage) == {"stable": 3}
    assert (last.reason, last.forced) == (
        "the gate was wrong",
        ("a gate failed: f1_macro >= 0.88: 0.912",),
    )


def test_a_change_without_effect_is_not_recorded(storage: Storage) -> None:
    promotion.promote(storage, 1)
    assert promotion.promote(storage, 1) is None
    assert len(read_entries(storage)) == 1


def test_promoting_an_unknown_version_names_the_known_ones(storage: Storage) -> None:
    with pytest.raises(MasteryError, match="expected a version 9, found 1, 2, 3, 4"):
        promotion.promote(storage, 9)


def test_the_server_s_own_path_is_kept(storage: Storage) -> None:
    promotion.promote(storage, 1, base_path="/models/sample")
    promotion.promote(storage, 2)
    assert served(storage).base_path == "/models/sample"


def test_prune_keeps_what_is_needed(storage: Storage) -> None:
    for version in (2, 1):
        promotion.promote(storage, version)
    assert (
        promotion.plan_prune(storage, 0) == []
    )  # 1 is served, 2 the target of a rollback, the others are newer
    promotion.promote(storage, 4)
    assert promotion.plan_prune(storage, 2) == promotion.prune(
        storage, 2
    )  # 2 was stable before last
    assert storage.versions() == [1, 3, 4]
    assert promotion.prune(storage, 0, "room") == [3]
    assert storage.versions() == [1, 4]
    assert [entry.removed for entry in read_entries(storage)[-2:]] == [(2,), (3,)]
    assert promotion.roll_back(storage).after.stable == 1


def test_without_a_stable_version_the_newest_stays(storage: Storage) -> None:
    assert promotion.prune(storage, 0) == [1, 2, 3]
    assert storage.versions() == [4]


def test_the_log_says_who_did_what(storage: Storage) -> None:
    promotion.promote(storage, 1, reason="first")
    promotion.start_canary(storage, 2, 25)
    first, second = read_entries(storage)
    assert (first.action, first.version, first.reason) == ("promote", 1, "first")
    assert "@" in first.who
    assert (second.action, second.after.canary, second.after.share) == ("canary", 2, 25)
    assert (first.revision, second.revision, second.before) == (1, 2, first.after)


def test_a_reason_cannot_pass_for_another_entry(folder: Path) -> None:
    storage = open_storage(str(folder))
    promotion.promote(
        storage, 1, reason="first\n   2  2026-11-20 10:00:00  root@vm  promote: stable 1 → 4"
    )
    first, reason = describe_log(read_entries(storage)).splitlines()
    assert "promote: stable – → 1" in first
    assert (
        reason
        == "      reason: first\\u000a   2  2026-11-20 10:00:00  root@vm  promote: stable 1 → 4"
    )


def test_a_version_that_is_removed_during_a_promotion_is_named(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    promotion.promote(storage, 1)

    def remove_after_check(storage: Storage, number: int, trust: None) -> Version:
        checked = check_version(storage, number, trust)
        storage.remove(number)
        return checked

    monkeypatch.setattr(promotion, "check_version", remove_after_check)
    with pytest.raises(MasteryError, match=r"version 2 was removed just now\. Nothing was changed"):
        promotion.promote(storage, 2)
    assert labels(storage) == {"stable": 1}


def test_only_the_path_of_the_stable_version_changes(storage: Storage) -> None:
    promotion.promote(storage, 1)
    entry = promotion.promote(storage, 1, base_path="/models/sample")
    assert entry is not None
    assert entry.after == entry.before.model_copy(update={"base_path": "/models/sample"})
    assert served(storage).base_path == "/models/sample"


def test_the_same_canary_again_changes_nothing(storage: Storage) -> None:
    promotion.promote(storage, 1)
    promotion.start_canary(storage, 2, 10)
    assert promotion.start_canary(storage, 2, 10) is None
    promotion.start_canary(storage, 2, 20)
    assert routes(storage) == {"stable": (1, 80), "canary": (2, 20)}


def test_a_change_is_described(storage: Storage) -> None:
    first = promotion.promote(storage, 3, force=True, reason="the gate was wrong")
    assert promotion.describe_change(first) == (
        "stable 3 (revision 1)\noverruled: a gate failed: f1_macro >= 0.88: 0.912"
    )
    canary = promotion.start_canary(storage, 2, 10)
    assert promotion.describe_change(canary) == (
        "stable 3; canary 2, to get 10 % of the requests (revision 2)"
    )
    assert promotion.describe_change(None) == "Nothing was changed: this is already so."


@pytest.mark.parametrize(("path", "name"), [("algebra/serving", "algebra"), ("algebra", "algebra")])
def test_a_model_without_a_manifest_is_named_after_its_folder(
    tmp_path: Path, path: str, name: str
) -> None:
    write_version(tmp_path / path, 1)
    (tmp_path / path / "1" / "manifest.json").unlink()
    storage = open_storage(str(tmp_path / path))
    promotion.promote(storage, 1, force=True, reason="made by hand")
    assert served(storage).name == name
