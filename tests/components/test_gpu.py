"""GPUs as a system shows them, and why TensorFlow does not see them, on machines without a GPU.

The driver is a real library, compiled here, that answers as the test says. TensorFlow's own loader
opens CUDA's libraries, in the processes that `components.gpu` starts for it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from components import gpu

REPOSITORY = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="TensorFlow has CUDA for Linux only"
)
DRIVER = """
extern "C" int cuInit(unsigned) { return %(result)d; }
extern "C" int cuDriverGetVersion(int *version) { *version = %(version)d; return 0; }
extern "C" int cuGetErrorString(int, const char **words) { *words = "it does not start"; return 0; }
"""
Ask = Callable[..., list[str]]


@pytest.fixture
def outside_containers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


INFORMATION = {
    "proc/driver/nvidia/gpus/0000:01:00.0/information": "Model: \t\t NVIDIA A10\nIRQ:   \t\t 123\n"
}
DEVICES = {"dev/nvidia0": "", "dev/nvidiactl": "", "dev/nvidia-uvm": ""}
ON_THE_BUS = {
    "sys/bus/pci/devices/0000:01:00.0/vendor": "0x10de\n",
    "sys/bus/pci/devices/0000:01:00.0/class": "0x030200\n",
    "sys/bus/pci/devices/0000:01:00.1/vendor": "0x10de\n",
    "sys/bus/pci/devices/0000:01:00.1/class": "0x040300\n",  # its sound
    "sys/bus/pci/devices/0000:02:00.0/vendor": "0x8086\n",
    "sys/bus/pci/devices/0000:02:00.0/class": "0x030000\n",
}


@pytest.mark.usefixtures("outside_containers")
@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, []),
        ({**INFORMATION, **DEVICES}, ["NVIDIA A10"]),
        (DEVICES, ["/dev/nvidia0"]),
        ({**DEVICES, "dev/nvidia1": "", **INFORMATION}, ["NVIDIA A10", "/dev/nvidia1"]),
        ({"dev/dxg": "", "usr/lib/wsl/lib/libcuda.so.1": ""}, ["the GPU of Windows"]),
        ({"dev/dxg": ""}, []),
        (ON_THE_BUS, ["NVIDIA's device 0000:01:00.0 on the PCI bus"]),
        # A container sees its machine's bus, but may use only GPUs that it has a device file for.
        ({**ON_THE_BUS, "run/.containerenv": ""}, []),
        ({**ON_THE_BUS, **DEVICES, ".dockerenv": ""}, ["/dev/nvidia0"]),
    ],
)
def test_gpus_are_found_without_tensorflow(
    files: dict[str, str], expected: list[str], tmp_path: Path
) -> None:
    assert gpu.gpus(write(tmp_path, files)) == expected


@pytest.mark.usefixtures("outside_containers")
def test_unreadable_files_are_skipped(tmp_path: Path) -> None:
    (tmp_path / "proc/driver/nvidia/gpus/0000:01:00.0/information").mkdir(
        parents=True
    )  # a folder cannot
    (tmp_path / "sys/bus/pci/devices/0000:01:00.0/vendor").mkdir(parents=True)
    assert gpu.gpus(tmp_path) == ["0000:01:00.0"]


def test_a_hanging_driver_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "_PATIENCE", 0.001)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    [reason] = gpu.why_unseen()
    assert "no answer within" in reason


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    """Returns a function that asks a process for its reasons, with a driver made here or none."""

    def run(result: int | None = 0, version: int = 12040, **variables: str) -> list[str]:
        if result is not None:
            source = tmp_path / "driver.cc"
            source.write_text(DRIVER % {"result": result, "version": version})
            library = [
                "-shared",
                "-fPIC",
                "-Wl,-soname,libcuda.so.1",
                "-o",
                tmp_path / "libcuda.so.1",
                source,
            ]
            subprocess.run([compiler(), *library], check=True)
        kept = {key: value for key, value in os.environ.items() if key != "CUDA_VISIBLE_DEVICES"}
        environment = {
            **kept,
            "LD_LIBRARY_PATH": str(tmp_path),
            "PYTHONPATH": str(REPOSITORY),
            **variables,
        }
        code = "import json; from components.gpu import why_unseen; print(json.dumps(why_unseen()))"
        printed = subprocess.check_output([sys.executable, "-c", code], env=environment, text=True)
        reasons: list[str] = json.loads(printed)
        return reasons

    return run


def compiler() -> str:
    found = shutil.which("c++") or shutil.which("g++")
    assert found, "the set-up needs a C++ compiler, so it is there"
    return found


def about_the_driver(reasons: list[str]) -> list[str]:
    return [reason for reason in reasons if not reason.startswith("CUDA's libraries")]


def test_a_working_driver_is_not_a_reason(ask: Ask) -> None:
    assert about_the_driver(ask()) == []
    assert about_the_driver(ask(version=12000)) == []


def test_a_too_old_driver_is_named_with_its_cuda_version(ask: Ask) -> None:
    [reason] = about_the_driver(ask(version=11040))
    assert (
        "it supports CUDA 11.4, and 12.0 is needed. Install NVIDIA's driver 525 or newer" in reason
    )


def test_a_driver_that_does_not_start_is_reported_in_its_own_words(ask: Ask) -> None:
    [reason] = about_the_driver(ask(result=803))
    assert "the driver does not start: it does not start (CUDA's error 803)" in reason


@pytest.mark.parametrize(
    ("container", "advice"), [(False, "Install NVIDIA's driver"), (True, "docker run --gpus all")]
)
def test_the_advice_without_a_driver_fits_machine_or_container(
    container: bool, advice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "in_container", lambda: container)
    missing = gpu.Cuda(
        None, "libcuda.so.1: cannot open shared object file", None, {"libcudart.so.12": ""}
    )
    monkeypatch.setattr(gpu, "open_cuda", lambda _: missing)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    [reason] = gpu.why_unseen()
    assert "libcuda.so.1: cannot open" in reason
    assert advice in reason


@pytest.mark.parametrize("value", [None, "", "0,1"])
def test_hidden_gpus_can_be_shown_again(value: str | None) -> None:
    before = {} if value is None else {"CUDA_VISIBLE_DEVICES": value}
    environment = dict(before)
    for _ in range(2):
        gpu.hide_gpus(environment)
        assert environment["CUDA_VISIBLE_DEVICES"] in ("-1", "")
    for _ in range(2):
        gpu.show_gpus(environment)
        assert environment == before


@pytest.mark.parametrize("value", ["", "-1"])
def test_a_variable_that_hides_every_gpu_is_named(ask: Ask, value: str) -> None:
    [reason] = about_the_driver(ask(CUDA_VISIBLE_DEVICES=value))
    assert f"CUDA_VISIBLE_DEVICES hides the GPU: its value is {value!r}" in reason


def test_a_variable_is_a_reason_only_if_it_hides_every_gpu(ask: Ask) -> None:
    assert about_the_driver(ask(CUDA_VISIBLE_DEVICES="0")) == []
    [reason] = about_the_driver(ask(result=100, CUDA_VISIBLE_DEVICES="7"))
    assert "its value is '7'" in reason


@pytest.mark.skipif(
    gpu.has_wheels(),
    reason="here CUDA's libraries are installed; tests of the environment open them",
)
def test_libraries_that_are_not_installed_are_one_reason_with_the_command_to_get_them(
    ask: Ask,
) -> None:
    [reason] = [reason for reason in ask() if "libraries" in reason]
    assert reason.startswith("CUDA's libraries are not installed. ")
    assert "make setup GPU=1" in reason
    assert "docker build --build-arg GPU=1" in reason


def test_a_library_that_cannot_be_opened_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    words = "libnvJitLink.so.12: cannot open shared object file"
    libraries = {
        "libcudart.so.12": "",
        "libcusolver.so.11": words,
        "libcupti.so.12": "only the profiler wants it",
    }
    monkeypatch.setattr(gpu, "open_cuda", lambda _: gpu.Cuda((12, 4), "", 0, libraries))
    monkeypatch.setattr(gpu, "has_wheels", lambda: True)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    [reason] = gpu.why_unseen()
    assert reason.startswith(f"libcusolver.so.11 cannot be loaded ({words})")


def test_a_broken_tensorflow_is_distinguished_from_missing_libraries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "tensorflow"
    package.mkdir()
    (package / "__init__.py").touch()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = gpu.open_cuda().libraries
    assert "libtensorflow_framework.so.2" in found
    assert "cannot open shared object file" in found["libtensorflow_framework.so.2"]
