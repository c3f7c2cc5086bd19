"""Object stores by their URL (`s3://`, `gs://`), with errors for the person who reads them.

Credentials and endpoint come from the environment, as in each store's own tools.
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
# Otherwise gcsfs first asks what kind of bucket it is, through a second client that needs
# permissions and credentials of its own.
os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")


class ObjectStoreError(MasteryError):
    """An object store refused a request, or its URL cannot be used."""


def open_store(url: str) -> tuple[Any, str]:
    """Returns fsspec's file system for a URL, and the path in it without a slash at its end.

    Listings are not cached, because other processes write to the store too.

    Raises:
        ObjectStoreError: the URL is of an unknown kind, or contains a password.
    """
    if hide_userinfo(url) != url:
        raise ObjectStoreError(
            f"{hide_userinfo(url)}: expected an address without user name and password, found "
            "some in front of the @. Credentials come from the environment."
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
def explain_store_errors(url: str, verb: str) -> Iterator[None]:
    """Turns every error of a store's library into one for the reader; each library has its own.

    Args:
        url: the address.
        verb: what the block does there: read, write, list or remove.

    Raises:
        ObjectStoreError: in place of any error but a MasteryError.
    """
    try:
        yield
    except MasteryError:
        raise
    except Exception as error:
        raise ObjectStoreError(
            f"{url}: could not {verb} there ({type(error).__name__}: {error}). "
            "Check the address, and the credentials in the environment."
        ) from error


def create_object(store: Any, path: str, content: bytes) -> bool:
    """Writes an object unless one exists; if many try at the same time, exactly one succeeds.

    Returns:
        Whether the object now has this content. This is also true if an earlier try succeeded but
        its response was lost, provided that every writer's content is unique.

    Raises:
        Exception: the store's own, when it refuses for another reason.
    """
    try:
        store.pipe_file(path, content, mode="create")
    except Exception:
        # For an existing object one library raises FileExistsError, another an HTTP error.
        if not store.exists(path):
            raise
        return bool(store.cat_file(path) == content)
    return True
