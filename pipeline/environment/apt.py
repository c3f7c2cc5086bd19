"""Packages of a newer release of the same distribution, fetched by apt and not installed.

apt reads the mirror, the proxy and the keys of this machine, and checks the release's signature and
every package's SHA256. It is run on folders of its own, so it changes nothing on the system.
"""

from __future__ import annotations

import platform
import re
import shutil
from pathlib import Path

from pipeline.environment.machine import SetupError, output_of

# The first releases whose glibc is new enough for TFX's wheels.
NEWER = {"debian": "trixie", "ubuntu": "noble"}
PROBLEM = (
    "A newer C library could not be fetched. Check the network and apt's sources "
    "(`apt-get update`), or build the Docker image: docker build -t mastery ."
)


def newer_release() -> str | None:
    """Returns the release to take packages from, None where apt or dpkg is missing."""
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        return None
    is_ubuntu = "UBUNTU_CODENAME" in platform.freedesktop_os_release()
    return NEWER["ubuntu" if is_ubuntu else "debian"]


def unpack_packages(release: str, packages: list[str], into: Path, workspace: Path) -> None:
    """Fetches packages of a release and unpacks their files into a folder.

    Args:
        release: codename, e.g. `trixie`.
        packages: names, e.g. `["libc6"]`.
        into: folder that gets the packages' trees (`into/usr/lib/...`).
        workspace: an empty folder for what apt writes.

    Raises:
        SetupError: no mirror is configured, it cannot be reached, or a signature or a SHA256 is
            wrong.
    """
    sources = workspace / "sources.list"
    sources.write_text(f"deb {mirror()} {release} main\n", encoding="utf-8")
    for name in ("state/lists/partial", "cache/archives/partial", "packages"):
        (workspace / name).mkdir(parents=True)

    settings = {
        "Dir::Etc::SourceList": sources,
        "Dir::Etc::SourceParts": "-",
        "Dir::State": workspace / "state",
        "Dir::State::Status": "/dev/null",
        "Dir::Cache": workspace / "cache",
        "APT::Sandbox::User": "root",  # its own user could not write into the workspace
        "APT::Update::Error-Mode": "any",
    }
    options = [part for key, value in settings.items() for part in ("-o", f"{key}={value}")]
    apt = ("apt-get", *options, "-qq")
    folder = workspace / "packages"
    output_of(*apt, "update", problem=PROBLEM)
    output_of(*apt, "download", *packages, problem=PROBLEM, cwd=folder)
    for package in sorted(folder.glob("*.deb")):
        output_of("dpkg-deb", "--extract", package, into, problem=PROBLEM)


def mirror() -> str:
    """Returns the address of the distribution's packages that this machine is set up with.

    Raises:
        SetupError: apt's configuration names none.
    """
    release = platform.freedesktop_os_release()
    codename = release.get("UBUNTU_CODENAME") or release.get("VERSION_CODENAME", "")
    # Works before any download, too.
    listed = output_of("apt-get", "update", "--print-uris", problem=PROBLEM)
    if match := re.search(f"^'(.+/)dists/{re.escape(codename)}/main/binary-", listed, re.MULTILINE):
        return match[1]
    raise SetupError(
        f"Expected a package source for `{codename} main` in apt's configuration, to fetch a newer "
        "C library from; found none. Add the distribution's own source, or build the Docker image: "
        "docker build -t mastery ."
    )
