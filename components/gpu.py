"""NVIDIA GPUs as the system shows them, and why TensorFlow sees none.

TensorFlow says little about a GPU that it cannot use, and trains on the CPU. What is looked at here needs neither
TensorFlow nor a GPU: device files, the driver, and the CUDA libraries, which TensorFlow's own loader opens in a
process apart. `python -m components.gpu` prints all of it. Standard library only.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

NEEDED_CUDA = (
    12,
    0,
)  # the driver's; libraries of CUDA 12.x run on every driver for CUDA 12, which are 525 and newer
GET_LIBRARIES = "Set it up with `make setup GPU=1`, or take the image that `docker build --build-arg GPU=1` makes"
# What TensorFlow opens: `tsl::internal::DsoLoader::Get<name>DsoHandle()`.
_LIBRARIES = (
    "CudaRuntime", "Cublas", "CublasLt", "Cufft", "Cusolver", "Cusparse", "Cudnn", "Cupti", "Nccl",
)  # fmt: skip
_ON_DEMAND = (
    "libcupti",
    "libnccl",
)  # for the profiler, for several GPUs; without one of the others it takes no GPU
_OPENED = re.compile(r"Successfully opened dynamic library (\S+)")
_NOT_OPENED = re.compile(r"Could not load dynamic library '(.+)'; dlerror: (.+)")
_NO_DEVICE, _UNKNOWN = 100, 999  # CUDA_ERROR_NO_DEVICE, CUDA_ERROR_UNKNOWN
_PATIENCE = 60  # seconds; a GPU that hangs has its driver hang
_WSL = Path("dev/dxg")  # the GPU of Windows, in its Linux


@dataclass(frozen=True)
class Cuda:
    """What a process found when it opened CUDA's driver and libraries as TensorFlow does.

    Attributes:
        driver: the newest CUDA that the driver knows, e.g. (12, 4); None where there is none that works.
        driver_problem: why it does not work, "" where it does.
        result: the driver's number for that, None where it could not be loaded.
        libraries: file names of CUDA's libraries; "" where one was opened, else the system's words.
    """

    driver: tuple[int, int] | None
    driver_problem: str
    result: int | None
    libraries: Mapping[str, str]


def gpus(root: Path = Path("/")) -> list[str]:
    """Returns the NVIDIA GPUs that this machine, or this container, has; drivers are asked nothing.

    A container is often shown the bus of its whole machine, so a GPU without a device file counts outside of
    containers only: there it is one without a driver.

    Args:
        root: the root of the file system.

    Returns:
        A name for each: the model where the driver tells it, else the device.
    """
    models = [_model(file) for file in sorted(root.glob("proc/driver/nvidia/gpus/*/information"))]
    devices = sorted(
        str(Path("/", file.relative_to(root))) for file in root.glob("dev/nvidia[0-9]*")
    )
    if devices:
        return [*models, *devices[len(models) :]]
    if (root / _WSL).exists() and any(root.glob("usr/lib/wsl/lib/libcuda.so*")):
        return ["the GPU of Windows"]
    return [] if in_container(root) else [*models] or _on_the_bus(root)


def in_container(root: Path = Path("/")) -> bool:
    """Says whether this is a container, as far as the usual engines and Kubernetes let one know."""
    marks = (root / ".dockerenv", root / "run" / ".containerenv")
    return any(mark.exists() for mark in marks) or "KUBERNETES_SERVICE_HOST" in os.environ


def why_unseen() -> list[str]:
    """Returns why TensorFlow does not see a GPU that is there, each reason with what to do.

    Empty where everything that it needs was opened: then TensorFlow sees it, or says itself why not.

    Example:
        >>> for reason in why_unseen():  # doctest: +SKIP
        ...     print(reason)
        CUDA's libraries are not installed. Set it up with `make setup GPU=1`, or take the image ...
    """
    cuda = open_cuda()
    reasons = [_hidden(cuda.result), _driver_reason(cuda), _libraries_reason(cuda.libraries)]
    return [reason for reason in reasons if reason]


def open_cuda() -> Cuda:
    """Opens CUDA's driver and libraries in a process apart, the libraries by TensorFlow's own loader."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "0", "TF_CPP_MAX_VLOG_LEVEL": "1"}
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
        return Cuda(None, f"it does not answer within {_PATIENCE} s", _UNKNOWN, {})

    libraries = dict.fromkeys(_OPENED.findall(done.stderr), "") | dict(
        _NOT_OPENED.findall(done.stderr)
    )
    if done.returncode:
        words = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        libraries["libtensorflow_framework.so.2"] = words
    result, problem, version = _told(done.stdout)
    driver = (version // 1000, version % 1000 // 10) if version else None
    return Cuda(driver, problem, result, libraries)


def _told(printed: str) -> tuple[int | None, str, int | None]:
    """Reads what `_start_driver` returned in the other process."""
    if not printed.strip():
        return None, "a process that opens it ends at once", None
    result, problem, version = json.loads(printed.splitlines()[0])
    return result, problem, version


def _hidden(result: int | None) -> str:
    """A value that ends the list of devices hides all of them; others do where the driver then sees none."""
    value = os.environ.get("CUDA_VISIBLE_DEVICES")
    if value is None or (
        result != _NO_DEVICE and value.strip() and not value.strip().startswith("-")
    ):
        return ""
    return f"the variable CUDA_VISIBLE_DEVICES hides it: its value is {value!r}. Unset it"


def _driver_reason(cuda: Cuda) -> str:
    if cuda.result == _NO_DEVICE and "CUDA_VISIBLE_DEVICES" in os.environ:
        return ""  # said already
    if cuda.result is None:
        container = (
            "NVIDIA's container runtime has to bring it in: `docker run --gpus all`, and "
            "NVIDIA_DRIVER_CAPABILITIES with `compute`"
        )
        advice = container if in_container() else "Install NVIDIA's driver"
        return f"the driver's library cannot be loaded ({cuda.driver_problem}). {advice}"
    if cuda.driver_problem:
        return f"the driver does not start: {cuda.driver_problem}. Try `nvidia-smi`; after an update of it, restart"
    if cuda.driver is not None and cuda.driver < NEEDED_CUDA:
        found, needed = (".".join(map(str, version)) for version in (cuda.driver, NEEDED_CUDA))
        return f"the driver is too old: it knows CUDA {found}, expected {needed}. Install NVIDIA's driver 525 or newer"
    return ""


def _libraries_reason(libraries: Mapping[str, str]) -> str:
    missing = {
        name: words
        for name, words in libraries.items()
        if words and not name.startswith(_ON_DEMAND)
    }
    if not missing:
        return ""
    if not has_wheels():
        return f"CUDA's libraries are not installed. {GET_LIBRARIES}"
    words = "; ".join(dict.fromkeys(missing.values()))
    return f"{', '.join(missing)} cannot be loaded ({words}). {GET_LIBRARIES}"


def has_wheels() -> bool:
    """Says whether CUDA's libraries are installed as wheels beside TensorFlow."""
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
    except OSError:  # a sandbox may show a file and not let it be read
        return ""


def _open_here() -> None:
    """Opens everything in this process: prints what the driver said, and has TensorFlow log the rest."""
    print(json.dumps(_start_driver()), flush=True)
    package = _tensorflow()
    if package is None:
        sys.exit("TensorFlow is not installed")
    loader = ctypes.CDLL(str(package / "libtensorflow_framework.so.2"))
    for name in _LIBRARIES:
        function = f"Get{name}DsoHandle"
        opened = (
            ctypes.c_void_p * 2
        )()  # an absl::StatusOr<void*>, which the caller makes room for
        open_library: Callable[..., None] = loader[
            f"_ZN3tsl8internal9DsoLoader{len(function)}{function}Ev"
        ]
        open_library(ctypes.byref(opened))


def _start_driver() -> tuple[int | None, str, int | None]:
    """Returns CUDA's result of starting the driver, what is wrong with it, and the CUDA it knows, 12040 for 12.4."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        return None, str(error), None
    result, version, words = driver.cuInit(0), ctypes.c_int(), ctypes.c_char_p()
    driver.cuDriverGetVersion(ctypes.byref(version))
    if result:
        driver.cuGetErrorString(result, ctypes.byref(words))
    problem = (
        f"{(words.value or b'unknown error').decode()} (CUDA's error {result})" if result else ""
    )
    return int(result), problem, version.value or None


def main() -> int:
    """Prints GPUs, driver and libraries; the exit code is 1 where a library could not be opened."""
    cuda = open_cuda()
    version = ".".join(map(str, cuda.driver or ())) or "none"
    print("GPUs:", ", ".join(gpus()) or "none")
    print("Driver's CUDA:", version, f"({cuda.driver_problem})" if cuda.driver_problem else "")
    for name, words in cuda.libraries.items():
        print(f"{name}: {words or 'opened'}")
    return int(not cuda.libraries or any(cuda.libraries.values()))


if __name__ == "__main__":
    if sys.argv[1:] == ["--open"]:
        _open_here()
    else:
        sys.exit(main())
