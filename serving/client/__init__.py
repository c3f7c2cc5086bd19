"""Asks a served model, by REST or gRPC, without TensorFlow.

>>> from serving.client import connect
>>> with connect(SERVER, model="sample") as client:  # such as grpc://localhost:8500
...     answers = client.predict(EXAMPLES)  # serialized tf.Examples, see serving.predict
>>> answers[0].predicted_class, answers[0].basis
('high', 'prior')
"""

from serving.client.answers import Answer, Explanation, answers_table
from serving.client.calls import PredictError, Retry, Target
from serving.client.model_client import Client, connect
from serving.client.shadow import Shadow, ShadowedAnswer

__all__ = [
    "Answer",
    "Client",
    "Explanation",
    "PredictError",
    "Retry",
    "Shadow",
    "ShadowedAnswer",
    "Target",
    "answers_table",
    "connect",
]
