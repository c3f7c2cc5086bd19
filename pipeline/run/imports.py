"""What is imported when: TFX's definitions without its libraries, and each node's modules early.

A plan is compiled, and a node that comes from the cache is launched, without TensorFlow and Beam:
see `lean_tfx`. What a node needs to execute is in `IMPORTS`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any

from components.node.node_id import Node

WRITTEN_FOR = "1.21.0"  # version of TFX; under others `lean_tfx` changes nothing

_OPERATORS = "tfx.orchestration.portable"
# Modules that TFX's compiler and launcher import and do not need, with the classes that they name.
_DEFERRED = {
    "tensorflow": (),
    f"{_OPERATORS}.beam_executor_operator": ("BeamExecutorOperator",),
    f"{_OPERATORS}.docker_executor_operator": ("DockerExecutorOperator",),
}

_BEAM = ("polars", "pyarrow", "apache_beam")
_TFX_EXECUTORS = ("tensorflow", "tensorflow_data_validation", "tfx.types.standard_component_specs")
_TRANSFORM = ("tensorflow_transform.beam", "tfx.components.transform.executor")
_KERAS = ("keras", "tensorflow_transform", "tfx.components.trainer.executor")

# The modules of each node; what several nodes need comes first.
#
# The process that nodes are forked from imports them one after the other while earlier nodes run,
# and forks only between two imports, by the thread that imports: a child then has every module
# whole or not at all. An import under way in another thread would stay half done in the child.
IMPORTS: dict[Node, tuple[str, ...]] = {
    Node.EXAMPLE_GEN: (*_BEAM, "components.example_gen.executor"),
    Node.IMPORT_SCHEMA_GEN: (
        *_TFX_EXECUTORS,
        "tfx.components.schema_gen.import_schema_gen.executor",
    ),
    Node.STATISTICS_GEN: (*_BEAM, *_TFX_EXECUTORS, "tfx.components.statistics_gen.executor"),
    Node.EXAMPLE_VALIDATOR: (*_TFX_EXECUTORS, "tfx.components.example_validator.executor"),
    Node.DATA_GATE: ("components.data_gate.executor",),
    Node.TRANSFORM: (*_BEAM, *_TFX_EXECUTORS, *_TRANSFORM, "components.transform.preprocessing"),
    Node.WARM_START_RESOLVER: ("components.baseline.strategy",),
    Node.TRAINER: (*_KERAS, "components.trainer.run"),
    Node.BASELINE_RESOLVER: ("components.baseline.strategy",),
    Node.EVALUATOR: ("components.evaluator.executor", "components.evaluator.evaluate"),
    Node.SERVING_CHECK: ("components.serving_check.executor",),
    Node.PUSHER: ("components.pusher.executor",),
    Node.REPORT: ("components.report.executor",),
}


@contextmanager
def lean_tfx() -> Iterator[None]:
    """Lets the block import TFX's compiler and launcher without TensorFlow, Beam and Docker.

    Inside, modules of TFX get a stand-in for these. It imports the real one as soon as anything in
    it is used, by Python's own import, so no module is ever seen half loaded. After the block no
    stand-in is left in `sys.modules`: whoever imports TensorFlow gets TensorFlow. Two things stay:

    - The package `tfx.components`, which imports all of its components and their libraries, does so
      only when something is asked of the package itself; its submodules are imported as ever.
    - TFX reads and writes local files by Python, not by TensorFlow; other addresses as before.

    The block does nothing if TFX is there already, or is of another version than `WRITTEN_FOR`. No
    other thread may import while it runs.
    """
    if "tfx" in sys.modules or _tfx_version() != WRITTEN_FOR:
        yield
        return

    stand_ins = {
        name: _StandIn(name, classes)
        for name, classes in _DEFERRED.items()
        if name not in sys.modules
    }
    sys.modules.update(stand_ins)
    _add_light_package("tfx.components")
    try:
        yield
        if "tensorflow" in stand_ins:
            _prefer_local_files()
    finally:
        for name, stand_in in stand_ins.items():
            if sys.modules.get(name) is stand_in:
                del sys.modules[name]


class _StandIn(ModuleType):
    """Stands for a module, and imports it when something in it is used.

    Args:
        name: of the module.
        classes: those that are named, but not used, while TFX is imported.
    """

    def __init__(self, name: str, classes: tuple[str, ...] = ()) -> None:
        super().__init__(name)
        for made in classes:
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


def _tfx_version() -> str:
    from tfx.version import __version__

    return str(__version__)


def _add_light_package(name: str) -> None:
    """Adds a package whose `__init__.py` runs when something is asked of the package itself."""
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
        except BaseException:  # the next one who asks tries again, as with any import
            vars(package)["__getattr__"] = fill
            raise
        return getattr(package, attribute)

    vars(package)["__getattr__"] = fill
    sys.modules[name] = package
    parent, _, child = name.rpartition(".")
    setattr(sys.modules[parent], child, package)


def _prefer_local_files() -> None:
    """Makes TFX read and write local files without TensorFlow, which it would load for them."""
    from tfx.dsl.io.filesystem_registry import DEFAULT_FILESYSTEM_REGISTRY
    from tfx.dsl.io.plugins.local import LocalFilesystem

    DEFAULT_FILESYSTEM_REGISTRY.register(LocalFilesystem, priority=0)
