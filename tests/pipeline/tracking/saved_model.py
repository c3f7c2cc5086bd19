"""The least of a SavedModel: a file with a signature, and no graph."""

from __future__ import annotations

from pathlib import Path

from google.protobuf.internal.encoder import _VarintBytes  # type: ignore[attr-defined]
from tensorboard.compat.proto.meta_graph_pb2 import MetaGraphDef
from tensorboard.compat.proto.types_pb2 import DT_FLOAT, DT_STRING

META_GRAPHS = b"\x12"  # of SavedModel: field 2, bytes


def write_signature(folder: Path) -> None:
    """Writes a file with the signature `numbers` to `probabilities` and `text`."""
    graph = MetaGraphDef()
    graph.meta_info_def.tags.append("serve")
    signature = graph.signature_def["serving_default"]
    for infos, name, kind in (
        (signature.inputs, "numbers", DT_FLOAT),
        (signature.outputs, "probabilities", DT_FLOAT),
        (signature.outputs, "text", DT_STRING),
    ):
        infos[name].dtype = kind
        for size in (-1, 2):
            infos[name].tensor_shape.dim.add(size=size)
    content = graph.SerializeToString()
    folder.mkdir(parents=True)
    file = META_GRAPHS + _VarintBytes(len(content)) + content
    (folder / "saved_model.pb").write_bytes(file)
