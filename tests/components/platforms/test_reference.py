"""The pages about formats say what the mappings say; what the page of the language says is true."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest
import yaml

from components.config.data import Data
from components.config.mapping import EventMapping
from components.event_log.chunks import Chunk
from components.event_log.readers import read_chunks
from components.event_log.sources import LogFile
from components.platforms.formats import PLATFORMS, mapping_of
from components.platforms.reference import as_yaml, pages, tables, with_tables

DOCS = Path(__file__).parents[3] / "docs"
_ROW = re.compile(
    r"^\| (`.*?|several ways) \| `(?P<way>.*)` \| `(?P<record>\{.*\})`"
    r"(?: in the file `(?P<file>.*?)`)? \| (?P<value>.*) \|$"
)


def _rows() -> list[re.Match[str]]:
    lines = (DOCS / "formats.md").read_text(encoding="utf-8").splitlines()
    return [match for line in lines if (match := _ROW.match(line))]


def test_the_pages_are_up_to_date() -> None:
    for page, text in pages(DOCS):
        assert page.read_text(encoding="utf-8") == text, f"{page.name}: run `make docs`"


def test_the_page_of_the_language_has_an_example_of_every_key() -> None:
    ways = " ".join(row["way"] for row in _rows())
    keys = {*EventMapping.model_fields["columns"].annotation.__args__[1].__args__[0].model_fields}
    missing = [key for key in keys if f"{key.strip('_')}:" not in ways]
    assert not missing


@pytest.mark.parametrize("row", _rows(), ids=lambda row: row[1].strip("`"))
def test_each_example_of_a_way_gives_its_value(row: re.Match[str], tmp_path: Path) -> None:
    mapping = EventMapping.model_validate(
        {"columns": {"x": yaml.safe_load(row["way"]), "learner_id": {"constant": "l"}}}
    )
    path = tmp_path / (row["file"] or "log.jsonl").rpartition("/")[2]
    is_csv = path.suffix == ".csv"
    lines = ["a", "1", "2"] if is_csv else [row["record"]] * 2
    path.write_text("\n".join(lines), encoding="utf-8")
    file = LogFile(str(path), "csv" if is_csv else "jsonl", 0)
    chunks = [chunk for chunk in read_chunks(file, ["x"], mapping) if isinstance(chunk, Chunk)]
    expected = None if row["value"] == "nothing" else row["value"].strip("`")
    assert pl.concat(chunk.frame for chunk in chunks)["x"].to_list() == [expected] * 2


@pytest.mark.parametrize("name", PLATFORMS)
def test_a_mapping_that_is_copied_means_the_same(name: str) -> None:
    copied = yaml.safe_load(as_yaml(mapping_of(name)))
    data = Data.model_validate({"events": "e.csv", "outcomes": "o.csv", **copied})
    assert data.event_mapping is not None
    assert _by_kind(data.event_mapping) == _by_kind(mapping_of(name))


def _by_kind(mapping: EventMapping) -> list[object]:
    names = mapping.column_names
    kinds = [mapping.of_kind(kind, names) for kind in mapping.kinds.values()] or [mapping]
    return [(kind.columns, kind.leave_out, kind.lookups) for kind in kinds]


def test_a_table_names_every_column_and_rule_once_per_kind() -> None:
    mapping = EventMapping.model_validate(
        {
            "columns": {"learner_id": ["a.b", "c"], "score": {"from": "x", "over": "y"}},
            "leave_out": {"staff": {"role": ["s", "t"]}, "robots": {"agent": "bot|spider"}},
        }
    )
    assert tables(mapping).splitlines() == [
        "| column | where its value is found |",
        "|---|---|",
        "| `learner_id` | 1. `a.b`<br>2. `c` |",
        "| `score` | `x`, divided by `y` |",
        "",
        "| left out | what these records have |",
        "|---|---|",
        "| staff | `role` is `s`, `t` |",
        "| robots | `agent` has `bot\\|spider` |",
    ]


def test_only_what_is_between_the_lines_is_replaced() -> None:
    page = "# A\n<!-- mapping -->\nold\n<!-- end of mapping -->\nend\n"
    new = "# A\n<!-- mapping -->\n\nnew\\1\n<!-- end of mapping -->\nend\n"
    assert with_tables(page, "new\\1") == new
    with pytest.raises(ValueError, match="found none"):
        with_tables("# A\n", "new")
