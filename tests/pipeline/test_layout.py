"""Names and places below a root."""

from __future__ import annotations

from pathlib import Path

from pipeline.layout import Layout


def test_pipelines_of_one_name_in_two_roots_are_two_pipelines_in_the_metadata_store() -> None:
    names = {
        Layout(Path(root), name).store_name
        for root in ("/a", "/b")
        for name in ("algebra", "geometry", "x" * 63)
    }
    assert len(names) == 6
    assert max(map(len, names)) == 63
    assert Layout(Path("/a"), "algebra").store_name == Layout(Path("/a"), "algebra").store_name
