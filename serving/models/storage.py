"""The interface of a serving folder, on this machine or in an object store.

```
<version>/         a pushed SavedModel with its manifest.json
models.config      what TensorFlow Serving polls
gpu/               where a version has an export for GPUs: a models.config for servers with GPUs
routing.json       the same for gateways and clients that split the requests
audit.jsonl        who changed what and when, one line per entry; in an object store
                   audit/<revision>.json, one object per entry
```
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from pathlib import Path

from components.contracts.contract import ContractError
from components.contracts.manifest import Manifest


class Storage(ABC):
    """A serving folder. Names are relative to it, with `/` between their parts.

    Attributes:
        address: the absolute path or the URL.
        locks: whether `exclusive` keeps other processes out. Where it does not, `append` decides
            which process was first.
    """

    address: str
    locks: bool

    @abstractmethod
    def exclusive(self) -> AbstractContextManager[None]:
        """Returns a block that admits one process at a time, if the storage `locks`.

        Raises:
            MasteryError: another process stays in its block for too long.
        """

    @abstractmethod
    def folders(self) -> dict[int, str]:
        """Returns the name of each version's folder, oldest version first."""

    def versions(self) -> list[int]:
        """Returns the numbers of the versions, complete or not, oldest first."""
        return list(self.folders())

    def folder_of(self, version: int) -> str:
        """Returns the name of a version's folder, or of the one that a push would make for it."""
        return self.folders().get(version, str(version))

    @abstractmethod
    def servable(self) -> frozenset[int]:
        """Returns the versions that a server can load: those with a `saved_model.pb`."""

    @abstractmethod
    def has_gpu_exports(self) -> bool:
        """Returns whether servers with a GPU have a folder of their own.

        They have one as soon as a version has an export for GPUs.
        """

    @abstractmethod
    def read(self, name: str) -> bytes | None:
        """Returns a file's content, or None when there is no such file."""

    def read_manifest(self, version: int) -> Manifest | None:
        """Returns a version's manifest, or None when it has none.

        Raises:
            ContractError: the manifest cannot be used.
        """
        name = f"{version}/{Manifest.FILE}"
        content = self.read(name)
        if content is None and self.folder_of(version) != str(version):
            name = f"{self.folder_of(version)}/{Manifest.FILE}"
            content = self.read(name)
        if content is None:
            return None

        try:
            return Manifest.from_json(content)
        except ContractError as error:
            raise ContractError(f"{self.address}/{name}: {error}") from None

    @abstractmethod
    def replace(self, name: str, content: bytes) -> None:
        """Writes a file, whole or not at all."""

    @abstractmethod
    def local_copy(self, version: int) -> AbstractContextManager[Path]:
        """Returns a block with a version's folder on this machine, which must not be written to."""

    @abstractmethod
    def remove(self, version: int) -> None:
        """Removes a version; at no moment can a server take the rest for a whole version."""

    @abstractmethod
    def append(self, revision: int, entry: bytes) -> bool:
        """Adds one line of JSON to the audit log as entry number `revision`.

        Returns:
            Whether it was added; False when that number is taken.
        """

    @abstractmethod
    def entries(self, last: int | None = None) -> list[bytes]:
        """Returns the audit log's entries, or the `last` ones of them, oldest first."""
