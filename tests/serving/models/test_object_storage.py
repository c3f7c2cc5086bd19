"""Two changes at once in an object store, which has no lock."""

from __future__ import annotations

import tempfile
from itertools import pairwise
from pathlib import Path

import pytest

from components.errors import MasteryError
from components.files.safe_paths import UnsafePathError
from serving.models import changes, promotion
from serving.models.changes import current_state, read_entries
from serving.models.object_storage import ObjectStorage
from tests.s3 import Bucket
from tests.serving.models.folders import labels, loaded, upload


@pytest.fixture
def url(folder: Path, bucket: Bucket) -> str:
    url = f"s3://{bucket.name}/serving"
    upload(folder, url)
    return url


class Overtaken(ObjectStorage):
    """An object store in which somebody else makes a whole change just before one of our writes."""

    def __init__(self, url: str, before: str) -> None:
        super().__init__(url)
        self.before: str | None = before

    def _let_pass(self, write: str) -> None:
        if self.before == write:
            self.before = None
            promotion.promote(ObjectStorage(self.address), 4)

    def append(self, revision: int, entry: bytes) -> bool:
        self._let_pass("append")
        return super().append(revision, entry)

    def replace(self, name: str, content: bytes) -> None:
        self._let_pass(name)
        super().replace(name, content)


@pytest.mark.parametrize(
    ("before", "order"),
    [("append", [1, 4, 2]), ("models.config", [1, 2, 4]), ("routing.json", [1, 2, 4])],
)
def test_of_two_changes_in_an_object_store_none_is_lost(
    url: str, before: str, order: list[int]
) -> None:
    promotion.promote(ObjectStorage(url), 1)
    promotion.promote(Overtaken(url, before), 2)
    storage = ObjectStorage(url)
    entries = read_entries(storage)
    assert [entry.version for entry in entries] == order
    assert all(later.before == earlier.after for earlier, later in pairwise(entries))
    assert labels(storage) == {"stable": order[-1]}
    assert current_state(storage) == (entries[-1].after, None)


def test_a_version_lives_on_google_cloud_storage_too(folder: Path, gcs_bucket: str) -> None:
    url = f"{gcs_bucket}/sample/serving"
    upload(folder, url)
    storage = ObjectStorage(url)
    promotion.promote(storage, 1)
    promotion.start_canary(storage, 2, 10)
    promotion.promote(storage, 2)
    assert (labels(storage), loaded(storage)) == ({"stable": 2}, [1, 2])
    promotion.promote(storage, 4)
    assert promotion.prune(storage, 1) == [1, 3]
    assert promotion.roll_back(storage).after.stable == 2
    assert (storage.versions(), storage.servable()) == ([2, 4], {2, 4})
    actions = [entry.action for entry in read_entries(ObjectStorage(url))]
    assert actions == ["promote", "canary", "promote", "promote", "prune", "rollback"]


def test_a_put_whose_answer_was_lost_is_recognized_as_the_own_one(url: str) -> None:
    storage = ObjectStorage(url)
    assert storage.append(1, b"ours")
    assert storage.append(1, b"ours")
    assert not storage.append(1, b"another's")


def test_a_change_that_others_always_precede_is_an_error(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = ObjectStorage(url)
    monkeypatch.setattr(storage, "append", lambda *_: False)
    with pytest.raises(
        MasteryError,
        match=f"other processes made {changes.TRIES} changes while this one was attempted",
    ):
        promotion.promote(storage, 1)
    assert storage.read("models.config") is None


def test_many_entries_are_read_in_order_on_s3(url: str) -> None:
    for version in (1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1):
        promotion.promote(ObjectStorage(url), version)
    assert [entry.revision for entry in read_entries(ObjectStorage(url))] == [*range(1, 12)]


@pytest.mark.parametrize("key", ["../../out", "/out", "a//out", "..\\out", "variables", "\x01"])
def test_a_version_s_keys_cannot_lead_out_of_its_copy(
    url: str, bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # of this test alone
    bucket.client.put_object(Bucket=bucket.name, Key=f"serving/2/{key}", Body=b"out")
    before = {*tmp_path.rglob("*")}
    with pytest.raises(UnsafePathError, match="expected the name of a file below"):
        promotion.promote(ObjectStorage(url), 2)
    assert {*tmp_path.rglob("*")} == before
    assert ObjectStorage(url).read("models.config") is None


def test_the_key_of_an_empty_folder_is_not_copied(url: str, bucket: Bucket) -> None:
    bucket.client.put_object(Bucket=bucket.name, Key="serving/2/assets/", Body=b"")
    with ObjectStorage(url).local_copy(2) as copy:
        assert sorted(item.name for item in copy.iterdir()) == [
            "manifest.json",
            "saved_model.pb",
            "variables",
        ]
