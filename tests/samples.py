"""Real logs for tests: files that packages ship, downloaded once and never copied into here."""

from __future__ import annotations

import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest
import uv

from tests.debian import one_process


def unpacked(cache: Path, requirement: str, sha256: str, *, options: tuple[str, ...] = ()) -> Path:
    """Returns the folder with a package's files; skips, with the reason, if it cannot be fetched.

    Args:
        cache: a folder for this package only.
        requirement: name and version, `package==1.0`.
        sha256: of its archive.
        options: of `pip download`, such as `--no-binary=:all:` for the source.
    """
    folder = cache / sha256[:16]
    with one_process(cache):
        if folder.is_dir():
            return folder
        pinned = cache / "requirement.txt"
        pinned.write_text(f"{requirement} --hash=sha256:{sha256}\n", encoding="utf-8")
        downloads = cache / "downloads"
        # uv has no command that downloads an archive, but it can run pip.
        done = subprocess.run(
            [uv.find_uv_bin(), "run", "--quiet", "--no-project", "--isolated", "--with", "pip",
             "python", "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes",
             "--requirement", pinned, "--dest", downloads, *options],
            cwd=cache, check=False, capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode:
            pytest.skip(
                f"{requirement} could not be fetched, whose sample logs are read: {done.stderr}"
            )
        (archive,) = downloads.iterdir()
        draft = cache / "draft"
        if archive.suffix == ".whl":
            with zipfile.ZipFile(archive) as wheel:
                wheel.extractall(draft)
        else:
            with tarfile.open(archive) as source:
                source.extractall(draft, filter="data")
        draft.rename(folder)
    return folder
