"""The exports of a model: a portable SavedModel, and possibly one for GPUs inside its folder."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from components.contracts.model_card import ModelCard
from components.contracts.names import GPU
from components.errors import VersionError
from components.files.safe_paths import UnsafePathError, path_below
from components.model_version.folders import SAVED_MODEL, version_names

HERE = "."  # the folder of the portable export: the model's own


def exports(model: Path) -> dict[str, str]:
    """Returns the exports of a model by name, each as a folder below `model`.

    Args:
        model: the folder of the portable export, or of a pushed version.

    Raises:
        ContractError: the model card is missing or cannot be used.
        VersionError: the model card names a folder that is not inside `model`.
    """
    named = ModelCard.read(model).exports
    for name, folder in named.items():
        if folder == HERE:
            continue

        try:
            path_below(model, folder)
        except UnsafePathError:
            raise VersionError(
                f"{model / ModelCard.FILE}: exports.{name}: expected a folder inside the model, "
                f"found {folder[:200]!r}. Nothing was read or written there; push the model again."
            ) from None
    return named


def link_gpu_exports(directory: Path) -> None:
    """Makes `directory/gpu/<version>` a link for every version, once one has an export for GPUs.

    A server loads folders of versions; it does not look for exports inside a version. So servers
    with a GPU watch `directory/gpu`. A link leads to the version's export for GPUs, or else to the
    portable one, so that every version that is promoted can be loaded there too. Links are made
    after the push, because only the version's folder appears in one step; if a push is killed
    before it makes a link, the next push makes it. Links to versions that are gone are removed.

    Args:
        directory: the folder with the versions; `gpu` is made in it as soon as a version has an
            export for GPUs.
    """
    links = directory / GPU
    _remove_dead_links(links)

    names = version_names(directory).values()
    with_export = {name for name in names if (directory / name / GPU / SAVED_MODEL).is_file()}
    if not with_export and not links.is_dir():
        return

    links.mkdir(exist_ok=True)
    for name in names:
        target = Path("..", name, GPU) if name in with_export else Path("..", name)
        with suppress(FileExistsError):  # made before, or by another push at this moment
            (links / name).symlink_to(target)


def _remove_dead_links(links: Path) -> None:
    if not links.is_dir():
        return
    for link in links.iterdir():
        if link.is_symlink() and not link.exists():
            link.unlink(missing_ok=True)
