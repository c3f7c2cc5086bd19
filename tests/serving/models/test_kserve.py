"""KServe's manifest follows `mastery models`: its version and its share, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from components.errors import MasteryError
from serving.models.changes import RefusedError
from serving.models.kserve import write_kserve
from serving.models.promotion import promote, start_canary, stop_canary
from serving.models.stopping import stop
from serving.models.storage import Storage
from serving.models.stores import open_storage

SHIPPED = Path(__file__).parents[3] / "configs" / "serving" / "kserve" / "inference-service.yaml"
FOLDER = "pvc://mastery-models/releases"


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "inference-service.yaml"
    path.write_text(SHIPPED.read_text())
    return path


def predictor(path: Path) -> dict[str, object]:
    return yaml.safe_load(path.read_text())["spec"]["predictor"]


def test_the_manifest_follows_a_canary_from_its_start_to_its_promotion(
    storage: Storage, manifest: Path
) -> None:
    promote(storage, 1)
    write_kserve(storage, manifest)
    assert "canaryTrafficPercent" not in predictor(manifest)
    assert predictor(manifest)["model"]["storageUri"] == f"{FOLDER}/1"

    start_canary(storage, 2, 20)
    assert "version 2 gets 20 %" in write_kserve(storage, manifest)
    assert predictor(manifest)["canaryTrafficPercent"] == 20
    assert predictor(manifest)["model"]["storageUri"] == f"{FOLDER}/2"
    assert "nothing to change" in write_kserve(storage, manifest)

    start_canary(storage, 2, 50)
    write_kserve(storage, manifest)
    assert predictor(manifest)["canaryTrafficPercent"] == 50

    promote(storage, 2)
    write_kserve(storage, manifest)
    assert "canaryTrafficPercent" not in predictor(manifest)
    assert predictor(manifest)["model"]["storageUri"] == f"{FOLDER}/2"


def test_the_end_of_a_canary_brings_the_stable_version_back(
    storage: Storage, manifest: Path
) -> None:
    promote(storage, 1)
    start_canary(storage, 2, 20)
    write_kserve(storage, manifest)
    stop_canary(storage)
    write_kserve(storage, manifest)
    assert "canaryTrafficPercent" not in predictor(manifest)
    assert predictor(manifest)["model"]["storageUri"] == f"{FOLDER}/1"


def test_everything_else_stays_as_it_was(storage: Storage, manifest: Path) -> None:
    before = manifest.read_text()
    promote(storage, 1)
    start_canary(storage, 2, 10)
    write_kserve(storage, manifest)
    assert manifest.read_text() == before.replace("/1795414570", "/2")


def test_a_dry_run_changes_no_file(storage: Storage, manifest: Path) -> None:
    before = manifest.read_text()
    promote(storage, 1)
    assert "would say: version 1" in write_kserve(storage, manifest, dry_run=True)
    assert manifest.read_text() == before


def test_a_model_out_of_service_is_refused(storage: Storage, manifest: Path) -> None:
    promote(storage, 1)
    stop(storage, 1, "wrong warnings")
    before = manifest.read_text()
    with pytest.raises(RefusedError, match=r"wrong warnings.*kubectl delete") as raised:
        write_kserve(storage, manifest)
    assert raised.value.exit_code == 1
    assert manifest.read_text() == before


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (("kind: InferenceService", "kind: Service"), "expected one InferenceService"),
        (("releases/1795414570", "releases/newest"), "storageUri on a line of its own"),
        (("spec:", "spec: ["), "expected YAML"),
    ],
)
def test_other_manifests_are_refused(
    folder: Path, manifest: Path, change: tuple[str, str], found: str
) -> None:
    storage = open_storage(str(folder))
    promote(storage, 1)
    manifest.write_text(manifest.read_text().replace(*change))
    with pytest.raises(MasteryError, match=found):
        write_kserve(storage, manifest)


def test_before_a_first_promotion_there_is_nothing_to_follow(folder: Path, manifest: Path) -> None:
    with pytest.raises(MasteryError, match="models promote"):
        write_kserve(open_storage(str(folder)), manifest)
