"""Opens every CUDA library that TensorFlow opens, and those that they open in turn, without a GPU.

The wheels are those of `requirements-gpu.lock`: this environment's, if `make setup GPU=1` made
it, else fetched once into pytest's cache (2.8 GB, a minute), beside a link to this environment's
TensorFlow.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from components.gpu import has_wheels
from pipeline.environment.installer import Uv
from pipeline.environment.machine import gpu_problems
from pipeline.environment.setup import link_libraries

ROOT = Path(__file__).resolve().parents[3]
LOCK = ROOT / "requirements-gpu.lock"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        bool(gpu_problems()), reason=f"TensorFlow has no CUDA here: {gpu_problems()}"
    ),
]

OPENED = {
    "libcublas.so.12",
    "libcublasLt.so.12",
    "libcudart.so.12",
    "libcudnn.so.9",
    "libcufft.so.11",
    "libcupti.so.12",
    "libcusolver.so.11",
    "libcusparse.so.12",
    "libnccl.so.2",
}
LOAD = """
import ctypes, sys
for path in sys.argv[1:]:
    try:
        ctypes.CDLL(path)
    except OSError as error:
        print(error)
"""
# TensorFlow's own search for the assembler of kernels and the library of mathematics that XLA
# compiles in.
FIND = """
import ctypes, importlib.util, pathlib
package = pathlib.Path(importlib.util.find_spec("tensorflow").origin).parent
library = ctypes.CDLL(str(package / "libtensorflow_cc.so.2"))
VIEW = "ESt17basic_string_viewIcSt11char_traitsIcEE"
for symbol, start in (
    ("_ZN15stream_executor19FindPtxAsExecutableB5cxx11" + VIEW, 1),
    ("_ZN3xla3gpu5nvptx13LibDevicePathB5cxx11" + VIEW, 0),
):
    place = (ctypes.c_uint64 * 5)()  # a StatusOr<string>, a string
    find = library[symbol]
    find.restype = None
    find(ctypes.byref(place), ctypes.c_uint64(0), b"")
    is_found = start == 0 or place[0] == 1
    text = ctypes.string_at(place[start], place[start + 1]).decode() if is_found else "not found"
    print(text)
"""


@pytest.fixture(scope="module")
def packages(request: pytest.FixtureRequest) -> Path:
    """A folder of packages with TensorFlow and CUDA's libraries, as the set-up leaves it."""
    spec = importlib.util.find_spec("tensorflow")
    assert spec is not None
    assert spec.origin is not None
    tensorflow = Path(spec.origin).parent
    if has_wheels():
        return tensorflow.parent

    cache = request.config.cache.mkdir("cuda")
    venv = cache / hashlib.sha256(LOCK.read_bytes()).hexdigest()[:12]
    python = f"python{sys.version_info.major}.{sys.version_info.minor}"
    target = venv / "lib" / python / "site-packages"
    if not (target / "tensorflow").exists():
        for old in cache.iterdir():
            shutil.rmtree(old)
        uv = Uv(Path(sys.executable).parent / "uv")
        options = ("--no-deps", "--require-hashes", "-r", LOCK)
        where = ("--python", sys.executable, "--target", target)
        uv("pip", "install", *where, *options, cwd=ROOT)
        (target / "tensorflow").mkdir()  # itself no link: `tensorflow/..` has to be this folder
        for part in tensorflow.iterdir():
            (target / "tensorflow" / part.name).symlink_to(part)
    link_libraries(venv)
    return target


def run(packages: Path, *arguments: str | Path, **variables: str) -> str:
    environment = {**os.environ, "PYTHONPATH": f"{packages}:{ROOT}", **variables}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return done.stdout + (done.stderr if done.returncode not in (0, 1) else "")


def test_tensorflow_opens_every_library_that_it_uses(packages: Path) -> None:
    printed = run(packages, "-m", "components.gpu")
    libraries = dict(re.findall(r"^(lib\S+): (.*)$", printed, re.MULTILINE))
    assert libraries == dict.fromkeys(OPENED, "opened")


def test_a_library_outside_of_the_run_path_would_be_noticed(packages: Path) -> None:
    link = packages / "nvidia" / "cusparse" / "lib" / "libcusolver.so.11"
    target = link.readlink()
    link.unlink()
    try:
        printed = run(packages, "-m", "components.gpu")
    finally:
        link.symlink_to(target)
    assert "libcusolver.so.11: libcusolver.so.11: cannot open shared object file" in printed


def test_the_libraries_find_what_they_open_themselves(packages: Path, tmp_path: Path) -> None:
    libraries = sorted((packages / "nvidia").glob("*/lib/*.so*"))
    assert {"libcudnn_engines_runtime_compiled.so.9", "libnvrtc.so.12"} < {
        library.name for library in libraries
    }
    driver = stand_in_for_the_driver(libraries, tmp_path)
    assert run(packages, "-c", LOAD, *libraries, LD_LIBRARY_PATH=str(driver.parent)) == ""

    names = ("libcublasLt.so.12", "libcudnn_engines_precompiled.so.9", "libcudnn_graph.so.9")
    openers = [library for library in libraries if library.name in names]
    assert len(openers) == len(names)
    for library in openers:  # they open the compiler by its name, when they have a kernel to make
        found = subprocess.check_output(["readelf", "-d", library], text=True)
        run_path = [
            library.parent / folder.strip("/") for folder in re.findall(r"\$ORIGIN([^:\]]*)", found)
        ]
        assert any((folder / "libnvrtc.so.12").exists() for folder in run_path), library


def stand_in_for_the_driver(libraries: list[Path], folder: Path) -> Path:
    """Compiles a `libcuda.so.1` with every function of the driver that a library needs to load."""
    listed = subprocess.check_output(["nm", "--dynamic", "--undefined-only", *libraries], text=True)
    functions = sorted(set(re.findall(r" U (cu[A-Z]\w*)$", listed, re.MULTILINE)))
    assert "cuModuleLoadData" in functions
    source = folder / "driver.cc"
    source.write_text("".join(f'extern "C" int {name}() {{ return 100; }}\n' for name in functions))
    driver = folder / "libcuda.so.1"
    compiler = shutil.which("c++") or "g++"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "-o", driver, source],
        check=True,
        cwd=folder,
    )
    return driver


def test_tensorflow_finds_the_assembler_and_the_mathematics_of_the_wheels(packages: Path) -> None:
    assembler, mathematics = (Path(line) for line in run(packages, "-c", FIND).splitlines()[-2:])
    wheel = packages / "nvidia" / "cuda_nvcc"
    assert assembler.samefile(wheel / "bin" / "ptxas")
    assert mathematics.samefile(wheel / "nvvm" / "libdevice" / "libdevice.10.bc")
    assert "Cuda compilation tools, release 12" in subprocess.check_output(
        [assembler, "--version"], text=True
    )
