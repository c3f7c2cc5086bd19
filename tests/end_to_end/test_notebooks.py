"""The notebooks of docs/notebooks, executed as a reader does, on one small run."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import nbformat
import pytest
from nbclient import NotebookClient

from tests.end_to_end.conftest import COMMAND, REPOSITORY, Mastery, environment
from tests.ports import free_port

pytestmark = [
    pytest.mark.slow,
    # The client of kernels, on an event loop of its own.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

NOTEBOOKS = REPOSITORY / "docs" / "notebooks"


@pytest.fixture(scope="module")
def repository(mastery: Mastery, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like the repository after `make run`, with a small log."""
    folder = tmp_path_factory.mktemp("repository")
    for name in ("configs/sample.yaml", "schemas/sample.pbtxt"):
        (folder / name).parent.mkdir()
        (folder / name).write_bytes((REPOSITORY / name).read_bytes())
    (folder / "docs" / "notebooks").mkdir(parents=True)

    made = mastery("simulate", "--learners", "400", "--seed", "3", "--out", folder / "sample")
    assert made.returncode == 0, made.stderr
    changes = ("training.epochs=2", "gates=[{metric: f1_macro, min: 0.1}]", "fairness.gates=[]")
    options = [part for change in changes for part in ("--set", change)]
    config = folder / "configs" / "sample.yaml"
    ran = mastery("run", "--config", config, "--root", folder / "runs", *options)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return folder


@pytest.fixture(scope="module")
def server(repository: Path) -> Iterator[str]:
    """`mastery serve`, as the notebook asks for it."""
    port = free_port()
    config = repository / "configs" / "sample.yaml"
    command = [*COMMAND, "serve", "--config", str(config), "--root", str(repository / "runs"),
               "--rest-port", str(port), "--grpc-port", "0"]  # fmt: skip
    log = repository / "serve.log"
    with (
        log.open("wb") as output,
        subprocess.Popen(command, stdout=output, stderr=output, env=environment()) as process,
    ):
        try:
            wait_until_it_answers(port, process, log)
            yield f"http://localhost:{port}"
        finally:
            process.terminate()


def wait_until_it_answers(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Waits until the model is loaded, which takes a minute on a busy machine."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"http://localhost:{port}/v1/models/sample").is_success:
                return
        time.sleep(0.2)
    raise AssertionError(log.read_text())


def executed(name: str, repository: Path) -> nbformat.NotebookNode:
    """Returns a notebook with its outputs, executed in its folder of the repository."""
    book = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    folder = repository / "docs" / "notebooks"
    return NotebookClient(
        book, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    ).execute(env={**os.environ, "PYTHONPATH": str(REPOSITORY)})


def shown(book: nbformat.NotebookNode) -> str:
    """Returns the markup of all outputs."""
    outputs = [output for cell in book.cells for output in cell.get("outputs", [])]
    return "\n".join(
        str(output.get("data", {}).get("text/html", "")) + str(output.get("text", ""))
        for output in outputs
    )


def test_a_log(repository: Path) -> None:
    html = shown(executed("explore-a-log", repository))
    assert "<caption>Examples by split</caption>" in html
    assert "Events before an outcome" in html
    assert "not_mastered" in html
    assert str(repository) not in html


def test_a_run(repository: Path) -> None:
    html = shown(executed("explore-a-run", repository))
    assert "<caption>Gates</caption>" in html
    assert "passed" in html
    assert html.count("<iframe ") == 2
    assert str(repository) not in html


def test_a_served_model(repository: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASTERY_SERVER", server)
    html = shown(executed("ask-a-served-model", repository))
    assert "<caption>Answers</caption>" in html
    assert "from the typical learner" in html.replace("&#x27;s", "")
    assert str(repository) not in html


@pytest.mark.parametrize("file", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda file: file.stem)
def test_stored_notebooks_have_no_outputs_and_are_executed_here(file: Path) -> None:
    book = nbformat.read(file, as_version=4)
    nbformat.validate(book)
    for cell in book.cells:
        if cell.cell_type == "code":
            assert (cell.outputs, cell.execution_count) == ([], None)
    assert re.search(rf'executed\("{file.stem}"', Path(__file__).read_text())
