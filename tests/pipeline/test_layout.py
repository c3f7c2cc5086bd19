"""Names and paths below a root."""

from __future__ import annotations

from pathlib import Path

from components.config import load_config
from pipeline.layout import Layout

SAMPLE = Path(__file__).parents[2] / "configs" / "sample.yaml"


def test_pipelines_of_one_name_in_two_roots_are_two_pipelines_in_the_metadata_store() -> None:
    names = {
        Layout(Path(root), name).store_name
        for root in ("/a", "/b")
        for name in ("algebra", "geometry", "x" * 63)
    }
    assert len(names) == 6
    assert max(map(len, names)) == 63
    assert Layout(Path("/a"), "algebra").store_name == Layout(Path("/a"), "algebra").store_name


def test_a_configured_serving_folder_wins(tmp_path: Path) -> None:
    layout = Layout(tmp_path, "sample")
    assert layout.serving(load_config(SAMPLE)) == tmp_path / "sample" / "serving"
    own = load_config(SAMPLE, ["push.directory=/models/sample"])
    assert layout.serving(own) == Path("/models/sample")
