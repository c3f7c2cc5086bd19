"""TFX without its libraries: what is imported, that it is the same TFX, and each node's modules."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from components.config import load_config
from components.node.node_id import Node
from pipeline.run.imports import IMPORTS, modules_of

REPOSITORY = Path(__file__).parents[3]
HEAVY = (
    "apache_beam", "docker", "keras", "pandas", "polars", "pyarrow", "tensorflow",
    "tensorflow_data_validation", "tensorflow_model_analysis.metrics", "tensorflow_transform",
)  # fmt: skip

LEAN = """
import sys
from pipeline.run.imports import lean_tfx
with lean_tfx():
    from pipeline.dag import create_pipeline
    from pipeline.run.launch import compile_plan, launcher
"""

COMPILE = """
import sys
from pathlib import Path
from components.config import load_config
from pipeline.layout import Layout
config = load_config(Path("configs/sample.yaml"), ["training.warm_start=true"])
plan = compile_plan(create_pipeline(config, Layout(Path("/root"), config.name)), "run")
"""


def run(code: str, *arguments: str) -> str:
    ran = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True, text=True, cwd=REPOSITORY, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_a_plan_is_compiled_and_a_launcher_ready_without_heavy_libraries() -> None:
    code = f"print([name for name in {HEAVY} if name in sys.modules])"
    assert run(LEAN + COMPILE + code).strip() == "[]"


def test_the_plan_is_that_of_plain_imports_and_tfx_s_own_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tfx.proto.orchestration import executable_spec_pb2, pipeline_pb2

    from components.config import load_config
    from components.node import definitions
    from pipeline.dag import create_pipeline
    from pipeline.layout import Layout
    from pipeline.run.launch import compile_plan
    from pipeline.store.lookups import PLAN_FINGERPRINT

    def parts(plan: Any) -> tuple[bytes, Any]:
        """The plan without its deployment, whose maps TFX packs in any order; and those maps."""
        deployment = pipeline_pb2.IntermediateDeploymentConfig()
        plan.deployment_config.Unpack(deployment)
        plan.ClearField("deployment_config")
        for node in (Node.STATISTICS_GEN, Node.TRANSFORM):
            executor = executable_spec_pb2.BeamExecutableSpec()
            deployment.executor_specs[node].Unpack(executor)
            executor.python_executor_spec.class_path = "TFX's, or ours in its place"
            deployment.executor_specs[node].Pack(executor)
        for item in (item.pipeline_node for item in plan.nodes):
            if item.node_info.id == Node.STATISTICS_GEN:
                item.parameters.parameters.pop("code_fingerprint", None)  # of our executor
            for context in item.contexts.contexts:
                context.properties.pop(PLAN_FINGERPRINT, None)
        return plan.SerializeToString(deterministic=True), deployment

    file = tmp_path / "plan"
    run(f"{LEAN}{COMPILE}Path(sys.argv[1]).write_bytes(plan.SerializeToString())", str(file))

    monkeypatch.setattr(definitions, "WRITTEN_FOR", "of another version")
    config = load_config(REPOSITORY / "configs" / "sample.yaml", ["training.warm_start=true"])
    pipeline = create_pipeline(config, Layout(Path("/root"), config.name))
    classes = {type(node).__module__ for node in pipeline.components}
    assert "tfx.components.transform.component" in classes

    plain = parts(compile_plan(pipeline, "run"))
    assert parts(pipeline_pb2.Pipeline.FromString(file.read_bytes())) == plain


def test_a_stand_in_is_the_whole_library_as_soon_as_it_is_used() -> None:
    code = """
import threading
from tfx.dsl.io.plugins import tensorflow_gfile

assert "tensorflow" not in sys.modules
found = []
threads = [threading.Thread(target=lambda: found.append(tensorflow_gfile.tf.io.gfile.GFile))
           for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
import tensorflow
assert type(tensorflow) is not type(tensorflow_gfile.tf)
assert found == [tensorflow.io.gfile.GFile] * 4

class Own(tensorflow_gfile.tf.Module): pass
assert issubclass(Own, tensorflow.Module)
assert isinstance(tensorflow_gfile.tf.constant(1), tensorflow.Tensor)
print("whole")
"""
    assert run(LEAN + code).strip() == "whole"


def test_a_forked_process_gets_the_whole_library_as_well() -> None:
    code = """
import os
from tfx.dsl.io.plugins import tensorflow_gfile

pid = os.fork()
if pid == 0:
    try:
        whole = tensorflow_gfile.tf.add(1, 2).numpy() == 3 and "tensorflow" in sys.modules
    finally:
        os._exit(0 if whole else 1)
assert os.waitpid(pid, 0)[1] == 0
print("tensorflow" in sys.modules)
"""
    assert run(LEAN + code).strip() == "False"


def test_tfx_s_components_and_operators_are_there_when_they_are_asked_for() -> None:
    code = """
import inspect
from tfx.proto.orchestration import executable_spec_pb2
import tfx.components.evaluator.constants

spec = executable_spec_pb2.BeamExecutableSpec()
spec.python_executor_spec.class_path = "tfx.components.statistics_gen.executor.Executor"
operator = launcher.DEFAULT_EXECUTOR_OPERATORS[type(spec)](executor_spec=spec)
from tfx.orchestration.portable import beam_executor_operator
assert type(operator) is beam_executor_operator.BeamExecutorOperator
assert inspect.ismodule(beam_executor_operator) and beam_executor_operator.__file__

assert "tensorflow_model_analysis.metrics" not in sys.modules
import tensorflow_model_analysis as tfma
from tfx.types import standard_component_specs
assert standard_component_specs.tfma is tfma.sdk
assert tfma.run_model_analysis and "tensorflow_model_analysis.metrics" in sys.modules

from tfx.components import Trainer
from tfx.components.trainer import component
assert Trainer is component.Trainer
print("same")
"""
    assert run(LEAN + code).strip() == "same"


def test_local_files_need_no_tensorflow_and_other_addresses_still_have_it(tmp_path: Path) -> None:
    code = """
from tfx.dsl.io import fileio, filesystem_registry
from tfx.dsl.io.plugins.tensorflow_gfile import TensorflowFilesystem
fileio.makedirs(sys.argv[1] + "/a/b")
with fileio.open(sys.argv[1] + "/a/b/c", "w") as file: file.write("text")
assert fileio.exists(sys.argv[1] + "/a/b/c")
assert "tensorflow" not in sys.modules
registry = filesystem_registry.DEFAULT_FILESYSTEM_REGISTRY
print(registry.get_filesystem_for_path("gs://bucket/file") is TensorflowFilesystem)
"""
    assert run(LEAN + code, str(tmp_path)).strip() == "True"
    assert (tmp_path / "a" / "b" / "c").read_text(encoding="utf-8") == "text"


def test_another_version_of_tfx_is_imported_plainly() -> None:
    code = """
import sys
from pipeline.run import imports
imports.WRITTEN_FOR["tfx"] = "of another version"
with imports.lean_tfx():
    print([name for name in sys.modules if name.startswith(("tfx", "tensorflow"))])
imports.import_early("apache_beam")
print("google.cloud.bigquery" in sys.modules)
"""
    assert run(code).split() == ["[]", "True"]


def test_a_process_that_has_tfx_keeps_it_as_it_is() -> None:
    code = """
import sys
import tfx
from pipeline.run.imports import lean_tfx
before = dict(sys.modules)
with lean_tfx():
    print(sorted(set(sys.modules) - set(before)))
"""
    assert run(code).strip() == "[]"


def test_optional_libraries_are_left_out_and_are_whole_when_they_are_asked_for() -> None:
    code = """
import sys
from pipeline.run.imports import import_early
import_early("apache_beam")
optional = ("boto3", "google.cloud.bigquery", "google.cloud.storage")
print([name for name in optional if name in sys.modules])
import boto3, google.cloud.storage
print(boto3.client.__name__, google.cloud.storage.Client.__name__)

from apache_beam.io.filesystems import FileSystems
print(FileSystems.exists(sys.argv[1]))
"""
    assert run(code, str(REPOSITORY)).splitlines() == ["[]", "client Client", "True"]


def test_libraries_for_notebooks_and_hdf5_are_left_out_without_a_word() -> None:
    code = """
import contextlib, gc, io, sys
from pipeline.run.imports import import_early
notices = io.StringIO()
with contextlib.redirect_stderr(notices):
    for name in ("tensorflow", "tensorflow_data_validation", "tensorflow_transform.beam"):
        import_early(name)
print([name for name in ("IPython", "h5py", "scipy", "sklearn") if name in sys.modules])
print(repr(notices.getvalue()), gc.isenabled())
import scipy.sparse, tensorflow
print(scipy.sparse.eye(2).nnz, tensorflow.add(1, 2).numpy())
"""
    assert run(code).splitlines() == ["[]", "'' True", "2 3"]


def test_a_runner_of_its_own_gets_the_whole_of_beam() -> None:
    code = """
import sys
from components.config import load_config
from components.node.node_id import Node
from pipeline.run.imports import import_early, modules_of
config = load_config("configs/sample.yaml", ["beam.args=[--runner=SparkRunner]"])
for name in modules_of(Node.EXAMPLE_GEN, config):
    if name.startswith("components."): break
    import_early(name)
from apache_beam.io.filesystems import FileSystems
print(FileSystems.get_filesystem("gs://bucket/file").scheme())
"""
    assert run(code).strip() == "gs"


def test_example_gen_needs_no_tensorflow() -> None:
    code = """
from pipeline.run.imports import IMPORTS, import_early
for name in IMPORTS["ExampleGen"]: import_early(name)
print("tensorflow" in sys.modules)
"""
    assert run(LEAN + code).strip() == "False"


def test_every_node_has_modules() -> None:
    assert set(IMPORTS) == set(Node)


def test_only_simple_models_need_scikit_learn() -> None:
    def imported(models: str) -> set[str]:
        settings = [f"evaluation.simple_models={models}", "gates=[{metric: auc, min: 0.5}]"]
        config = load_config(REPOSITORY / "configs" / "sample.yaml", settings)
        names = {name for node in Node for name in modules_of(node, config)}
        return {name for name in names if name.startswith("sklearn")}

    assert not imported("[]")
    assert "sklearn.ensemble" in imported("[trees]")
