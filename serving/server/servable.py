"""One loaded version: a graph, its session, and its signatures.

A session of TensorFlow 1's API, which is what TensorFlow Serving runs, too: it calls the graph by names of tensors,
without the Python of `tf.saved_model.load`, takes arrays as they are, and has threads of its own.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
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
from serving.server.request_error import RequestError, invalid
from serving.server.server_settings import ServerSettings
from serving.server.telemetry import ServerMetrics

WARMUP = "assets.extra/tf_serving_warmup_requests"


MAX_WARMUP = 1000  # as many as TensorFlow Serving takes


RECORD_FRAME = 16  # bytes of a TFRecord beside its content: the length and two checksums


class WarmUpError(MasteryError):
    """The warm-up requests of a version cannot be read, or the version cannot answer one."""


class LoadedModel:
    """A SavedModel in memory.

    Attributes:
        definitions: the signatures as the SavedModel has them, but for the one of its initialization.
        signatures: the same, read.
    """

    def __init__(self, path: Path, *, allowed_operations: Collection[str] = ()) -> None:
        """Loads; takes a second or more.

        Args:
            path: the version's folder.
            allowed_operations: operations that somebody vouches for, beside those that only compute.

        Raises:
            VersionError: the graph could do more than compute; nothing of it has run.
            Exception: whatever TensorFlow raises for a folder that it cannot load.
        """
        # What is checked is what is loaded: the file is read once.
        loader = SavedModelLoader(str(path))
        meta = loader.get_meta_graph_def_from_tags([tf.saved_model.SERVING])
        require_safe_graph(meta, str(path), also_allowed=allowed_operations)

        # One batch goes through one thread and splits only large operations: an LSTM's are small, and handing
        # each of them to another thread takes longer than computing it.
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
                # A copy: a part of the message would hold the whole of it, the graph included.
                self.definitions[name] = SignatureDef.FromString(definition.SerializeToString())
        self.signatures = {
            name: Signature.of(name, item) for name, item in self.definitions.items()
        }
        self._calls: dict[str, Callable[..., list[Any]]] = {
            name: self._session.make_callable(
                [spec.graph_name for spec in item.outputs.values()],
                [spec.graph_name for spec in item.inputs.values()],
            )
            for name, item in self.signatures.items()
        }

    def signature(self, name: str) -> Signature:
        """Returns a signature by its name; `serving_default` for none.

        Raises:
            RequestError: there is no such signature.
        """
        found = self.signatures.get(name or SERVING_DEFAULT)
        if found is None:
            raise invalid(
                f"expected one of the signatures {', '.join(sorted(self.signatures))}; found {name[:200]!r}."
            )
        return found

    def run(self, signature: Signature, inputs: Mapping[str, Any]) -> Arrays:
        """Answers; may be called from several threads.

        Args:
            signature: one of this model's.
            inputs: arrays that the signature has checked.

        Raises:
            tf.errors.OpError: the graph refuses.
        """
        try:
            answers = self._calls[signature.name](*[inputs[name] for name in signature.inputs])
        except (
            UnicodeDecodeError
        ) as error:  # the graph's message quotes bytes of the request that are no text
            message = error.object.decode(errors="replace")
            raise tf.errors.InvalidArgumentError(None, None, message) from error
        return dict(zip(signature.outputs, map(_as_array, answers), strict=True))

    def close(self) -> None:
        """Frees the memory; nothing may be running.

        A graph and its operations refer to one another. Left to the garbage collector, which seldom looks at what
        is old, the graph of every version that has gone would stay for hours; so the circle is cut here.
        """
        self._calls = {}
        self._session.close()
        dismantle_graph(self._graph)


def _as_array(value: Any) -> Array:
    """Returns an output as an array; without any dimension, a session returns it as a number or as bytes."""
    if isinstance(value, np.ndarray):
        return value
    return np.array(value, object if isinstance(value, bytes) else None)


def load_warm(path: Path, *, allowed_operations: Collection[str] = ()) -> LoadedModel:
    """Loads a version and replays its warm-up requests, so that nobody waits for the first run of an operation.

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
    """Replays a TFRecord of PredictionLogs; no such file is no error.

    Raises:
        WarmUpError: the file is damaged, or a request does not fit the model; says which.
    """
    if not path.is_file():
        return
    # Not a `tf.data` data set: that would build a graph of its own for each version, which stays.
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
                f"{path}, record {number}: expected a PredictionLog, found a damaged file ({error}). Push the model "
                "again, or remove the file: then the first requests are slow."
            ) from error
        except (RequestError, tf.errors.OpError) as error:
            raise WarmUpError(
                f"{path}, record {number}: expected a request that the model answers, found: {error}"
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


class Servable:
    """A version that answers.

    Attributes:
        version: its number.
        model: the graph.
        leases: requests that hold it.
    """

    def __init__(
        self,
        version: int,
        model: LoadedModel,
        settings: ServerSettings,
        executor: Executor,
        metrics: ServerMetrics,
    ) -> None:
        self.version, self.model, self.leases = version, model, 0
        self._batchers = {
            name: Batcher(
                signature,
                partial(model.run, signature),
                executor,
                settings.limits,
                settings.threads,
                lambda: metrics.requests_under_way == 1,
                metrics.batch,
            )
            for name, signature in model.signatures.items()
        }

    def batcher(self, signature_name: str) -> Batcher:
        """Returns the queue of a signature of the model."""
        return self._batchers[signature_name]

    async def close(self) -> None:
        """Waits for the requests that hold it and frees its memory."""
        while self.leases:
            await asyncio.sleep(0.005)
        for batcher in self._batchers.values():
            await batcher.drain()
        await asyncio.to_thread(self.model.close)
