"""`kubectl`, for its kustomize: the installed one, or one unpacked from Debian's packages."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.environment import apt
from tests.debian import unpacked

Objects = dict[str, dict[str, Any]]  # by kind and name, such as Service/mastery-serving

WHY = "the manifests are validated as they are rendered: kubectl is not on PATH"


def find_kubectl(cache: Path) -> Path:
    """Returns a kubectl that supports components; skips the test if there is none."""
    installed = shutil.which("kubectl")
    if installed and _knows_components(Path(installed)):
        return Path(installed)
    if platform.freedesktop_os_release().get("ID") != "debian" or apt.newer_release() is None:
        pytest.skip(f"{WHY}, and there is no apt of Debian's to fetch it with")
    return unpacked(cache, "trixie", ["kubectl"], why=WHY) / "usr" / "bin" / "kubectl"


def rendered(kubectl: Path, folder: Path) -> Objects:
    """Returns the objects of an overlay, by kind and name, as `kubectl apply -k` makes them."""
    command = [kubectl, "kustomize", folder]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return {
        f"{item['kind']}/{item['metadata']['name']}": item
        for item in yaml.safe_load_all(done.stdout)
    }


def _knows_components(kubectl: Path) -> bool:
    """The kustomize inside of kubectl before 1.21 is too old, and its `version` names none."""
    command = [kubectl, "version", "--client", "--output=json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode == 0 and "kustomizeVersion" in json.loads(done.stdout)
