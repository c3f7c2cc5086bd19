"""Object stores without a server: addresses, and what becomes of a store's own errors."""

from __future__ import annotations

import pytest

from components.errors import ConfigError
from components.files.object_store import (
    ObjectStoreError,
    create_object,
    explain_store_errors,
    open_store,
)


class Store:
    """Objects in memory; what was raised instead of writing is given."""

    def __init__(self, error: Exception | None = None, *, writes_first: bool = False) -> None:
        self.objects: dict[str, bytes] = {}
        self._error, self._writes_first = error, writes_first

    def pipe_file(self, path: str, content: bytes, mode: str) -> None:
        assert mode == "create"
        if self._writes_first or self._error is None:
            self.objects.setdefault(path, content)
        if self._error is not None:
            raise self._error

    def exists(self, path: str) -> bool:
        return path in self.objects

    def cat_file(self, path: str) -> bytes:
        return self.objects[path]


def test_an_address_is_a_store_and_a_path() -> None:
    store, path = open_store("s3://bucket/folder/")
    assert path == "bucket/folder"
    assert store.protocol == ("s3", "s3a")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("s3://me:sesame@bucket/a", "s3://...@bucket/a: expected an address without user name"),
        ("ftp://bucket/a", "ftp://bucket/a: expected an address such as s3://bucket/folder or gs:"),
        ("s3://", "s3://: expected an address such as"),
        ("bucket/a", "bucket/a: expected an address such as"),
    ],
)
def test_another_address_is_refused(url: str, says: str) -> None:
    with pytest.raises(ObjectStoreError) as caught:
        open_store(url)
    assert str(caught.value).startswith(says)
    assert "sesame" not in str(caught.value)


def test_a_store_whose_library_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr("fsspec.url_to_fs", fail)
    with pytest.raises(ObjectStoreError, match=r"s3://a/b: expected an address .* Install s3fs"):
        open_store("s3://a/b")


def test_a_store_s_error_names_the_address_and_what_was_done() -> None:
    says = (
        r"^s3://a/b: could not list there \(PermissionError: no\)\. "
        "Check the address, and the credentials in the environment.$"
    )
    with (
        pytest.raises(ObjectStoreError, match=says),
        explain_store_errors("s3://a/b", "list"),
    ):
        raise PermissionError("no")


def test_our_own_errors_pass() -> None:
    with pytest.raises(ConfigError, match="as it was"), explain_store_errors("s3://a/b", "list"):
        raise ConfigError("as it was")


def test_an_object_is_created_once() -> None:
    store = Store()
    assert create_object(store, "a", b"1")
    assert store.objects == {"a": b"1"}


def test_an_existing_object_is_not_replaced() -> None:
    store = Store(FileExistsError("a"))
    store.objects["a"] = b"1"
    assert not create_object(store, "a", b"2")
    assert store.objects == {"a": b"1"}


def test_a_write_with_a_lost_response_counts_as_done() -> None:
    assert create_object(Store(TimeoutError(), writes_first=True), "a", b"1")


def test_another_refusal_is_raised() -> None:
    with pytest.raises(PermissionError):
        create_object(Store(PermissionError()), "a", b"1")
