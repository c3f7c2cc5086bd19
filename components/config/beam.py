"""How Apache Beam runs the nodes that read data: in their process, on Flink, or as options say."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from components.config.section import Address, KeyedError, Option, Section

WORKERS = "MASTERY_WORKERS"  # tells nodes `beam.workers`: options of Beam are part of cache keys
ENGINE = "MASTERY_BEAM_ENGINE"  # tells nodes where their pipelines run, for the same reason
FLINK_JOB = "MASTERY_FLINK_JOB"  # names a process's jobs; ends in what they are found by

# Beam loads a runner by its name; `pipeline.dag` adds the code of this one to cache keys. Types of
# elements say how they are encoded for workers; here nothing is.
IN_PROCESS = ["--runner=components.node.in_memory_runner.make_runner", "--no_pipeline_type_check"]

# Beam's runners on this machine.
LOCAL_RUNNERS = ("FnApiRunner", "DirectRunner", "BundleBasedDirectRunner", "PrismRunner")

ON_FLINK = [
    "--runner=components.node.flink.runner.make_runner",
    "--experiments=disable_logging_submission_environment",  # it needs pip
]

# Options of Beam that the keys of this section set, by the name of the option.
_SET_BY_KEYS = {
    "runner": "runner",
    "flink_master": "flink_master",
    "flink_job_server_jar": "flink_job_server",
    "job_endpoint": "flink_job_server",
    "environment_type": "sdk_workers",
    "environment_config": "sdk_workers",
    "parallelism": "parallelism",
}


def _host_and_port(value: str) -> str:
    if not is_endpoint(value):
        raise ValueError(f"expected host:port, such as flink.example.org:8081, found {value!r}")
    return value


def is_endpoint(text: str) -> bool:
    """Returns whether a text is a host and a port.

    >>> is_endpoint("localhost:8081"), is_endpoint("http://localhost:8081"), is_endpoint("a/b.jar")
    (True, False, False)
    """
    found = re.fullmatch(r"(?:[\w.-]+|\[[0-9A-Fa-f:.]+\]):([0-9]{1,5})", text)
    return found is not None and 0 < int(found[1]) < 2**16


def split_endpoint(endpoint: str) -> tuple[str, int]:
    """Returns the host and the port of an endpoint.

    >>> split_endpoint("[::1]:8081")
    ('::1', 8081)
    """
    host, _, port = endpoint.rpartition(":")
    return host.strip("[]"), int(port)


Endpoint = Annotated[str, AfterValidator(_host_and_port)]


class Beam(Section):
    """How Apache Beam runs the nodes that read data.

    Results do not depend on where it runs them: the keys of Flink are in no plan, manifest or cache
    key, and a node that has run elsewhere is not run again.
    """

    args: list[Option] = Field(
        # Without a container image TFX would package itself for remote workers before every node.
        default_factory=lambda: ["--direct_running_mode=in_memory", "--sdk_container_image=none"],
        description="options of Beam's runner, e.g. --runner=SparkRunner (docs/engines.md); "
        "without a runner Beam runs in the node's process, or where `runner` says",
    )
    partitions: int = Field(
        8,
        ge=1,
        description="files that the examples of a split are written to, by a hash of the learner",
    )
    workers: int = Field(
        1,
        ge=1,
        description="threads in which ExampleGen reads files and joins partitions on this machine, "
        "each with a part of the log in memory; the results are the same for any number",
    )
    runner: Literal["flink"] | None = Field(
        None,
        exclude=True,
        description="flink: an Apache Flink cluster (docs/flink.md); none: the node's process, "
        "unless `args` name a runner",
    )
    flink_master: Endpoint | None = Field(
        None, exclude=True, description="flink: host:port of the JobManager's REST interface"
    )
    flink_job_server: Address | None = Field(
        None,
        exclude=True,
        description="flink: the jar of Beam's job server (a path), which runs beside each run, or "
        "host:port of one that runs; none: Beam downloads the jar",
    )
    sdk_workers: Endpoint | None = Field(
        None,
        exclude=True,
        description="flink: host:port of `mastery beam-workers`, as each TaskManager reaches it; "
        "none: our code runs in the node's process, for a cluster on this machine",
    )
    parallelism: int = Field(
        1, ge=1, exclude=True, description="flink: the task slots that a job uses"
    )

    @model_validator(mode="after")
    def _workers_mount_the_root(self) -> Self:
        for index, option in enumerate(self.args):
            name, _, value = option.lstrip("-").partition("=")
            if name == "runner" and "dataflow" in value.lower():
                raise KeyedError(
                    ("args", index),
                    "expected a runner whose workers mount the folders of the log and of runs, "
                    f"which nodes read and write by path, found {value}: Dataflow's machines mount "
                    "none; set `runner: flink`, or name SparkRunner (docs/engines.md)",
                )
        return self

    @model_validator(mode="after")
    def _keys_fit_the_runner(self) -> Self:
        if self.runner is None:
            given = self.model_fields_set & {*_SET_BY_KEYS.values()} - {"runner"}
            for key in sorted(key for key in given if getattr(self, key) is not None):
                raise KeyedError(key, "expected `runner: flink` beside it, found no runner")
            return self

        if self.flink_master is None:
            raise KeyedError(
                "flink_master",
                "expected host:port of the JobManager's REST interface, found none; runner: flink "
                "needs it",
            )
        for index, option in enumerate(self.args):
            name = option.lstrip("-").partition("=")[0]
            if name in _SET_BY_KEYS:
                raise KeyedError(
                    ("args", index),
                    f"expected options that no key sets, found --{name}; use the key "
                    f"beam.{_SET_BY_KEYS[name]}",
                )
        return self

    @property
    def runs_here(self) -> bool:
        """Whether Beam runs in the node's process: no other runner is named."""
        return self.runner is None and not any(arg.startswith("--runner") for arg in self.args)

    @property
    def runs_elsewhere(self) -> bool:
        """Whether workers on other machines may run our code: a runner is named that has some."""
        named = self.argument("runner")
        return self.runner is not None or (named is not None and named not in LOCAL_RUNNERS)

    def argument(self, name: str) -> str | None:
        """Returns the value of an option of `args`, the last one if it is there more than once.

        >>> Beam(args=["--runner=SparkRunner"]).argument("runner")
        'SparkRunner'
        """
        parts = [option.lstrip("-").partition("=") for option in self.args]
        return next((value for key, _, value in reversed(parts) if key == name), None)

    @property
    def options(self) -> list[str]:
        """Options for a Beam pipeline of ours: `args`; without a runner, one for this process.

        The runner that Beam would download and start by default returns rows in any order, and so
        changes the order in which numbers add up.
        """
        if self.runner == "flink":
            return [*ON_FLINK, *self.args]
        return [*IN_PROCESS, *self.args] if self.runs_here else [*self.args]

    @property
    def keyed(self) -> Self:
        """The section without where it runs, which is no part of plans and cache keys."""
        return type(self).model_validate_json(self.model_dump_json())

    @property
    def node_options(self) -> list[str]:
        """Options for the nodes of TFX, which read flags of its own among those of Beam.

        Without this flag tfx-bsl would fit the size of its batches to how busy the machine is.
        """
        return ["--tfxio_use_byte_size_batching=true", *self.options]

    def as_environment(self) -> dict[str, str]:
        """Returns variables that tell nodes where Beam runs, as no dump does; none for here."""
        if self.runner is None:
            return {}
        keys = {key: getattr(self, key) for key in {*_SET_BY_KEYS.values()}}
        return {ENGINE: json.dumps(keys, sort_keys=True)}

    def with_environment(self, environment: Mapping[str, str]) -> Self:
        """Returns the section with where Beam runs put in, as `as_environment` told it."""
        keys = json.loads(environment.get(ENGINE, "{}"))
        return type(self).model_validate({**self.model_dump(), **keys})


def options_of_node(options: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """Returns the options that a node's pipeline runs with.

    Args:
        options: those of the plan, which are part of the cache key.
        environment: says where Beam runs, if not as the plan says.
    """
    if ENGINE not in environment:
        return [*options]
    kept = [option for option in options if option not in IN_PROCESS]
    return [*ON_FLINK, *(option for option in kept if not option.startswith("--job_name="))]
