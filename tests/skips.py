"""Why a test may be skipped in CI; a skip for any other reason is a failure there."""

from __future__ import annotations

import os

# How the reason of a skip begins, and why it is accepted.
ACCEPTED = {
    "root may": "permissions do not bind root, and containers of CI servers often run as root",
    "the real log": "real logs of learners are not part of the repository",
    "NO CONTAINER ENGINE": "not every CI server lets a job start containers",
    "TensorFlow has CUDA for Linux": "other systems have no such driver",
    "TensorFlow has no CUDA": "its libraries exist for one platform only",
    "patchelf changes Linux": "other systems have another format of programs",
    "musl is a C library": "other systems do not have it",
    "only Linux": "other systems do not say how much memory a process has",
    "elsewhere there is no such limit": "other systems do not limit a process's memory",
    "reads /proc": "other systems do not have it",
    "npm is not on PATH": "images of CI servers for Python often have none",
    "apt is only on": "other distributions have other package managers",
}


def is_failure(reason: str) -> bool:
    """Returns whether a skip for this reason is a failure: in CI, unless it is accepted."""
    return os.environ.get("CI") == "true" and not reason.startswith(tuple(ACCEPTED))
