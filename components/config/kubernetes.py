"""Names and amounts that Kubernetes accepts; it would refuse others only when a pod starts.

https://kubernetes.io/docs/concepts/overview/working-with-objects/names/ has the rules for names,
https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/ those for labels.
"""

from __future__ import annotations

import posixpath
import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_NAME = r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?"  # a label's own name, and a label's value
_COMPONENT = r"[a-z0-9]+((\.|_{1,2}|-+)[a-z0-9]+)*"  # of an image's path
_HOST_PART = r"[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?"
_HOST = rf"({_HOST_PART}(\.{_HOST_PART})*|\[[0-9a-fA-F:]+\])(:\d+)?"
_IMAGE = re.compile(
    rf"(?P<name>({_HOST}/)?{_COMPONENT}(/{_COMPONENT})*)"
    r"(:(?P<tag>[A-Za-z0-9_][-A-Za-z0-9_.]*))?(@(?P<digest>[a-z0-9]+:[0-9a-fA-F]{32,}))?"
)


def _check(value: str, pattern: str, longest: int, what: str) -> str:
    if len(value) > longest:
        raise ValueError(f"expected at most {longest} characters, found {len(value)}")
    if not re.fullmatch(pattern, value):
        raise ValueError(f"expected {what}, found {value!r}")
    return value


def _is_label(value: str) -> str:
    return _check(value, _LABEL, 63, "lower-case letters, digits and - (not at an end)")


def _is_subdomain(value: str) -> str:
    what = "lower-case letters, digits, - and . (with a letter or digit at both ends of each part)"
    return _check(value, _SUBDOMAIN, 253, what)


def _is_label_key(value: str) -> str:
    prefix, slash, name = value.rpartition("/")
    if slash:
        _is_subdomain(prefix)
    example = f"{prefix}{slash}disk"
    what = f"letters, digits, -, _ and . in a label's name, such as {example}"
    _check(name, _NAME, 63, what)
    return value


def _is_label_value(value: str) -> str:
    return _check(value, f"({_NAME})?", 63, "letters, digits, -, _ and . in a label's value")


def _is_resource(value: str) -> str:
    if "/" not in value:
        raise ValueError(
            f"expected a resource with its vendor in front, such as nvidia.com/gpu, found {value!r}"
        )
    return _is_label_key(value)


def _is_secret_key(value: str) -> str:
    return _check(value, r"[-._A-Za-z0-9]+", 253, "letters, digits, -, _ and . in a secret's key")


def _is_image(value: str) -> str:
    found = _IMAGE.fullmatch(value)
    if found is None:
        raise ValueError(
            "expected an image such as registry.example/team/mastery:1.2 (the name in lower case), "
            f"found {value!r}"
        )
    for part, longest in (("name", 255), ("tag", 128)):
        length = len(found[part] or "")
        if length > longest:
            raise ValueError(
                f"expected at most {longest} characters in an image's {part}, found {length}"
            )
    return value


def _is_absolute(value: str) -> str:
    if not value.startswith("/") or ".." in value.split("/") or set("*?[]\\") & set(value):
        raise ValueError(
            "expected an absolute path without .. and * ? [ ] \\, such as /mastery, "
            f"found {value!r}"
        )
    return posixpath.normpath("/" + value.lstrip("/"))


def _is_mount_path(value: str) -> str:
    path = _is_absolute(value)
    if path == "/" or ":" in path:
        raise ValueError(f"expected a path below / and without a colon, found {value!r}")
    return path


def _is_sub_path(value: str) -> str:
    if value.startswith("/") or ".." in value.split("/"):
        raise ValueError(f"expected a relative path without .. inside the volume, found {value!r}")
    return value


def _is_cpu(value: str) -> str:
    if not re.fullmatch(r"\d{1,6}(\.\d{1,3})?|\d{1,9}m", value):
        raise ValueError(f"expected cores such as 2, 0.5 or 500m, found {value!r}")
    return _is_positive(value)


def _is_memory(value: str) -> str:
    # Kubernetes writes thousands as `k`, Kubeflow's compiler as `K`, so only `Ki` works in both.
    # The compiler takes no fractions.
    if not re.fullmatch(r"\d{1,18}(Ki|[MGTPE]i?)?", value):
        raise ValueError(f"expected whole bytes such as 512Mi or 8Gi, found {value!r}")
    return _is_positive(value)


def _is_positive(value: str) -> str:
    if not re.search(r"[1-9]", value):
        raise ValueError(f"expected more than 0, found {value!r}")
    return value


def _as_text(value: object) -> object:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


# Of namespaces, and of claims: the volume in a pod is named after its claim.
Label = Annotated[str, AfterValidator(_is_label)]
# Of most other objects.
Subdomain = Annotated[str, AfterValidator(_is_subdomain)]
LabelKey = Annotated[str, AfterValidator(_is_label_key)]
LabelValue = Annotated[str, BeforeValidator(_as_text), AfterValidator(_is_label_value)]
Resource = Annotated[str, AfterValidator(_is_resource)]
SecretKey = Annotated[str, AfterValidator(_is_secret_key)]
Image = Annotated[str, AfterValidator(_is_image)]
AbsolutePath = Annotated[str, AfterValidator(_is_absolute)]
MountPath = Annotated[str, AfterValidator(_is_mount_path)]
SubPath = Annotated[str, AfterValidator(_is_sub_path)]
Cpu = Annotated[str, BeforeValidator(_as_text), AfterValidator(_is_cpu)]
Memory = Annotated[str, BeforeValidator(_as_text), AfterValidator(_is_memory)]
