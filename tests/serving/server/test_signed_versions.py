"""A server that loads signed versions only: at the start, later, and whatever is exchanged."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest

import components.model_version.signature as signature
from components.errors import MasteryError
from components.model_version.pushed_version import model_name
from components.model_version.signature import Trust, sign_version
from components.model_version.signing_keys import KeyFileError, make_keys
from serving.server.server_settings import ServerSettings, check_settings
from tests.serving.server.running import Running, running
from tests.serving.server.tiny import expected_scores, steps

INPUTS = steps([3, 1])


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A private and a public key."""
    return make_keys(tmp_path_factory.mktemp("keys"), None)


def push_signed(source: Path, folder: Path, version: int, key: Path) -> Path:
    """Adds a signed version as a push does: complete at once."""
    beside = folder / f".push-{version}"
    shutil.copytree(source, beside)
    (beside / "manifest.json").write_text(json.dumps({"name": "tiny", "version": version}))
    sign_version(beside, key, {})
    return beside.rename(folder / str(version))


def answering(server: Running) -> tuple[int, float]:
    """Returns the version that answers, and the weight of its model."""
    answer = server.predict({"signature_name": "predict_steps", "inputs": _json(INPUTS)})
    assert answer.status_code == 200, answer.text
    (version,) = server.server.versions.available
    scores = answer.json()["outputs"]["score"]
    (weight,) = (
        weight for weight in (2.0, 3.0) if np.allclose(scores, expected_scores(INPUTS, weight))
    )
    return version, weight


def _json(inputs: dict) -> dict:
    texts = [[word.decode() for word in row] for row in inputs["event_type"]]
    return {name: values.tolist() for name, values in inputs.items()} | {"event_type": texts}


def states(server: Running) -> dict[int, tuple[str, str]]:
    """Returns states and errors on the model's status page."""
    page = server.rest.get("/v1/models/tiny").json()["model_version_status"]
    return {int(item["version"]): (item["state"], item["status"]["error_message"]) for item in page}


def test_a_version_without_a_good_signature_is_never_loaded(
    tmp_path: Path, twice: Path, thrice: Path, keys: tuple[Path, Path],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    private, public = keys
    other, _ = make_keys(tmp_path / "other", None)
    folder = tmp_path / "serving"
    folder.mkdir()
    push_signed(twice, folder, 1, private)
    push_signed(thrice, folder, 2, other)
    caplog.set_level(logging.ERROR, "mastery.serving")

    with running(folder, trust=Trust(public_key=public)) as server:
        assert answering(server) == (1, 2.0)  # the newest that can be loaded
        assert "Key mismatch" in caplog.text

        shutil.copytree(thrice, folder / "3")  # not signed at all
        server.poll()
        assert answering(server) == (1, 2.0)
        state, message = states(server)[3]
        assert (state, "found no model.sig" in message) == ("END", True)

        changed = push_signed(thrice, folder, 4, private)
        (changed / "variables" / "extra").write_bytes(b"")
        server.poll()
        assert "never signed: variables/extra" in states(server)[4][1]

        # A signed version under another number would bring an old model back.
        shutil.copytree(folder / "1", folder / "5")
        server.poll()
        assert "found the signed files of version 1" in states(server)[5][1]
        assert answering(server) == (1, 2.0)

        push_signed(thrice, folder, 6, private)
        server.poll()
        assert answering(server) == (6, 3.0)


def test_nothing_of_an_unsigned_version_is_parsed(
    tmp_path: Path, twice: Path, keys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "serving"
    folder.mkdir()
    push_signed(twice, folder, 1, keys[0])
    (folder / "2").mkdir()
    for name in ("saved_model.pb", "manifest.json"):
        (folder / "2" / name).write_bytes(b"\xff" * 100)
    read: list[Path] = []
    original = Path.read_bytes

    def note(path: Path) -> bytes:
        read.append(path)
        return original(path)

    monkeypatch.setattr(Path, "read_bytes", note)
    trust = Trust(public_key=keys[1])
    assert model_name(folder, trust) == "tiny"
    with running(folder, trust=trust) as server:
        assert answering(server) == (1, 2.0)
    assert [path for path in read if path.is_relative_to(folder / "2")] == []


def test_what_is_verified_is_what_is_loaded(
    tmp_path: Path, twice: Path, thrice: Path, keys: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    folder = tmp_path / "serving"
    folder.mkdir()
    version = push_signed(twice, folder, 1, keys[0])
    verify = signature.verify_signature

    def then_exchange(*arguments: object, **options: object) -> object:
        signed = verify(*arguments, **options)
        shutil.rmtree(version / "variables")
        shutil.copytree(thrice / "variables", version / "variables")
        return signed

    monkeypatch.setattr(signature, "verify_signature", then_exchange)
    with running(folder, trust=Trust(public_key=keys[1])) as server:
        assert answering(server) == (1, 2.0)


def test_a_folder_of_links_for_gpus_is_verified_as_a_whole(
    tmp_path: Path, twice: Path, thrice: Path, keys: tuple[Path, Path]
) -> None:
    folder = tmp_path / "serving"
    (folder / "gpu").mkdir(parents=True)
    source = tmp_path / "both"
    shutil.copytree(twice, source)
    shutil.copytree(thrice, source / "gpu")
    (source / "gpu" / "manifest.json").unlink()
    version = push_signed(source, folder, 1, keys[0])
    (folder / "gpu" / "1").symlink_to("../1/gpu")
    trust = Trust(public_key=keys[1])

    with running(folder / "gpu", trust=trust) as server:
        assert answering(server) == (1, 3.0)
    (version / "saved_model.pb").write_bytes(b"not what this server loads, but signed too")
    with running(folder / "gpu", trust=trust) as server:
        assert server.server.versions.available == []
        assert "changed: saved_model.pb" in states(server)[1][1]


def test_a_key_that_is_none_is_an_error_at_the_start(tmp_path: Path) -> None:
    settings = ServerSettings(
        models=tmp_path, name="tiny", trust=Trust(public_key=tmp_path / "none")
    )
    with pytest.raises(KeyFileError, match="expected a public key"):
        check_settings(settings)
    assert issubclass(KeyFileError, MasteryError)
