"""The folder that servers with a GPU watch: links to the exports that versions hold for them."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from components.exports import GPU
from components.pusher.push import SAVED_MODEL, versions


def link_gpu_exports(directory: Path) -> None:
    """Makes `directory/gpu/<version>` a link to `directory/<version>/gpu` for every version that has one.

    A server takes folders of versions, and reads no export inside of a version. Links are made after the push, as it
    is the version's folder that appears in one step; one that was missed by a push that died is made by the next.
    Links to versions that are gone are removed.

    Args:
        directory: the folder with the versions; `gpu` in it is not made before there is something to link.
    """
    folder = directory / GPU
    if folder.is_dir():
        for link in folder.iterdir():
            if link.is_symlink() and not link.exists():
                link.unlink(missing_ok=True)
    for version in versions(directory):
        if (directory / str(version) / GPU / SAVED_MODEL).is_file():
            folder.mkdir(exist_ok=True)
            with suppress(FileExistsError):  # there, or made by another push at this moment
                (folder / str(version)).symlink_to(Path("..", str(version), GPU))
