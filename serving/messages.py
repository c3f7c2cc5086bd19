"""Protocol buffers described in Python: messages without generated modules, in a descriptor pool of their own.

Generated modules put their messages into the one pool of the process, where a name can be there once only, and some
import half of TensorFlow. Messages that are described here live beside any others of the same names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

Field = descriptor_pb2.FieldDescriptorProto
SCALARS = {
    "bool": Field.TYPE_BOOL, "bytes": Field.TYPE_BYTES, "double": Field.TYPE_DOUBLE, "float": Field.TYPE_FLOAT,
    "int32": Field.TYPE_INT32, "int64": Field.TYPE_INT64, "string": Field.TYPE_STRING, "uint32": Field.TYPE_UINT32,
    "uint64": Field.TYPE_UINT64,
}  # fmt: skip

Fields = Mapping[str, tuple[int, str]]


@dataclass(frozen=True)
class Messages:
    """Messages, and services over them, of one package.

    Attributes:
        pool: the descriptors, for reflection.
        classes: the messages' classes, by the names that they were described under.
    """

    pool: descriptor_pool.DescriptorPool
    classes: dict[str, Any]


def describe(
    file: str,
    package: str,
    messages: Mapping[str, Fields],
    *,
    services: Mapping[str, Mapping[str, tuple[str, str]]] | None = None,
    dependencies: tuple[Any, ...] = (),
) -> Messages:
    r"""Makes the classes of messages.

    Args:
        file: name of the `.proto` file that stands for them.
        package: of the messages.
        messages: fields by name, by the message's name; `Outer.Inner` is nested. A field is (number, type), the type
            with `repeated` ahead of it, `map` for a map from strings to it, or `oneof NAME`. It is a scalar, another
            of the messages by its whole name, or one of a dependency by its full name.
        services: by name and method, the request's and the answer's message.
        dependencies: generated modules whose messages are used.

    >>> made = describe("point.proto", "example", {"Point": {"x": (1, "int32"), "tags": (2, "repeated string")}})
    >>> made.classes["Point"](x=3, tags=["a"]).SerializeToString()
    b'\x08\x03\x12\x01a'
    """
    described = descriptor_pb2.FileDescriptorProto(name=file, package=package, syntax="proto3")
    pool = descriptor_pool.DescriptorPool()
    for module in dependencies:
        described.dependency.append(module.DESCRIPTOR.name)
        pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)

    made: dict[str, descriptor_pb2.DescriptorProto] = {}
    for name, fields in messages.items():  # an outer message stands ahead of those nested in it
        outer, _, inner = name.rpartition(".")
        message = (
            made[outer].nested_type.add(name=inner)
            if outer
            else described.message_type.add(name=name)
        )
        made[name] = message
        for field, (number, kind) in fields.items():
            _add_field(message, field, number, kind.split(), f".{package}.{name}", package)
    for name, methods in (services or {}).items():
        service = described.service.add(name=name)
        for method, (request, answer) in methods.items():
            service.method.add(
                name=method, input_type=f".{package}.{request}", output_type=f".{package}.{answer}"
            )

    pool.Add(described)
    classes = {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}"))
        for name in messages
    }
    return Messages(pool, classes)


def _add_field(
    message: Any, name: str, number: int, words: list[str], owner: str, package: str
) -> None:
    *modifier, kind = words
    field = message.field.add(name=name, number=number, label=Field.LABEL_OPTIONAL)
    if modifier and modifier[0] == "map":
        entry = message.nested_type.add(name=f"{name.title().replace('_', '')}Entry")
        entry.options.map_entry = True
        _add_field(entry, "key", 1, ["string"], owner, package)
        _add_field(entry, "value", 2, [kind], owner, package)
        field.label, field.type, field.type_name = (
            Field.LABEL_REPEATED,
            Field.TYPE_MESSAGE,
            f"{owner}.{entry.name}",
        )
        return
    if modifier == ["repeated"]:
        field.label = Field.LABEL_REPEATED
    elif modifier:
        if not message.oneof_decl:
            message.oneof_decl.add(name=modifier[1])
        field.oneof_index = 0
    if kind in SCALARS:
        field.type = SCALARS[kind]
    else:
        field.type, field.type_name = (
            Field.TYPE_MESSAGE,
            f".{kind}" if kind[0].islower() else f".{package}.{kind}",
        )
