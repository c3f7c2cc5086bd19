"""`kubectl`, for its kustomize: the installed one, or one unpacked from Debian's packages; nothing is installed."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from pipeline.environment import apt
from pipeline.environment.errors import SetupError

WHY = "the manifests are validated as they are rendered: kubectl is not on PATH"


def find_kubectl(cache: Path) -> Path:
    """Returns a kubectl that knows components; skips, with the reason, where there is none to be had."""
    installed = shutil.which("kubectl")
    if installed and _knows_components(Path(installed)):
        return Path(installed)
    root = cache / "root"
    if not root.exists():
        if platform.freedesktop_os_release().get("ID") != "debian" or apt.newer_release() is None:
            pytest.skip(f"{WHY}, and there is no apt of Debian's to fetch it with")
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            try:
                apt.unpack_packages("trixie", ["kubectl"], Path(folder, "root"), Path(folder))
            except SetupError as error:
                pytest.skip(f"{WHY}, and apt says: {error}")
            Path(folder, "root").rename(root)
    return root / "usr" / "bin" / "kubectl"


def _knows_components(kubectl: Path) -> bool:
    """The kustomize inside of kubectl before 1.21 is too old, and its `version` names none."""
    command = [kubectl, "version", "--client", "--output=json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode == 0 and "kustomizeVersion" in json.loads(done.stdout)
