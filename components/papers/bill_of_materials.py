"""The bill of materials of a version: the software that made it, as CycloneDX 1.6.

It lists what is installed where the version is pushed, as far as Mastery needs it; tools for
development are left out. Where the lock file is beside the code, its digest is named, and a package
in another version than the locked one says so.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import License
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from components.contracts.manifest import Manifest

PRODUCT = "mastery"
EXTRAS = frozenset({"gpu"})  # listed as far as it is installed
LOCK = Path(__file__).parents[2] / "requirements.lock"
_LONGEST_LICENSE = 100  # characters; longer ones are whole texts of licenses
_LOCKED = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;\\]+)", re.MULTILINE)


@dataclass(frozen=True)
class Package:
    """One installed package.

    Attributes:
        name: its name as registries write it.
        version: its version.
        license: an SPDX expression or the name of a license; "" if its metadata has none.
        needs: the names of the packages that it needs.
    """

    name: str
    version: str
    license: str = ""
    needs: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Lock:
    """A lock file.

    Attributes:
        sha256: its digest, in hexadecimal.
        versions: the versions that it names for each package: one, or one per platform.
    """

    sha256: str
    versions: Mapping[str, frozenset[str]] = field(default_factory=dict)


@functools.cache  # it does not change while a process runs
def installed_packages() -> Mapping[str, Package]:
    """Returns Mastery and all that it needs, directly or not, as far as it is installed.

    >>> "tensorflow" in installed_packages()
    True
    """
    found: dict[str, Package] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting: list[tuple[str, frozenset[str]]] = [(PRODUCT, EXTRAS)]
    while waiting:
        name, extras = waiting.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))

        try:
            installed = distribution(name)
        except PackageNotFoundError:  # for another platform, or not needed here
            continue
        needed = list(_needed(installed, extras))
        waiting += needed
        known = found[name].needs if name in found else frozenset[str]()
        found[name] = Package(
            name=name,
            version=installed.version,
            license=_license(installed),
            needs=known | {needs for needs, _ in needed},
        )
    return dict(sorted(found.items()))


def _needed(
    installed: Distribution, extras: frozenset[str]
) -> Iterator[tuple[str, frozenset[str]]]:
    """Yields what a package with these extras needs on this machine: names and extras."""
    for text in installed.requires or []:
        needed = Requirement(text)
        is_due = needed.marker is None or any(
            needed.marker.evaluate({"extra": extra}) for extra in ("", *extras)
        )
        if is_due:
            yield canonicalize_name(needed.name), frozenset(needed.extras)


def _license(installed: Distribution) -> str:
    """Returns the license that a package's metadata names, if it is a name."""
    metadata = installed.metadata
    for key in ("License-Expression", "License"):
        for text in metadata.get_all(key) or []:
            is_name = "\n" not in text.strip() and len(text) <= _LONGEST_LICENSE
            if text.strip() and is_name and text != "UNKNOWN":
                return str(text).strip()
    prefix = "License :: OSI Approved :: "
    classifiers = metadata.get_all("Classifier") or []
    names = [text.removeprefix(prefix) for text in classifiers if text.startswith(prefix)]
    return names[0] if len(names) == 1 else ""


def read_lock(path: Path = LOCK) -> Lock | None:
    """Returns what a lock file pins; None where there is none, as in an installed package."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    versions: dict[str, frozenset[str]] = {}
    for name, version in _LOCKED.findall(content.decode("utf-8")):
        key = canonicalize_name(name)
        versions[key] = versions.get(key, frozenset()) | {version}
    return Lock(hashlib.sha256(content).hexdigest(), versions)


def bill_of_materials(
    manifest: Manifest, packages: Mapping[str, Package], lock: Lock | None
) -> str:
    """Returns the bill of materials as JSON; the same packages and version give the same text.

    Args:
        manifest: what made the version: the model is what the bill is about.
        packages: what is installed, by name, with `PRODUCT` among it.
        lock: what the lock file pins.
    """
    components = {name: _component(package, lock) for name, package in packages.items()}
    model = Component(
        name=manifest.name or PRODUCT,
        version=str(manifest.version),
        type=ComponentType.MACHINE_LEARNING_MODEL,
        bom_ref="model",
        properties=_properties(
            {"code": manifest.code, "lock:sha256": lock.sha256 if lock else None}
        ),
    )

    bom = Bom(components=components.values())
    bom.metadata.component = model
    bom.metadata.timestamp = _moment(manifest.pushed_at)
    bom.serial_number = uuid.uuid5(
        uuid.NAMESPACE_OID, f"{model.name}/{model.version}/{manifest.run}"
    )
    bom.register_dependency(model, [components[PRODUCT]] if PRODUCT in components else [])
    for name, package in packages.items():
        needed = [components[other] for other in sorted(package.needs) if other in components]
        bom.register_dependency(components[name], needed)
    return json.dumps(json.loads(JsonV1Dot6(bom).output_as_string()), indent=1) + "\n"


def _component(package: Package, lock: Lock | None) -> Component:
    locked = lock.versions.get(package.name, frozenset()) if lock else frozenset[str]()
    differs = bool(lock) and package.name != PRODUCT and package.version not in locked
    is_product = package.name == PRODUCT
    purl = PackageURL("pypi", name=package.name, version=package.version)
    return Component(
        name=package.name,
        version=package.version,
        type=ComponentType.APPLICATION if is_product else ComponentType.LIBRARY,
        bom_ref=f"{package.name}=={package.version}",
        purl=None if is_product else purl,
        licenses=_licenses(package.license),
        properties=_properties({"locked": ", ".join(sorted(locked)) or "not locked"})
        if differs
        else (),
    )


def _licenses(text: str) -> Iterable[License]:
    return [LicenseFactory().make_from_string(text)] if text else []


def _properties(values: Mapping[str, str | None]) -> list[Property]:
    return [
        Property(name=f"mastery:{name}", value=value) for name, value in values.items() if value
    ]


def _moment(text: str | None) -> datetime:
    return datetime.fromisoformat(text) if text else datetime.fromtimestamp(0, UTC)
