"""The API of Kubeflow Pipelines as its published client describes it: operations and checks.

`kfp_server_api` is generated from the API's OpenAPI description and is the only form of it that is
installed. Methods and paths, query parameters and types are read from its classes, so a request
that they do not describe is found here, not on a cluster.
"""

from __future__ import annotations

import functools
import inspect
import json
import re
from dataclasses import dataclass
from typing import Any

import kfp_server_api

_SCALARS: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "bool": (bool,),
    "int": (int,),
    "datetime": (str,),
}
_INT64 = {"max_concurrency"}  # text in the models; JSON of protocol buffers takes numbers as well
_OPERATIONS = {1: "EQUALS"}  # of a filter, where it is sent as the enumeration's number


class ViolationError(Exception):
    """A request that the published API does not describe."""


@dataclass(frozen=True)
class Operation:
    """One operation of the API: it takes `query` and `body`, and returns the model `answer`."""

    name: str
    method: str
    path: re.Pattern[str]
    query: frozenset[str]
    body: str | None
    file: str | None
    answer: str


@functools.cache
def operations() -> list[Operation]:
    """Returns every operation of every service."""
    services = [item for name, item in vars(kfp_server_api).items() if name.endswith("ServiceApi")]
    return [
        _operation(name, inspect.getsource(method))
        for service in services
        for name, method in vars(service).items()
        if name.endswith("_with_http_info")
    ]


def _operation(name: str, source: str) -> Operation:
    path, method = re.search(r"call_api\(\s*'([^']+)', '(\w+)'", source).groups()  # type: ignore[union-attr]
    body = re.search(r"body_params = local_var_params\['(\w+)'\]", source)
    file = re.search(r"local_var_files\['(\w+)'\]", source)
    kind = re.search(rf":type {body[1]}: (\w+)", source) if body else None
    return Operation(
        name.removesuffix("_with_http_info"),
        method,
        re.compile(re.sub(r"\\\{[^}]+\\\}", "([^/:]+)", re.escape(path))),
        frozenset(re.findall(r"query_params\.append\(\('([^']+)'", source)),
        kind[1] if kind else None,
        file[1] if file else None,
        re.search(r"response_type='(\w+)'", source)[1],  # type: ignore[index]
    )


def find_operation(method: str, path: str) -> tuple[Operation, tuple[str, ...]]:
    """Returns the operation of a request and the values in its path."""
    for operation in operations():
        found = operation.path.fullmatch(path)
        if found and operation.method == method:
            return operation, found.groups()
    raise ViolationError(f"no operation {method} {path}")


def read_model(content: Any, kind: str) -> Any:
    """Returns JSON as the model called `kind`; unknown fields are violations."""
    _check(content, kind, kind)
    return _api_client().deserialize(_Body(json.dumps(content)), kind)


def write_model(model: Any) -> Any:
    """Returns a model as the API's JSON."""
    return _api_client().sanitize_for_serialization(model)


def read_filter(text: str) -> dict[str, str]:
    """Returns key and value of a filter of one predicate, after checking all of it."""
    content = json.loads(text)
    for predicate in content["predicates"]:
        if "stringValue" in predicate:  # JSON of protocol buffers takes either spelling
            predicate["string_value"] = predicate.pop("stringValue")
        predicate["operation"] = _OPERATIONS.get(predicate["operation"], predicate["operation"])
    [predicate] = read_model(content, "V2beta1Filter").predicates
    if predicate.operation != "EQUALS":
        raise ViolationError(f"filter: the stand-in does not support {predicate.operation}")
    return {predicate.key: predicate.string_value}


def _check(content: Any, kind: str, where: str) -> None:
    if kind.startswith("list["):
        _expect(content, (list,), where)
        for index, item in enumerate(content):
            _check(item, kind[5:-1], f"{where}[{index}]")
    elif kind.startswith("dict("):
        _expect(content, (dict,), where)
        for key, item in content.items():
            _check(item, kind[5:-1].split(", ")[1], f"{where}.{key}")
    elif kind in _SCALARS:
        is_int64 = where.rpartition(".")[2] in _INT64
        _expect(content, (*_SCALARS[kind], *([int] if is_int64 else [])), where)
    elif kind != "object":
        _check_model(content, getattr(kfp_server_api, kind), where)


def _check_model(content: Any, model: Any, where: str) -> None:
    if not model.openapi_types:  # an enumeration
        if content not in model.allowable_values:
            raise ViolationError(
                f"{where}: expected one of {model.allowable_values}, found {content!r}"
            )
        return
    _expect(content, (dict,), where)
    kinds = {model.attribute_map[name]: kind for name, kind in model.openapi_types.items()}
    for key, value in content.items():
        if key not in kinds:
            raise ViolationError(f"{where}.{key}: {model.__name__} has no such field")
        if value is not None:
            _check(value, kinds[key], f"{where}.{key}")


def _expect(content: Any, types: tuple[type, ...], where: str) -> None:
    if not isinstance(content, types) or (isinstance(content, bool) and bool not in types):
        raise ViolationError(
            f"{where}: expected {' or '.join(kind.__name__ for kind in types)}, found {content!r}"
        )


@dataclass(frozen=True)
class _Body:
    data: str


@functools.cache
def _api_client() -> Any:
    return kfp_server_api.ApiClient(kfp_server_api.Configuration())
