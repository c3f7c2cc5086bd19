"""The stop button: what is served after it, what may follow, and what ends it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from components.contracts.serving_state import Routing, ServedState, Stop
from components.errors import MasteryError
from serving.models import promotion, stopping
from serving.models.changes import RefusedError, current_state, read_entries
from serving.models.listing import describe_log, list_versions
from serving.models.stopping import StoppedError, require_in_service, resume, stop
from serving.models.storage import Storage
from serving.models.stores import open_storage
from tests.serving.models.folders import (
    CrashError,
    Crashing,
    labels,
    loaded,
    write_version,
)

EMPTY = "model_config_list {\n}\n"


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    """Versions 1, 2 and 3; 2 is stable, 1 was before, 3 is the canary."""
    for number in (1, 2, 3):
        write_version(tmp_path, number)
    storage = open_storage(str(tmp_path))
    promotion.promote(storage, 1)
    promotion.promote(storage, 2)
    promotion.start_canary(storage, 3, 10)
    return storage


def config(storage: Storage) -> str:
    return (storage.read("models.config") or b"").decode()


def routing(storage: Storage) -> Routing:
    return Routing.from_json(storage.read("routing.json") or b"")


def test_stopping_the_stable_version_takes_the_model_out_of_service(storage: Storage) -> None:
    entry = stop(storage, 2, "wrong answers")

    assert config(storage) == EMPTY  # TensorFlow Serving ignores an empty file
    shown = routing(storage)
    assert (shown.routes, shown.out_of_service) == ([], shown.stopped[0])
    assert entry is not None
    found = shown.stopped[0]
    assert (found.version, found.who, found.time) == (2, entry.who, entry.time)
    assert found.describe("sample").startswith(f"version 2 of sample was stopped by {entry.who} at")
    with pytest.raises(StoppedError, match=r"version 2 .*: wrong answers\. Nothing was computed"):
        require_in_service(storage)
    assert stopping.describe_stop(entry).startswith("sample is out of service (revision 4)")
    assert stop(storage, 2, "again") is None
    assert len(read_entries(storage)) == 4


def test_resuming_brings_back_what_was_stable_without_the_canary(storage: Storage) -> None:
    stop(storage, 2, "wrong answers")
    entry = resume(storage, 2, "data corrected")
    assert labels(storage) == {"stable": 2}
    assert (loaded(storage), entry.after.earlier) == ([1, 2], (1,))
    assert routing(storage).stopped == []
    require_in_service(storage)
    promotion.roll_back(storage)
    assert labels(storage) == {"stable": 1}
    with pytest.raises(RefusedError, match="expected version 2 to be stopped"):
        resume(storage, 2)


def test_another_version_may_be_promoted_and_the_stopped_one_not(storage: Storage) -> None:
    stop(storage, 2, "wrong answers")
    with pytest.raises(RefusedError, match=r"version 2 cannot be served: .* models resume 2"):
        promotion.promote(storage, 2, force=True, reason="I insist")
    promotion.promote(storage, 3)
    assert (labels(storage), loaded(storage)) == ({"stable": 3}, [1, 3])
    require_in_service(storage)
    with pytest.raises(StoppedError):
        require_in_service(storage, 2)
    with pytest.raises(RefusedError, match="version 2 cannot be served"):
        promotion.start_canary(storage, 2, 5)
    resume(storage, 2)
    assert labels(storage) == {"stable": 3}  # resuming does not undo the promotion
    promotion.promote(storage, 2)


def test_a_rollback_after_a_stop_passes_over_what_was_stopped(storage: Storage) -> None:
    stop(storage, 2, "wrong answers")
    promotion.roll_back(storage)
    assert (labels(storage), loaded(storage)) == ({"stable": 1}, [1])
    promotion.promote(storage, 3)
    stop(storage, 1, "wrong as well")
    assert labels(storage) == {"stable": 3}
    with pytest.raises(RefusedError, match="rollback: expected a version"):
        promotion.roll_back(storage)


def test_stopping_the_canary_leaves_the_stable_version(storage: Storage) -> None:
    entry = stop(storage, 3, "odd")
    assert (labels(storage), loaded(storage)) == ({"stable": 2}, [1, 2])
    assert [(route.label, route.percent) for route in routing(storage).routes] == [("stable", 100)]
    assert routing(storage).stopped[0].label == "canary"
    assert stopping.describe_stop(entry) == "3 is stopped (revision 4); stable 2 stays."
    require_in_service(storage)


def test_everything_is_stopped_until_it_is_resumed(storage: Storage) -> None:
    entry = stop(storage, None, "the exam board asked for it")
    assert config(storage) == EMPTY
    write_version(Path(storage.address), 4)
    for version in (1, 2, 3, 4):
        with pytest.raises(RefusedError, match=r"all of sample was stopped .* resume --all"):
            promotion.promote(storage, version)
    with pytest.raises(RefusedError, match="rollback: expected a version"):
        promotion.roll_back(storage)
    stop(storage, 2, "also this one")
    entry = resume(storage, None)
    assert (entry.after.stopped, labels(storage)) == ((), {"stable": 2})


def test_before_anything_was_promoted_the_newest_version_is_what_is_stopped(tmp_path: Path) -> None:
    for number in (1, 2):
        write_version(tmp_path, number)
    storage = open_storage(str(tmp_path))
    stop(storage, 1, "old")
    assert storage.read("models.config") is None  # servers go on with the newest
    stop(storage, 2, "wrong")
    assert (config(storage), routing(storage).model) == (EMPTY, "sample")
    with pytest.raises(RefusedError, match=r"rollback"):
        promotion.roll_back(storage)
    resume(storage, 2)
    assert (labels(storage), loaded(storage)) == ({"stable": 2}, [2])


def test_without_any_version_all_can_be_stopped_in_advance(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path))
    stop(storage, None, "not yet")
    write_version(tmp_path, 1)
    with pytest.raises(StoppedError):
        require_in_service(storage)
    resume(storage, None)
    assert current_state(storage) == (read_entries(storage)[-1].after, None)
    promotion.promote(storage, 1)
    assert labels(storage) == {"stable": 1}


def test_only_resume_ends_a_stop(storage: Storage, tmp_path: Path) -> None:
    before = config(storage)
    stop(storage, 2, "wrong answers")
    latest = 'model_config_list { config { name: "sample" base_path: "/m" } }'
    for edited in (before, latest):
        (tmp_path / "models.config").write_text(edited)
        assert "names what was stopped" in (current_state(storage)[1] or "")
        stop(storage, None if edited == before else 1, "also")  # any change
        assert config(storage) == EMPTY
    (tmp_path / "models.config").unlink()
    assert "is missing" in (current_state(storage)[1] or "")
    stop(storage, 3, "any change")
    assert config(storage) == EMPTY
    assert "adopt" not in [entry.action for entry in read_entries(storage)]


def test_other_models_in_the_file_stay(storage: Storage, tmp_path: Path) -> None:
    other = 'model_config_list { config { name: "other" base_path: "/other" } '
    text = config(storage).replace("model_config_list {", other, 1)
    (tmp_path / "models.config").write_text(text)
    stop(storage, 2, "wrong answers")
    assert 'name: "other"' in config(storage)
    assert 'name: "sample"' not in config(storage)
    resume(storage, 2)
    assert 'name: "other"' in config(storage)
    assert 'name: "sample"' in config(storage)


def test_servers_with_a_gpu_are_told_too(storage: Storage, tmp_path: Path) -> None:
    (tmp_path / "gpu").mkdir()
    stop(storage, 2, "wrong answers")
    assert (tmp_path / "gpu" / "models.config").read_text() == EMPTY


def test_stopped_versions_are_not_pruned(storage: Storage, tmp_path: Path) -> None:
    write_version(tmp_path, 0)
    stop(storage, 3, "evidence")
    stop(storage, 2, "wrong answers")
    assert promotion.prune(storage, 0) == [0]  # 1 is what a rollback goes to


def test_a_version_that_is_gone_cannot_be_resumed(storage: Storage) -> None:
    stop(storage, 2, "wrong answers")
    storage.remove(2)
    with pytest.raises(RefusedError, match=r"expected version 2, .* found it gone"):
        resume(storage, 2)


@pytest.mark.parametrize("writes", range(3))
def test_a_stop_that_is_cut_off_is_finished_by_the_next_one(
    storage: Storage, tmp_path: Path, writes: int
) -> None:
    with pytest.raises(CrashError):
        stop(Crashing(tmp_path, writes), 2, "wrong answers")
    if writes:  # it is in the log
        with pytest.raises(StoppedError):
            require_in_service(storage)
    stop(storage, 2, "wrong answers")
    assert config(storage) == EMPTY
    assert routing(storage).out_of_service is not None
    assert [entry.action for entry in read_entries(storage)].count("stop") == 1


def test_stops_need_a_reason_and_a_version(storage: Storage) -> None:
    with pytest.raises(RefusedError, match="expected --reason TEXT"):
        stop(storage, 2, "  ")
    with pytest.raises(MasteryError, match="found no 9"):
        stop(storage, 9, "wrong")
    assert len(read_entries(storage)) == 3


def test_lists_and_log_say_what_was_stopped(storage: Storage) -> None:
    stop(storage, 2, "wrong answers")
    shown = {item.version: item.stopped for item in list_versions(storage).versions}
    assert "version 2 of sample was stopped by" in (shown[2] or "")
    assert shown[1] == shown[2]  # no version answers
    held = {item.version: item.labels for item in list_versions(storage).versions}
    assert held == {1: ["previous"], 2: [], 3: []}  # what a rollback would go to
    assert "stop: version 2; stable 2 → –; canary 3 → –" in describe_log(read_entries(storage))
    assert stopping.read_stop(storage, 1) == routing(storage).stopped[0]  # the model is out


def test_states_of_before_there_were_stops_are_read() -> None:
    old = json.dumps({"stable": 2, "loaded": [2]})
    assert ServedState.model_validate_json(old).out_of_service is None
    assert Routing.from_json('{"revision": 1, "time": "", "model": "m"}').out_of_service is None


def test_the_stop_of_a_version_holds_for_that_one_once_another_is_stable() -> None:
    made = Stop(version=2, whole=True, who="a", time="b", reason="c")
    state = ServedState(stopped=(made,))
    assert state.out_of_service == made
    assert state.model_copy(update={"stable": 3}).out_of_service is None
    assert state.stop_of(3) is None
