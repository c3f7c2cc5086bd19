"""`mastery formats`: the list, a mapping as a table or as YAML, and that in effect."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from components.errors import MasteryError
from components.platforms.formats import FORMATS
from pipeline.cli import main as command_line
from pipeline.cli.formats_commands import show

CONFIGS = Path(__file__).parents[3] / "configs"


def printed(*arguments: str) -> str:
    result = CliRunner().invoke(command_line.app, ["formats", *arguments])
    assert result.exit_code == 0, result.output
    return result.output


def test_without_a_command_formats_are_listed() -> None:
    assert [line.split()[0] for line in printed().splitlines()] == [*FORMATS]
    assert printed("list") == printed()


@pytest.mark.parametrize("name", FORMATS)
def test_a_mapping_is_shown(name: str) -> None:
    text = printed("show", name)
    if name == "standard":
        assert "Columns are read under their own names" in text
    else:
        assert "learner_id" in text
        assert "left out" in text


def test_the_mapping_in_effect_is_shown() -> None:
    config = str(CONFIGS / "oulad.yaml")
    text = printed("show", "--config", config, "--set", "data.mapping.clicks=null")
    assert "id_student" in text
    assert "clicks" not in text
    assert f"id_site in id_site of {CONFIGS.parent}/data/oulad/vle.csv" in " ".join(text.split())
    copied = yaml.safe_load(printed("show", "--config", config, "--yaml"))
    assert copied["mapping"]["learner_id"] == "id_student"
    assert copied["mapping"]["score"] == {"from": "score", "over": "100"}


def test_a_wrong_name_is_explained() -> None:
    with pytest.raises(MasteryError, match="found mudle; did you mean moodle"):
        show("mudle")
    with pytest.raises(MasteryError, match="expected a format, such as moodle, or --config"):
        show()
