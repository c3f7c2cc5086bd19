"""Answers requests from a SavedModel in a process of its own, as TensorFlow Serving would.

`python -m components.serving_check.replay MODEL REQUESTS ANSWERS`: reads a TFRecord of `PredictionLog` with
requests and writes one with requests and responses. The model is loaded like TensorFlow Serving loads it, from
its graph and signatures alone: no Python code of the model is needed, or would be found.
"""

from __future__ import annotations

import sys
from typing import Any

import tensorflow as tf
from tensorflow_serving.apis.predict_pb2 import PredictRequest, PredictResponse
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog


def replay(model: str, requests: str, answers: str) -> None:
    """Answers every request of the file `requests`, in order, into the file `answers`."""
    records = list(tf.data.TFRecordDataset(requests).as_numpy_iterator())
    with (
        tf.Graph().as_default(),
        tf.compat.v1.Session() as session,
        tf.io.TFRecordWriter(answers) as writer,
    ):
        signatures = tf.compat.v1.saved_model.load(
            session, [tf.saved_model.SERVING], model
        ).signature_def
        for record in records:
            log = PredictionLog.FromString(record)
            request = log.predict_log.request
            log.predict_log.response.CopyFrom(_answer(session, signatures, request))
            writer.write(log.SerializeToString())


def _answer(
    session: tf.compat.v1.Session, signatures: Any, request: PredictRequest
) -> PredictResponse:
    signature = signatures[request.model_spec.signature_name]
    feed = {
        signature.inputs[name].name: tf.make_ndarray(tensor)
        for name, tensor in request.inputs.items()
    }
    fetched = session.run({name: tensor.name for name, tensor in signature.outputs.items()}, feed)
    response = PredictResponse()
    response.model_spec.CopyFrom(request.model_spec)
    for name, value in fetched.items():
        response.outputs[name].CopyFrom(tf.make_tensor_proto(value))
    return response


if __name__ == "__main__":
    try:
        replay(*sys.argv[1:])
    except Exception as error:  # the process that started this one reads it, and tells the user
        sys.exit(f"{type(error).__name__}: {error}")
