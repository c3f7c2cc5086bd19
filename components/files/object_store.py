"""Object stores by their address (`s3://`, `gs://`), with errors for the person who reads them.

Credentials and endpoint come from the environment, as each store's own tools have it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import fsspec

from components.command.escape import hide_userinfo
from components.errors import MasteryError

KINDS = ("s3", "gs")
# Else gcsfs asks for the kind of a bucket first: with a second client, that wants rights and credentials of its own.
os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")


class ObjectStoreError(MasteryError):
    """Something is not in an object store, or cannot be written to it."""


def connect(url: str) -> tuple[Any, str]:
    """Returns fsspec's file system of an address and the path in it, without a slash at its end.

    Others write to the store, too, so no listing is kept.

    Raises:
        ObjectStoreError: that kind of address is not known, or a password stands in it.
    """
    if hide_userinfo(url) != url:
        raise ObjectStoreError(
            f"{hide_userinfo(url)}: expected an address without user name and password, found some in "
            "front of the @. Credentials come from the environment."
        )
    kind, _, rest = url.partition("://")
    if kind not in KINDS or not rest.strip("/"):
        raise ObjectStoreError(
            f"{url}: expected an address such as s3://bucket/folder or gs://bucket/folder."
        )
    try:
        store, path = fsspec.url_to_fs(url.rstrip("/"), use_listings_cache=False)
    except (ValueError, ImportError) as error:
        raise ObjectStoreError(
            f"{url}: expected an address such as s3://bucket/folder. {error}"
        ) from None
    return store, path.rstrip("/")


@contextmanager
def explained(url: str, verb: str) -> Iterator[None]:
    """Turns what a store's library raises, each has errors of its own, into one for the reader.

    Args:
        url: the address that is worked on.
        verb: what is being done there: read, write, list, remove.

    Raises:
        ObjectStoreError: in place of any error but a MasteryError.
    """
    try:
        yield
    except MasteryError:
        raise
    except Exception as error:
        raise ObjectStoreError(
            f"{url}: expected to be allowed to {verb} there, found {type(error).__name__}: {error}. "
            "Check the address, and the credentials in the environment."
        ) from error


def create(store: Any, path: str, content: bytes) -> bool:
    """Writes an object unless there is one; of many who try at the same time exactly one succeeds.

    Returns:
        Whether the object is now this content. That is also so after a first try whose answer got lost on the way,
        if contents are told apart by something unique in them.

    Raises:
        Exception: the store's own, when it refuses for another reason.
    """
    try:
        store.pipe_file(path, content, mode="create")
    except (
        Exception
    ):  # "taken already" is FileExistsError of one library and an HTTP error of another
        if not store.exists(path):
            raise
        return bool(store.cat_file(path) == content)
    return True
