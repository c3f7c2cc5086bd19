"""Packages fetched by the real apt, from a repository in a folder."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

from pipeline.environment import apt
from pipeline.environment.machine import SetupError

pytestmark = pytest.mark.skipif(
    not shutil.which("apt-get"), reason="apt is only on Debian, Ubuntu and their like"
)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A release `trixie` with one package, `greeting`, which apt takes for the system's source."""
    monkeypatch.setenv("LC_ALL", "C")
    folder = tmp_path / "repository"
    architecture = subprocess.check_output(["dpkg", "--print-architecture"], text=True).strip()
    package = _build_package(tmp_path / "tree", folder, architecture)
    index = folder / "dists" / "trixie" / "main" / f"binary-{architecture}" / "Packages"
    index.parent.mkdir(parents=True)
    index.write_text(
        f"Package: greeting\nVersion: 1.0\nArchitecture: {architecture}\n"
        f"Filename: {package.relative_to(folder)}\n"
        f"Size: {package.stat().st_size}\nSHA256: {_sha256(package)}\nDescription: says hello\n"
    )
    release = folder / "dists" / "trixie" / "Release"
    listed = index.relative_to(release.parent)
    release.write_text(
        f"Codename: trixie\nArchitectures: {architecture}\nComponents: main\n"
        f"SHA256:\n {_sha256(index)} {index.stat().st_size} {listed}\n"
    )
    monkeypatch.setattr(apt, "mirror", lambda: f"[trusted=yes] file:{folder}")
    return folder


def _build_package(tree: Path, folder: Path, architecture: str) -> Path:
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN" / "control").write_text(
        f"Package: greeting\nVersion: 1.0\nArchitecture: {architecture}\n"
        "Maintainer: nobody <nobody@mail.test>\nDescription: says hello\n"
    )
    (tree / "usr" / "lib").mkdir(parents=True)
    (tree / "usr" / "lib" / "hello.txt").write_text("hello")
    package = folder / "pool" / "greeting.deb"
    package.parent.mkdir(parents=True)
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "--build", tree, package],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return package


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "workspace"
    folder.mkdir()
    return folder


@pytest.mark.usefixtures("repository")
def test_a_package_is_unpacked_and_not_installed(tmp_path: Path, workspace: Path) -> None:
    apt.unpack_packages("trixie", ["greeting"], tmp_path / "root", workspace)
    assert (tmp_path / "root" / "usr" / "lib" / "hello.txt").read_text() == "hello"
    status = ["dpkg", "--status", "greeting"]
    assert subprocess.run(status, capture_output=True, check=False).returncode == 1


def test_a_package_that_is_not_what_the_index_says_is_refused(
    repository: Path, tmp_path: Path, workspace: Path
) -> None:
    package = repository / "pool" / "greeting.deb"
    content = bytearray(package.read_bytes())
    content[-1] ^= 1  # same size, one bit
    package.write_bytes(content)
    with pytest.raises(SetupError, match="Hash Sum mismatch"):
        apt.unpack_packages("trixie", ["greeting"], tmp_path / "root", workspace)
    assert not (tmp_path / "root").exists()


def test_an_index_that_is_not_what_the_release_says_is_refused(
    repository: Path, tmp_path: Path, workspace: Path
) -> None:
    index = next(repository.glob("dists/trixie/main/*/Packages"))
    index.write_text(index.read_text().replace("says hello", "says h3llo"))
    with pytest.raises(SetupError, match="docker build"):
        apt.unpack_packages("trixie", ["greeting"], tmp_path / "root", workspace)


def test_a_release_without_a_signature_is_refused(
    repository: Path, tmp_path: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apt, "mirror", lambda: f"file:{repository}")
    with pytest.raises(SetupError, match="not signed"):
        apt.unpack_packages("trixie", ["greeting"], tmp_path / "root", workspace)


@pytest.mark.usefixtures("repository")
def test_the_error_about_an_unknown_release_says_what_to_do(
    tmp_path: Path, workspace: Path
) -> None:
    with pytest.raises(SetupError, match="Check the network and apt's sources"):
        apt.unpack_packages("forky", ["greeting"], tmp_path / "root", workspace)


def _system_sources(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "system.list").write_text(text)
    settings = f'Dir::Etc::SourceList "{tmp_path / "system.list"}"; Dir::Etc::SourceParts "-";\n'
    (tmp_path / "apt.conf").write_text(settings)
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))


def test_the_mirror_is_the_one_the_system_uses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "platform.freedesktop_os_release", lambda: {"ID": "debian", "VERSION_CODENAME": "bookworm"}
    )
    lines = ["bookworm-security main", "bookworm contrib", "stable main", "bookworm main"]
    sources = [
        f"deb http://mirror{number}.test/debian {line}\n" for number, line in enumerate(lines)
    ]
    _system_sources("".join(sources), tmp_path, monkeypatch)
    assert apt.mirror() == "http://mirror3.test/debian/"


def test_without_a_source_for_the_system_the_error_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "platform.freedesktop_os_release", lambda: {"ID": "debian", "VERSION_CODENAME": "bookworm"}
    )
    _system_sources("deb http://mirror.test/debian stable main\n", tmp_path, monkeypatch)
    with pytest.raises(SetupError, match="`bookworm main`"):
        apt.mirror()


@pytest.mark.parametrize(
    ("system", "expected"),
    [
        ({"ID": "debian", "VERSION_CODENAME": "bookworm"}, "trixie"),
        ({"ID": "ubuntu", "VERSION_CODENAME": "jammy", "UBUNTU_CODENAME": "jammy"}, "noble"),
        ({"ID": "linuxmint", "VERSION_CODENAME": "victoria", "UBUNTU_CODENAME": "jammy"}, "noble"),
    ],
)
def test_the_newer_release_is_of_the_same_distribution(
    system: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.freedesktop_os_release", lambda: system)
    assert apt.newer_release() == expected
