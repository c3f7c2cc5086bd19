"""Where Beam runs: keys that fit each other, options, and what nodes are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.config import Config, load_config
from components.config.beam import ENGINE, IN_PROCESS, ON_FLINK, Beam, options_of_node
from components.errors import ConfigError

SAMPLE = Path(__file__).parents[3] / "configs" / "sample.yaml"
FLINK = ["beam.runner=flink", "beam.flink_master=flink.test:8081"]


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["beam.runner=flink"], "beam.flink_master: expected host:port of the JobManager's REST"),
        (["beam.parallelism=2"], "beam.parallelism: expected `runner: flink` beside it"),
        (["beam.sdk_workers=a:1"], "beam.sdk_workers: expected `runner: flink` beside it"),
        (["beam.runner=flnk"], "found 'flnk'; did you mean flink?"),
        ([*FLINK[:1], "beam.flink_master=http://a:1"], "beam.flink_master: expected host:port"),
        ([*FLINK, "beam.sdk_workers=a:70000"], "beam.sdk_workers: expected host:port"),
        ([*FLINK, "beam.parallelism=0"], "beam.parallelism: expected at least 1, found 0"),
        (
            [*FLINK, "beam.args=[--parallelism=2]"],
            "beam.args[0]: expected options that no key sets, found --parallelism; use the key "
            "beam.parallelism",
        ),
        ([*FLINK, "beam.args=[--runner=SparkRunner]"], "use the key beam.runner"),
        (
            [*FLINK, "beam.args=['--flink_job_server_jar=a.jar']"],
            "use the key beam.flink_job_server",
        ),
    ],
)
def test_keys_that_do_not_fit_each_other_are_named(overrides: list[str], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(SAMPLE, overrides)
    assert says in str(caught.value)


def test_a_job_server_is_a_path_from_the_file_s_folder_or_an_endpoint(tmp_path: Path) -> None:
    file = tmp_path / "deployment.yaml"
    text = SAMPLE.read_text()
    jar = str(tmp_path / "jars" / "s.jar")
    for given, expected in (("jars/s.jar", jar), ("a.test:99", "a.test:99")):
        keys = f"runner: flink, flink_master: 'a:1', flink_job_server: '{given}'"
        file.write_text(f"{text}\nbeam: {{{keys}}}\n")
        assert load_config(file).beam.flink_job_server == expected
    assert load_config(SAMPLE, [*FLINK, "beam.flink_job_server=b:1"]).beam.flink_job_server == "b:1"


def test_where_it_runs_is_in_no_dump_fingerprint_or_plan() -> None:
    here, there = load_config(SAMPLE), load_config(SAMPLE, FLINK)
    assert not there.beam.runs_here
    assert there.beam.keyed == here.beam
    assert there.fingerprint == here.fingerprint
    assert there.model_dump_json(by_alias=True) == here.model_dump_json(by_alias=True)
    assert Config.model_validate_json(there.model_dump_json(by_alias=True)).beam == here.beam


def test_another_process_is_told_where_it_runs() -> None:
    beam = load_config(SAMPLE, [*FLINK, "beam.sdk_workers=w:1", "beam.parallelism=3"]).beam
    told = Beam(partitions=2).with_environment(beam.as_environment())
    assert told == beam.model_copy(update={"partitions": 2})
    assert Beam().as_environment() == {}
    assert Beam().with_environment({}) == Beam()


def test_options_of_a_node_name_flink_only_where_the_process_was_told_of_it() -> None:
    planned = ["--job_name=mastery-1", "--x=1", *IN_PROCESS, "--y=2"]
    assert options_of_node(planned, {}) == planned
    assert options_of_node(planned, {ENGINE: "{}"}) == [*ON_FLINK, "--x=1", "--y=2"]
