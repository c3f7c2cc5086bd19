"""No secret stands in a configuration, and no error repeats one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from components.config import load_config
from components.config.runtime import Metadata
from components.config.section import integers_as_digits
from components.errors import ConfigError

SAMPLE = Path(__file__).parents[3] / "configs" / "sample.yaml"
CANARY = "canary-4711"


def refusal(setting: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(SAMPLE, [setting])
    assert CANARY not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("notify.webhook.url", f"https://me:{CANARY}@chat.example/hook"),
        ("notify.webhook.url", f"https://{CANARY}@chat.example/hook"),
        ("kubeflow.host", f"https://me:{CANARY}@kubeflow.example"),
        ("kubeflow.storage", f"s3://key:{CANARY}@bucket/folder"),
        ("push.directory", f"s3://key:{CANARY}@bucket/folder"),
        ("schema", f"https://me:{CANARY}@host/a.pbtxt"),
        ("evaluation.baseline", f"s3://me:{CANARY}@host/7"),
        ("data.events", f"[a.csv, 's3://me:{CANARY}@bucket/b.csv']"),
        ("data.outcomes", f"s3://me:{CANARY}@bucket/b.csv"),
        ("beam.args", f"['--flink_master=https://me:{CANARY}@flink:8081']"),
    ],
)
def test_a_password_in_an_address_is_refused_by_its_key(key: str, value: str) -> None:
    text = refusal(f"{key}={value}")
    assert re.search(rf" {re.escape(key)}(\[\d\])?: ", text)
    assert "expected an address without user name and password" in text


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        (
            f"metadata.host=me:{CANARY}@mysql.example",
            "metadata.host: expected the name or address of a machine",
        ),
        (
            f"notify.email={{host: 'me:{CANARY}@smtp', sender: a@b, to: [c@d]}}",
            "notify.email.host: expected the name or address of a machine",
        ),
        (
            f"kubeflow.token_env={CANARY}",
            "kubeflow.token_env: expected the name of an environment variable",
        ),
        (
            f"notify.webhook.url_env=https://chat/{CANARY}",
            "url_env: expected the name of an environment variable",
        ),
        (
            "notify.email="
            f"{{host: h, sender: a@b, to: [c@d], user: me, password_env: '{CANARY}!'}}",
            "notify.email.password_env: expected the name of an environment variable",
        ),
        (
            f"beam.args=['--s3_secret_access_key={CANARY}']",
            "expected no secret, found the option --s3_secret_access_key",
        ),
        (
            f"beam.args=['--azure_connection_string={CANARY}']",
            "found the option --azure_connection_string",
        ),
        (f"notify.webhook=https://chat.example/hooks/{CANARY}", "found 'https://chat.example/...'"),
        (f"notify=['https://chat.example/hooks/{CANARY}']", "found a list with an address in it"),
        (f"metadata.password={CANARY}", "metadata.password: this key is not known"),
    ],
)
def test_a_secret_in_the_wrong_place_is_refused_and_not_repeated(
    setting: str, expected: str
) -> None:
    assert expected in refusal(setting)


def test_class_names_become_text_in_lists_and_mappings() -> None:
    assert integers_as_digits("balanced") == "balanced"


def test_the_line_is_named_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "algebra.yaml"
    file.write_text(
        SAMPLE.read_text() + f"\nnotify:\n  webhook:\n    url: https://me:{CANARY}@chat.example\n"
    )
    line = file.read_text().splitlines().index(f"    url: https://me:{CANARY}@chat.example") + 1
    with pytest.raises(
        ConfigError, match=rf"algebra.yaml, line {line}, notify.webhook.url: expected an address"
    ) as caught:
        load_config(file)
    assert CANARY not in str(caught.value)


def test_the_environment_s_addresses_are_looked_at_too() -> None:
    with pytest.raises(
        ConfigError, match="MASTERY_METADATA_HOST: expected the name or address"
    ) as caught:
        Metadata().with_environment({"MASTERY_METADATA_HOST": f"me:{CANARY}@host"})
    assert CANARY not in str(caught.value)


def test_addresses_and_options_without_secrets_are_taken() -> None:
    config = load_config(
        SAMPLE,
        [
            "notify.webhook.url=https://chat.example/hook?to=me@example.org",
            "kubeflow.storage=s3://bucket/a@b",
            "data.events=[/data/a@b.csv]",
            "beam.args=[--runner=FlinkRunner, --flink_master=flink:8081, --s3_endpoint_url=https://s3.example]",
        ],
    )
    assert config.kubeflow.storage == "s3://bucket/a@b"
    assert len(config.beam.args) == 3
