"""Protocol buffers described in Python: messages without generated modules.

Generated modules register their messages in the process's only default pool, where each name can
occur once, and some import half of TensorFlow. Messages described here have a descriptor pool of
their own and coexist with others of the same names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

Field = descriptor_pb2.FieldDescriptorProto
SCALARS = {
    "bool": Field.TYPE_BOOL,
    "bytes": Field.TYPE_BYTES,
    "double": Field.TYPE_DOUBLE,
    "float": Field.TYPE_FLOAT,
    "int32": Field.TYPE_INT32,
    "int64": Field.TYPE_INT64,
    "string": Field.TYPE_STRING,
    "uint32": Field.TYPE_UINT32,
    "uint64": Field.TYPE_UINT64,
}

Fields = Mapping[str, tuple[int, str]]
Services = Mapping[str, Mapping[str, tuple[str, str]]]


@dataclass(frozen=True)
class Messages:
    """Messages, and services that use them, of one package.

    Attributes:
        pool: the descriptors, for reflection.
        classes: the messages' classes, by the names under which they were described.
    """

    pool: descriptor_pool.DescriptorPool
    classes: dict[str, Any]


def describe(
    file: str,
    package: str,
    messages: Mapping[str, Fields],
    *,
    services: Services | None = None,
    dependencies: tuple[Any, ...] = (),
) -> Messages:
    r"""Makes the classes of messages.

    Args:
        file: name of the equivalent `.proto` file.
        package: of the messages.
        messages: fields by name, by message name; `Outer.Inner` is nested and follows its outer
            message. A field is (number, type). A type is a scalar, another of the messages by its
            whole name, or one of a dependency by its full name. It may follow `repeated`, `map`
            (from strings), or `oneof NAME`.
        services: request and answer by method, by service.
        dependencies: generated modules whose messages are used.

    >>> fields = {"x": (1, "int32"), "tags": (2, "repeated string")}
    >>> made = describe("point.proto", "example", {"Point": fields})
    >>> made.classes["Point"](x=3, tags=["a"]).SerializeToString()
    b'\x08\x03\x12\x01a'
    """
    described = descriptor_pb2.FileDescriptorProto(name=file, package=package, syntax="proto3")
    pool = descriptor_pool.DescriptorPool()
    for module in dependencies:
        described.dependency.append(module.DESCRIPTOR.name)
        pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)

    _add_messages(described, messages)
    for name, methods in (services or {}).items():
        service = described.service.add(name=name)
        for method, (request, answer) in methods.items():
            input_type, output_type = f".{package}.{request}", f".{package}.{answer}"
            service.method.add(name=method, input_type=input_type, output_type=output_type)

    pool.Add(described)
    classes = {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}"))
        for name in messages
    }
    return Messages(pool, classes)


def _add_messages(
    described: descriptor_pb2.FileDescriptorProto, messages: Mapping[str, Fields]
) -> None:
    made: dict[str, descriptor_pb2.DescriptorProto] = {}
    for name, fields in messages.items():
        outer, _, inner = name.rpartition(".")
        siblings = made[outer].nested_type if outer else described.message_type
        message = siblings.add(name=inner)
        made[name] = message
        for field, (number, kind) in fields.items():
            owner = f".{described.package}.{name}"
            _add_field(message, field, number, kind.split(), owner, described.package)


def _add_field(
    message: Any, name: str, number: int, words: list[str], owner: str, package: str
) -> None:
    *modifier, kind = words
    field = message.field.add(name=name, number=number, label=Field.LABEL_OPTIONAL)
    if modifier == ["map"]:
        entry = message.nested_type.add(name=f"{name.title().replace('_', '')}Entry")
        entry.options.map_entry = True
        _add_field(entry, "key", 1, ["string"], owner, package)
        _add_field(entry, "value", 2, [kind], owner, package)
        field.label = Field.LABEL_REPEATED
        field.type = Field.TYPE_MESSAGE
        field.type_name = f"{owner}.{entry.name}"
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
        field.type = Field.TYPE_MESSAGE
        is_full_name = kind[0].islower()
        field.type_name = f".{kind}" if is_full_name else f".{package}.{kind}"
