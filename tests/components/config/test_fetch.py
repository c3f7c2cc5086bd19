"""Where a log is fetched from: one origin, a folder to write into, and no secret."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from components.config import load_config
from components.config.fetch import FetchFolder, fetch_folder
from components.errors import ConfigError


def load(folder: Path, events: Any = "log", **fetch: Any) -> Any:
    values = {
        "name": "a",
        "data": {"events": events, "outcomes": "o.csv", "fetch": fetch},
        "schema": "a.pbtxt",
        "label": {"column": "label", "classes": ["no", "yes"]},
        "steps": {"features": {"event_type": {"type": "categorical"}}},
        "gates": [{"metric": "f1_macro", "min": 0.1}],
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(values))
    return load_config(folder / "config.yaml").data


@pytest.mark.parametrize("name", ["plain", "with [brackets]"])
def test_the_folder_is_that_of_events(tmp_path: Path, name: str) -> None:
    home = tmp_path / name
    home.mkdir()
    plain = load(home, "../log", database_env="M")
    assert fetch_folder(plain.events[0]) == FetchFolder(tmp_path / "log", by_day=False)
    inside = load(home, "log", database_env="M")
    assert fetch_folder(inside.events[0]) == FetchFolder(home / "log", by_day=False)
    by_day = load(home, ["log/{YYYY}-{MM}-{DD}", "old.csv"], database_env="M")
    assert fetch_folder(by_day.events[0]) == FetchFolder(home / "log", by_day=True)


@pytest.mark.parametrize(
    ("events", "key"),
    [
        ("log.csv", "data.events"),
        ("log/*.parquet", "data.events"),
        ("log-*", "data.events"),
        ("log-*/{YYYY}-{MM}-{DD}", "data.events"),
        ("{YYYY}/{MM}/{DD}", "data.events"),
        ("log/{SPAN}", "data.events"),
        (["a.csv", "log"], r"data.events\[0\]"),
    ],
)
def test_a_file_or_pattern_is_no_folder(tmp_path: Path, events: Any, key: str) -> None:
    with pytest.raises(ConfigError, match=rf"{key}: expected a folder first"):
        load(tmp_path, events, database_env="M")


@pytest.mark.parametrize(
    ("fetch", "expected"),
    [
        ({}, "expected one of database_env, statements and statements_env, found none"),
        ({"database_env": "M", "statements": "https://h/x"}, "found database_env and statements"),
        ({"statements": "https://h/x", "user_env": "U"}, "password_env: expected user_env and"),
        ({"statements": "ftp://h/x"}, "statements: expected an address such as https"),
        ({"statements": "https://h/x?token=s3cret"}, "statements: expected an address such as"),
        ({"statements": "https://me:s3cret@h/x"}, "expected an address without user name"),
        ({"database_env": "mysql://me:s3cret@h/x"}, "expected the name of an environment"),
        ({"database_env": "M", "prefix": "mdl_; --"}, "prefix: expected letters, digits and _"),
        ({"database_env": "M", "since": "monday"}, "since: expected a date such as 2026-09-01"),
        ({"database_env": "M", "tables": ["user"]}, "tables"),
    ],
)
def test_what_is_refused(tmp_path: Path, fetch: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected) as caught:
        load(tmp_path, **fetch)
    assert "s3cret" not in str(caught.value)


def test_an_address_ends_before_statements(tmp_path: Path) -> None:
    fetch = load(tmp_path, statements="https://h/xapi/statements/").fetch
    assert fetch.statements == "https://h/xapi"
    assert load(tmp_path, database_env="M", since="2026-09-01").fetch.since == "2026-09-01"
