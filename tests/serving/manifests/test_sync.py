"""The copy of a bucket beside a server, with a stand-in for `aws`, which is not installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.serving.manifests.conftest import SERVING

# Copies folders as `aws s3 sync`, `cp` and `ls` do, and fails where the bucket says so.
AWS = """#!/bin/sh
set -eu
echo "$*" >> "$LOG"
shift; verb=$1; shift
delete=
while [ $# -gt 2 ]; do case $1 in --delete) delete=yes;; --exclude) shift;; esac; shift; done
from="${1#s3://}"; [ ! -e "$from/fails" ]
if [ "$verb" = ls ]; then [ -e "$from" ]; exit; fi
if [ "$verb" = cp ]; then cp "$from" "$2"; exit; fi
for version in "$from"/[0-9]*; do cp -r "$version" "$2/"; done
[ -z "$delete" ] || for version in "$2"/[0-9]*; do
  [ -e "$from/${version##*/}" ] || rm -r "$version"
done
"""


@pytest.fixture
def bucket(tmp_path: Path) -> Path:
    folder = tmp_path / "bucket" / "sample"
    (folder / "2").mkdir(parents=True)
    (folder / "2" / "saved_model.pb").write_text("two")
    (folder / "models.config").write_text("versions: 2")
    (tmp_path / "aws").write_text(AWS)
    (tmp_path / "aws").chmod(0o755)
    return folder


def sync(tmp_path: Path) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "LOG": str(tmp_path / "log"),
        "ONCE": "yes",
        "MODEL": "sample",
        "FOLDER": str(tmp_path / "models"),
        "BUCKET": f"s3://{tmp_path / 'bucket'}",
    }
    script = SERVING / "components" / "s3" / "sync.sh"
    return subprocess.run(
        ["sh", script], env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.usefixtures("bucket")
def test_the_copy_is_whole_and_forgets_what_is_gone(tmp_path: Path) -> None:
    models = tmp_path / "models" / "sample"
    (models / "1").mkdir(parents=True)
    done = sync(tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(item.name for item in models.iterdir()) == ["2", "models.config"]
    assert (models / "2" / "saved_model.pb").read_text() == "two"
    verbs = [" ".join(line.split()[1:2] + ["--delete"] * ("--delete" in line)) for line in
             (tmp_path / "log").read_text().splitlines()]  # fmt: skip
    assert verbs == ["cp", "ls", "sync", "sync --delete"]


def test_a_copy_that_fails_leaves_models_config_as_it_was(bucket: Path, tmp_path: Path) -> None:
    models = tmp_path / "models" / "sample"
    models.mkdir(parents=True)
    (models / "models.config").write_text("versions: 1")
    (models / "1").mkdir()
    (bucket / "fails").touch()
    done = sync(tmp_path)
    assert "the next attempt is in 30 seconds" in done.stderr
    assert (models / "models.config").read_text() == "versions: 1"
    assert (models / "1").is_dir()


def test_servers_with_a_gpu_find_every_version_in_the_copy(bucket: Path, tmp_path: Path) -> None:
    (bucket / "3" / "gpu").mkdir(parents=True)
    (bucket / "3" / "gpu" / "saved_model.pb").write_text("three, with cuDNN")
    (bucket / "gpu").mkdir()
    (bucket / "gpu" / "models.config").write_text("versions: 2 and 3")
    models = tmp_path / "models" / "sample" / "gpu"
    assert sync(tmp_path).stderr == ""
    assert (models / "models.config").read_text() == "versions: 2 and 3"
    assert [(models / version / "saved_model.pb").read_text() for version in "23"] == [
        "two",
        "three, with cuDNN",
    ]
    shutil.rmtree(bucket / "2")
    assert sync(tmp_path).stderr == ""
    assert sorted(item.name for item in models.iterdir()) == ["3", "models.config"]


def test_links_in_the_copy_are_removed_and_never_followed(bucket: Path, tmp_path: Path) -> None:
    elsewhere, models = tmp_path / "elsewhere", tmp_path / "models" / "sample"
    (elsewhere / "deep").mkdir(parents=True)
    (elsewhere / "saved_model.pb").write_text("precious")
    (models / "3" / "assets").mkdir(parents=True)
    for name in ("1", "2", "3/assets/deep", "gpu", "models.config", "..hidden"):
        (models / name).symlink_to(elsewhere)
    (bucket / "3" / "assets").mkdir(parents=True)
    done = sync(tmp_path)
    assert done.returncode == 0
    assert done.stderr.count("removed, because it is a link that this script did not make") == 6
    assert sorted(str(item.relative_to(elsewhere)) for item in elsewhere.rglob("*")) == [
        "deep",
        "saved_model.pb",
    ]
    assert (elsewhere / "saved_model.pb").read_text() == "precious"
    assert (models / "2" / "saved_model.pb").read_text() == "two"
    assert not [path for path in models.rglob("*") if path.is_symlink()]


@pytest.mark.usefixtures("bucket")
def test_every_copy_leaves_out_keys_that_lead_out_and_follows_no_link(tmp_path: Path) -> None:
    sync(tmp_path)
    copies = [
        line for line in (tmp_path / "log").read_text().splitlines() if line.startswith("s3 sync")
    ]
    assert len(copies) == 2
    for options in copies:
        assert "--no-follow-symlinks" in options
        assert "--exclude *..*" in options


def test_a_copy_that_is_a_link_itself_is_refused(bucket: Path, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "sample").symlink_to(bucket)
    done = sync(tmp_path)
    assert (done.returncode, "expected a folder, found a link" in done.stderr) == (2, True)
