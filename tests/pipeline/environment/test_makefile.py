"""The Makefile's commands, as people type them."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
MAKE = shutil.which("make") or "make"


def _make(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/bin:/bin"}
    return subprocess.run(
        [MAKE, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


def test_make_alone_lists_every_command() -> None:
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony
    listed = re.findall(r"^  make (\S+) +\S", _make().stdout, re.MULTILINE)
    assert listed == phony[1].split()


def test_the_set_up_keeps_the_python_of_the_environment() -> None:
    settings = (ROOT / ".venv" / "pyvenv.cfg").read_text()
    base = re.search(r"^executable = (.*)$", settings, re.MULTILINE)
    assert base
    assert _make("--dry-run", "setup").stdout == f"{base[1]} -m pipeline.environment.setup\n"


def test_an_explicit_python_is_taken() -> None:
    printed = _make("--dry-run", "setup", "PYTHON=mine").stdout
    assert printed == "mine -m pipeline.environment.setup\n"


def test_gpu_1_adds_cuda_and_gpu_0_removes_it() -> None:
    for value, option in (("1", "--gpu"), ("0", "--no-gpu")):
        command = _make("--dry-run", "setup", "PYTHON=mine", f"GPU={value}").stdout
        assert command == f"mine -m pipeline.environment.setup {option}\n"
    refused = _make("--dry-run", "setup", "PYTHON=mine", "GPU=yes")
    assert refused.returncode
    assert "Expected GPU=1 or GPU=0, found GPU=yes" in refused.stderr


def test_the_image_for_gpus_is_named_after_the_other_one() -> None:
    built = _make("--dry-run", "image", "IMAGE=registry.example/mastery:1.0").stdout
    assert built == "docker build --tag registry.example/mastery:1.0 .\n"
    built = _make("--dry-run", "image", "IMAGE=registry.example/mastery:1.0", "GPU=1").stdout
    assert built == "docker build --tag registry.example/mastery:1.0-gpu --build-arg GPU=1 .\n"


def test_the_image_with_jupyterlab_is_a_target_of_its_own() -> None:
    built = _make("--dry-run", "image", "NOTEBOOK=1").stdout
    target = "--target notebook --build-arg NOTEBOOK=1"
    assert built == f"docker build --tag mastery-notebook {target} .\n"


def test_ci_runs_make_test() -> None:
    assert (ROOT / ".ci" / "run").read_text().splitlines()[-1] == "exec make test"
