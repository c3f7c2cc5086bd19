"""Jars for tests from Maven's packages: by name and version, in a cache, never in the project."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import ZipFile

import pytest

from tests.debian import one_process

_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"


def jar(cache: Path, artifact: str, *, why: str) -> ZipFile:
    """Returns a jar, open for reading; skips, with the reason, where Maven is missing or fails.

    Args:
        cache: a folder for jars.
        artifact: group, name and version, such as `org.apache.flink:flink-core:1.19.3`.
        why: what is not tested without it.
    """
    _, name, version = artifact.split(":")
    path = cache / f"{name}-{version}.jar"
    with one_process(cache), TemporaryDirectory(dir=cache) as folder:
        if not path.exists():
            _copy(artifact, Path(folder), why)
            Path(folder, path.name).rename(path)
    return ZipFile(path)


def _copy(artifact: str, folder: Path, why: str) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        pytest.skip(f"{why}, and there is no mvn to fetch it with")
    done = subprocess.run(
        [maven, "-q", "-B", "--strict-checksums", _COPY, f"-Dartifact={artifact}",
         f"-DoutputDirectory={folder}"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        pytest.skip(f"{why}, and Maven says: {done.stdout[-1000:]}")
