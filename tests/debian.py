"""Programs for tests from the distribution's packages: unpacked into a cache, never installed."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from pipeline.environment import apt
from pipeline.environment.errors import SetupError


def unpacked(cache: Path, release: str, packages: list[str], *, why: str) -> Path:
    """Returns the folder that has the packages' files, from the cache where they are there already.

    Args:
        cache: a folder for these packages only.
        release: codename, e.g. `trixie`.
        packages: names.
        why: what is not tested without them; the reason of the skip where apt cannot fetch them.
    """
    root = cache / "root"
    if not root.exists():
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            try:
                apt.unpack_packages(release, packages, Path(folder, "root"), Path(folder))
            except SetupError as error:
                pytest.skip(f"{why}, and apt says: {error}")
            Path(folder, "root").rename(root)
    return root
