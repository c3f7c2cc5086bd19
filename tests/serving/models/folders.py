"""Writes versions and reads what `models.config` serves."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import fsspec
from google.protobuf import text_format
from tensorflow_serving.config.model_server_config_pb2 import ModelConfig, ModelServerConfig

from components.model_version.verify import model_digest
from serving.models.changes import read_entries
from serving.models.storage import Storage
from serving.models.stores import LocalStorage, open_storage

GATE = {"text": "f1_macro >= 0.88: 0.912", "passed": True}


def write_version(serving: Path, number: int, *, failed: bool = False) -> None:
    """Writes a version as Pusher does, or one that failed a gate, as if copied by hand."""
    folder = serving / str(number)
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"graph %d" % number)
    (folder / "variables" / "variables.index").write_bytes(b"index")
    manifest = {
        "version": number,
        "name": "sample",
        "run": f"run-{number}",
        "pushed_at": "2026-11-20T10:00:00+00:00",
        "data": {"fingerprint": "d" * 64, "span": number, "version": None},
        "code": "c" * 16,
        "config_fingerprint": "f" * 12,
        "baseline": None,
        "metrics": {"f1_macro": 0.9, "auc": None},
        "gates": [GATE | {"passed": not failed}],
        "model_sha256": model_digest(folder),
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))


def upload(folder: Path, url: str) -> None:
    """Puts a folder's files into an object store."""
    store, path = fsspec.url_to_fs(url)
    store.put(f"{folder}/", f"{path}/", recursive=True)


def served(storage: Storage, file: str = "models.config") -> ModelConfig:
    """Returns the model of `models.config`, as TensorFlow Serving would read it."""
    content = storage.read(file)
    assert content is not None
    (model,) = text_format.Parse(content, ModelServerConfig()).model_config_list.config
    return model


def labels(storage: Storage) -> dict[str, int]:
    return dict(served(storage).version_labels)


def loaded(storage: Storage) -> list[int]:
    return list(served(storage).model_version_policy.specific.versions)


class CrashError(BaseException):
    """Stands for the end of a process; nothing catches it."""


class Crashing(LocalStorage):
    """A folder whose process dies before its n-th write."""

    def __init__(self, folder: Path, writes: int) -> None:
        super().__init__(folder)
        self.writes = writes

    def _count(self) -> None:
        self.writes -= 1
        if self.writes < 0:
            raise CrashError

    def replace(self, name: str, content: bytes) -> None:
        self._count()
        super().replace(name, content)

    def append(self, revision: int, entry: bytes) -> bool:
        self._count()
        return super().append(revision, entry)

    def remove(self, version: int) -> None:
        self._count()
        super().remove(version)


def check(folder: Path, before: list[int]) -> None:
    """Checks what servers and people may rely on at any moment."""
    storage = open_storage(str(folder))
    there = storage.versions()
    entries = read_entries(storage)
    assert [entry.revision for entry in entries] == [*range(1, len(entries) + 1)]
    assert all(later.before == earlier.after for earlier, later in pairwise(entries))
    assert set(before) <= set(there)  # what was being served has not been removed
    if storage.read("models.config") is None:
        return
    assert set(loaded(storage)) <= set(there)
    assert set(labels(storage).values()) <= set(loaded(storage))
    assert "stable" in labels(storage)
    json.loads(storage.read("routing.json") or b"{}")
