"""Before a version is loaded: it is what was pushed, and nothing in it leads elsewhere."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from components.errors import VersionError
from components.model_version.exports import link_gpu_exports
from components.model_version.verify import (
    combined_digest,
    file_digests,
    model_digest,
    verify_version,
)


def version(folder: Path, name: str = "1", **manifest: Any) -> Path:
    """Makes a version with a manifest of its files."""
    made = folder / name
    for file in ("saved_model.pb", "variables/variables.index", "assets/words"):
        (made / file).parent.mkdir(parents=True, exist_ok=True)
        (made / file).write_text(file)
    files = file_digests(made)
    content = {"model_sha256": combined_digest(files), "files": files, **manifest}
    (made / "manifest.json").write_text(json.dumps(content))
    return made


def refusal(made: Path, within: Path, **options: bool) -> str:
    with pytest.raises(VersionError) as caught:
        verify_version(made, within=within, **options)
    return str(caught.value)


def test_pushed_files_are_verified(tmp_path: Path) -> None:
    made = version(tmp_path)
    assert verify_version(made, within=tmp_path, require_manifest=True) is None
    assert json.loads((made / "manifest.json").read_text())["model_sha256"] == model_digest(made)


def test_files_that_are_not_those_that_were_pushed(tmp_path: Path) -> None:
    made = version(tmp_path)
    (made / "assets" / "words").write_text("others")
    (made / "variables" / "variables.index").unlink()
    (made / "more").touch()
    text = refusal(made, tmp_path)
    assert "missing: variables/variables.index; never pushed: more; changed: assets/words" in text


def test_a_manifest_of_one_digest(tmp_path: Path) -> None:
    made = version(tmp_path, files=None)
    assert verify_version(made, within=tmp_path) is None
    (made / "assets" / "words").write_text("others")
    assert "the digest differs from its manifest's" in refusal(made, tmp_path)


def test_a_version_without_digests_gets_a_warning(tmp_path: Path) -> None:
    made = version(tmp_path)
    for content, found in (
        (None, "no manifest.json"),
        ({"name": "a"}, "a manifest.json without digests"),
    ):
        (made / "manifest.json").unlink()
        if content is not None:
            (made / "manifest.json").write_text(json.dumps(content))
        assert found in str(verify_version(made, within=tmp_path))
        assert found in refusal(made, tmp_path, require_manifest=True)
        (made / "manifest.json").touch()


@pytest.mark.parametrize("content", ["{", "[]", "[" * 100_000, "\ud800"])
def test_a_manifest_that_cannot_be_read(tmp_path: Path, content: str) -> None:
    made = version(tmp_path)
    (made / "manifest.json").write_bytes(content.encode("utf-8", "surrogatepass"))
    assert "manifest.json: expected" in refusal(made, tmp_path)


def test_links_stay_inside(tmp_path: Path) -> None:
    made = version(tmp_path)
    secret = tmp_path / "secret"
    secret.write_text("assets/words")  # the same content, which the digest alone cannot detect
    for target in (secret, Path("../secret"), Path("/etc"), tmp_path / "nowhere"):
        (made / "assets" / "words").unlink()
        (made / "assets" / "words").symlink_to(target)
        assert "found a link to" in refusal(made, tmp_path)
    (made / "assets" / "words").unlink()
    (made / "assets" / "real").write_text("assets/words")
    (made / "assets" / "words").symlink_to("real")
    assert "never pushed: assets/real" in refusal(made, tmp_path), "the link itself is allowed"


def test_a_version_that_is_a_link(tmp_path: Path) -> None:
    elsewhere = version(tmp_path / "elsewhere")
    models = tmp_path / "models"
    version(models, "1")
    (models / "2").symlink_to(elsewhere)
    (models / "3").symlink_to("1")
    assert "found a link to" in refusal(models / "2", models)
    assert verify_version(models / "3", within=models) is None
    linked = tmp_path / "linked"
    linked.symlink_to(models)
    assert verify_version(linked / "1", within=linked) is None, (
        "the model's own folder may be a link"
    )


def test_exports_for_gpus_belong_to_their_version(tmp_path: Path) -> None:
    version(tmp_path, "1")
    made = version(tmp_path, "2")
    (made / "gpu").mkdir()
    (made / "gpu" / "saved_model.pb").write_text("gpu")
    (made / "manifest.json").write_text(json.dumps({"files": file_digests(made)}))
    link_gpu_exports(tmp_path)
    folder = tmp_path / "gpu"
    assert [verify_version(folder / name, within=folder) for name in ("1", "2")] == [None, None]
    (made / "gpu" / "saved_model.pb").write_text("changed")
    assert "changed: gpu/saved_model.pb" in refusal(folder / "2", folder)


def test_pipes_are_not_opened(tmp_path: Path) -> None:
    made = version(tmp_path)
    os.mkfifo(made / "assets" / "pipe")
    assert "found a pipe, a socket or a device" in refusal(made, tmp_path)


def test_no_such_version(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "1", tmp_path)


def test_a_message_names_some_of_many_files(tmp_path: Path) -> None:
    made = version(tmp_path)
    for number in range(7):
        (made / f"more{number}").touch()
    text = refusal(made, tmp_path)
    assert "never pushed: more0, more1, more2, more3, more4, and 2 more)" in text


def test_a_manifest_of_an_unknown_format_is_refused(tmp_path: Path) -> None:
    made = version(tmp_path, format=2)
    assert refusal(made, tmp_path) == (
        f"{made}/manifest.json: expected manifest.json of Mastery; expected format 1 or earlier, "
        "found 2: a newer version of Mastery wrote it; update this one."
    )


def test_a_folder_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = version(tmp_path)

    def fail(folder: str) -> None:
        raise PermissionError(13, "Permission denied", f"{folder}/assets")

    monkeypatch.setattr("os.scandir", fail)
    assert refusal(made, tmp_path) == (
        f"{made}: could not be read: Permission denied ({made / 'assets'})."
    )


@pytest.mark.parametrize("one_digest", [False, True])
def test_papers_are_verified_like_the_model(tmp_path: Path, one_digest: bool) -> None:
    made = version(tmp_path, **({"files": None} if one_digest else {}))
    manifest = json.loads((made / "manifest.json").read_text())
    (made / "release").mkdir()
    for name in ("card.html", "index.json"):
        (made / "release" / name).write_text(name)
    release = {name: digest for name, digest in file_digests(made).items() if "release" in name}
    (made / "manifest.json").write_text(json.dumps({**manifest, "release": release}))
    assert verify_version(made, within=tmp_path, require_manifest=True) is None
    assert model_digest(made) == manifest["model_sha256"]

    (made / "release" / "card.html").write_text("better figures")
    assert "changed: release/card.html" in refusal(made, tmp_path)
    (made / "release" / "card.html").unlink()
    assert "missing: release/card.html" in refusal(made, tmp_path)


@pytest.mark.parametrize("one_digest", [False, True])
def test_papers_that_were_never_pushed_are_refused(tmp_path: Path, one_digest: bool) -> None:
    made = version(tmp_path, **({"files": None} if one_digest else {}))
    (made / "release").mkdir()
    (made / "release" / "card.html").write_text("made up")
    expected = "the digest differs" if one_digest else "never pushed: release/card.html"
    assert expected in refusal(made, tmp_path)
