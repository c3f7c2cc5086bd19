"""A copy of the pipeline's root in an object store, for containers that keep nothing between nodes.

Every container has an empty folder at the same path, the root. What a node reads is pulled into it,
what it has written is pushed out of it, so artifacts have the same path everywhere and no node
knows of the object store.

Others may write to the store as well, so no name that comes from it is trusted: neither a key nor a
name in a list of files, nor a path in the metadata store (`components.files.safe_paths`).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import ClassVar

from pydantic import StrictInt

from components.contracts.contract import Contract, ContractError
from components.contracts.manifest import Manifest
from components.files.object_store import (
    ObjectStoreError,
    create_object,
    explain_store_errors,
    open_store,
)
from components.files.safe_paths import UnsafePathError, path_below, paths_below, refuse_links
from components.model_version.folders import SAVED_MODEL, version_number

CLAIMS = ".claims"  # beside pushed versions: one object per number that is taken


class FolderListing(Contract):
    """The files of a pushed folder; it is written last, so a folder without it is not complete.

    Attributes:
        files: sizes in bytes by name below the folder.
    """

    FILE: ClassVar[str] = ".complete"

    files: dict[str, StrictInt]


class Mirror:
    """Moves folders and files between a local root and the same place below an address.

    A folder counts only with the list of its files, which is written last and checked after a pull.
    So an upload that was cut off is the same as none.

    Args:
        url: the address of the root's copy, such as `s3://bucket/mastery` or `gs://bucket/mastery`;
            credentials and endpoint come from the environment, as for each store's own tools.
        root: the local folder.

    Raises:
        ObjectStoreError: addresses of that kind are not supported.
    """

    def __init__(self, url: str, root: Path) -> None:
        self.url = url.rstrip("/")
        self.root = root
        self._store, self._base = open_store(self.url)

    def covers(self, path: Path) -> bool:
        """Returns whether a path is below the root.

        Raises:
            UnsafePathError: it begins below the root and leads out of it.
        """
        if not path.is_relative_to(self.root):
            return False
        if path != self.root:
            path_below(self.root, path.relative_to(self.root).as_posix())
        return True

    def push(self, paths: Iterable[Path]) -> None:
        """Copies folders and files into the store, replacing what is there.

        Raises:
            ObjectStoreError: the store cannot be written to; the folder then does not count.
            UnsafePathError: a path leads out of the root, or is a link.
        """
        for path in paths:
            if path.is_dir():
                self._push_folder(path)
            else:
                self._put([path])

    def push_version(self, version: Path) -> None:
        """Copies a version of a model to where a server may be watching.

        `saved_model.pb` goes last, the manifest right before it: a server that sees the folder
        earlier finds no model in it and tries again.

        Raises:
            ObjectStoreError: another run has pushed a version of this number, or the store cannot
                be written to.
        """
        self._claim(version)
        last = [version / Manifest.FILE, version / SAVED_MODEL]
        self._put(sorted(set(_files(version)) - set(last)))
        for file in last:
            self._put([file])

    def pull(self, paths: Iterable[Path]) -> None:
        """Copies folders and files from the store; files that are here in the right size stay.

        Raises:
            ObjectStoreError: one of them is not in the store, or not as it was pushed.
            UnsafePathError: a path, or a name in a folder's list of files, leads out of its folder.
        """
        wanted: dict[Path, int | None] = {}
        for path in paths:
            wanted |= self._contents(path)

        missing = [file for file, size in wanted.items() if not _is_here(file, size)]
        if missing:
            remote = [self._remote(file) for file in missing]
            with self._explained("read"):
                self._store.get(remote, [str(file) for file in missing])

        for file, size in wanted.items():
            if not _is_here(file, size):
                found = f"{file.stat().st_size} bytes" if file.is_file() else "none"
                expected = f"expected a file of {size} bytes"
                raise ObjectStoreError(f"{self._address(file)}: {expected}, found {found}.")

    def outline(self, folder: Path) -> None:
        """Makes an empty local folder for every complete one in the store below `folder`.

        TFX takes a node from the cache only where the folders of its outputs exist; they may be
        empty.

        Raises:
            ObjectStoreError: the store cannot be read.
            UnsafePathError: a key in it leads out of the root.
        """
        with self._explained("list"):
            found = self._store.find(self._remote(folder))

        listings = [name for name in found if name.endswith(f"/{FolderListing.FILE}")]
        keys = [name.removeprefix(f"{self._base}/") for name in listings]
        for listing in paths_below(self.root, keys).values():
            listing.parent.mkdir(parents=True, exist_ok=True)

    def outline_versions(self, folder: Path) -> None:
        """Makes an empty local folder for every version in the store's copy of `folder`.

        So the Pusher gives no number twice.

        Raises:
            ObjectStoreError: the store cannot be read.
        """
        with self._explained("list"):
            there = self._store.isdir(self._remote(folder))
            names = self._store.ls(self._remote(folder), detail=False) if there else []

        for name in names:
            number = name.rstrip("/").rpartition("/")[2]
            if version_number(number) is not None:
                path_below(folder, number).mkdir(parents=True, exist_ok=True)

    def _push_folder(self, folder: Path) -> None:
        files = _files(folder)
        listing = self._listing(folder)
        with self._explained("write"):
            if self._store.exists(listing):
                self._store.rm_file(listing)
        self._put(files)

        sizes = {str(file.relative_to(folder)): file.stat().st_size for file in files}
        with self._explained("write"):
            self._store.pipe_file(listing, FolderListing(files=sizes).to_json().encode())

    def _put(self, files: list[Path]) -> None:
        if files:
            remote = [self._remote(file) for file in files]
            with self._explained("write"):
                self._store.put([str(file) for file in files], remote)

    def _claim(self, version: Path) -> None:
        """Takes a version's number: of several containers that want it, exactly one gets it."""
        claim = self._remote(version.parent / CLAIMS / version.name)
        with self._explained("write"):
            taken = create_object(self._store, claim, uuid.uuid4().hex.encode())
        if not taken:
            raise ObjectStoreError(
                f"{self._address(version)}: another run has just taken this number. Nothing was "
                "pushed; run the node again."
            )

    def _contents(self, path: Path) -> dict[Path, int | None]:
        """Returns the files of a folder with their sizes, or the file itself."""
        with self._explained("read"):
            try:
                content = self._store.cat_file(self._listing(path))
            except (FileNotFoundError, NotADirectoryError):
                content = None
            is_file = content is None and self._store.isfile(self._remote(path))

        if is_file:
            return {path: None}
        if content is None:
            raise ObjectStoreError(
                f"{self._address(path)}: the store has no complete copy of it. The node that makes "
                "it was cut off, or its output was removed; run that node again without the cache."
            )
        sizes = self._read_listing(path, content).files
        return {file: sizes[name] for name, file in paths_below(path, sizes).items()}

    def _read_listing(self, folder: Path, content: bytes) -> FolderListing:
        try:
            return FolderListing.from_json(content)
        except ContractError as error:
            raise ObjectStoreError(
                f"{self._address(folder)}/{FolderListing.FILE}: {error} If it is damaged, remove "
                "the folder from the store; the node that makes it then runs again."
            ) from None

    def _explained(self, verb: str) -> AbstractContextManager[None]:
        return explain_store_errors(self.url, verb)

    def _listing(self, folder: Path) -> str:
        return f"{self._remote(folder)}/{FolderListing.FILE}"

    def _remote(self, path: Path) -> str:
        if not self.covers(path):
            raise UnsafePathError(f"{path}: expected a path below {self.root}, found another.")
        return f"{self._base}/{path.relative_to(self.root).as_posix()}"

    def _address(self, path: Path) -> str:
        return f"{self.url}/{path.relative_to(self.root).as_posix()}"


def _files(folder: Path) -> list[Path]:
    """Returns a folder's files; refuses links, which would copy a file from elsewhere."""
    found = sorted(folder.rglob("*"))
    for path in found:
        refuse_links(folder, path)
    return [path for path in found if path.is_file()]


def _is_here(file: Path, size: int | None) -> bool:
    return file.is_file() and size in (None, file.stat().st_size)
