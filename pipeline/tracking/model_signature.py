"""The signature of a SavedModel, read from its file without TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from components.contracts.names import SERVE, SERVING_DEFAULT
from components.errors import MasteryError
from components.model_version.folders import SAVED_MODEL

# NumPy's names of TensorFlow's types; texts and examples travel as objects.
_KINDS = {
    "DT_FLOAT": "float32", "DT_DOUBLE": "float64", "DT_INT32": "int32", "DT_INT64": "int64",
    "DT_BOOL": "bool", "DT_STRING": "object",
}  # fmt: skip


@dataclass(frozen=True)
class Tensor:
    """An input or output of a signature.

    Attributes:
        name: its key.
        kind: NumPy's name of its type.
        shape: its sizes; -1 for one that is open.
    """

    name: str
    kind: str
    shape: tuple[int, ...]


def read_signature(model: Path) -> tuple[list[Tensor], list[Tensor]]:
    """Returns inputs and outputs of the signature that servers ask by default, by name.

    TensorBoard has the messages of TensorFlow, and imports in a fraction of its time.

    Args:
        model: the SavedModel's folder.

    Raises:
        MasteryError: the file cannot be read, or has no such signature.
    """
    from google.protobuf.message import DecodeError
    from tensorboard.compat.proto.meta_graph_pb2 import MetaGraphDef

    path = model / SAVED_MODEL
    try:
        content = _saved_model()()
        content.ParseFromString(path.read_bytes())
        graphs = [MetaGraphDef.FromString(graph) for graph in content.meta_graphs]
    except (OSError, DecodeError) as error:
        raise MasteryError(f"{path}: expected a SavedModel, found {error}.") from None

    for graph in graphs:
        if SERVE in graph.meta_info_def.tags and SERVING_DEFAULT in graph.signature_def:
            found = graph.signature_def[SERVING_DEFAULT]
            return _tensors(found.inputs), _tensors(found.outputs)
    raise MasteryError(f"{path}: expected the signature {SERVING_DEFAULT}, found none.")


def _tensors(infos: Any) -> list[Tensor]:
    from tensorboard.compat.proto.types_pb2 import DataType

    return [
        Tensor(
            name,
            _KINDS.get(DataType.Name(info.dtype), "object"),
            tuple(int(dim.size) for dim in info.tensor_shape.dim),
        )
        for name, info in sorted(infos.items())
    ]


@cache
def _saved_model() -> Any:
    """Returns the message around graphs, the only one that TensorBoard lacks."""
    file = descriptor_pb2.FileDescriptorProto(
        name="mastery/saved_model.proto", package="mastery", syntax="proto3"
    )
    message = file.message_type.add(name="SavedModel")
    message.field.add(name="meta_graphs", number=2, type=12, label=3)  # repeated bytes
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("mastery.SavedModel"))
