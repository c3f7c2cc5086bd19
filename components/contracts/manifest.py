"""`manifest.json`: what made a pushed version."""

from __future__ import annotations

from typing import Any, ClassVar

from components.contracts.contract import Contract
from components.contracts.evaluation import GateVerdict
from components.contracts.model_card import PORTABLE
from components.contracts.provenance import DataProvenance


class Manifest(Contract):
    """What made a pushed version, and the digests of its files.

    Attributes:
        version: the version's number.
        name: the model's name.
        run: id of the run that pushed it.
        pushed_at: when, ISO 8601 in UTC.
        data: where the examples came from.
        code: fingerprint of the code that made the model.
        config: the whole configuration, without what only says where nodes run.
        config_fingerprint: its digest.
        metrics: metrics on all test examples, by name.
        gates: how the gates went.
        model_sha256: digest of `files`.
        files: SHA-256 of each file, by its path below the version's folder.
        exports: folders of the exports, by name.
        baseline: URI of the blessed model that the gates compared with.
    """

    FILE: ClassVar[str] = "manifest.json"

    version: int
    name: str
    run: str = ""
    pushed_at: str = ""
    data: DataProvenance = DataProvenance()
    code: str = ""
    config: dict[str, Any] = {}
    config_fingerprint: str = ""
    metrics: dict[str, float | None] = {}
    gates: list[GateVerdict] = []
    model_sha256: str = ""
    files: dict[str, str] = {}
    exports: dict[str, str] = {PORTABLE: "."}
    baseline: str | None = None
