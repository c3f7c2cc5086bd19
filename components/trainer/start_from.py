"""Which model a fit starts from: checks its folder before anything runs, and reads its weights.

The folder may come from elsewhere, so it is treated as a server treats a version: its files have
to be those of its manifest, no link may lead out of it, and weights are read as plain arrays.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.contracts.contract import ContractError
from components.contracts.model_card import WEIGHTS, ModelCard, NetworkLayout, Vocabularies
from components.errors import MasteryError, TrainingError
from components.model_version.verify import model_digest, verify_version

if TYPE_CHECKING:
    import numpy as np

Parts = list[tuple[str, int]]  # what a layer reads: names of layers and inputs, and their widths

_EXPECTED = "training.start_from: expected a pushed version such as runs/NAME/serving/1234567890"


@dataclass(frozen=True)
class Start:
    """What a fit can take over from an earlier model.

    Attributes:
        folder: where it comes from.
        weights: arrays by their path in Keras, such as `lstm_0/lstm_cell/kernel`.
        words: the words of each embedded feature, in the order of their rows, from row 1.
        inputs: what each layer reads; None for a model from before this was written down.
        card: what the model is.
    """

    folder: Path
    weights: Mapping[str, np.ndarray]
    words: Mapping[str, list[bytes]]
    inputs: Mapping[str, Parts] | None
    card: ModelCard


def digest_start(start_from: str | None, task: str) -> str:
    """Returns the digest of the model in `training.start_from`, "" if none is configured.

    It is part of the cache key: another model at the same path is started from anew.

    Args:
        start_from: a pushed version's folder.
        task: the kind of label that the new model predicts.

    Raises:
        MasteryError: the folder holds no model that a fit can start from.
        VersionError: its files are not those that were pushed.
    """
    if start_from is None:
        return ""

    folder = Path(start_from)
    if not folder.is_dir():
        raise MasteryError(f"{_EXPECTED}, found no folder {folder}.")
    if not (folder / WEIGHTS).is_file():
        raise MasteryError(f"{_EXPECTED}, found no {WEIGHTS} in {folder}.")
    try:
        card = ModelCard.read(folder)
    except ContractError as error:
        raise MasteryError(f"{_EXPECTED}. {error}") from None
    if card.task != task:
        raise MasteryError(
            f"training.start_from: expected a model for a {task}, as label.task says, found one "
            f"for a {card.task} in {folder}."
        )

    folder = folder.resolve()
    verify_version(folder, within=folder.parent)
    return model_digest(folder)


def read_start(folder: Path) -> Start:
    """Reads what a fit can take over from a model.

    Raises:
        TrainingError: a file is missing, or is not what Mastery writes.
    """
    try:
        has_layout = (folder / NetworkLayout.FILE).exists()
        return Start(
            folder=folder,
            weights=_read_weights(folder / WEIGHTS),
            words=Vocabularies.read(folder).words,
            inputs=NetworkLayout.read(folder).inputs if has_layout else None,
            card=ModelCard.read(folder),
        )
    except ContractError as error:
        raise TrainingError(str(error)) from None
    except OSError as error:
        raise TrainingError(f"{error.filename}: could not be read ({error.strerror}).") from None


def _read_weights(path: Path) -> dict[str, np.ndarray]:
    """Reads arrays of numbers; pickled objects, which run code when they are read, are refused."""
    import numpy as np

    try:
        with zipfile.ZipFile(path) as archive:
            if any(item.compress_type != zipfile.ZIP_STORED for item in archive.infolist()):
                raise ValueError("it is compressed")  # a small file could then fill the memory
        with np.load(path, allow_pickle=False) as arrays:
            weights = {name: arrays[name] for name in arrays.files}
    except (ValueError, zipfile.BadZipFile) as error:
        raise TrainingError(f"{path}: expected arrays of weights; {error}.") from None

    if odd := [name for name, array in weights.items() if array.dtype.kind != "f"]:
        raise TrainingError(f"{path}: expected numbers, found another type in {odd[0][:200]!r}.")
    return weights
