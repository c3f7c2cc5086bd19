"""What is imported when: TFX's definitions without its libraries, and each node's modules early.

A plan is compiled, and a node that comes from the cache is launched, without TensorFlow and Beam:
see `lean_tfx`. What a node needs to execute is in `IMPORTS`, and may be imported before it is due.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr
from functools import cache, partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec, module_from_spec
from io import StringIO
from types import ModuleType
from typing import TYPE_CHECKING, Any

from components.node.node_id import Node

if TYPE_CHECKING:
    from components.config import Config

# Versions that this was written for; under others TFX and its libraries are imported plainly.
WRITTEN_FOR = {
    "apache-beam": "2.77.0",
    "keras": "3.15.1",
    "tensorboard": "2.21.0",
    "tensorflow-data-validation": "1.21.0",
    "tensorflow-model-analysis": "0.52.0",
    "tfx": "1.21.0",
}

_OPERATORS = "tfx.orchestration.portable"
# Modules that TFX imports and does not need, with what it names of them while it is imported.
_DEFERRED = {
    "tensorflow": (),
    "tensorflow_data_validation": ("DatasetListView",),
    f"{_OPERATORS}.beam_executor_operator": ("BeamExecutorOperator",),
    f"{_OPERATORS}.docker_executor_operator": ("DockerExecutorOperator",),
}
# Packages of which TFX needs single modules, and modules to import with them.
_LIGHT_PACKAGES = {
    "tfx.components": (),
    "tensorflow_model_analysis": (
        "google.protobuf.wrappers_pb2",  # the next one needs it, and does not import it
        "tensorflow_model_analysis.sdk",  # asked of the package itself
    ),
}
# What is worth importing while the stand-ins are there: an executor that only copies a file, and
# names that all executors of TFX use.
_LEAN = (
    "tfx.types.standard_component_specs",
    "tfx.components.schema_gen.import_schema_gen.executor",
)

# Optional libraries by the module that imports them: Beam and TensorBoard for files, databases and
# runners elsewhere, Keras for wrappers in the style of scikit-learn and HDF5, Keras and TFDV for
# notebooks. Everything else works without them.
_OPTIONAL = {
    "apache_beam": (
        "boto3",
        "google.cloud.bigquery",
        "google.cloud.bigquery_storage_v1",
        "google.cloud.dataflow",
        "google.cloud.pubsub",
        "google.cloud.storage",
        "pymongo",
    ),
    "tensorboard.summary.v2": ("boto3", "fsspec"),
    "tensorflow": ("IPython", "h5py", "scipy", "sklearn"),
    "tensorflow_data_validation": ("IPython",),
    "tensorflow_transform": ("h5py", "scipy"),
    "tensorflow_transform.beam": ("h5py", "scipy"),
}

_BEAM = (
    "polars",
    "pyarrow.pandas_compat",
    "apache_beam",
    "components.node.in_memory_runner",
    f"{_OPERATORS}.beam_executor_operator",
)
_TENSORFLOW = ("tensorflow", "tensorflow_data_validation")

# The modules of each node, those of several nodes first.
IMPORTS: dict[Node, tuple[str, ...]] = {
    Node.EXAMPLE_GEN: (*_BEAM, "pyarrow.csv", "components.example_gen.executor"),
    Node.IMPORT_SCHEMA_GEN: ("tfx.components.schema_gen.import_schema_gen.executor",),
    Node.STATISTICS_GEN: (*_BEAM, *_TENSORFLOW, "components.statistics_gen.executor"),
    Node.EXAMPLE_VALIDATOR: (*_TENSORFLOW, "tfx.components.example_validator.executor"),
    Node.DATA_GATE: ("components.data_gate.executor",),
    Node.TRANSFORM: (
        *_BEAM,
        *_TENSORFLOW,
        "tensorflow_transform.beam",
        "components.transform.executor",
    ),
    Node.WARM_START_RESOLVER: ("components.baseline.strategy",),
    Node.TRAINER: (
        *_TENSORFLOW,
        "tensorflow_transform",
        "tfx.components.trainer.executor",
        "tensorboard.summary.v2",
        "components.trainer.run",
    ),
    Node.BASELINE_RESOLVER: ("components.baseline.strategy",),
    Node.EVALUATOR: (
        *_BEAM,
        "tensorflow",
        "pyarrow.parquet",
        "scipy.sparse",
        "tensorflow_model_analysis.metrics",
        "tensorflow_model_analysis.writers.metrics_plots_and_validations_writer",
        "components.evaluator.executor",
        "components.evaluator.evaluate",
    ),
    Node.SERVING_CHECK: ("polars", "tensorflow", "components.serving_check.executor"),
    Node.PUSHER: ("components.pusher.executor",),
    Node.REPORT: ("polars", "jinja2", "components.report.executor"),
}


# What the Evaluator imports beside them to fit simple models.
_SIMPLE_MODELS = (
    "sklearn.compose",
    "sklearn.ensemble",
    "sklearn.impute",
    "sklearn.linear_model",
    "sklearn.pipeline",
    "components.evaluator.comparison",
)


def modules_of(node: Node, config: Config) -> tuple[str, ...]:
    """Returns what a node imports to execute, each for `import_early`, in a good order.

    The process that nodes are forked from imports these while earlier nodes run. It forks only
    between two imports, by the thread that imports: a child then has every module whole or not at
    all. An import under way in another thread would stay half done in the child.

    Args:
        node: which node.
        config: another runner of Beam than that in the node's process may need a cloud; simple
            models need scikit-learn.
    """
    clouds = () if config.beam.runs_here else _OPTIONAL["apache_beam"]
    fits = node == Node.EVALUATOR and config.evaluation.simple_models
    simple = _SIMPLE_MODELS if fits else ()
    return (*clouds, *IMPORTS[node], *simple)


def import_early(name: str) -> None:
    """Imports a module, without the optional libraries that it would import and Mastery never uses.

    Those that are imported already stay, and any of them can still be imported later. What a module
    prints about a missing one is dropped.
    """
    left_out = [
        optional
        for optional in _OPTIONAL.get(name, ())
        if optional not in sys.modules and _is_known_version()
    ]
    absent: Any = None  # Python raises ModuleNotFoundError for it
    sys.modules.update(dict.fromkeys(left_out, absent))
    notices = redirect_stderr(StringIO()) if left_out else nullcontext()
    try:
        with no_collection(), notices:
            import_module(name)
    finally:
        for optional in left_out:
            del sys.modules[optional]


@contextmanager
def no_collection() -> Iterator[None]:
    """Imports in the block run without garbage collection, which would take a quarter of the time.

    Modules stay, and what they consist of is not looked at by later collections either.
    """
    if not gc.isenabled():
        yield
        return

    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@contextmanager
def lean_tfx() -> Iterator[None]:
    """Lets the block import TFX's compiler and launcher without TensorFlow, Beam and Docker.

    Inside, modules of TFX get a stand-in for these. It imports the real one as soon as anything in
    it is used, by Python's own import, so no module is ever seen half loaded. After the block no
    stand-in is left in `sys.modules`: `import tensorflow` then imports TensorFlow. Two things stay:

    - The packages `tfx.components` and `tensorflow_model_analysis`, which import all they have, do
      so only when something is asked of the package itself; their modules are imported as ever.
    - TFX reads and writes local files by Python, not by TensorFlow; other addresses as before.

    The block does nothing if TFX is there already, or with other versions than `WRITTEN_FOR`. No
    other thread may import while it runs.
    """
    if "tfx" in sys.modules or not _is_known_version():
        yield
        return

    stand_ins = {
        name: _StandIn(name, named) for name, named in _DEFERRED.items() if name not in sys.modules
    }
    sys.modules.update(stand_ins)
    try:
        for name, modules in _LIGHT_PACKAGES.items():
            _add_light_package(name, modules)
        yield
        for name in _LEAN:
            import_module(name)
        if "tensorflow" in stand_ins:
            _prefer_local_files()
    finally:
        for name, stand_in in stand_ins.items():
            if sys.modules.get(name) is stand_in:
                del sys.modules[name]


@cache
def _is_known_version() -> bool:
    try:
        return all(version(name) == known for name, known in WRITTEN_FOR.items())
    except PackageNotFoundError:
        return False


class _StandIn(ModuleType):
    """Stands for a module, and imports it when something in it is used.

    Args:
        name: of the module.
        named: its classes that are named, but not used, while TFX is imported.
    """

    def __init__(self, name: str, named: Iterable[str] = ()) -> None:
        super().__init__(name)
        for made in named:
            setattr(self, made, partial(self._make, made))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what the import system asks of every module
            raise AttributeError(name)
        return getattr(self._load(), name)

    def _load(self) -> ModuleType:
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return import_module(self.__name__)

    def _make(self, name: str, *arguments: Any, **named: Any) -> Any:
        return getattr(self._load(), name)(*arguments, **named)


def _add_light_package(name: str, modules: Iterable[str]) -> None:
    """Adds a package whose `__init__.py` runs when something is asked of the package itself.

    Args:
        name: of the package.
        modules: what to import with it.
    """
    spec = find_spec(name)
    if spec is None or spec.loader is None or name in sys.modules:
        return
    package = module_from_spec(spec)
    loader = spec.loader

    def fill(attribute: str) -> Any:
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        del vars(package)["__getattr__"]
        try:
            loader.exec_module(package)
        except BaseException:  # the next access tries again, as an import would
            vars(package)["__getattr__"] = fill
            raise
        return getattr(package, attribute)

    vars(package)["__getattr__"] = fill
    sys.modules[name] = package
    parent, _, child = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, package)
    for module in modules:
        import_module(module)


def _prefer_local_files() -> None:
    """Makes TFX read and write local files without TensorFlow, which it would load for them."""
    from tfx.dsl.io.filesystem_registry import DEFAULT_FILESYSTEM_REGISTRY
    from tfx.dsl.io.plugins.local import LocalFilesystem

    DEFAULT_FILESYSTEM_REGISTRY.register(LocalFilesystem, priority=0)
