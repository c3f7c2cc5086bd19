"""The metadata store's section: what the environment says wins, and what is missing is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.config import Config, Metadata, load_config
from components.errors import ConfigError

SAMPLE = Path(__file__).parents[3] / "configs" / "sample.yaml"
LOGIN = {"MASTERY_METADATA_PASSWORD": "not-4-plans"}
FILE = Metadata(store="mysql", host="file.test", port=3307, database="file", user="file")


def test_sqlite_needs_nothing() -> None:
    assert Metadata().with_environment({}) == Metadata(store="sqlite")


def test_the_environment_wins_over_the_file() -> None:
    variables = {
        "HOST": "env.test",
        "PORT": "3308",
        "DATABASE": "env",
        "USER": "env",
        "STORE": "mysql",
    }
    environment = LOGIN | {f"MASTERY_METADATA_{name}": value for name, value in variables.items()}
    expected = Metadata(store="mysql", host="env.test", port=3308, database="env", user="env")
    assert FILE.with_environment(environment) == expected
    assert Metadata().with_environment(environment) == expected


def test_an_empty_variable_says_nothing() -> None:
    assert FILE.with_environment({**LOGIN, "MASTERY_METADATA_HOST": ""}) == FILE


def test_every_missing_value_is_named_with_its_key_and_its_variable() -> None:
    with pytest.raises(ConfigError) as caught:
        Metadata(store="mysql").with_environment({})
    for name in ("host", "database", "user"):
        assert f"metadata.{name}: " in str(caught.value)
        assert f"MASTERY_METADATA_{name.upper()}" in str(caught.value)
    assert "MASTERY_METADATA_PASSWORD" in str(caught.value)


def test_a_variable_that_does_not_fit_is_named() -> None:
    with pytest.raises(
        ConfigError, match=r"MASTERY_METADATA_PORT: expected a whole number, found 'many'"
    ):
        FILE.with_environment({**LOGIN, "MASTERY_METADATA_PORT": "many"})


def test_an_authority_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"metadata.ssl_ca: expected .*ca.pem, found none"):
        FILE.model_copy(update={"ssl_ca": str(tmp_path / "ca.pem")}).with_environment(LOGIN)


def test_another_process_gets_the_same_store_without_the_password() -> None:
    handed_on = FILE.as_environment()
    assert Metadata().with_environment({**handed_on, **LOGIN}) == FILE
    assert "MASTERY_METADATA_PASSWORD" not in handed_on


def test_nothing_of_the_store_is_in_a_dump_or_a_fingerprint() -> None:
    plain = load_config(SAMPLE)
    store = [f"metadata.{key}={value}" for key, value in FILE.model_dump(exclude_none=True).items()]
    shared = load_config(SAMPLE, store)
    assert shared.metadata == FILE
    assert shared.fingerprint == plain.fingerprint
    assert shared.model_dump_json(by_alias=True) == plain.model_dump_json(by_alias=True)
    assert Config.model_validate_json(shared.model_dump_json(by_alias=True)).metadata == Metadata()


def test_the_authority_s_path_counts_from_the_file_s_folder(tmp_path: Path) -> None:
    file = tmp_path / "deployment.yaml"
    file.write_text(SAMPLE.read_text() + "\nmetadata: {ssl_ca: tls/ca.pem}\n")
    assert load_config(file).metadata.ssl_ca == str(tmp_path / "tls" / "ca.pem")
