"""The sections `channels` and `delivery`: what is an error before anything is sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from serving.answers.delivery_settings import FileChannel
from serving.answers.settings import AnswersSettings, load_settings

XAPI = {"url": "https://lrs.example/xapi", "home_page": "https://school.example"}


def test_a_files_path_counts_from_the_settings_own_folder(tmp_path: Path) -> None:
    file = tmp_path / "answers.yaml"
    file.write_text(
        "channels:\n  box: {kind: file, path: box.mbox}\n  log: {kind: file, path: /var/log/a}\n"
    )
    channels = load_settings(file).channels
    box, log = channels["box"], channels["log"]
    assert isinstance(box, FileChannel)
    assert isinstance(log, FileChannel)
    assert (box.path, log.path) == (str(tmp_path / "box.mbox"), "/var/log/a")


@pytest.mark.parametrize(
    ("sections", "says"),
    [
        ({"channels": {"a.b": {"kind": "file", "path": "x"}}}, "String should match pattern"),
        ({"channels": {"a": {"kind": "webhook"}}}, "expected one of url and url_env"),
        ({"channels": {"a": {"kind": "webhook", "url": "https://me:word@a"}}}, "without user name"),
        ({"delivery": {"xapi": {"home_page": "https://a"}}}, "expected one of url and url_env"),
        ({"delivery": {"xapi": {**XAPI, "user_env": "U"}}}, "both of user_env and password_env"),
        ({"delivery": {"xapi": {**XAPI, "home_page": "school"}}}, "home_page: expected an address"),
        ({"delivery": {"xapi": {**XAPI, "units": "ftp://a"}}}, "units: expected an address"),
        ({"delivery": {"cloud_events": {"w": {"url": "https://a", "types": []}}}}, "at least 1"),
        ({"delivery": {"attempts": 0}}, "greater than or equal to 1"),
    ],
)
def test_a_wrong_section_is_an_error(sections: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        AnswersSettings.model_validate(sections)
