"""The section `alerts`: what it takes, and errors with file, line, key and place."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.errors import ConfigError
from serving.answers.alerts.evaluation import check_rules
from serving.answers.settings import load_settings

REPOSITORY = Path(__file__).parents[4]
CHANNELS = "channels:\n  teachers: {kind: file, path: teachers.jsonl}\n"


def refused(tmp_path: Path, alerts: str) -> str:
    """Returns the error about settings, which begins with the file."""
    path = tmp_path / "answers.yaml"
    path.write_text(f"{CHANNELS}alerts:\n{alerts}")
    with pytest.raises(ConfigError) as caught:
        load_settings(path)
    return str(caught.value).replace(str(path), "answers.yaml")


def rule(**keys: str) -> str:
    values = {"name": "call", "when": "need > 0.5", "to": "[teachers]"} | keys
    return "  rules:\n    - " + "\n      ".join(f"{key}: {value}" for key, value in values.items())


def test_the_example_fits_the_sample() -> None:
    settings = load_settings(REPOSITORY / "configs" / "answers.yaml")
    assert [one.name for one in settings.alerts.rules] == ["call", "slipped", "gone"]
    check_rules(settings, ["not_mastered", "partial", "proficient"])


def test_an_error_in_a_condition_names_the_line_and_the_key_and_points(tmp_path: Path) -> None:
    found = refused(tmp_path, rule(when="p(low) >= 0.7 and hroizon <= 14"))
    assert found == (
        "answers.yaml, line 6, alerts.rules[0].when: in the condition\n"
        "    p(low) >= 0.7 and hroizon <= 14\n"
        "                      ^\n"
        "expected a name such as need or class, found hroizon; did you mean horizon?"
    )


@pytest.mark.parametrize(
    ("alerts", "error"),
    [
        ("  time_zone: Europe/Berln\n",
         "answers.yaml, line 4, alerts.time_zone: expected a time zone such as Europe/Berlin, "
         "found 'Europe/Berln'; did you mean Europe/Berlin?"),
        ("  language: fr\n",
         "answers.yaml, line 4, alerts.language: expected 'en', 'de' or 'zh', found 'fr'."),
        ("  link: https://board.example/{learner}\n",
         "answers.yaml, line 4, alerts.link: expected {learner_id} or {unit_id}, found {learner}; "
         "did you mean learner_id?"),
        ("  link: https://board.example/{\n",
         "answers.yaml, line 4, alerts.link: expected an address with {learner_id} in it, found "
         "'https://board.example/{'."),
        (rule(to="[techers]"),
         "answers.yaml, line 7, alerts.rules[0].to[0]: expected the name of a channel (teachers), "
         "found 'techers'; did you mean teachers?"),
        (rule(to="[]"),
         "answers.yaml, line 7, alerts.rules[0].to: expected a length of at least 1, found []."),
        (rule(name="a/b"), "answers.yaml, line 5, alerts.rules[0].name: "),
        (rule(capacity="20 a week"),
         "answers.yaml, line 8, alerts.rules[0].capacity: expected a number per day, week or "
         "month, such as 20 per week, or 20 per week and group; found '20 a week'."),
        (rule(cool_down="2 months"),
         "answers.yaml, line 8, alerts.rules[0].cool_down: expected hours, days or weeks such as "
         "36h, 14d or 2w, found '2 months'."),
        (rule(quiet_hours="8-20"),
         "answers.yaml, line 8, alerts.rules[0].quiet_hours: expected hours such as 20:00-07:00, "
         "found '8-20'."),
        (rule(digest="per_region"),
         "answers.yaml, line 8, alerts.rules[0].digest: expected 'per_rule', 'per_group' or "
         "'per_learner', found 'per_region'; did you mean per_rule?"),
        (rule(cooldown="14d"),
         "answers.yaml, line 8, alerts.rules[0].cooldown: this key is not known; did you mean "
         "alerts.rules[0].cool_down? docs/answers-configuration.md lists all keys."),
        (rule() + "\n    - {name: call, when: need > 0.1, to: [teachers]}\n",
         "answers.yaml, line 8, alerts.rules[1].name: expected every name once, found call "
         "again."),
    ],
)  # fmt: skip
def test_errors_name_the_line_and_the_key(tmp_path: Path, alerts: str, error: str) -> None:
    assert refused(tmp_path, alerts).startswith(error)


def test_a_link_holds_any_id(tmp_path: Path) -> None:
    path = tmp_path / "answers.yaml"
    path.write_text("alerts: {link: 'https://board.example/learners/{learner_id}'}")
    alerts = load_settings(path).alerts
    assert alerts.link_to("../a b", "u") == "https://board.example/learners/~2E~2E~2Fa~20b"
    assert load_settings(None).alerts.link_to("a", "u") is None
