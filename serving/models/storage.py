"""Where versions stand: a folder or a place in an object store, as the other modules here see it.

```
<version>/         a pushed SavedModel with its manifest.json
models.config      what TensorFlow Serving polls
gpu/               where a version has an export for GPUs: a models.config for servers that have them
routing.json       the same for whoever splits the traffic
audit.jsonl        who did what when, a line each; in an object store audit/<revision>.json, an object each
```
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from pathlib import Path

from components.errors import MasteryError


class Storage(ABC):
    """A serving folder. Names are relative to it, with `/` between their parts.

    Attributes:
        address: the absolute path or the URL.
        locks: whether `exclusive` keeps all others out. Where it does not, `append` decides who was first.
    """

    address: str
    locks: bool

    @abstractmethod
    def exclusive(self) -> AbstractContextManager[None]:
        """Returns a block that one process at a time is in, if the storage `locks`.

        Raises:
            MasteryError: somebody else does not come out of theirs.
        """

    @abstractmethod
    def folders(self) -> dict[int, str]:
        """Returns the name of each version's folder, oldest version first."""

    def versions(self) -> list[int]:
        """Returns the numbers that there are folders for, oldest first."""
        return list(self.folders())

    def folder_of(self, version: int) -> str:
        """Returns the name of a version's folder; where there is none, the one that a push would give it."""
        return self.folders().get(version, str(version))

    @abstractmethod
    def servable(self) -> frozenset[int]:
        """Returns those of them that a server can load: with a `saved_model.pb`."""

    @abstractmethod
    def has_gpu_exports(self) -> bool:
        """Returns whether servers with a GPU have a folder of their own: some version has an export for them."""

    @abstractmethod
    def read(self, name: str) -> bytes | None:
        """Returns a file's content, or None when there is no such file."""

    @abstractmethod
    def replace(self, name: str, content: bytes) -> None:
        """Writes a file, whole or not at all."""

    @abstractmethod
    def local_copy(self, version: int) -> AbstractContextManager[Path]:
        """Returns a block with a version's folder on this machine, which must not be written to."""

    @abstractmethod
    def remove(self, version: int) -> None:
        """Removes a version; from the first moment on nobody takes it for a whole one."""

    @abstractmethod
    def append(self, revision: int, entry: bytes) -> bool:
        """Adds a line of JSON as entry number `revision` to the audit log; False when that number is taken."""

    @abstractmethod
    def entries(self, last: int | None = None) -> list[bytes]:
        """Returns the audit log's entries, or the `last` ones of them, oldest first."""


def open_storage(address: str) -> Storage:
    """Returns the storage at a path or URL.

    Raises:
        MasteryError: there is no such folder, or nothing is known of that kind of address.
    """
    if "://" in address:
        from serving.models.object_storage import (
            ObjectStorage,  # fsspec takes half a second to import
        )

        return ObjectStorage(address)
    from serving.models.local_storage import LocalStorage

    folder = Path(address).resolve()
    if not folder.is_dir():
        raise MasteryError(
            f"{address}: expected the folder that versions are pushed to, found none. "
            "`mastery run` makes it with the first push; --models DIR_OR_URL names another one."
        )
    return LocalStorage(folder)
