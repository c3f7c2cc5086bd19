"""Random configurations, drawn from the types, so that new fields are included automatically."""

from __future__ import annotations

import copy
import math
import types
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from components.config import Config
from components.config.section import LARGEST, Bound, Section, sections_in

BASE: dict[str, Any] = {
    "name": "algebra",
    "data": {"events": "/log/events.csv", "outcomes": ["/log/a.csv", "/log/b.csv"]},
    "schema": "/algebra.pbtxt",
    "label": {"column": "mastery", "classes": ["no", "yes"]},
    "steps": {"features": {"event_type": {"type": "categorical"}, "correct": {"type": "numeric"}}},
    "context": {"course": {"type": "categorical"}},
    "evaluation": {"slices": ["gender", ["gender", "region"]]},
    "gates": [{"metric": "f1_macro", "min": 0.5}],
}
Place = tuple[tuple[str, ...], FieldInfo]

# Text that passes one check or another, beside any text at all: characters beyond the BMP, line
# ends of every kind, signs with a meaning in YAML, JSON, shells, Kubeflow and Kubernetes.
_TEXTS = [
    "a", "mastery", "Europe/Zurich", "https://cluster.example/pipeline", "s3://bucket/folder", "gs://bucket",
    "500m", "8Gi", "/mnt/data", "nvidia.com/gpu", "registry.example:5000/team/mastery:1.2",
    "a@b.example", "A_B",
    "😀 🇨🇭", "\u2028\u2029\x85", "a\nb\r\n\tc", "'\"\\", "{{$.inputs}}", "$(HOME)", "010", "no",
    "null", "1e3",
    "#: - ?", "\x7f\x9f\ufeff\u200b", "2026-11-20", "last:7", "{SPAN}", "",
]  # fmt: skip


def sections() -> list[type[Section]]:
    """Returns every class of a section that a configuration can hold."""
    found: dict[type[Section], None] = {}

    def collect(section: type[Section]) -> None:
        if section not in found:
            found[section] = None
            for field in section.model_fields.values():
                for inner in sections_in(field.annotation):
                    collect(inner)

    collect(Config)
    return [*found]


def places(section: type[Section] = Config, above: tuple[str, ...] = ()) -> Iterator[Place]:
    """Yields every key that is not inside a list or a mapping, with its field."""
    for name, field in section.model_fields.items():
        path = (*above, field.alias or name)
        if path == ("metadata",):  # travels by the environment, see test_runtime.py
            continue
        yield path, field
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from places(field.annotation, path)


@st.composite
def configs(draw: st.DrawFn) -> Config:
    """Draws a valid configuration: a small one with up to a dozen values changed."""
    values = copy.deepcopy(BASE)
    config = Config.model_validate(values)
    for path, field in draw(st.lists(st.sampled_from([*places()]), max_size=12)):
        changed = put(values, path, draw(values_for(field.annotation, field.metadata)))
        try:
            config = Config.model_validate(changed)
        except ValidationError:  # it does not go with the other values
            continue
        values = changed
    return config


def put(values: dict[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """Returns a copy of `values` with another value at a place."""
    copied = copy.deepcopy(values)
    section = copied
    for key in path[:-1]:
        section = section.setdefault(key, {})
    section[path[-1]] = value
    return copied


def values_for(
    annotation: Any, metadata: list[Any] | tuple[Any, ...] = ()
) -> st.SearchStrategy[Any]:
    """Returns values that a field of a type takes, as a YAML file would give them."""
    if annotation == Bound:
        return st.floats(allow_nan=False)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return values_for(arguments[0], arguments[1:])
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin in (Union, types.UnionType):
        return st.one_of([values_for(argument, metadata) for argument in arguments])
    if origin is list:
        return st.lists(values_for(arguments[0]), max_size=3)
    if origin is dict:
        return st.dictionaries(values_for(arguments[0]), values_for(arguments[1]), max_size=3)
    if origin is tuple:
        return st.tuples(*map(values_for, arguments)).map(list)
    if annotation in (None, types.NoneType):
        return st.none()
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return _section(annotation)
    return _plain(annotation, metadata)


def _section(section: type[Section]) -> st.SearchStrategy[Any]:
    required, optional = {}, {}
    for name, field in section.model_fields.items():
        kind = required if field.is_required() else optional
        kind[field.alias or name] = values_for(field.annotation, field.metadata)
    return st.fixed_dictionaries(required, optional=optional)


def _plain(kind: Any, metadata: list[Any] | tuple[Any, ...]) -> st.SearchStrategy[Any]:
    low, high = _range(metadata)
    if kind is bool:
        return st.booleans()
    if kind is int:
        return st.integers(
            -LARGEST if low is None else math.ceil(low),
            LARGEST if high is None else math.floor(high),
        )
    if kind is float:
        return st.floats(low, high, allow_nan=False, allow_infinity=False)
    assert kind is str, kind
    text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
    if not metadata:
        return st.sampled_from(_TEXTS) | text
    adapter = TypeAdapter(Annotated[str, *metadata])
    return st.sampled_from([item for item in _TEXTS if _fits(adapter, item)] or [""])


def _range(metadata: list[Any] | tuple[Any, ...]) -> tuple[float | None, float | None]:
    low = [item.ge for item in metadata if isinstance(item, Ge)]
    low += [item.gt + 1e-6 for item in metadata if isinstance(item, Gt)]
    high = [item.le for item in metadata if isinstance(item, Le)]
    high += [item.lt - 1e-6 for item in metadata if isinstance(item, Lt)]
    return (low[0] if low else None), (high[0] if high else None)


def _fits(adapter: TypeAdapter[Any], value: str) -> bool:
    try:
        adapter.validate_python(value)
    except ValidationError:
        return False
    return True
