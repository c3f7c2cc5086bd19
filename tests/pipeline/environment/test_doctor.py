"""The doctor's findings, in this environment and in broken ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.cli import main as command_line
from pipeline.environment import doctor as findings
from pipeline.environment.doctor import doctor
from tests.pipeline.environment.scripts import program

LOCK = Path(__file__).resolve().parents[3] / "requirements.lock"


def test_the_doctor_finds_no_problem_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert doctor() == 0
    printed = capsys.readouterr().out
    assert "FAIL" not in printed
    assert "tfx 1.21.0" in printed
    assert printed.endswith("Everything needed is there.\n")


def test_the_doctor_does_not_import_tensorflow() -> None:
    code = (
        "import sys; from pipeline.environment.doctor import doctor; doctor(); "
        "print('tensorflow' in sys.modules)"
    )
    printed = subprocess.check_output([sys.executable, "-c", code], cwd=LOCK.parent, text=True)
    assert printed.splitlines()[-1] == "False"


def test_problems_are_counted_and_shown_with_advice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "requirements.lock").write_text("tfx==9.9.9 \\\n    --hash=sha256:aa\n")
    monkeypatch.setattr(findings, "ROOT", tmp_path)
    assert doctor() == 1
    printed = capsys.readouterr().out
    assert "FAIL  packages    tfx 1.21.0 instead of 9.9.9\n" in printed
    assert "-> make setup installs what requirements.lock says" in printed
    assert printed.endswith("To fix: 1, marked FAIL.\n")


def test_packages_for_other_platforms_and_of_development_may_be_missing(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text(
        "pytest-never==1.0 \\\n    --hash=sha256:aa\n"
        "tfx==0.1 ; sys_platform == 'win32' \\\n    --hash=sha256:aa\n"
    )
    gpu_lock = tmp_path / "requirements-gpu.lock"
    gpu_lock.write_text("cuda-never==1.0 ; platform_machine == 'x86_64' \\\n    --hash=sha256:aa\n")
    assert findings.packages(lock, gpu_lock).state == "ok"


def test_another_version_of_a_cuda_library_is_a_failure(tmp_path: Path) -> None:
    lock, gpu_lock = tmp_path / "requirements.lock", tmp_path / "requirements-gpu.lock"
    lock.write_text("")
    gpu_lock.write_text("keras==0.1 ; platform_machine == 'x86_64' \\\n    --hash=sha256:aa\n")
    found = findings.packages(lock, gpu_lock)
    assert found.state == "FAIL"
    assert "instead of 0.1" in found.found


@pytest.mark.parametrize(("wanted", "state"), [(False, "warn"), (True, "FAIL")])
def test_a_gpu_that_tensorflow_does_not_see_is_reported_with_the_reason(
    wanted: bool, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("components.gpu.gpus", lambda: ["NVIDIA A10"])
    monkeypatch.setattr(
        "components.gpu.why_unseen", lambda: ["CUDA's libraries are not installed. Do this"]
    )
    found = findings.gpu(wanted=wanted)
    assert (found.state, found.found) == (state, "NVIDIA A10: TensorFlow does not see it")
    assert found.advice == "CUDA's libraries are not installed. Do this"


def test_a_machine_without_a_gpu_is_fine_unless_the_configuration_needs_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("components.gpu.gpus", list)
    assert findings.gpu().state == "ok"
    found = findings.gpu(wanted=True)
    assert found.state == "FAIL"
    assert "training.device" in found.advice


def test_the_command_reads_from_the_configuration_whether_a_gpu_is_needed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("components.gpu.gpus", list)
    sample = ["mastery", "doctor", "--config", str(LOCK.parent / "configs" / "sample.yaml")]
    codes = []
    for arguments in (sample, [*sample, "--set", "training.device=gpu"]):
        monkeypatch.setattr(sys, "argv", arguments)
        with pytest.raises(SystemExit) as ended:
            command_line.main()
        codes.append(ended.value.code)
    assert codes == [0, 1]
    assert "FAIL  GPU" in capsys.readouterr().out


def test_uncompiled_packages_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "slow_to_import"
    package.mkdir()
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(findings, "IMPORTED_MOST", ("slow_to_import", "not_there_at_all"))
    found = findings.bytecode()
    assert (found.state, found.found) == ("warn", "not compiled: slow_to_import, not_there_at_all")


def test_a_folder_that_cannot_be_written_to_fails(tmp_path: Path) -> None:
    assert findings.writable(tmp_path).state == "ok"
    found = findings.writable(tmp_path / "missing")
    assert found.state == "FAIL"
    assert "--root" in found.advice


@pytest.mark.parametrize(
    ("bounds", "state"), [((0, 0), "ok"), ((0, 1e18), "warn"), ((1e18, 2e18), "FAIL")]
)
def test_little_disk_or_memory_is_reported(
    bounds: tuple[float, float], state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(findings, "DISK_BYTES", bounds)
    monkeypatch.setattr(findings, "MEMORY_BYTES", bounds)
    assert findings.disk(tmp_path).state == state
    assert findings.memory().state == state


def test_outside_an_environment_the_first_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    found = findings.python()
    assert found.state == "FAIL"
    assert "make setup" in found.advice


def test_an_old_glibc_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(findings, "glibc_version", lambda: (2, 36))
    found = findings.c_library()
    assert found.state == "FAIL"
    assert "glibc 2.36" in found.found


def test_a_platform_without_wheels_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(findings, "platform_problems", lambda: ["Platform: expected Linux."])
    found = findings.python()
    assert (found.state, found.advice) == ("FAIL", "Platform: expected Linux.")


def test_another_c_library_than_glibc_is_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(findings, "glibc_version", lambda: None)
    assert findings.c_library() == findings.Finding("ok", "C library", "not glibc")


def test_at_most_five_wrong_packages_are_named(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    names = ("tfx", "keras", "tensorflow", "apache-beam", "numpy", "pydantic", "rich")
    lock.write_text("".join(f"{name}==0.0.1 \\\n    --hash=sha256:aa\n" for name in names))
    found = findings.packages(lock, tmp_path / "requirements-gpu.lock").found
    assert found.count("instead of 0.0.1") == 5
    assert found.endswith("; and 2 more")


def test_a_missing_compiler_is_fine_once_the_environment_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(findings, "compiler_problems", lambda: ["C++ compiler: found none."])
    assert findings.compiler().found == "not complete; only make setup needs it"


def test_a_gpu_that_tensorflow_can_use_is_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.gpu.gpus", lambda: ["NVIDIA A10", "NVIDIA A10"])
    monkeypatch.setattr("components.gpu.why_unseen", list)
    found = findings.gpu(wanted=True)
    assert found.state == "ok"
    assert found.found.startswith("NVIDIA A10, NVIDIA A10; CUDA's driver")


@pytest.mark.parametrize(
    ("script", "gpu_wanted", "state", "says"),
    [
        ("echo 2.21.0 /device:CPU:0", False, "ok", "2.21.0 /device:CPU:0"),
        ("echo 2.21.0 /device:CPU:0", True, "FAIL", "2.21.0 /device:CPU:0"),
        ("echo 2.21.0 /device:GPU:0", True, "ok", "2.21.0 /device:GPU:0"),
        ("echo first >&2; echo ImportError: no >&2; exit 1", False, "FAIL", "ImportError: no"),
        ("exit 139", False, "FAIL", "crashed"),
    ],
)
def test_tensorflow_is_asked_for_its_devices(
    script: str,
    gpu_wanted: bool,
    state: str,
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    python = program(tmp_path / "python", script)
    monkeypatch.setattr(sys, "executable", str(python))
    found = findings.tensorflow(gpu_wanted=gpu_wanted)
    assert (found.state, found.found) == (state, says)
