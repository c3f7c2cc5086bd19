"""The messages of TensorFlow Serving's Predict, without its package.

Its generated modules import TensorFlow's, and so TensorFlow: ten seconds and half a gigabyte to send a request. The
few fields that are needed are described here, by the numbers that the public .proto files have (tensorflow_serving/
apis/{model,predict}.proto, tensorflow/core/framework/{tensor,tensor_shape,types}.proto), in a descriptor pool of
their own, so that both can live in one process. Fields that are not described pass through unread.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, wrappers_pb2

DT_FLOAT, DT_DOUBLE, DT_INT32, DT_STRING, DT_INT64, DT_BOOL = 1, 2, 3, 7, 9, 10  # of tensorflow.DataType
PREDICT = "/tensorflow.serving.PredictionService/Predict"
PACKAGE = "mastery.wire"

_Field = descriptor_pb2.FieldDescriptorProto
_TYPES = {
    "bool": _Field.TYPE_BOOL, "bytes": _Field.TYPE_BYTES, "double": _Field.TYPE_DOUBLE, "float": _Field.TYPE_FLOAT,
    "int32": _Field.TYPE_INT32, "int64": _Field.TYPE_INT64, "string": _Field.TYPE_STRING,
}  # fmt: skip

# A field is (number, type), with `repeated` ahead of the type where it is one; other types than the above are messages.
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
        "version": (2, "google.protobuf.Int64Value"),
        "signature_name": (3, "string"),
        "version_label": (4, "string"),
    },
    "InputsEntry": {"key": (1, "string"), "value": (2, "TensorProto")},
    "OutputsEntry": {"key": (1, "string"), "value": (2, "TensorProto")},
    "PredictRequest": {
        "model_spec": (1, "ModelSpec"),
        "inputs": (2, "repeated InputsEntry"),
        "output_filter": (3, "repeated string"),
    },
    "PredictResponse": {"outputs": (1, "repeated OutputsEntry"), "model_spec": (2, "ModelSpec")},
}
_NESTED = {"InputsEntry": "PredictRequest", "OutputsEntry": "PredictResponse"}  # a map is a nested message
_ONEOF = ("version", "version_label")  # of ModelSpec


def _describe() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name="mastery_wire.proto", package=PACKAGE, syntax="proto3", dependency=["google/protobuf/wrappers.proto"]
    )
    described = {name: _message(name, fields) for name, fields in _MESSAGES.items()}
    for entry, owner in _NESTED.items():
        described[entry].options.map_entry = True
        described[owner].nested_type.append(described.pop(entry))
    file.message_type.extend(described.values())
    return file


def _message(name: str, fields: dict[str, tuple[int, str]]) -> descriptor_pb2.DescriptorProto:
    message = descriptor_pb2.DescriptorProto(name=name)
    for field, (number, kind) in fields.items():
        *repeated, kind = kind.split()
        added = message.field.add(name=field, number=number)
        added.label = _Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
        if kind in _TYPES:
            added.type = _TYPES[kind]
        else:
            added.type, added.type_name = _Field.TYPE_MESSAGE, _full_name(kind)
        if name == "ModelSpec" and field in _ONEOF:
            added.oneof_index = 0
    if name == "ModelSpec":
        message.oneof_decl.add(name="version_choice")
    return message


def _full_name(kind: str) -> str:
    if "." in kind:
        return f".{kind}"
    owner = _NESTED.get(kind)
    return f".{PACKAGE}.{owner}.{kind}" if owner else f".{PACKAGE}.{kind}"


def _message_class(name: str) -> Any:
    return message_factory.GetMessageClass(_pool.FindMessageTypeByName(f"{PACKAGE}.{name}"))


_pool = descriptor_pool.DescriptorPool()
_pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
_pool.Add(_describe())
TensorProto = _message_class("TensorProto")
PredictRequest = _message_class("PredictRequest")
PredictResponse = _message_class("PredictResponse")
