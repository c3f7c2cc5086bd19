"""Pushing into a watched folder: versions, crashes, many pushes at once, no right to write."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.command.program import entry_point
from components.contracts.manifest import Manifest
from components.files.atomic import NotAFileError
from components.model_version.folders import version_names
from components.model_version.signature import Trust, sign_version, verify_signature
from components.model_version.signing_keys import make_keys
from components.model_version.verify import model_digest
from components.pusher.push import PushError, _folder_beside, push_version

ROOT = Path(__file__).parents[3]
PUSH = """
import os, signal, sys, time
from pathlib import Path
from components.contracts.manifest import Manifest
from components.pusher.push import push_version
model, directory, run = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder as a SavedModel has it: what is in the files does not matter here."""
    folder = tmp_path / "model"
    (folder / "variables").mkdir(parents=True)
    (folder / "assets.extra").mkdir()
    (folder / "saved_model.pb").write_bytes(b"graph" * 1000)
    (folder / "variables" / "variables.index").write_bytes(b"index")
    (folder / "variables" / "variables.data-00000-of-00001").write_bytes(os.urandom(300_000))
    (folder / "assets.extra" / "mastery.json").write_text("{}")
    return folder


def _start(program: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PUSH + program, *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def _numeric(directory: Path) -> list[str]:
    return [item.name for item in directory.iterdir() if item.name.isdecimal()]


def _assert_complete(version: Path, model: Path) -> None:
    manifest = json.loads((version / "manifest.json").read_text())
    assert manifest["version"] == int(version.name)
    assert model_digest(version) == model_digest(model)


def test_a_version_is_the_model_and_its_manifest(model: Path, tmp_path: Path) -> None:
    before = int(time.time())

    version, folder = push_version(model, tmp_path / "new" / "serving", Manifest(run="first"))

    assert before <= version <= time.time()
    assert folder == tmp_path / "new" / "serving" / str(version)
    assert Manifest.read(folder) == Manifest(version=version, run="first")
    _assert_complete(folder, model)
    assert sorted(item.name for item in folder.parent.iterdir()) == [".push.lock", str(version)]


def test_a_push_that_is_killed_while_it_signs_leaves_no_version(
    model: Path, tmp_path: Path
) -> None:
    private, public = make_keys(tmp_path / "keys", None)
    program = f"""
from model_signing import signing
from components.model_version.signature import sign_version
write = signing.Config.sign
def die(config, folder, signature):
    write(config, folder, signature)
    signature.write_bytes(signature.read_bytes()[:100])  # half of it is on the disk
    os.kill(os.getpid(), signal.SIGKILL)
signing.Config.sign = die
sign = lambda folder, _: sign_version(folder, Path({str(private)!r}), os.environ)
push_version(model, directory, Manifest(run=run), finish=sign)
"""
    serving = tmp_path / "serving"
    killed = _start(program, model, serving, "killed")
    _, error = killed.communicate(timeout=60)
    assert (killed.returncode, error) == (-signal.SIGKILL, "")
    assert _numeric(serving) == []

    version, folder = push_version(
        model, serving, Manifest(), finish=lambda folder, _: sign_version(folder, private, {})
    )
    assert _numeric(serving) == [str(version)]
    assert verify_signature(folder, Trust(public_key=public), number=version).files == 5
    assert sorted(item.name for item in serving.iterdir()) == [".push.lock", str(version)]


def test_versions_increase_even_if_the_clock_is_behind(model: Path, tmp_path: Path) -> None:
    (tmp_path / "serving" / "99999999999").mkdir(parents=True)

    pushed = [push_version(model, tmp_path / "serving", Manifest())[0] for _ in range(2)]

    assert pushed == [100000000000, 100000000001]
    assert list(version_names(tmp_path / "serving")) == [99999999999, 100000000000, 100000000001]


def test_there_is_no_version_after_the_largest(model: Path, tmp_path: Path) -> None:
    largest = tmp_path / "serving" / str(2**63 - 1)
    largest.mkdir(parents=True)
    with pytest.raises(PushError, match="there is no version after 9223372036854775807"):
        push_version(model, largest.parent, Manifest())
    assert [*largest.parent.glob("[!.]*")] == [largest]


def test_a_file_with_a_number_for_a_name_is_left_alone(model: Path, tmp_path: Path) -> None:
    (tmp_path / "99999999999").write_text("not a version")

    version, _ = push_version(model, tmp_path, Manifest())

    assert version == 100000000000
    assert (tmp_path / "99999999999").read_text() == "not a version"


def test_the_server_may_be_another_user(model: Path, tmp_path: Path) -> None:
    (model / "saved_model.pb").chmod(0o600)
    (model / "variables").chmod(0o700)

    _, folder = push_version(model, tmp_path / "serving", Manifest())

    umask = os.umask(0)
    os.umask(umask)
    assert (folder / "saved_model.pb").stat().st_mode & 0o777 == 0o666 & ~umask
    for readable in (folder, folder / "variables"):
        assert readable.stat().st_mode & 0o777 == 0o777 & ~umask


def test_concurrent_pushers_get_different_versions(model: Path, tmp_path: Path) -> None:
    serving, pushers, rounds = tmp_path / "serving", 12, 4
    start = time.time() + 1.5
    program = f"""
time.sleep(max(0, {start} - time.time()))
for _ in range({rounds}):
    print(push_version(model, directory, Manifest(run=run))[0])
"""
    running = [_start(program, model, serving, number) for number in range(pushers)]

    answers = {number: process.communicate(timeout=60) for number, process in enumerate(running)}

    assert [error for _, error in answers.values()] == [""] * pushers
    pushed = {
        int(line): str(number) for number, (output, _) in answers.items() for line in output.split()
    }
    assert len(pushed) == pushers * rounds
    assert list(version_names(serving)) == sorted(pushed)
    for version, run in pushed.items():
        _assert_complete(serving / str(version), model)
        assert json.loads((serving / str(version) / "manifest.json").read_text())["run"] == run
    push_version(model, serving, Manifest())
    assert [item.name for item in serving.iterdir() if not item.name.isdecimal()] == [".push.lock"]


@pytest.mark.parametrize(
    ("event", "name"),
    [
        ("shutil.copyfile", "mastery.json"),
        ("shutil.copyfile", "variables.index"),
        ("open", "manifest.json"),
        ("os.rename", ".push-"),
    ],
    ids=["at the first file", "mid-copy", "at the manifest", "at the rename"],
)
def test_a_push_killed_on_the_way_leaves_no_version(
    model: Path, tmp_path: Path, event: str, name: str
) -> None:
    serving = tmp_path / "serving"
    program = """
def die(event, arguments):
    if event == sys.argv[4] and sys.argv[5] in str(arguments):
        sys.argv[4] = "dying"  # os.kill is an event, too
        os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(die)
push_version(model, directory, Manifest())
"""
    process = _start(program, model, serving, "killed", event, name)

    _, error = process.communicate(timeout=60)

    assert (process.returncode, error) == (-9, "")
    assert _numeric(serving) == []
    assert len(list(serving.glob(".push-*"))) == 1  # what is left, hidden from the server
    _, folder = push_version(model, serving, Manifest())
    _assert_complete(folder, model)
    assert list(serving.glob(".push-*")) == []


def test_the_draft_of_a_running_push_is_kept(model: Path, tmp_path: Path) -> None:
    with _folder_beside(tmp_path) as live:
        (live / "model").mkdir()

        push_version(model, tmp_path, Manifest())

        assert (live / "model").is_dir()
    assert not live.exists()


def test_a_full_disk_is_a_clear_error_and_no_version(model: Path, tmp_path: Path) -> None:
    program = """
import resource
from components.pusher.push import PushError
before = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
try:
    push_version(model, directory, Manifest())
except PushError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, before)  # coverage writes at the end
"""
    output, error = _start(program, model, tmp_path / "serving", "full").communicate(timeout=60)

    assert error == ""
    assert output.startswith(
        f"{tmp_path / 'serving'}: could not write a new version of the model there: File"
    )
    assert "Nothing was pushed; make room" in output
    assert [item.name for item in (tmp_path / "serving").iterdir()] == [".push.lock"]


def test_a_folder_that_cannot_be_made_is_a_clear_error(model: Path, tmp_path: Path) -> None:
    (tmp_path / "serving").write_text("a file")

    with pytest.raises(
        PushError,
        match="could not write a new version of the model there: Not a directory",
    ):
        push_version(model, tmp_path / "serving" / "mine", Manifest())


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[Path]:
    """A folder without the right to write."""
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o555)
    yield folder
    folder.chmod(0o755)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_the_right_to_write_is_a_clear_error(model: Path, closed: Path) -> None:
    with pytest.raises(PushError, match="Permission denied"):
        push_version(model, closed, Manifest())


def test_only_a_saved_model_is_pushed(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()

    with pytest.raises(PushError, match=r"expected a SavedModel, found no saved_model\.pb"):
        push_version(tmp_path / "model", tmp_path / "serving", Manifest())

    assert not (tmp_path / "serving").exists()


def test_a_lock_that_is_a_link_is_not_emptied(model: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    (tmp_path / "serving").mkdir()
    (tmp_path / "serving" / ".push.lock").symlink_to(precious)
    with pytest.raises(NotAFileError, match=r"\.push\.lock: expected a regular file, found a link"):
        push_version(model, tmp_path / "serving", Manifest())
    assert precious.read_text() == "precious"
    assert version_names(tmp_path / "serving") == {}


def test_a_version_is_for_user_and_group_of_the_folder_it_is_pushed_to(
    model: Path, tmp_path: Path
) -> None:
    serving = tmp_path / "serving"
    serving.mkdir()
    group = next(iter({*os.getgroups()} - {os.getgid()}), 4711 if os.getuid() == 0 else os.getgid())
    os.chown(serving, -1, group)
    serving.chmod(0o2750)  # new files belong to the folder's group, the server's
    with entry_point():
        _, version = push_version(model, serving, Manifest())
    for path in (version, *version.rglob("*")):
        assert path.stat().st_gid == group
        assert path.stat().st_mode & 0o777 == (0o750 if path.is_dir() else 0o640), path


def test_papers_have_the_number_that_the_version_gets(model: Path, tmp_path: Path) -> None:
    asked: list[int | None] = []

    def write_papers(manifest: Manifest) -> dict[str, bytes]:
        asked.append(manifest.version)
        if len(asked) == 1:  # another push claims the number while the papers are written
            (tmp_path / str(manifest.version)).mkdir()
            (tmp_path / str(manifest.version) / "saved_model.pb").touch()
        return {"release/card.html": f"version {manifest.version}".encode()}

    version, folder = push_version(model, tmp_path, Manifest(), write_papers)

    assert asked == [version - 1, version]
    assert (folder / "release" / "card.html").read_text() == f"version {version}"
    manifest = Manifest.read(folder)
    assert manifest.version == version
    assert manifest.release == {
        "release/card.html": hashlib.sha256(f"version {version}".encode()).hexdigest()
    }
    _assert_complete(folder, model)


def test_a_paper_that_cannot_be_written_stops_the_push(model: Path, tmp_path: Path) -> None:
    def write_papers(_: Manifest) -> dict[str, bytes]:
        raise OSError(28, "No space left on device")

    with pytest.raises(PushError, match="No space left on device"):
        push_version(model, tmp_path, Manifest(), write_papers)
    assert _numeric(tmp_path) == []
