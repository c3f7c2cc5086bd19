"""What made a pushed version: the content of the `manifest.json` in its folder."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from components.exports import CARD, exports
from components.pusher.push import MANIFEST


def describe_push(
    model: Path,
    *,
    run: str,
    config: dict[str, Any],
    config_fingerprint: str,
    data: dict[str, Any],
    evaluation: dict[str, Any],
    baseline: str | None,
) -> dict[str, Any]:
    """Returns the manifest without the version's number.

    Args:
        model: the SavedModel's folder.
        run: id of the pipeline run.
        config: the whole configuration.
        config_fingerprint: its digest.
        data: where the examples came from, as `DataProvenance` has it.
        evaluation: the Evaluator's `metrics.json`.
        baseline: URI of the blessed model that the gates compared with, if there was one.
    """
    notes = json.loads((model / CARD).read_text(encoding="utf-8"))
    return {
        "name": config["name"],
        "run": run,
        "pushed_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "data": data,
        "code": notes["code"],
        "config": config,
        "config_fingerprint": config_fingerprint,
        "metrics": evaluation["overall"]["metrics"],
        "gates": evaluation["gates"],
        "model_sha256": model_digest(model),
        "exports": exports(model),
        "baseline": baseline,
    }


def model_digest(model: Path) -> str:
    """Returns the SHA-256 of the names and contents of a model's files, in hexadecimal.

    A version's own `manifest.json` is left out, so a pushed version has the digest that its manifest names.
    """
    digest = hashlib.sha256()
    names = sorted(path.relative_to(model).as_posix() for path in model.rglob("*") if path.is_file())
    for name in names:
        if name == MANIFEST:
            continue
        with (model / name).open("rb") as file:
            content = hashlib.file_digest(file, "sha256")
        digest.update(name.encode() + b"\0" + content.digest())
    return digest.hexdigest()
