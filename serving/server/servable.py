"""One loaded version: its graph, warm-up, signatures, and a batching queue per signature.

The graph runs in a session of TensorFlow 1's API, as in TensorFlow Serving: a session calls the
graph by names of tensors, without the Python of `tf.saved_model.load`, takes arrays as they are,
and has threads of its own.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import config_pb2
from tensorflow.core.protobuf.meta_graph_pb2 import MetaGraphDef, SignatureDef
from tensorflow.python.framework.ops import dismantle_graph
from tensorflow.python.saved_model.loader_impl import SavedModelLoader
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from components.contracts.names import SERVING_DEFAULT
from components.errors import MasteryError
from components.model_version.safe_graph import require_safe_graph
from serving.server.batching import Batcher
from serving.server.model_signatures import Array, Arrays, Signature
from serving.server.protobuf_tensors import decode_tensors
from serving.server.request_error import RequestError, invalid, quoted

if TYPE_CHECKING:
    from serving.prediction_log.recorder import Recorder
    from serving.server.server_settings import ServerSettings
    from serving.server.telemetry import ServerMetrics

WARMUP = "assets.extra/tf_serving_warmup_requests"
MAX_WARMUP = 1000  # TensorFlow Serving's limit
RECORD_FRAME = 16  # bytes of a TFRecord in addition to its content: the length and two checksums


class WarmUpError(MasteryError):
    """A version's warm-up requests cannot be read, or the version cannot answer one."""


class Servable:
    """A version that answers.

    Attributes:
        version: its number.
        model: its graph.
        leases: number of requests that hold it.
    """

    def __init__(
        self,
        version: int,
        model: LoadedModel,
        settings: ServerSettings,
        executor: Executor,
        metrics: ServerMetrics,
        recorder: Recorder | None = None,
    ) -> None:
        self.version = version
        self.model = model
        self.leases = 0
        self._batchers = {
            name: Batcher(
                signature,
                partial(model.run, signature),
                executor,
                settings.limits,
                settings.threads,
                lambda: metrics.requests_in_progress == 1,
                metrics.batch,
                None if recorder is None else recorder.recording(version, signature),
            )
            for name, signature in model.signatures.items()
        }

    def batcher(self, signature_name: str) -> Batcher:
        """Returns the queue of one of the model's signatures."""
        return self._batchers[signature_name]

    async def close(self) -> None:
        """Waits for the requests that hold the version, then frees its memory."""
        while self.leases:
            await asyncio.sleep(0.005)
        for batcher in self._batchers.values():
            await batcher.drain()
        await asyncio.to_thread(self.model.close)


class LoadedModel:
    """A SavedModel in memory.

    Attributes:
        definitions: the SavedModel's signatures, without the one of its initialization.
        signatures: the same, parsed.
    """

    def __init__(self, path: Path, *, allowed_operations: Collection[str] = ()) -> None:
        """Loads the model; takes a second or more.

        Args:
            path: the version's folder.
            allowed_operations: operations that may occur in addition to those that only compute.

        Raises:
            VersionError: the graph could do more than compute; nothing of it has run.
            Exception: whatever TensorFlow raises for a folder that it cannot load.
        """
        # The file is read once, so what is checked is what is loaded.
        loader = SavedModelLoader(str(path))
        meta = loader.get_meta_graph_def_from_tags([tf.saved_model.SERVING])
        require_safe_graph(meta, str(path), also_allowed=allowed_operations)

        # A batch runs in one thread and splits only large operations: an LSTM's are small, and
        # passing each of them to another thread takes longer than computing it.
        config = tf.compat.v1.ConfigProto(
            intra_op_parallelism_threads=os.cpu_count() or 1,
            inter_op_parallelism_threads=1,
            use_per_session_threads=True,
        )
        self._graph = tf.Graph()
        self._session = tf.compat.v1.Session(graph=self._graph, config=config)
        try:
            self._load(loader)
            self._read_signatures(meta)
        except BaseException:
            self.close()
            raise

    def _load(self, loader: SavedModelLoader) -> None:
        tags = [tf.saved_model.SERVING]
        with self._graph.as_default():
            saver, _ = loader.load_graph(self._graph, tags)
            loader.restore_variables(self._session, saver)
            loader.run_init_ops(self._session, tags)

    def _read_signatures(self, meta: MetaGraphDef) -> None:
        self.definitions: dict[str, SignatureDef] = {}
        for name, definition in meta.signature_def.items():
            if not name.startswith("__saved_model"):
                # A copy: a part of the message would keep the whole message, graph included.
                self.definitions[name] = SignatureDef.FromString(definition.SerializeToString())

        self.signatures = {
            name: Signature.of(name, item) for name, item in self.definitions.items()
        }
        self._calls: dict[str, Callable[..., list[Any]]] = {
            name: _callable(self._session, item) for name, item in self.signatures.items()
        }

    def signature(self, name: str) -> Signature:
        """Returns a signature by its name; `serving_default` for "".

        Raises:
            RequestError: there is no such signature.
        """
        signature = self.signatures.get(name or SERVING_DEFAULT)
        if signature is None:
            known = ", ".join(sorted(self.signatures))
            raise invalid(f"expected one of the signatures {known}; found {quoted(name)}.")
        return signature

    def run(self, signature: Signature, inputs: Mapping[str, Any]) -> Arrays:
        """Computes the outputs; may be called from several threads.

        Args:
            signature: one of this model's.
            inputs: arrays that the signature has checked.

        Raises:
            tf.errors.OpError: the graph refuses the inputs.
        """
        try:
            answers = self._calls[signature.name](*[inputs[name] for name in signature.inputs])
        except UnicodeDecodeError as error:  # the graph's message quotes bytes of the request
            message = error.object.decode(errors="replace")
            raise tf.errors.InvalidArgumentError(None, None, message) from error
        return dict(zip(signature.outputs, map(_as_array, answers), strict=True))

    def close(self) -> None:
        """Frees the memory; nothing may be running.

        A graph and its operations refer to one another. The garbage collector seldom looks at old
        objects, so the graph of every closed version would stay for hours. Dismantling it cuts
        these cycles.
        """
        self._calls = {}
        self._session.close()
        dismantle_graph(self._graph)


def _callable(session: tf.compat.v1.Session, signature: Signature) -> Callable[..., list[Any]]:
    """Returns a function from inputs to outputs, both in the signature's order."""
    inputs = [spec.graph_name for spec in signature.inputs.values()]
    outputs = [spec.graph_name for spec in signature.outputs.values()]
    prepare = getattr(session, "_make_callable_from_options", None)
    if prepare is None:
        return cast("Callable[..., list[Any]]", session.make_callable(outputs, inputs))

    # Keras calls graphs so, too. Feeds and fetches are looked up once, which saves 0.2 ms or more
    # per call, and the calling thread computes, without a change of threads.
    options = config_pb2.CallableOptions(feed=inputs, fetch=outputs)
    options.run_options.inter_op_thread_pool = -1
    return cast("Callable[..., list[Any]]", prepare(options))


def _as_array(value: Any) -> Array:
    """Returns an output as an array; a session returns scalars as numbers or bytes."""
    if isinstance(value, np.ndarray):
        return value
    return np.array(value, object if isinstance(value, bytes) else None)


def load_warm(path: Path, *, allowed_operations: Collection[str] = ()) -> LoadedModel:
    """Loads a version and replays its warm-up requests: an operation's first run is slow.

    Raises:
        VersionError: the graph could do more than compute.
        WarmUpError: its warm-up requests cannot be read or answered.
        Exception: whatever TensorFlow raises for a folder that it cannot load.
    """
    model = LoadedModel(path, allowed_operations=allowed_operations)
    try:
        warm_up(model, path / WARMUP)
    except BaseException:
        model.close()
        raise
    return model


def warm_up(model: LoadedModel, path: Path) -> None:
    """Replays a TFRecord of PredictionLogs, if there is one.

    Raises:
        WarmUpError: the file is damaged, or a request does not fit the model.
    """
    if not path.is_file():
        return

    # Not a `tf.data` dataset: that would build a graph for each version, which is never freed.
    records = tf.compat.v1.io.tf_record_iterator(str(path))
    left = path.stat().st_size
    for number in range(1, MAX_WARMUP + 1):
        try:
            record = next(records, None)
            if record is None and left:
                raise DecodeError(f"{left} bytes after the last record")
            if record is None:
                return
            left -= len(record) + RECORD_FRAME
            _replay(model, record)
        except (DecodeError, tf.errors.DataLossError) as error:
            raise WarmUpError(
                f"{path}, record {number}: the file is damaged ({error}). Push the model again, or "
                "remove the file, at the cost of slow first requests."
            ) from error
        except (RequestError, tf.errors.OpError) as error:
            raise WarmUpError(
                f"{path}, record {number}: the model cannot answer this request: {error}"
            ) from error


def _replay(model: LoadedModel, record: bytes) -> None:
    log = PredictionLog.FromString(record)
    if log.WhichOneof("log_type") != "predict_log":
        return

    request = log.predict_log.request
    signature = model.signature(request.model_spec.signature_name)
    inputs = decode_tensors(request.inputs, signature)
    signature.check(inputs, max_rows=2**31)
    model.run(signature, inputs)
