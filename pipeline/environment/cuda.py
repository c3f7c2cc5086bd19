"""CUDA's libraries in the environment, where TensorFlow looks for them."""

from __future__ import annotations

from pathlib import Path


def link_cusolver(venv: Path) -> None:
    """Puts cuSOLVER where TensorFlow finds it, if the environment has it; else takes the link away.

    The library that opens all of CUDA's (`libtensorflow_framework`) has the folders of the wheels as its run path,
    but not cuSOLVER's, and one library that cannot be opened costs the GPU. cuSPARSE's folder is in it. A link
    there works, because the run path of cuSOLVER itself counts from the place it was opened at.
    """
    for packages in venv.glob("lib/python3.*/site-packages"):
        nvidia = packages / "nvidia"
        for stale in nvidia.glob("cusparse/lib/libcusolver.so.*"):
            stale.unlink()
        for library in nvidia.glob("cusolver/lib/libcusolver.so.*"):
            link = nvidia / "cusparse" / "lib" / library.name
            link.symlink_to(Path("..", "..", "cusolver", "lib", library.name))
