"""The configuration reference says what the types say."""

from __future__ import annotations

from pathlib import Path

from components.config import Config
from components.config.reference import reference

DOCS = Path(__file__).parents[3] / "docs"


def test_the_page_is_up_to_date() -> None:
    assert (DOCS / "configuration.md").read_text(encoding="utf-8") == reference(), "run `make docs`"


def test_every_key_has_a_meaning() -> None:
    text = reference()
    for name, field in Config.model_fields.items():
        assert f"| `{field.alias or name}` |" in text
    assert not [
        line for line in text.splitlines() if line.startswith("| `") and line.endswith("|  |")
    ]
