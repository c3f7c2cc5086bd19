"""A browser for tests: the installed one, or Chromium unpacked from the distribution's packages."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.debian import library_path, unpacked_with_dependencies

INSTALLED = ("chromium", "google-chrome", "chromium-browser")
OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage",
    "--no-first-run", "--disable-background-networking", "--hide-scrollbars",
)  # fmt: skip


@dataclass(frozen=True)
class Browser:
    """A browser without a window."""

    program: str
    libraries: str = ""  # folders of libraries that the system does not have

    def dump(self, page: Path, profile: Path) -> str:
        """Returns a page as HTML, after its scripts have run."""
        environment = dict(os.environ)
        if self.libraries:
            environment["LD_LIBRARY_PATH"] = self.libraries
        command = [
            self.program, *OPTIONS, f"--user-data-dir={profile}", "--dump-dom", page.as_uri(),
        ]  # fmt: skip
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=120, check=True
        )
        return done.stdout


def find_browser(cache: Path) -> Browser:
    """Returns a browser; skips, with the reason, where none can be found or fetched.

    Args:
        cache: a folder of the tests' own, for the unpacked packages.
    """
    installed = next(filter(None, map(shutil.which, INSTALLED)), None)
    if installed:
        return Browser(installed)

    why = "the report's layout needs Chromium, which is not on PATH"
    root = unpacked_with_dependencies(cache, ["chromium"], why=why)
    return Browser(str(root / "usr" / "lib" / "chromium" / "chromium"), library_path(root))
