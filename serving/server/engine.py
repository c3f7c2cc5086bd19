"""One loaded version: a graph, its session, and its signatures.

A session of TensorFlow 1's API, which is what TensorFlow Serving runs, too: it calls the graph by names of tensors,
without the Python of `tf.saved_model.load`, takes arrays as they are, and has threads of its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from components.naming import SERVING_DEFAULT
from serving.server.errors import invalid
from serving.server.signatures import Array, Arrays, Signature
from serving.server.tensor_codec import decode_inputs

WARMUP = "assets.extra/tf_serving_warmup_requests"
MAX_WARMUP = 1000  # as many as TensorFlow Serving takes


class LoadedModel:
    """A SavedModel in memory.

    Attributes:
        definitions: the signatures as the SavedModel has them, but for the one of its initialization.
        signatures: the same, read.
    """

    def __init__(self, path: Path) -> None:
        """Loads; takes a second or more.

        Raises:
            Exception: whatever TensorFlow raises for a folder that it cannot load.
        """
        graph = tf.Graph()
        with graph.as_default():
            # One batch goes through one thread and splits only large operations: an LSTM's are small, and handing
            # each of them to another thread takes longer than computing it.
            config = tf.compat.v1.ConfigProto(
                intra_op_parallelism_threads=os.cpu_count() or 1,
                inter_op_parallelism_threads=1,
                use_per_session_threads=True,
            )
            self._session = tf.compat.v1.Session(graph=graph, config=config)
            meta = tf.compat.v1.saved_model.loader.load(self._session, ["serve"], str(path))
        self.definitions: dict[str, SignatureDef] = {
            name: definition for name, definition in meta.signature_def.items() if not name.startswith("__saved_model")
        }
        self.signatures = {name: Signature.of(name, item) for name, item in self.definitions.items()}
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
            raise invalid(f"expected one of the signatures {', '.join(sorted(self.signatures))}; found {name[:200]!r}.")
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
        except UnicodeDecodeError as error:  # the graph's message quotes bytes of the request that are no text
            message = error.object.decode(errors="replace")
            raise tf.errors.InvalidArgumentError(None, None, message) from error
        return dict(zip(signature.outputs, map(_as_array, answers), strict=True))

    def close(self) -> None:
        """Frees the memory; nothing may be running."""
        self._calls = {}
        self._session.close()


def _as_array(value: Any) -> Array:
    """Returns an output as an array; without any dimension, a session returns it as a number or as bytes."""
    if isinstance(value, np.ndarray):
        return value
    return np.array(value, object if isinstance(value, bytes) else None)


def load_warm(path: Path) -> LoadedModel:
    """Loads a version and replays its warm-up requests, so that nobody waits for the first run of an operation."""
    model = LoadedModel(path)
    try:
        warm_up(model, path / WARMUP)
    except BaseException:
        model.close()
        raise
    return model


def warm_up(model: LoadedModel, path: Path) -> None:
    """Replays a TFRecord of PredictionLogs; no such file is no error.

    Raises:
        RequestError: a request does not fit the model.
        tf.errors.OpError: the graph refuses one.
    """
    if not path.is_file():
        return
    for record in islice(tf.data.TFRecordDataset(str(path)).as_numpy_iterator(), MAX_WARMUP):
        log = PredictionLog.FromString(record)
        if log.WhichOneof("log_type") != "predict_log":
            continue
        request = log.predict_log.request
        signature = model.signature(request.model_spec.signature_name)
        inputs = decode_inputs(request.inputs, signature)
        signature.check(inputs, max_rows=2**31)
        model.run(signature, inputs)
