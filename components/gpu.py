"""NVIDIA GPUs as the system shows them, and why TensorFlow sees none.

TensorFlow says little about a GPU that it cannot use, and trains on the CPU. The checks here need
neither TensorFlow in this process nor a GPU: they look at device files and the driver, and have
TensorFlow's own loader open the CUDA libraries in a separate process. `python -m components.gpu`
prints all of it. Standard library only.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path

# The oldest CUDA that the driver may have: libraries of CUDA 12.x run on every driver from 525 on.
NEEDED_CUDA = (12, 0)
GET_LIBRARIES = (
    "Install them with `make setup GPU=1`, or use the image that `docker build --build-arg GPU=1` "
    "makes"
)
# What TensorFlow opens: `tsl::internal::DsoLoader::Get<name>DsoHandle()`.
_LIBRARIES = (
    "CudaRuntime", "Cublas", "CublasLt", "Cufft", "Cusolver", "Cusparse", "Cudnn", "Cupti", "Nccl",
)  # fmt: skip
# For the profiler, and for several GPUs; without one of the others TensorFlow uses no GPU.
_ON_DEMAND = ("libcupti", "libnccl")
_OPENED = re.compile(r"Successfully opened dynamic library (\S+)")
_NOT_OPENED = re.compile(r"Could not load dynamic library '(.+)'; dlerror: (.+)")
_NO_DEVICE, _UNKNOWN = 100, 999  # CUDA_ERROR_NO_DEVICE, CUDA_ERROR_UNKNOWN
_PATIENCE = 60  # seconds; when a GPU hangs, its driver hangs too
VISIBLE = "CUDA_VISIBLE_DEVICES"
_HIDDEN = "MASTERY_CUDA_VISIBLE_DEVICES"  # what the variable above was before GPUs were hidden
_WSL = Path("dev/dxg")  # the GPU of Windows, in the Windows Subsystem for Linux


@dataclass(frozen=True)
class Cuda:
    """What a process found when it opened CUDA's driver and libraries as TensorFlow does.

    Attributes:
        driver: the newest CUDA that the driver knows, e.g. (12, 4); None without a working driver.
        driver_problem: why the driver does not work; "" if it works.
        result: the error code of the driver; None if it could not be loaded.
        libraries: the system's error by file name; "" if the library was opened.
    """

    driver: tuple[int, int] | None
    driver_problem: str
    result: int | None
    libraries: Mapping[str, str]


def gpus(root: Path = Path("/")) -> list[str]:
    """Returns the NVIDIA GPUs of this machine or container, without a call to any driver.

    A container often sees the PCI bus of its whole machine, so a GPU without a device file is
    listed only outside containers: there, its driver is missing.

    Args:
        root: the root of the file system.

    Returns:
        A name for each: the model if the driver shows it, otherwise the device.
    """
    models = [_model(file) for file in sorted(root.glob("proc/driver/nvidia/gpus/*/information"))]
    devices = sorted(
        str(Path("/", file.relative_to(root))) for file in root.glob("dev/nvidia[0-9]*")
    )
    if devices:
        return [*models, *devices[len(models) :]]
    if (root / _WSL).exists() and any(root.glob("usr/lib/wsl/lib/libcuda.so*")):
        return ["the GPU of Windows"]
    if in_container(root):
        return []
    return models or _on_the_bus(root)


def in_container(root: Path = Path("/")) -> bool:
    """Returns whether this is a container of a usual engine or of Kubernetes."""
    marks = (root / ".dockerenv", root / "run" / ".containerenv")
    return any(mark.exists() for mark in marks) or "KUBERNETES_SERVICE_HOST" in os.environ


def hide_gpus(environment: MutableMapping[str, str] = os.environ) -> None:
    """Hides GPUs from what has yet to look for them in this process, and from those that it starts.

    TensorFlow would take nearly all memory of a GPU for one small graph, and answer otherwise than
    a CPU does.
    """
    before = environment.get(VISIBLE)
    if before != "" and _HIDDEN not in environment:  # an empty value hides them, too
        environment[_HIDDEN] = before or ""
        environment[VISIBLE] = "-1"


def show_gpus(environment: MutableMapping[str, str] = os.environ) -> None:
    """Undoes `hide_gpus`; does nothing without it."""
    before = environment.pop(_HIDDEN, None)
    if before:
        environment[VISIBLE] = before
    elif before is not None:
        del environment[VISIBLE]


def why_unseen(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Returns why TensorFlow does not see a GPU that is there, each reason with what to do.

    Args:
        environment: that of the process which does not see it.

    It is empty if everything that TensorFlow needs was opened: then it sees the GPU, or logs why
    not.

    Example:
        >>> for reason in why_unseen():  # doctest: +SKIP
        ...     print(reason)
        CUDA's libraries are not installed. Install them with `make setup GPU=1`, or use the ...
    """
    cuda = open_cuda(environment)
    reasons = [
        _hidden(cuda.result, environment),
        _driver_reason(cuda, environment),
        _libraries_reason(cuda.libraries),
    ]
    return [reason for reason in reasons if reason]


def open_cuda(environment: Mapping[str, str] = os.environ) -> Cuda:
    """Opens CUDA's driver, and its libraries by TensorFlow's own loader, in a separate process."""
    environment = {**environment, "TF_CPP_MIN_LOG_LEVEL": "0", "TF_CPP_MAX_VLOG_LEVEL": "1"}
    command = [sys.executable, "-P", __file__, "--open"]
    try:
        done = subprocess.run(
            command,
            env=environment,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Cuda(None, f"no answer within {_PATIENCE} s", _UNKNOWN, {})

    libraries = dict.fromkeys(_OPENED.findall(done.stderr), "")
    libraries |= dict(_NOT_OPENED.findall(done.stderr))
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        libraries["libtensorflow_framework.so.2"] = lines[-1]

    result, problem, version = _read_start(done.stdout)
    driver = (version // 1000, version % 1000 // 10) if version else None
    return Cuda(driver, problem, result, libraries)


def _read_start(printed: str) -> tuple[int | None, str, int | None]:
    """Returns what `_start_driver` returned in the other process."""
    if not printed.strip():
        return None, "the process that opened it crashed", None
    result, problem, version = json.loads(printed.splitlines()[0])
    return result, problem, version


def _hidden(result: int | None, environment: Mapping[str, str]) -> str:
    """Returns the reason if CUDA_VISIBLE_DEVICES hides the GPUs; otherwise an empty text.

    An empty value and a negative number hide all of them; any other value hides them if the driver
    then finds none.
    """
    value = environment.get(VISIBLE)
    if value is None:
        return ""
    hides_all = not value.strip() or value.strip().startswith("-")
    if not hides_all and result != _NO_DEVICE:
        return ""
    return f"the variable {VISIBLE} hides the GPU: its value is {value!r}. Unset it"


def _driver_reason(cuda: Cuda, environment: Mapping[str, str]) -> str:
    if cuda.result == _NO_DEVICE and VISIBLE in environment:
        return ""  # `_hidden` is the reason

    if cuda.result is None:
        advice = "Install NVIDIA's driver"
        if in_container():
            advice = (
                "Have NVIDIA's container runtime mount it: `docker run --gpus all`, and "
                "NVIDIA_DRIVER_CAPABILITIES with `compute`"
            )
        return f"the driver's library cannot be loaded ({cuda.driver_problem}). {advice}"

    if cuda.driver_problem:
        return (
            f"the driver does not start: {cuda.driver_problem}. Try `nvidia-smi`; after an update "
            "of the driver, restart"
        )
    if cuda.driver is not None and cuda.driver < NEEDED_CUDA:
        return (
            f"the driver is too old: it supports CUDA {_dotted(cuda.driver)}, and "
            f"{_dotted(NEEDED_CUDA)} is needed. Install NVIDIA's driver 525 or newer"
        )
    return ""


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))


def _libraries_reason(libraries: Mapping[str, str]) -> str:
    errors = {name: error for name, error in libraries.items() if error}
    missing = [name for name in errors if not name.startswith(_ON_DEMAND)]
    if not missing:
        return ""
    if not has_wheels():
        return f"CUDA's libraries are not installed. {GET_LIBRARIES}"

    different = "; ".join(dict.fromkeys(errors[name] for name in missing))
    return f"{', '.join(missing)} cannot be loaded ({different}). {GET_LIBRARIES}"


def has_wheels() -> bool:
    """Returns whether CUDA's libraries are installed as wheels beside TensorFlow."""
    package = _tensorflow()
    return package is not None and (package.parent / "nvidia" / "cuda_runtime").is_dir()


def _tensorflow() -> Path | None:
    spec = importlib.util.find_spec("tensorflow")
    return None if spec is None or spec.origin is None else Path(spec.origin).parent


def _model(information: Path) -> str:
    found = re.search(r"^Model:\s*(.+)$", _read(information), re.MULTILINE)
    return found[1].strip() if found else information.parent.name


def _on_the_bus(root: Path) -> list[str]:
    """Returns NVIDIA's display and 3D controllers by their place on the PCI bus."""
    found = []
    for device in sorted(root.glob("sys/bus/pci/devices/*")):
        vendor, kind = (_read(device / name).strip() for name in ("vendor", "class"))
        if vendor == "0x10de" and kind.startswith("0x03"):
            found.append(f"NVIDIA's device {device.name} on the PCI bus")
    return found


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:  # a sandbox may list a file that cannot be read
        return ""


def _open_here() -> None:
    """Opens everything in this process: prints the driver's result; TensorFlow logs the rest."""
    print(json.dumps(_start_driver()), flush=True)
    package = _tensorflow()
    if package is None:
        sys.exit("TensorFlow is not installed")

    loader = ctypes.CDLL(str(package / "libtensorflow_framework.so.2"))
    for name in _LIBRARIES:
        function = f"Get{name}DsoHandle"
        mangled = f"_ZN3tsl8internal9DsoLoader{len(function)}{function}Ev"
        open_library: Callable[..., None] = loader[mangled]
        opened = (ctypes.c_void_p * 2)()  # an absl::StatusOr<void*>, which the caller allocates
        open_library(ctypes.byref(opened))


def _start_driver() -> tuple[int | None, str, int | None]:
    """Returns CUDA's result of starting the driver, its problem, and the CUDA that it knows.

    A version is a number such as 12040 for 12.4.
    """
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        return None, str(error), None

    result = int(driver.cuInit(0))
    version = ctypes.c_int()
    driver.cuDriverGetVersion(ctypes.byref(version))
    if not result:
        return result, "", version.value or None

    text = ctypes.c_char_p()
    driver.cuGetErrorString(result, ctypes.byref(text))
    problem = (text.value or b"unknown error").decode()
    return result, f"{problem} (CUDA's error {result})", version.value or None


def main() -> int:
    """Prints GPUs, driver and libraries; the exit code is 1 if a library could not be opened."""
    cuda = open_cuda()
    version = _dotted(cuda.driver) if cuda.driver else "none"
    print("GPUs:", ", ".join(gpus()) or "none")
    print("Driver's CUDA:", version, f"({cuda.driver_problem})" if cuda.driver_problem else "")
    for name, error in cuda.libraries.items():
        print(f"{name}: {error or 'opened'}")
    return int(not cuda.libraries or any(cuda.libraries.values()))


if __name__ == "__main__":
    if sys.argv[1:] == ["--open"]:
        _open_here()
    else:
        sys.exit(main())
