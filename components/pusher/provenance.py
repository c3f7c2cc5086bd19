"""Writes down how a version was made, as a statement that other programs read (in-toto, SLSA)."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from components.contracts.contract import ContractError
from components.contracts.run_record import RUN_FOLDER, RunRecord
from components.contracts.slsa import (
    BuildDefinition,
    Builder,
    Metadata,
    Provenance,
    Resource,
    RunDetails,
    Statement,
)
from components.node.cache_key import ROOT

if TYPE_CHECKING:
    from components.contracts.manifest import Manifest

IMAGE = "MASTERY_IMAGE"  # environment variable: the image that a container was started from
COMMIT = "MASTERY_COMMIT"  # the commit that the code is of, where the code is no repository
LOCK = "requirements.lock"

_GIT_SECONDS = 10
_SHA256 = re.compile(r"[0-9a-f]{64}")
_IMAGE_DIGEST = re.compile(r"@sha256:([0-9a-f]{64})$")


def state_provenance(
    manifest: Manifest, environment: Mapping[str, str], *, code: Path = ROOT
) -> Statement:
    """Returns the statement about a version.

    Args:
        manifest: of the version, with the digests of the model's files.
        environment: may name the container's image (`MASTERY_IMAGE`), the commit of code that is
            no repository (`MASTERY_COMMIT`), and the run's folder.
        code: the folder of the code, which may be a repository, with the lock of its packages.
    """
    image = environment.get(IMAGE)
    return Statement(
        subject=[
            Resource(name=name, digest={"sha256": digest})
            for name, digest in (manifest.files or {}).items()
        ],
        predicate=Provenance(
            build_definition=BuildDefinition(
                external_parameters={"configuration": manifest.config or {}},
                internal_parameters={"name": manifest.name, "baseline": manifest.baseline},
                resolved_dependencies=[
                    _data(manifest),
                    _code(manifest, environment, code),
                    _configuration(manifest),
                    *_packages(code),
                ],
            ),
            run_details=RunDetails(
                builder=Builder(
                    version={"mastery": _mastery(), "python": platform.python_version()},
                    builder_dependencies=[_image(image)] if image else None,
                ),
                metadata=Metadata(
                    invocation_id=manifest.run or "",
                    started_on=_started(environment),
                    finished_on=_rfc3339(datetime.now(UTC)),
                ),
            ),
        ),
    )


def _data(manifest: Manifest) -> Resource:
    """Returns the log that was read; its fingerprint covers the contents of all files."""
    data = manifest.data
    if data is None:
        return Resource(name="data")
    known = {"fingerprint": data.fingerprint, "span": data.span, "version": data.version}
    annotations: dict[str, object] = {
        name: value for name, value in known.items() if value is not None
    }
    if data.spans:
        annotations["spans"] = data.spans
    is_sum = data.fingerprint is not None and _SHA256.fullmatch(data.fingerprint)
    digest = {"sha256": data.fingerprint} if is_sum and data.fingerprint else None
    return Resource(name="data", digest=digest, annotations=annotations or None)


def _code(manifest: Manifest, environment: Mapping[str, str], code: Path) -> Resource:
    annotations: dict[str, object] = {}
    if manifest.code:
        annotations["fingerprint"] = manifest.code  # of the modules that made the model
    commit = environment.get(COMMIT)
    if (code / ".git").exists():
        commit = _git(code, "rev-parse", "HEAD")
        changed = _git(code, "status", "--porcelain", "--untracked-files=no")
        if changed is not None:
            annotations["dirty"] = bool(changed)
    return Resource(
        name="code",
        digest={"gitCommit": commit} if commit else None,
        annotations=annotations or None,
    )


def _configuration(manifest: Manifest) -> Resource:
    text = json.dumps(manifest.config, sort_keys=True)
    return Resource(
        name="configuration",
        digest={"sha256": hashlib.sha256(text.encode()).hexdigest()},
        annotations={"fingerprint": manifest.config_fingerprint},
    )


def _packages(code: Path) -> list[Resource]:
    """Returns the lock of the packages; nothing where Mastery was installed without it."""
    try:
        content = (code / LOCK).read_bytes()
    except OSError:
        return []
    return [Resource(name=LOCK, digest={"sha256": hashlib.sha256(content).hexdigest()})]


def _image(image: str) -> Resource:
    found = _IMAGE_DIGEST.search(image)
    digest = {"sha256": found[1]} if found else None
    return Resource(name="image", uri=f"docker://{image}", digest=digest)


def _git(folder: Path, *arguments: str) -> str | None:
    """Returns what git prints, or None if it is not installed or fails."""
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=_GIT_SECONDS,
            check=True,
            env=environment,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _started(environment: Mapping[str, str]) -> str | None:
    """Returns when the run began; None where the run has no folder, as in a container's task."""
    folder = environment.get(RUN_FOLDER)
    try:
        return _rfc3339(RunRecord.read(Path(folder)).started) if folder else None
    except ContractError:
        return None


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _mastery() -> str:
    try:
        return version("mastery")
    except PackageNotFoundError:  # run from a folder that is on the path
        return "unknown"
