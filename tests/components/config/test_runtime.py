"""The section of the metadata store: the environment overrides it, missing values are named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from components.config import Beam, Config, Metadata, load_config
from components.config.beam import IN_PROCESS
from components.config.training import WORKER_FOLDER
from components.errors import ConfigError
from components.node.settings import TrainerSettings

SAMPLE = Path(__file__).parents[3] / "configs" / "sample.yaml"
LOGIN = {"MASTERY_METADATA_PASSWORD": "not-4-plans"}
FILE = Metadata(store="mysql", host="file.test", port=3307, database="file", user="file")


def test_sqlite_needs_nothing() -> None:
    assert Metadata().with_environment({}) == Metadata(store="sqlite")


def test_the_environment_overrides_the_file() -> None:
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


def test_an_empty_variable_is_ignored() -> None:
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
    with pytest.raises(ConfigError, match=r"metadata.ssl_ca: there is no file .*ca.pem"):
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


def test_where_workers_meet_is_in_no_dump_and_reaches_nodes_by_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(WORKER_FOLDER, raising=False)
    plain = load_config(SAMPLE)
    shared = load_config(SAMPLE, ["training.worker_folder=/shared/workers"])
    assert shared.fingerprint == plain.fingerprint
    assert TrainerSettings.of(shared) == TrainerSettings.of(plain)
    assert plain.training.as_environment() == {}
    assert shared.training.as_environment() == {WORKER_FOLDER: "/shared/workers"}

    more = load_config(SAMPLE, ["training.workers=2"])
    assert TrainerSettings.of(more) != TrainerSettings.of(plain)  # sums round in another order


def test_the_authority_s_path_counts_from_the_file_s_folder(tmp_path: Path) -> None:
    file = tmp_path / "deployment.yaml"
    file.write_text(SAMPLE.read_text() + "\nmetadata: {ssl_ca: tls/ca.pem}\n")
    assert load_config(file).metadata.ssl_ca == str(tmp_path / "tls" / "ca.pem")


def test_beam_runs_in_the_process_unless_the_configuration_names_a_runner() -> None:
    beam = Beam(args=["--sdk_container_image=none"])
    assert beam.options == [*IN_PROCESS, *beam.args]
    beam = Beam(args=["--runner=FlinkRunner"])
    assert beam.options == ["--runner=FlinkRunner"]
    assert beam.node_options == ["--tfxio_use_byte_size_batching=true", *beam.options]


@pytest.mark.parametrize("runner", ["DataflowRunner", "dataflow"])
def test_dataflow_is_refused_before_anything_runs(runner: str) -> None:
    with pytest.raises(ConfigError, match=rf"beam\.args\[1\]: .* found {runner}: .*mount none"):
        load_config(SAMPLE, [f"beam.args=[--region=eu, --runner={runner}]"])


def test_workers_may_be_elsewhere_with_a_runner_of_a_cluster() -> None:
    assert Beam(args=["--runner=PrismRunner", "--runner=SparkRunner"]).runs_elsewhere
    assert Beam(runner="flink", flink_master="flink:8081").runs_elsewhere
    assert not Beam(args=["--runner=SparkRunner", "--runner=PrismRunner"]).runs_elsewhere
    assert not Beam().runs_elsewhere


def test_a_secret_address_of_a_webhook_comes_from_the_environment() -> None:
    config = load_config(SAMPLE, ["notify.webhook.url_env=CHAT_ADDRESS"])
    assert config.notify.webhook is not None
    assert (config.notify.webhook.url, config.notify.webhook.url_env) == (None, "CHAT_ADDRESS")


EMAIL = {"host": "smtp", "sender": "a@b", "to": ["c@d"]}


@pytest.mark.parametrize(
    ("notify", "says"),
    [
        ({"webhook": {}}, "notify.webhook: expected one of url and url_env."),
        (
            {"webhook": {"url": "a.example/hook"}},
            "notify.webhook.url: expected an address that starts with https:// or http://.",
        ),
        (
            {"email": {**EMAIL, "user": "me"}},
            "notify.email: expected both of user and password_env, or none of them.",
        ),
        (
            {"email": {**EMAIL, "user": "me", "password_env": "P", "tls": "none"}},
            "notify.email.tls: expected starttls or tls with a password, found none.",
        ),
        (
            {"on": ["pased"]},
            "notify.on[0]: expected 'passed', 'gates failed', 'failed', 'interrupted', "
            "'no new data' or 'attention', found 'pased'; did you mean passed?",
        ),
    ],
)
def test_a_notification_that_cannot_be_sent_is_an_error_of_its_key(
    tmp_path: Path, notify: dict[str, object], says: str
) -> None:
    file = tmp_path / "algebra.yaml"
    file.write_text(f"{SAMPLE.read_text()}\nnotify: {json.dumps(notify)}\n")
    line = file.read_text().count("\n")
    with pytest.raises(ConfigError) as caught:
        load_config(file, ["schema=a.pbtxt"])
    assert str(caught.value) == f"{file}, line {line}, {says}"
