"""Asks a served model: REST or gRPC, without TensorFlow.

```python
from serving.client import connect

with connect("grpc://localhost:8500", model="sample") as client:
    answers = client.predict(examples)  # serialized tf.Examples, see serving.predict
```
"""

from serving.client.calls import PredictError, Retry, Target
from serving.client.model_client import Answer, Client, connect

__all__ = ["Answer", "Client", "PredictError", "Retry", "Target", "connect"]
