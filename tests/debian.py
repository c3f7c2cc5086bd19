"""Programs for tests from the distribution's packages: unpacked into a cache, never installed."""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.environment import apt
from pipeline.environment.machine import SetupError

STATUS = Path("/var/lib/dpkg/status")


def unpacked(cache: Path, release: str, packages: list[str], *, why: str) -> Path:
    """Returns the folder with the packages' files, from the cache if they are there already.

    Args:
        cache: a folder for these packages only.
        release: codename, e.g. `trixie`.
        packages: names; what they depend on has to be installed, or named as well.
        why: what is not tested without them; the reason of the skip where apt cannot fetch them.
    """
    root = cache / "root"
    with one_process(cache), tempfile.TemporaryDirectory(dir=cache) as folder:
        if root.exists():
            return root
        try:
            apt.unpack_packages(release, packages, Path(folder, "root"), Path(folder))
        except SetupError as error:
            pytest.skip(f"{why}, and apt says: {error}")
        Path(folder, "root").rename(root)
    return root


def unpacked_with_dependencies(cache: Path, packages: list[str], *, why: str) -> Path:
    """Returns the folder with packages of this release and what they need beyond what is installed.

    Args:
        cache: a folder for these packages only.
        packages: names.
        why: what is not tested without them; the reason of the skip where apt cannot fetch them.
    """
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        pytest.skip(f"{why}, and there is no apt to fetch it with")

    root = cache / "root"
    with one_process(cache), tempfile.TemporaryDirectory(dir=cache) as folder:
        if root.exists():
            return root
        problem = _download(packages, Path(folder))
        if problem:
            pytest.skip(f"{why}, and apt says: {problem}")
        for package in sorted(Path(folder).glob("cache/archives/*.deb")):
            subprocess.run(["dpkg-deb", "--extract", package, f"{folder}/root"], check=True)
        Path(folder, "root").rename(root)
    return root


def library_path(root: Path) -> str:
    """Returns `LD_LIBRARY_PATH` for the programs below a folder of unpacked packages."""
    folders = {file.parent for file in root.rglob("*.so*")}
    return ":".join(sorted(map(str, folders)))


@contextmanager
def one_process(cache: Path) -> Iterator[None]:
    """Lets one process of the suite unpack; the others wait and use what it unpacked."""
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def codename() -> str:
    """Returns the release's name, e.g. `bookworm`; an empty text if it has none."""
    return platform.freedesktop_os_release().get("VERSION_CODENAME", "")


def _download(packages: list[str], workspace: Path) -> str | None:
    """Fetches packages and what they need, into folders of our own; returns apt's error, if any."""
    for name in ("state/lists/partial", "cache/archives/partial"):
        (workspace / name).mkdir(parents=True)
    settings = {
        "Dir::State": workspace / "state",
        "Dir::State::Status": STATUS,  # what is installed need not be fetched
        "Dir::Cache": workspace / "cache",
        "Debug::NoLocking": "true",
        "APT::Sandbox::User": "root",  # its own user could not write into the workspace
    }
    options = [part for key, value in settings.items() for part in ("-o", f"{key}={value}")]
    install = ["install", "--yes", "--download-only", "--no-install-recommends", *packages]
    for command in (["update"], install):
        done = subprocess.run(
            ["apt-get", "-qq", *options, *command],
            env={**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            return done.stderr.strip()
    return None
