"""The messages of TensorFlow Serving's Predict, without its package.

Its generated modules import TensorFlow's, and so TensorFlow: ten seconds and half a gigabyte to send a request. The
few fields that are needed are described here, by the numbers that the public .proto files have (tensorflow_serving/
apis/{model,predict}.proto, tensorflow/core/framework/{tensor,tensor_shape,types}.proto), in a descriptor pool of
their own, so that both can live in one process. Fields that are not described pass through unread.
"""

from __future__ import annotations

from google.protobuf import wrappers_pb2

from serving.messages import describe

DT_FLOAT, DT_DOUBLE, DT_INT32, DT_STRING, DT_INT64, DT_BOOL = (
    1,
    2,
    3,
    7,
    9,
    10,
)  # of tensorflow.DataType
PREDICT = "/tensorflow.serving.PredictionService/Predict"

_MESSAGES: dict[str, dict[str, tuple[int, str]]] = {
    "Dim": {"size": (1, "int64"), "name": (2, "string")},
    "TensorShapeProto": {"dim": (2, "repeated Dim"), "unknown_rank": (3, "bool")},
    "TensorProto": {
        "dtype": (1, "int32"),  # an enum, which is the same on the wire
        "tensor_shape": (2, "TensorShapeProto"),
        "version_number": (3, "int32"),
        "tensor_content": (4, "bytes"),
        "float_val": (5, "repeated float"),
        "double_val": (6, "repeated double"),
        "int_val": (7, "repeated int32"),
        "string_val": (8, "repeated bytes"),
        "int64_val": (10, "repeated int64"),
        "bool_val": (11, "repeated bool"),
    },
    "ModelSpec": {
        "name": (1, "string"),
        "version": (2, "oneof version_choice google.protobuf.Int64Value"),
        "signature_name": (3, "string"),
        "version_label": (4, "oneof version_choice string"),
    },
    "PredictRequest": {
        "model_spec": (1, "ModelSpec"),
        "inputs": (2, "map TensorProto"),
        "output_filter": (3, "repeated string"),
    },
    "PredictResponse": {"outputs": (1, "map TensorProto"), "model_spec": (2, "ModelSpec")},
}
_classes = describe(
    "mastery_wire.proto", "mastery.wire", _MESSAGES, dependencies=(wrappers_pb2,)
).classes
TensorProto = _classes["TensorProto"]
PredictRequest = _classes["PredictRequest"]
PredictResponse = _classes["PredictResponse"]
