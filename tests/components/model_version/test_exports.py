"""The exports of a model: what its card names, as long as that is inside the model."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.contracts.contract import ContractError
from components.contracts.model_card import ModelCard
from components.errors import VersionError
from components.model_version.exports import exports, link_gpu_exports


def write_card(model: Path, **more: object) -> None:
    card = {"name": "small", "task": "classification", "config": {}, **more}
    ModelCard.model_validate(card).write(model)


def test_a_model_without_exports_in_its_card_is_portable(tmp_path: Path) -> None:
    write_card(tmp_path)
    assert exports(tmp_path) == {"portable": "."}


def test_exports_are_folders_below_the_model(tmp_path: Path) -> None:
    write_card(tmp_path, exports={"portable": ".", "gpu": "gpu"})
    assert exports(tmp_path) == {"portable": ".", "gpu": "gpu"}


@pytest.mark.parametrize("folder", ["..", "../other", "/etc", "gpu/../..", "", "a\\b", "a\x00b"])
def test_an_export_outside_the_model_is_refused(tmp_path: Path, folder: str) -> None:
    write_card(tmp_path, exports={"portable": ".", "gpu": folder})
    with pytest.raises(VersionError) as caught:
        exports(tmp_path)
    assert str(caught.value).startswith(
        f"{tmp_path}/assets.extra/mastery.json: exports.gpu: expected a folder inside the model, "
        f"found {folder!r}."
    )


def test_an_export_that_is_a_link_is_refused(tmp_path: Path) -> None:
    write_card(tmp_path / "model", exports={"gpu": "gpu"})
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "model" / "gpu").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(VersionError, match="expected a folder inside the model, found 'gpu'"):
        exports(tmp_path / "model")


def test_a_missing_card_is_named(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=r"assets\.extra/mastery\.json: could not be read"):
        exports(tmp_path)


def test_links_lead_to_the_export_for_gpus_or_to_the_portable_one(tmp_path: Path) -> None:
    for version in ("1", "2"):
        (tmp_path / version).mkdir()
    link_gpu_exports(tmp_path)
    assert not (tmp_path / "gpu").exists(), "no version has an export for GPUs"

    (tmp_path / "2" / "gpu").mkdir()
    (tmp_path / "2" / "gpu" / "saved_model.pb").touch()
    for _ in range(2):
        link_gpu_exports(tmp_path)
        links = {link.name: str(link.readlink()) for link in (tmp_path / "gpu").iterdir()}
        assert links == {"1": "../1", "2": "../2/gpu"}

    (tmp_path / "1").rmdir()
    link_gpu_exports(tmp_path)
    assert [link.name for link in (tmp_path / "gpu").iterdir()] == ["2"]
