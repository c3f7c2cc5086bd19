"""The bill of materials: valid by the published schema, whole, and the same each time."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from components.contracts.manifest import Manifest
from components.papers.bill_of_materials import (
    LOCK,
    Lock,
    Package,
    bill_of_materials,
    installed_packages,
    read_lock,
)

MANIFEST = Manifest(
    version=7, name="campus", run="r1", code="c0de", pushed_at="2026-11-22T04:12:05+00:00"
)


@pytest.fixture(scope="module")
def packages() -> dict[str, Package]:
    return installed_packages()


def _properties(item: dict[str, Any]) -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in item.get("properties", [])}


def test_the_bill_fits_the_published_schema(packages: dict[str, Package]) -> None:
    bill = bill_of_materials(MANIFEST, packages, read_lock())
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(bill) is None
    content = json.loads(bill)
    assert content["specVersion"] == "1.6"
    model = content["metadata"]["component"]
    assert (model["type"], model["name"], model["version"]) == (
        "machine-learning-model", "campus", "7"
    )  # fmt: skip
    lock = read_lock()
    assert lock is not None
    assert _properties(model) == {"mastery:code": "c0de", "mastery:lock:sha256": lock.sha256}


def test_the_bill_lists_what_is_installed_and_needed(packages: dict[str, Package]) -> None:
    content = json.loads(bill_of_materials(MANIFEST, packages, None))
    listed = {item["name"]: item for item in content["components"]}
    for name in ("mastery", "tensorflow", "tfx", "numpy", "cyclonedx-python-lib"):
        assert listed[name]["version"] == version(name)
    assert listed["numpy"]["purl"] == f"pkg:pypi/numpy@{version('numpy')}"
    assert "pytest" not in listed  # a tool for development
    assert all(item.get("licenses") for item in map(listed.get, ("mastery", "tensorflow")) if item)

    needs = {entry["ref"]: entry.get("dependsOn", []) for entry in content["dependencies"]}
    known = {item["bom-ref"] for item in content["components"]} | {"model"}
    assert set(needs) == known
    assert {ref for refs in needs.values() for ref in refs} <= known
    assert f"tensorflow=={version('tensorflow')}" in needs[f"mastery=={version('mastery')}"]
    assert needs["model"] == [f"mastery=={version('mastery')}"]


def test_the_same_packages_give_the_same_bill(packages: dict[str, Package]) -> None:
    first = bill_of_materials(MANIFEST, packages, read_lock())
    assert bill_of_materials(MANIFEST, installed_packages(), read_lock()) == first
    other = MANIFEST.model_copy(update={"version": 8})
    serial = json.loads(bill_of_materials(other, packages, read_lock()))["serialNumber"]
    assert serial != json.loads(first)["serialNumber"]


def test_a_package_in_another_version_than_the_locked_one_says_so() -> None:
    packages = {
        name: Package(name, "2.0", needs=frozenset({"numpy", "six"} - {name}))
        for name in ("mastery", "numpy", "six", "extra")
    }
    versions = {"numpy": frozenset({"2.0", "2.1"}), "six": frozenset({"1.0"})}
    content = json.loads(bill_of_materials(MANIFEST, packages, Lock("ab" * 32, versions)))
    found = {item["name"]: _properties(item) for item in content["components"]}
    assert found == {
        "mastery": {},
        "numpy": {},
        "six": {"mastery:locked": "1.0"},
        "extra": {"mastery:locked": "not locked"},
    }


def test_the_lock_is_read_as_it_is_written(tmp_path: Path) -> None:
    lock = read_lock(LOCK)
    assert lock is not None
    assert lock.versions["numpy"] >= {version("numpy")}
    assert read_lock(tmp_path / "none") is None
    (tmp_path / "lock").write_text(
        'Some_Name==1.0 ; python_version < "3.12" \\\n    --hash=sha256:ab\n'
        'some-name==2.0 ; python_version >= "3.12"\n    # via other==9\n'
    )
    written = read_lock(tmp_path / "lock")
    assert written is not None
    assert written.versions == {"some-name": {"1.0", "2.0"}}
