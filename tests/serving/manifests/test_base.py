"""The base's files, checked without rendering them."""

from __future__ import annotations

import kubernetes_validate
import pytest
import yaml

from tests.serving.manifests.conftest import SERVING

BASE = SERVING / "base"
RESOURCES = yaml.safe_load((BASE / "kustomization.yaml").read_text())["resources"]


@pytest.mark.parametrize("name", RESOURCES)
def test_every_file_fits_the_published_schemas(name: str) -> None:
    for item in yaml.safe_load_all((BASE / name).read_text()):
        if item["kind"] == "Deployment":  # kustomize adds the labels, and the selector with them
            item["spec"]["selector"] = {
                "matchLabels": {"app.kubernetes.io/name": "mastery-serving"}
            }
        kubernetes_validate.validate(item, "1.29", strict=True)


def test_the_base_lists_every_file_of_its_folder() -> None:
    files = {file.name for file in BASE.glob("*.yaml")} - {"kustomization.yaml"}
    assert files == set(RESOURCES)
