"""The statement of how a version was made, read by the library that defines such statements."""

from __future__ import annotations

import hashlib
import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from in_toto_attestation.predicates.provenance.v1.provenance_pb2 import Provenance
from in_toto_attestation.v1.statement import Statement as InToto
from in_toto_attestation.v1.statement_pb2 import Statement as InTotoMessage

from components.contracts.manifest import Manifest
from components.contracts.provenance import DataProvenance
from components.contracts.run_record import RunRecord
from components.contracts.slsa import Statement
from components.pusher.provenance import state_provenance

MANIFEST = Manifest(
    version=7,
    name="sample",
    run="20261122-061344-36ea94",
    data=DataProvenance(fingerprint="ab" * 32, span=20777, spans=["2026-11-20"], version=1),
    code="c" * 16,
    config={"name": "sample", "training": {"epochs": 3}},
    config_fingerprint="f" * 12,
    files={"saved_model.pb": "1" * 64, "variables/variables.index": "2" * 64},
    baseline="/root/Trainer/model/7",
)


def written(folder: Path, environment: dict[str, str], manifest: Manifest = MANIFEST) -> Any:
    """Writes a statement, has the library check it, and returns the file."""
    text = state_provenance(manifest, environment, code=folder).write(folder).read_text()

    message = json_format.Parse(text, InTotoMessage())  # refuses fields that it does not know
    InToto.copy_from_pb(message).validate()
    predicate = json_format.MessageToDict(message.predicate)
    json_format.ParseDict(predicate, Provenance())
    assert Statement.read(folder).to_json() == text
    return json.loads(text)


def dependencies(statement: Any) -> dict[str, Any]:
    found = statement["predicate"]["buildDefinition"]["resolvedDependencies"]
    return {item["name"]: item for item in found}


def test_a_statement_names_data_code_configuration_packages_and_run(tmp_path: Path) -> None:
    (tmp_path / "requirements.lock").write_bytes(b"tfx==1.21.0\n")
    started = datetime(2026, 11, 22, 6, 13, 44, tzinfo=UTC)
    RunRecord(run="r", name="sample", started=started).write(tmp_path)

    statement = written(tmp_path, {"MASTERY_RUN_DIR": str(tmp_path)})

    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == "https://slsa.dev/provenance/v1"
    assert statement["subject"] == [
        {"name": "saved_model.pb", "digest": {"sha256": "1" * 64}},
        {"name": "variables/variables.index", "digest": {"sha256": "2" * 64}},
    ]
    found = dependencies(statement)
    assert found["data"]["digest"] == {"sha256": "ab" * 32}
    assert found["data"]["annotations"]["spans"] == ["2026-11-20"]
    assert found["code"]["annotations"] == {"fingerprint": "c" * 16}
    recipe = json.dumps(MANIFEST.config, sort_keys=True).encode()
    assert found["configuration"]["digest"] == {"sha256": hashlib.sha256(recipe).hexdigest()}
    packages = hashlib.sha256(b"tfx==1.21.0\n").hexdigest()
    assert found["requirements.lock"]["digest"] == {"sha256": packages}
    definition = statement["predicate"]["buildDefinition"]
    assert definition["externalParameters"] == {"configuration": MANIFEST.config}
    details = statement["predicate"]["runDetails"]
    assert details["metadata"]["invocationId"] == MANIFEST.run
    assert details["metadata"]["startedOn"] == "2026-11-22T06:13:44Z"
    assert "builderDependencies" not in details["builder"]


def test_code_in_a_repository_has_a_commit_and_may_be_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):
        monkeypatch.setenv(name, "/dev/null")
    author = ["-c", "user.name=a", "-c", "user.email=a@example.org"]

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(tmp_path), *author, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init")
    (tmp_path / "code.py").write_text("1")
    git("add", "code.py")
    git("commit", "--message", "first")

    code = dependencies(written(tmp_path, {"MASTERY_COMMIT": "ignored"}))["code"]
    assert (code["digest"], code["annotations"]["dirty"]) == (
        {"gitCommit": git("rev-parse", "HEAD")},
        False,
    )
    (tmp_path / "code.py").write_text("2")
    assert dependencies(written(tmp_path, {}))["code"]["annotations"]["dirty"] is True


@pytest.mark.parametrize(
    ("image", "digest"),
    [
        (f"registry.example/mastery@sha256:{'3' * 64}", {"sha256": "3" * 64}),
        ("mastery:latest", None),
    ],
)
def test_a_container_names_its_image_and_commit(
    tmp_path: Path, image: str, digest: dict[str, str] | None
) -> None:
    environment = {"MASTERY_IMAGE": image, "MASTERY_COMMIT": "4" * 40}
    statement = written(tmp_path, environment)
    (found,) = statement["predicate"]["runDetails"]["builder"]["builderDependencies"]
    assert (found["uri"], found.get("digest")) == (f"docker://{image}", digest)
    assert dependencies(statement)["code"]["digest"] == {"gitCommit": "4" * 40}


def test_what_is_not_known_is_left_out(tmp_path: Path) -> None:
    unknown = Manifest(files={"saved_model.pb": "1" * 64}, data=DataProvenance(fingerprint="odd"))
    environment = {"MASTERY_RUN_DIR": str(tmp_path / "gone")}
    statement = written(tmp_path, environment, unknown)
    found = dependencies(statement)
    assert set(found) == {"data", "code", "configuration"}
    assert "digest" not in found["data"]
    assert "startedOn" not in statement["predicate"]["runDetails"]["metadata"]
