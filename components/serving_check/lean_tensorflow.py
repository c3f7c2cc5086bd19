"""Imports the part of TensorFlow that runs a SavedModel in a session, without the rest of it.

`import tensorflow` also imports Keras, and with it SciPy and scikit-learn: 3 s of a processor. The
modules that load and run a graph take 0.7 s. They are not public, so they are imported by
themselves only in the version that this was written for. In any other version the same names come
from the whole of TensorFlow.

For a process of its own: what is imported here cannot be followed by `import tensorflow`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from importlib.metadata import version
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any

WRITTEN_FOR = "2.21."  # releases of TensorFlow whose modules were read


@dataclass(frozen=True)
class Runtime:
    """What loads and runs a graph.

    Attributes:
        graph: `tf.Graph`.
        session: `tf.compat.v1.Session`.
        load: `tf.compat.v1.saved_model.load`.
        make_ndarray: `tf.make_ndarray`.
        make_tensor_proto: `tf.make_tensor_proto`.
        read_records: yields the records of a TFRecord file.
        record_writer: `tf.io.TFRecordWriter`.
    """

    graph: Any
    session: Any
    load: Any
    make_ndarray: Any
    make_tensor_proto: Any
    read_records: Any
    record_writer: Any


def import_runtime() -> Runtime:
    """Imports the runtime, and as little else of TensorFlow as its version allows."""
    spec = find_spec("tensorflow")
    is_known = version("tensorflow").startswith(WRITTEN_FOR)
    if is_known and spec is not None and "tensorflow" not in sys.modules:
        sys.modules["tensorflow"] = _empty_package(spec)
        return _import_parts()
    return _import_whole()


def make_function(
    session: Any, inputs: Sequence[str], outputs: Sequence[str]
) -> Callable[..., Any]:
    """Returns a function that runs a part of a session's graph.

    The graph is optimized now, which takes longer than to run it. `Session.run`, and what
    `Session.make_callable` returns, do so when they are first called; the method that does it at
    once is not public, so a session without it is run as usual.

    Args:
        session: holds the graph.
        inputs: names of the tensors that the function takes, in its order.
        outputs: names of the tensors that it returns as a list.
    """
    from tensorflow.core.protobuf.config_pb2 import CallableOptions

    make = getattr(session, "_make_callable_from_options", None)
    if make is None:
        return lambda *values: session.run([*outputs], dict(zip(inputs, values, strict=True)))
    function: Callable[..., Any] = make(CallableOptions(feed=inputs, fetch=outputs))
    return function


def _empty_package(spec: ModuleSpec) -> ModuleType:
    """Returns a package whose modules can be imported, without what its `__init__.py` imports."""
    package = module_from_spec(spec)
    package.__path__ = list(spec.submodule_search_locations or ())
    return package


def _import_parts() -> Runtime:
    from tensorflow.python.client.session import Session
    from tensorflow.python.framework import tensor_util
    from tensorflow.python.framework.ops import Graph
    from tensorflow.python.lib.io import tf_record
    from tensorflow.python.platform import tf_logging
    from tensorflow.python.saved_model import loader_impl

    tf_logging.set_verbosity(tf_logging.ERROR)  # the loader says that it is deprecated
    return Runtime(
        graph=Graph,
        session=Session,
        load=loader_impl.load,
        make_ndarray=tensor_util.MakeNdarray,
        make_tensor_proto=tensor_util.make_tensor_proto,
        read_records=tf_record.tf_record_iterator,
        record_writer=tf_record.TFRecordWriter,
    )


def _import_whole() -> Runtime:
    import tensorflow as tf

    tf.get_logger().setLevel("ERROR")
    return Runtime(
        graph=tf.Graph,
        session=tf.compat.v1.Session,
        load=tf.compat.v1.saved_model.load,
        make_ndarray=tf.make_ndarray,
        make_tensor_proto=tf.make_tensor_proto,
        read_records=lambda path: tf.data.TFRecordDataset(path).as_numpy_iterator(),
        record_writer=tf.io.TFRecordWriter,
    )
