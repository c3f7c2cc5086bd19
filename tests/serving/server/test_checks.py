"""A server refuses versions that are not what was pushed, says why, and serves the others."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import httpx
import pytest
import tensorflow as tf

from components.model_version.verify import combined_digest, file_digests
from tests.serving.server.running import Running, running
from tests.serving.server.test_served_versions import answering, write_config
from tests.serving.server.tiny import push

WARMUP = Path("assets.extra", "tf_serving_warmup_requests")


@pytest.fixture(scope="module")
def pushed(thrice: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model of weight 3 with a manifest as the Pusher writes it."""
    folder = shutil.copytree(thrice, tmp_path_factory.mktemp("pushed") / "model")
    files = file_digests(folder)
    manifest = {"name": "tiny", "model_sha256": combined_digest(files), "files": files}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def status(server: Running, version: int) -> tuple[str, str, str]:
    found = server.rest.get(f"/v1/models/tiny/versions/{version}").json()["model_version_status"][0]
    return found["state"], found["status"]["error_code"], found["status"]["error_message"]


def test_a_pushed_version_is_served(tmp_path: Path, pushed: Path) -> None:
    push(pushed, tmp_path, 2)
    with running(tmp_path, require_manifest=True) as server:
        assert answering(server) == 2


def test_a_version_with_changed_files_is_not_served(
    folder: Path, pushed: Path, caplog: pytest.LogCaptureFixture
) -> None:
    version = push(pushed, folder, 2)
    with (version / WARMUP).open("ab") as file:
        file.write(b"more")
    with running(folder) as server:
        assert answering(server) == 1
        state, code, message = status(server, 2)
        assert (state, code) == ("END", "FAILED_PRECONDITION")
        assert f"found others (changed: {WARMUP})" in message
    assert message in caplog.text


def test_a_version_without_a_manifest_is_logged_or_refused(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with running(folder) as server:
        assert answering(server) == 1
        server.poll()
    doubts = [
        text for text in caplog.messages if "cannot be checked against what was pushed" in text
    ]
    assert len(doubts) == 1
    with running(folder, require_manifest=True) as server:
        assert server.rest.get("/v2/health/ready").status_code == 503
        assert "expected a manifest.json with the digests" in status(server, 1)[2]


def test_a_link_out_of_the_version(
    folder: Path, thrice: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    version = push(thrice, folder, 2)
    (version / "variables").rename(elsewhere / "variables")
    (version / "variables").symlink_to(elsewhere / "variables")
    with running(folder) as server:
        assert answering(server) == 1
        assert f"found a link to {elsewhere}" in status(server, 2)[2]


def test_a_model_that_writes_files(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    written = tmp_path_factory.mktemp("written") / "file"

    class Writer(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
        def serve(self, examples):
            tf.io.write_file(str(written), "here")
            return {"score": tf.strings.length(examples)}

    module = Writer()
    tf.saved_model.save(module, str(folder / "2"), {"serving_default": module.serve})
    with running(folder) as server:
        assert answering(server) == 1
        message = status(server, 2)[2]
        assert "operation WriteFile in function" in message
        assert "Nothing was loaded" in message
    with running(folder, allowed_operations=frozenset({"WriteFile"})) as server:
        assert server.predict({"instances": ["abc"]}).json() == {"predictions": [3]}
    assert written.read_text() == "here"


def test_a_damaged_warm_up_file_is_named(folder: Path, thrice: Path) -> None:
    version = push(thrice, folder, 2)
    whole = (version / WARMUP).read_bytes()
    for content, record in ((whole[:-3], 1), (whole + b"more", 2), (whole + whole[:20], 2)):
        (version / WARMUP).write_bytes(content)
        with running(folder) as server:
            assert answering(server) == 1
            state, _, message = status(server, 2)
            assert state == "END"
            assert f"{version / WARMUP}, record {record}: the file is damaged (" in message


def test_a_folder_with_zeros_in_front(tmp_path: Path, twice: Path, thrice: Path) -> None:
    push(twice, tmp_path, 1)
    shutil.copytree(thrice, tmp_path / "0000000002")
    with running(tmp_path) as server:
        assert answering(server) == 2


def test_an_ignored_folder_is_logged_once(
    folder: Path, thrice: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("v2", "9223372036854775808"):
        shutil.copytree(thrice, folder / name)
    (folder / "7").mkdir()
    with running(folder) as server:
        server.poll()
        assert answering(server) == 1
        messages = [text for text in caplog.messages if "skipped" in text]
        assert sorted(messages) == [
            f"{folder}/7: skipped, because there is no saved_model.pb in it.",
            f"{folder}/9223372036854775808: skipped, "
            "because its name is not a whole number of at most 64 bits.",
            f"{folder}/v2: skipped, because its name is not a whole number of at most 64 bits.",
        ]
        shutil.rmtree(folder / "v2")
        server.poll()
        shutil.copytree(thrice, folder / "v2")
        server.poll()
    assert len([text for text in caplog.messages if "/v2: skipped" in text]) == 2, "it came anew"


def test_missing_versions_and_labels_are_explained(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_config(folder, [1, 7], stable=1, canary=9)
    with running(folder) as server:
        server.poll()
        assert answering(server, version_label="stable") == 1
        refused = server.predict({"instances": [""]}, "/labels/canary")
        assert refused.status_code == 400
        assert refused.json()["error"] == (
            "Unrecognized servable version label: canary; its version 9 is not available: "
            "it is not among the versions that exist and are chosen."
        )
        missing = server.predict({"instances": [""]}, "/versions/7")
        assert missing.status_code == 404
        assert "Specific version 7 of tiny; it is not among the versions" in missing.json()["error"]
    for text in (
        f"{folder}: version 7 is configured but does not exist.",
        f"{folder}: label canary is configured for version 9, which does not exist.",
    ):
        assert caplog.messages.count(text) == 1


def test_a_labels_version_that_cannot_be_loaded(folder: Path, thrice: Path) -> None:
    (push(thrice, folder, 2) / "saved_model.pb").write_bytes(b"nonsense")
    write_config(folder, [1, 2], canary=2)
    with running(folder) as server:
        refused = server.predict({"instances": [""]}, "/labels/canary")
        assert "is not available: OSError: Cannot parse file" in refused.json()["error"]


def preflight(server: Running, origin: str) -> httpx.Response:
    headers = {
        "Origin": origin, "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }  # fmt: skip
    return server.rest.options("/v1/models/tiny:predict", headers=headers)


def test_pages_of_other_origins(folder: Path) -> None:
    origin = "https://board.example.com"
    with running(folder, cors_origins=(origin,), token="sesame") as server:
        allowed = preflight(server, origin)  # a browser sends no token with it
        assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (
            200,
            origin,
        )
        assert "authorization" in allowed.headers["access-control-allow-headers"]
        assert preflight(server, "https://evil.example.com").status_code == 400
        headers = {"Origin": origin, "Authorization": "Bearer sesame"}
        answer = server.predict({"instances": [""]}, headers=headers)
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, origin)
        refused = server.predict({"instances": [""]}, headers={"Origin": origin})
        assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (
            401,
            origin,
        )


def test_without_origins_no_page_may_call(server: Running) -> None:
    assert (
        "access-control-allow-origin" not in preflight(server, "https://board.example.com").headers
    )
