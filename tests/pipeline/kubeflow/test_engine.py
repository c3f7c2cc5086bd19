"""Another engine than the node's process, from containers: it reaches them, or is refused."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from components.config import load_config
from components.errors import ConfigError
from pipeline.kubeflow.compile import compile_pipeline
from pipeline.kubeflow.engine import check_engine
from tests.pipeline.kubeflow.test_compile import SAMPLE, containers_of, platform_of

VOLUME = "kubeflow.volumes=[{claim: mastery, path: /mastery}]"
FLINK = (
    "beam={runner: flink, flink_master: 'mastery-flink-rest:8081', parallelism: 4, "
    "flink_job_server: 'mastery-beam-jobs:8099', sdk_workers: 'localhost:50000'}"
)
SPARK = (
    "beam.args=[--runner=SparkRunner, '--job_endpoint=spark-jobs:8099', "
    "--environment_type=EXTERNAL, '--environment_config=localhost:50000', "
    "--sdk_container_image=none]"
)


@pytest.mark.parametrize("engine", [FLINK, SPARK])
def test_containers_have_the_engine_and_may_reach_it(tmp_path: Path, engine: str) -> None:
    settings = [engine, VOLUME, "kubeflow.score={}", "data.events=/mastery/events.parquet"]
    config = load_config(SAMPLE, settings)
    file = tmp_path / "pipeline.yaml"
    compile_pipeline(config, SAMPLE, file, settings=settings)
    documents = [*yaml.safe_load_all(file.read_text(encoding="utf-8"))]

    containers = containers_of(documents[0])
    nodes = {"data", "prepare", "trainer", "judge", "deliver"}
    for name in nodes | {"finish", "score"}:
        arguments = containers[name]["args"]
        given = [value for option, value in pairwise(arguments) if option == "--set"]
        beam = load_config(SAMPLE, given).beam
        # The engine's workers would see neither the rows of a scoring nor the database.
        assert beam.runs_here if name == "score" else beam == config.beam
    labels = {
        name: one.get("podMetadata", {}).get("labels")
        for name, one in platform_of(documents).items()
    }
    clients = {name for name, found in labels.items() if found == {"mastery.beam/client": "true"}}
    assert clients == nodes


def test_without_an_engine_no_pod_is_let_through_to_one(tmp_path: Path) -> None:
    file = tmp_path / "pipeline.yaml"
    compile_pipeline(load_config(SAMPLE, [VOLUME]), SAMPLE, file)
    assert "mastery.beam/client" not in file.read_text()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (("beam.sdk_workers=null",), r"beam\.sdk_workers: .* found none: .* localhost:50000\."),
        (("beam.flink_job_server=null",), r"beam\.flink_job_server: .* found none: .* start none"),
        (("beam.flink_job_server=/jars/a.jar",), "host:port of a job server .* found /jars/a.jar"),
        (("beam.flink_master='localhost:8081'",), r"beam\.flink_master: .* found localhost:8081"),
        (
            ("beam.flink_job_server='[::1]:9'",),
            r"flink_job_server: .* in the container itself",
        ),
        (("kubeflow.volumes=[]",), r"kubeflow\.root: .* found /mastery on no volume"),
        (("kubeflow.root=/mastery2",), r"kubeflow\.root: .* found /mastery2 on no volume"),
        (
            ("kubeflow.storage=s3://bucket/a",),
            r"kubeflow\.root: .* found s3://bucket/a: ",
        ),
    ],
)
def test_what_cannot_work_on_flink_is_said_when_it_is_compiled(
    settings: tuple[str, ...], says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        check_engine(load_config(SAMPLE, [FLINK, VOLUME, *settings]))


def test_all_problems_are_said_at_once(tmp_path: Path) -> None:
    config = load_config(SAMPLE, ["beam={runner: flink, flink_master: 'localhost:8081'}"])
    with pytest.raises(ConfigError) as caught:
        compile_pipeline(config, SAMPLE, tmp_path / "pipeline.yaml")
    keys = [line.partition(":")[0] for line in str(caught.value).splitlines()]
    assert keys == [
        "beam.sdk_workers",
        "beam.flink_job_server",
        "beam.flink_master",
        "kubeflow.root",
    ]


def test_workers_in_the_container_are_refused_with_options_too() -> None:
    setting = SPARK.replace("EXTERNAL", "LOOPBACK")
    with pytest.raises(ConfigError, match=r"beam\.args: expected .*EXTERNAL.* found LOOPBACK"):
        check_engine(load_config(SAMPLE, [setting, VOLUME]))
    check_engine(load_config(SAMPLE, ["beam.args=[--environment_type=LOOPBACK]"]))


@pytest.mark.parametrize(("engine", "found"), [(FLINK, "flink"), (SPARK, "SparkRunner")])
def test_vertex_ai_has_no_volume_for_an_engine_s_workers(
    tmp_path: Path, engine: str, found: str
) -> None:
    config = load_config(SAMPLE, [engine, VOLUME])
    with pytest.raises(ConfigError, match=f"with --target vertex, found {found}"):
        compile_pipeline(config, SAMPLE, tmp_path / "vertex.yaml", "vertex")
