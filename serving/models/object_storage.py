"""A serving folder in an object store."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from components.files.object_store import create_object, explain_store_errors, open_store
from components.files.safe_paths import paths_below
from components.model_version.exports import GPU
from components.model_version.folders import MANIFEST, SAVED_MODEL, index_versions
from serving.models.storage import Storage

AUDIT = "audit"
DIGITS = 9  # of a revision in its object's name, so that names sort as numbers do


class ObjectStorage(Storage):
    """Versions in an object store, which has neither locks nor renames, but puts an object whole or not at all.

    What decides between two changes at once is the audit log: an entry's number can be written by one only.

    Args:
        url: such as `s3://bucket/sample/serving`.

    Raises:
        ObjectStoreError: nothing is known of that kind of address.
    """

    locks = False

    def __init__(self, url: str) -> None:
        self.address = url.rstrip("/")
        self._store, self._base = open_store(url)

    def exclusive(self) -> nullcontext[None]:
        """Returns a block that keeps nobody out."""
        return nullcontext()

    def folders(self) -> dict[int, str]:
        """Returns the name that each version's objects are below, oldest version first."""
        with explain_store_errors(self.address, "list"):
            return index_versions(
                Path(name).name for name, kind in self._list(self._base) if kind == "directory"
            )

    def servable(self) -> frozenset[int]:
        """Returns those of them with a `saved_model.pb`; one listing of all objects is quicker than one a version."""
        with explain_store_errors(self.address, "list"):
            whole = {name for name, *rest in self._objects() if rest == [SAVED_MODEL]}
            return frozenset(number for number, name in self.folders().items() if name in whole)

    def has_gpu_exports(self) -> bool:
        """Returns whether some version has one; the links to them are made where the bucket is copied to."""
        with explain_store_errors(self.address, "list"):
            return any(rest == [GPU, SAVED_MODEL] for _, *rest in self._objects())

    def read(self, name: str) -> bytes | None:
        """Returns an object's content, or None when there is no such object."""
        with explain_store_errors(self.address, "read"):
            try:
                return bytes(self._store.cat_file(self._path(name)))
            except FileNotFoundError:
                return None

    def replace(self, name: str, content: bytes) -> None:
        """Puts one object."""
        with explain_store_errors(self.address, "write"):
            self._store.pipe_file(self._path(name), content)

    @contextmanager
    def local_copy(self, version: int) -> Iterator[Path]:
        """Downloads a version into a temporary folder.

        Raises:
            UnsafePathError: a key is no name of a file in that folder; nothing was downloaded.
        """
        with tempfile.TemporaryDirectory(prefix="mastery-version-") as folder:
            copy, remote = Path(folder, str(version)), self._path(self.folder_of(version))
            with explain_store_errors(self.address, "read"):
                # A key that ends in / is what consoles of stores make for an empty folder.
                keys = [name for name in self._store.find(remote) if not name.endswith("/")]
                targets = paths_below(copy, [key.removeprefix(f"{remote}/") for key in keys])
                for parent in {target.parent for target in targets.values()}:
                    parent.mkdir(parents=True, exist_ok=True)
                self._store.get(
                    [f"{remote}/{name}" for name in targets], [*map(str, targets.values())]
                )
            yield copy

    def remove(self, version: int) -> None:
        """Deletes `saved_model.pb` first: without it no server and nobody here takes the rest for a model."""
        with explain_store_errors(self.address, "remove versions"):
            remote = self._path(self.folder_of(version))
            for first in (SAVED_MODEL, MANIFEST):
                if self._store.exists(f"{remote}/{first}"):
                    self._store.rm_file(f"{remote}/{first}")
            if self._store.exists(remote):
                self._store.rm(remote, recursive=True)

    def append(self, revision: int, entry: bytes) -> bool:
        """Writes the entry's object, unless there is one of that number."""
        with explain_store_errors(self.address, "write"):
            return create_object(
                self._store, self._path(f"{AUDIT}/{revision:0{DIGITS}}.json"), entry
            )

    def entries(self, last: int | None = None) -> list[bytes]:
        """Returns the entries; only those that are asked for are fetched."""
        with explain_store_errors(self.address, "read"):
            names = sorted(name for name, kind in self._list(self._path(AUDIT)) if kind == "file")
            wanted = names if last is None else names[-last:]
            found = self._store.cat(wanted) if wanted else {}
            return [found[name] for name in wanted]

    def _objects(self) -> list[list[str]]:
        """Returns the parts of the name of every object, however deep."""
        return [
            name.removeprefix(f"{self._base}/").split("/") for name in self._store.find(self._base)
        ]

    def _list(self, path: str) -> list[tuple[str, str]]:
        """Returns names and kinds ("file", "directory") of what is right below a path."""
        try:
            return [
                (item["name"].rstrip("/"), item["type"])
                for item in self._store.ls(path, detail=True)
            ]
        except FileNotFoundError:
            return []

    def _path(self, name: str) -> str:
        return f"{self._base}/{name}"
