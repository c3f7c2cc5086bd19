"""CUDA's libraries in the environment, where those that open them look."""

from __future__ import annotations

from pathlib import Path

# A library is opened by its name alone, in the folders that the library which opens it has as its run path. Two
# wheels' folders are missing there. A link in a folder that is on the path does: a run path counts from the place
# that a library was opened at, and all wheels have their libraries at the same depth.
_LINKS = (
    # TensorFlow opens cuSOLVER, knows cuSPARSE's folder, and takes no GPU where one library cannot be opened.
    ("cusparse", "cusolver", "libcusolver.so.*"),
    # cuBLAS opens the compiler for kernels that it makes at run time, and knows its own folder only.
    ("cublas", "cuda_nvrtc", "libnvrtc*.so.*"),
)


def link_libraries(venv: Path) -> None:
    """Links CUDA's libraries to where they are looked for; where the environment has none, removes the links."""
    for nvidia in venv.glob("lib/python3.*/site-packages/nvidia"):
        for opener, owner, pattern in _LINKS:
            for stale in nvidia.glob(f"{opener}/lib/{pattern}"):
                stale.unlink()
            for library in nvidia.glob(f"{owner}/lib/{pattern}"):
                (nvidia / opener / "lib" / library.name).symlink_to(
                    Path("..", "..", owner, "lib", library.name)
                )
