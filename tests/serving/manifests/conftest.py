"""The manifests, rendered as `kubectl apply -k` would."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.serving.manifests.kubectl import Objects, find_kubectl, rendered

SERVING = Path(__file__).parents[3] / "configs" / "serving"


@pytest.fixture(scope="session")
def render(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Objects]:
    """Returns a function that renders an overlay, with another store, model or component."""
    kubectl = find_kubectl(request.config.cache.mkdir("kubectl"))

    @functools.cache
    def run(
        overlay: str, store: str = "claim", model: str = "sample", extra: str | None = None
    ) -> Objects:
        folder = tmp_path_factory.mktemp("manifests") / "serving"
        shutil.copytree(SERVING, folder)
        components = ", ".join(f"../../components/{name}" for name in (store, extra) if name)
        _replace(
            folder / "overlays" / overlay / "kustomization.yaml",
            "[../../components/claim]",
            f"[{components}]",
        )
        _replace(folder / "base" / "kustomization.yaml", "name=sample", f"name={model}")
        return rendered(kubectl, folder / "overlays" / overlay)

    return run


def _replace(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert text.count(old) == 1
    file.write_text(text.replace(old, new))
