"""A serving folder in an object store."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from components.contracts.manifest import Manifest
from components.contracts.names import GPU
from components.files.object_store import create_object, explain_store_errors, open_store
from components.files.safe_paths import paths_below
from components.model_version.folders import SAVED_MODEL, index_versions
from serving.models.storage import Storage

AUDIT = "audit"
DIGITS = 9  # of a revision in its object's name, so that names sort as numbers do


class ObjectStorage(Storage):
    """Versions in an object store, which has no locks and no renames, but puts objects atomically.

    The audit log decides between two changes at once: only one process can write an entry of a
    given number.

    Args:
        url: such as `s3://bucket/sample/serving`.

    Raises:
        ObjectStoreError: this kind of URL is not supported.
    """

    locks = False

    def __init__(self, url: str) -> None:
        self.address = url.rstrip("/")
        self._store, self._base = open_store(url)

    def exclusive(self) -> nullcontext[None]:
        """Returns a block that keeps no process out."""
        return nullcontext()

    def folders(self) -> dict[int, str]:
        """Returns the name that each version's objects are below, oldest version first."""
        with explain_store_errors(self.address, "list"):
            listed = self._list(self._base)
            return index_versions(Path(name).name for name, kind in listed if kind == "directory")

    def servable(self) -> frozenset[int]:
        """Returns the versions with a `saved_model.pb`.

        One listing of all objects is quicker than one per version.
        """
        with explain_store_errors(self.address, "list"):
            whole = {name for name, *rest in self._objects() if rest == [SAVED_MODEL]}
            return frozenset(number for number, name in self.folders().items() if name in whole)

    def has_gpu_exports(self) -> bool:
        """Returns whether a version has one; links to them are made where the bucket is copied."""
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
            UnsafePathError: a key is not the name of a file in that folder; nothing was downloaded.
        """
        with tempfile.TemporaryDirectory(prefix="mastery-version-") as folder:
            copy = Path(folder, str(version))
            remote = self._path(self.folder_of(version))
            with explain_store_errors(self.address, "read"):
                # A key that ends in / is what consoles of stores make for an empty folder.
                keys = [name for name in self._store.find(remote) if not name.endswith("/")]
                targets = paths_below(copy, [key.removeprefix(f"{remote}/") for key in keys])
                for parent in {target.parent for target in targets.values()}:
                    parent.mkdir(parents=True, exist_ok=True)

                sources = [f"{remote}/{name}" for name in targets]
                self._store.get(sources, [str(target) for target in targets.values()])
            yield copy

    def remove(self, version: int) -> None:
        """Deletes `saved_model.pb` first, so that no server takes the rest for a model."""
        with explain_store_errors(self.address, "remove versions"):
            remote = self._path(self.folder_of(version))
            for first in (SAVED_MODEL, Manifest.FILE):
                if self._store.exists(f"{remote}/{first}"):
                    self._store.rm_file(f"{remote}/{first}")
            if self._store.exists(remote):
                self._store.rm(remote, recursive=True)

    def append(self, revision: int, entry: bytes) -> bool:
        """Writes the entry's object, unless there is one of that number."""
        with explain_store_errors(self.address, "write"):
            path = self._path(f"{AUDIT}/{revision:0{DIGITS}}.json")
            return create_object(self._store, path, entry)

    def entries(self, last: int | None = None) -> list[bytes]:
        """Returns the entries; only those that are returned are fetched."""
        with explain_store_errors(self.address, "read"):
            names = sorted(name for name, kind in self._list(self._path(AUDIT)) if kind == "file")
            wanted = names if last is None else names[-last:]
            found = self._store.cat(wanted) if wanted else {}
            return [found[name] for name in wanted]

    def _objects(self) -> list[list[str]]:
        """Returns the parts of the name of every object, however deep."""
        names = self._store.find(self._base)
        return [name.removeprefix(f"{self._base}/").split("/") for name in names]

    def _list(self, path: str) -> list[tuple[str, str]]:
        """Returns names and kinds ("file", "directory") of what is right below a path."""
        try:
            items = self._store.ls(path, detail=True)
        except FileNotFoundError:
            return []
        return [(item["name"].rstrip("/"), item["type"]) for item in items]

    def _path(self, name: str) -> str:
        return f"{self._base}/{name}"
