"""What made a pushed version: the content of the `manifest.json` in its folder."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from components.model_version.digests import combined_digest, file_digests
from components.model_version.exports import CARD, exports


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
    files = file_digests(model)
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
        "model_sha256": combined_digest(files),
        "files": files,
        "exports": exports(model),
        "baseline": baseline,
    }
