from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from components.contracts.manifest import Manifest
from components.contracts.model_card import WEIGHTS
from components.errors import MasteryError, TrainingError, VersionError
from components.model_version.verify import file_digests
from components.trainer.start_from import digest_start, read_start

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture
def version(fitted: Path, tmp_path: Path) -> Path:
    """A copy of a model, as it is pushed."""
    return Path(shutil.copytree(fitted / "model", tmp_path / "serving" / "1700000000"))


def test_the_digest_is_that_of_the_files(version: Path) -> None:
    assert digest_start(None, "classification") == ""
    before = digest_start(str(version), "classification")
    moved = shutil.copytree(version, version.with_name("1700000001"))
    assert digest_start(str(moved), "classification") == before
    (version / "assets.extra" / "more").write_text("more")
    assert digest_start(str(version), "classification") != before


@pytest.mark.parametrize(
    ("gone", "found"),
    [
        (".", "found no folder "),
        (WEIGHTS, f"found no {WEIGHTS} in "),
        ("assets.extra/mastery.json", "mastery.json"),
    ],
)
def test_a_folder_without_a_model_is_one_clear_error(version: Path, gone: str, found: str) -> None:
    path = version / gone
    path.rename(path.with_suffix(".moved") if path.is_file() else version.with_name("moved"))
    with pytest.raises(
        MasteryError, match=r"^training\.start_from: expected a pushed version"
    ) as error:
        digest_start(str(version), "classification")
    assert found in str(error.value)


def test_a_model_of_another_task_is_refused(version: Path) -> None:
    with pytest.raises(MasteryError, match=r"expected a model for a regression.*classification"):
        digest_start(str(version), "regression")


def test_files_that_were_not_pushed_are_refused(version: Path) -> None:
    manifest = {
        "name": "tiny",
        "run": "1",
        "pushed_at": "2026-01-01",
        "files": file_digests(version),
    }
    Manifest.model_validate(manifest).write(version)
    digest_start(str(version), "classification")
    with (version / WEIGHTS).open("ab") as file:
        file.write(b"more")
    with pytest.raises(VersionError, match=f"changed: {WEIGHTS}"):
        digest_start(str(version), "classification")


def test_a_link_out_of_the_version_is_refused(version: Path) -> None:
    outside = version.parents[1] / "weights.npz"
    (version / WEIGHTS).rename(outside)
    (version / WEIGHTS).symlink_to(outside)
    with pytest.raises(VersionError, match="expected files inside the version"):
        digest_start(str(version), "classification")


def test_pickled_objects_are_not_read(version: Path) -> None:
    np.savez(version / WEIGHTS, kernel=np.array([print], object))
    with pytest.raises(TrainingError, match="expected arrays of weights; Object arrays cannot be"):
        read_start(version)


def test_compressed_arrays_are_not_read(version: Path) -> None:
    np.savez_compressed(version / WEIGHTS, kernel=np.zeros((1000, 1000), np.float32))
    with pytest.raises(TrainingError, match="expected arrays of weights; it is compressed"):
        read_start(version)


@pytest.mark.parametrize("content", [b"", b"PK", b"x" * 1000])
def test_what_is_no_archive_is_not_read(version: Path, content: bytes) -> None:
    (version / WEIGHTS).write_bytes(content)
    with pytest.raises(TrainingError, match="expected arrays of weights; File is not a zip file"):
        read_start(version)


def test_arrays_of_other_types_are_not_read(version: Path) -> None:
    np.savez(version / WEIGHTS, kernel=np.array(["a"]))
    with pytest.raises(TrainingError, match="expected numbers, found another type in 'kernel'"):
        read_start(version)
