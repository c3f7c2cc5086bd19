"""Asks a served model: REST or gRPC, without TensorFlow.

```python
from serving.client import connect

with connect("grpc://localhost:8500", model="sample") as client:
    answers = client.predict(examples)  # serialized tf.Examples, see serving.requests
```
"""

from serving.client.answers import Answer
from serving.client.connect import Client, connect
from serving.client.errors import PredictError
from serving.client.retry import Retry
from serving.client.target import Target

__all__ = ["Answer", "Client", "PredictError", "Retry", "Target", "connect"]
