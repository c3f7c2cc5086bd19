"""The folder that servers with a GPU watch: links to the exports that versions hold for them."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from components.model_version.exports import GPU
from components.model_version.folders import SAVED_MODEL, index_versions


def link_gpu_exports(directory: Path) -> None:
    """Makes `directory/gpu/<version>` a link for every version, once one of them has an export for GPUs.

    A server takes folders of versions, and reads no export inside of a version. The link goes to that export, or to the
    portable one of a version that has no other, so that whatever is promoted can be loaded there, too. Links are made
    after the push, as it is the version's folder that appears in one step; one that was missed by a push that died is
    made by the next. Links to versions that are gone are removed.

    Args:
        directory: the folder with the versions; `gpu` in it is not made before there is something to link.
    """
    folder = directory / GPU
    if folder.is_dir():
        for link in folder.iterdir():
            if link.is_symlink() and not link.exists():
                link.unlink(missing_ok=True)
    there = (
        index_versions(item.name for item in directory.iterdir()).values()
        if directory.is_dir()
        else []
    )
    with_export = {name for name in there if (directory / name / GPU / SAVED_MODEL).is_file()}
    if not with_export and not folder.is_dir():
        return
    folder.mkdir(exist_ok=True)
    for name in there:
        target = Path("..", name, GPU) if name in with_export else Path("..", name)
        with suppress(FileExistsError):  # there, or made by another push at this moment
            (folder / name).symlink_to(target)
