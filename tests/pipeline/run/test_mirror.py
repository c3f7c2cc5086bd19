"""Folders and versions to an S3 server and back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from components.files.object_store import ObjectStoreError
from components.files.safe_paths import UnsafePathError
from pipeline.run.mirror import Mirror
from tests.s3 import Bucket


@pytest.fixture
def here(bucket: Bucket, tmp_path: Path) -> Mirror:
    """The mirror of the container that writes."""
    return Mirror(f"s3://{bucket.name}/deployment/", tmp_path / "here")


@pytest.fixture
def there(bucket: Bucket, tmp_path: Path) -> Mirror:
    """The mirror of a container that has nothing yet."""
    return Mirror(f"s3://{bucket.name}/deployment", tmp_path / "there")


def write(root: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


FOLDER = {
    "nodes/Gen/examples/7/Split-train/0.gz": b"0" * 1000,
    "nodes/Gen/examples/7/summary.json": b"",
}


def test_a_folder_and_a_file_arrive_as_they_were(here: Mirror, there: Mirror) -> None:
    write(here.root, FOLDER | {"schemas/ab.pbtxt": b"feature {}"})
    paths = ("nodes/Gen/examples/7", "schemas/ab.pbtxt")
    here.push(here.root / path for path in paths)
    there.pull(there.root / path for path in paths)
    assert tree(there.root) == tree(here.root)


def test_google_cloud_storage_keeps_folders_and_versions_too(
    gcs_bucket: str, tmp_path: Path
) -> None:
    here, there = (
        Mirror(f"{gcs_bucket}/deployment", tmp_path / name) for name in ("here", "there")
    )
    write(here.root, FOLDER | MODEL)
    here.push([here.root / "nodes/Gen/examples/7"])
    here.push_version(here.root / "serving/17")
    there.pull([there.root / "nodes/Gen/examples/7"])
    there.outline_versions(there.root / "serving")
    assert tree(there.root) == FOLDER
    assert [path.name for path in (there.root / "serving").iterdir()] == ["17"]


def test_a_folder_without_files_arrives(here: Mirror, there: Mirror) -> None:
    (here.root / "empty").mkdir(parents=True)
    here.push([here.root / "empty"])
    there.pull([there.root / "empty"])


def test_files_that_are_here_already_are_not_pulled_again(
    here: Mirror, there: Mirror, bucket: Bucket
) -> None:
    write(here.root, FOLDER)
    here.push([here.root / "nodes/Gen/examples/7"])
    there.pull([there.root / "nodes/Gen/examples/7"])
    for name in FOLDER:
        bucket.client.delete_object(Bucket=bucket.name, Key=f"deployment/{name}")
    there.pull([there.root / "nodes/Gen/examples/7"])
    (there.root / "nodes/Gen/examples/7/Split-train/0.gz").write_bytes(b"cut off")
    with pytest.raises(ObjectStoreError, match=r"s3://.*read there"):
        there.pull([there.root / "nodes/Gen/examples/7"])


def test_a_folder_that_was_not_pushed_is_an_error_that_names_it(there: Mirror) -> None:
    with pytest.raises(
        ObjectStoreError,
        match=rf"{there.url}/nodes/Gen/examples/8: the store has no complete copy",
    ):
        there.pull([there.root / "nodes/Gen/examples/8"])


def test_an_upload_that_was_cut_off_is_the_same_as_none(
    here: Mirror, there: Mirror, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(here.root, FOLDER)
    folder = "nodes/Gen/examples/7"
    here.push([here.root / folder])

    def cut_off(*_: Any, **__: Any) -> None:
        raise ConnectionResetError("the container was stopped")

    # A push ends with the list of files.
    monkeypatch.setattr(here._store, "pipe_file", cut_off)
    with pytest.raises(ObjectStoreError, match="the container was stopped"):
        here.push([here.root / folder])
    assert [key for key in bucket.names() if key.endswith("0.gz")]
    there.outline(there.root / "nodes")
    assert not (there.root / folder).exists()
    with pytest.raises(ObjectStoreError, match="no complete copy"):
        there.pull([there.root / folder])


def test_a_file_of_another_size_than_was_pushed_is_an_error(
    here: Mirror, there: Mirror, bucket: Bucket
) -> None:
    write(here.root, FOLDER)
    here.push([here.root / "nodes/Gen/examples/7"])
    key = "deployment/nodes/Gen/examples/7/Split-train/0.gz"
    bucket.client.put_object(Bucket=bucket.name, Key=key, Body=b"0" * 999)
    with pytest.raises(
        ObjectStoreError, match=r"0\.gz: expected a file of 1000 bytes, found 999 bytes"
    ):
        there.pull([there.root / "nodes/Gen/examples/7"])


def test_an_outline_has_whole_folders_and_nothing_in_them(
    here: Mirror, there: Mirror, bucket: Bucket
) -> None:
    write(here.root, FOLDER)
    here.push([here.root / "nodes/Gen/examples/7"])
    bucket.client.put_object(
        Bucket=bucket.name, Key="deployment/nodes/Gen/examples/8/half", Body=b""
    )
    there.outline(there.root / "nodes/Gen")
    assert [path.name for path in (there.root / "nodes/Gen/examples").iterdir()] == ["7"]
    assert tree(there.root) == {}
    there.outline(there.root / "nodes/Absent")


MODEL = {
    f"serving/17/{name}": b"x"
    for name in (
        "saved_model.pb",
        "manifest.json",
        "variables/variables.index",
        "assets/vocabulary",
    )
}


def test_a_version_s_manifest_and_model_go_up_last(
    here: Mirror, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(here.root, MODEL)
    seen: list[list[str]] = []
    put = here._store.put

    def watched(*arguments: Any) -> None:
        put(*arguments)
        seen.append([key for key in bucket.names() if "/17/" in key])

    monkeypatch.setattr(here._store, "put", watched)
    here.push_version(here.root / "serving/17")
    names = [[key.partition("/17/")[2] for key in keys] for keys in seen]
    rest = ["assets/vocabulary", "variables/variables.index"]
    assert [sorted(found) for found in names] == [
        rest, sorted([*rest, "manifest.json"]), sorted([*rest, "manifest.json", "saved_model.pb"]),
    ]  # fmt: skip


def test_a_version_s_number_is_taken_once(here: Mirror, there: Mirror, bucket: Bucket) -> None:
    for mirror in (here, there):
        write(mirror.root, MODEL)
    (there.root / "serving/17/saved_model.pb").write_bytes(b"another")
    here.push_version(here.root / "serving/17")
    with pytest.raises(
        ObjectStoreError, match="serving/17: another run has just taken this number"
    ):
        there.push_version(there.root / "serving/17")
    model = bucket.client.get_object(Bucket=bucket.name, Key="deployment/serving/17/saved_model.pb")
    assert model["Body"].read() == b"x"


def test_an_outline_of_versions_has_every_number(here: Mirror, there: Mirror) -> None:
    there.outline_versions(there.root / "serving")
    assert not there.root.exists()
    write(here.root, MODEL)
    here.push_version(here.root / "serving/17")
    there.outline_versions(there.root / "serving")
    assert [path.name for path in (there.root / "serving").iterdir()] == ["17"]


@pytest.mark.usefixtures("bucket")
def test_a_missing_bucket_and_a_wrong_address_are_errors(tmp_path: Path) -> None:
    write(tmp_path, {"file": b"x"})
    with pytest.raises(
        ObjectStoreError,
        match=r"s3://not-there/a: could not write there .*bucket does not exist",
    ):
        Mirror("s3://not-there/a", tmp_path).push([tmp_path / "file"])
    with pytest.raises(ObjectStoreError, match="expected an address such as s3://bucket/folder"):
        Mirror("ftq://host/a", tmp_path)


HOSTILE = ["../out", "a/../../out", "/tmp/out", "//out", "a//out", "..\\out", "a\nb", "x" * 300]


def below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("name", HOSTILE)
def test_a_list_of_files_cannot_name_one_elsewhere(
    there: Mirror, bucket: Bucket, tmp_path: Path, name: str
) -> None:
    listed = json.dumps({"files": {"whole": 1, name: 1}}).encode()
    bucket.client.put_object(
        Bucket=bucket.name, Key="deployment/nodes/Gen/7/.complete", Body=listed
    )
    bucket.client.put_object(Bucket=bucket.name, Key="deployment/nodes/Gen/7/whole", Body=b"x")
    with pytest.raises(
        UnsafePathError, match=r"expected the name of a file below .*nodes/Gen/7, found"
    ):
        there.pull([there.root / "nodes/Gen/7"])
    assert below(tmp_path) == []


@pytest.mark.parametrize(
    "content",
    [b"[]", b"{}", b'{"files": [1]}', b'{"files": {"a": "1"}}', b'{"files": {"a": true}}'],
)
def test_an_invalid_list_of_files_is_an_error(
    there: Mirror, bucket: Bucket, content: bytes
) -> None:
    bucket.client.put_object(
        Bucket=bucket.name, Key="deployment/nodes/Gen/7/.complete", Body=content
    )
    with pytest.raises(
        ObjectStoreError,
        match=r"7/\.complete: expected \.complete of Mastery; .*remove the folder from the store",
    ):
        there.pull([there.root / "nodes/Gen/7"])


@pytest.mark.parametrize(
    "key", ["nodes/../../../out", "nodes/Gen//8", "nodes/a\\b", "nodes/a/../../b"]
)
def test_an_outline_makes_no_folder_elsewhere(
    there: Mirror, bucket: Bucket, tmp_path: Path, key: str
) -> None:
    for name in (key, "nodes/Gen/7"):
        bucket.client.put_object(Bucket=bucket.name, Key=f"deployment/{name}/.complete", Body=b"{}")
    with pytest.raises(UnsafePathError, match="expected the name of a file below"):
        there.outline(there.root / "nodes")
    assert below(tmp_path) == []


def test_an_outline_of_versions_takes_ascii_numbers_only(there: Mirror, bucket: Bucket) -> None:
    for name in ("17", "\u0663", "..", "gpu"):
        bucket.client.put_object(
            Bucket=bucket.name, Key=f"deployment/serving/{name}/saved_model.pb", Body=b"x"
        )
    there.outline_versions(there.root / "serving")
    assert below(there.root) == ["serving", "serving/17"]


def test_a_path_of_the_metadata_store_cannot_lead_out_of_the_root(
    there: Mirror, tmp_path: Path
) -> None:
    path = there.root / "nodes" / ".." / ".." / "out"
    for attempt in (
        lambda: there.covers(path),
        lambda: there.pull([path]),
        lambda: there.push([path]),
    ):
        with pytest.raises(
            UnsafePathError, match=r"'nodes/\.\./\.\./out': expected the name of a file below"
        ):
            attempt()
    assert not there.covers(tmp_path / "elsewhere")
    with pytest.raises(UnsafePathError, match=r"expected a path below .*there"):
        there.pull([tmp_path / "elsewhere"])


def test_no_link_is_followed_in_either_direction(
    here: Mirror, there: Mirror, bucket: Bucket, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("precious")
    write(here.root, FOLDER)
    folder = "nodes/Gen/examples/7"
    here.push([here.root / folder])
    (there.root / folder).mkdir(parents=True)
    (there.root / folder / "summary.json").symlink_to(secret)
    with pytest.raises(UnsafePathError, match="found a link"):
        there.pull([there.root / folder])
    assert secret.read_text() == "precious"
    (here.root / folder / "more").symlink_to(secret)
    with pytest.raises(UnsafePathError, match="found a link"):
        here.push([here.root / folder])
    assert not [name for name in bucket.names() if name.endswith("more")]


def test_nobody_else_may_read_what_is_pushed(here: Mirror, bucket: Bucket) -> None:
    write(here.root, FOLDER | MODEL)
    here.push([here.root / "nodes/Gen/examples/7"])
    here.push_version(here.root / "serving/17")
    owner = bucket.client.get_bucket_acl(Bucket=bucket.name)["Owner"]["ID"]
    for name in bucket.names():
        grants = bucket.client.get_object_acl(Bucket=bucket.name, Key=name)["Grants"]
        assert [grant["Grantee"].get("ID") for grant in grants] == [owner], name


def test_an_address_with_a_password_is_refused_without_it(tmp_path: Path) -> None:
    with pytest.raises(
        ObjectStoreError, match=r"s3://\.\.\.@bucket/a: expected an address without user"
    ) as caught:
        Mirror("s3://key:canary@bucket/a", tmp_path)
    assert "canary" not in str(caught.value)


def test_an_older_list_of_files_is_read_and_a_newer_one_refused(
    here: Mirror, there: Mirror, bucket: Bucket
) -> None:
    write(here.root, FOLDER)
    folder = "nodes/Gen/examples/7"
    here.push([here.root / folder])
    key = f"deployment/{folder}/.complete"
    listed = json.loads(bucket.client.get_object(Bucket=bucket.name, Key=key)["Body"].read())
    assert listed == {"format": 1, "files": {"Split-train/0.gz": 1000, "summary.json": 0}}
    for content in ({"files": listed["files"]}, {**listed, "format": 2}):
        body = json.dumps(content).encode()
        bucket.client.put_object(Bucket=bucket.name, Key=key, Body=body)
        if "format" not in content:
            there.pull([there.root / folder])
    with pytest.raises(ObjectStoreError, match="found 2: a newer version of Mastery wrote it"):
        there.pull([there.root / folder])
