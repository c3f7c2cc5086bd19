"""The script for a machine with a GPU: a dry run on this one, and parts that end badly."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu import __main__ as script
from benchmarks.gpu.parts import PARTS, Part
from benchmarks.gpu.results import DRY, PartResult, Results, markdown_table

REPOSITORY = Path(__file__).parents[2]
PATIENCE = 3600  # seconds, on a machine that is busy


def dry_run(out: Path, *parts: str) -> dict[str, Any]:
    """Runs parts as a dry run; returns them by name, as `results.json` has them."""
    command = [sys.executable, "-m", "benchmarks.gpu", "--dry-run", "--out", str(out)]
    done = subprocess.run(
        [*command, "--seconds", str(PATIENCE), "--parts", *parts],
        cwd=REPOSITORY,
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    found = json.loads((out / "results.json").read_text())
    assert found["dry_run"] is True
    assert DRY in (out / "results.md").read_text()
    by_name = {part["name"]: part for part in found["parts"]}
    ended = {part["state"] for part in by_name.values()}
    assert done.returncode == int(bool(ended & {"failed", "cut off"})), done.stderr
    return by_name


@pytest.fixture
def run(tmp_path: Path) -> Any:
    """What parts of a run share."""
    with (tmp_path / "parts.log").open("w") as log:
        yield script.Run(tmp_path, log, tiny=True, ends=time.monotonic() + PATIENCE)


def part_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, **named: Any) -> None:
    """Adds a part, `made-up`, here and in processes that start: it finds something, then `code`."""
    folder = tmp_path / "modules"
    (folder / "made_up_part").mkdir(parents=True)
    body = textwrap.indent(textwrap.dedent(code), "    ")
    (folder / "made_up_part" / "__init__.py").write_text(
        "import os, time\n"
        "from benchmarks.gpu.report import SkippedError\n"
        f"def look(report):\n    report.row('first', figure=1.5)\n    report.note('seen')\n{body}\n"
    )
    part = Part("Made up", "made_up_part:look", **{"seconds": 60, **named})
    (folder / "sitecustomize.py").write_text(
        f"from benchmarks.gpu.parts import PARTS, Part\nPARTS['made-up'] = {part!r}\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), str(REPOSITORY)]))
    monkeypatch.setitem(PARTS, "made-up", part)


def wait_for_end(pid: int) -> None:
    """Waits until a process has ended; it may then wait to be reaped, as a zombie."""
    stat = Path(f"/proc/{pid}/stat")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            state = stat.read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return
        if state in "ZX":
            return
        time.sleep(0.05)
    pytest.fail(f"process {pid} still runs")


def test_parts_that_need_tensorflow_alone_find_something(tmp_path: Path) -> None:
    parts = dry_run(tmp_path, "cudnn", "answers", "answers-cpu")
    assert {part["state"] for part in parts.values()} == {"done"}, parts
    [steps] = parts["cudnn"]["tables"].values()
    assert steps[0]["network"] == "plain Keras, use_cudnn=auto"
    assert [row["ratio"] > 0 for row in steps] == [True] * 3
    differences = next(iter(parts["answers-cpu"]["tables"].values()))
    assert {row["export"] for row in differences} == {"gpu", "portable"}
    assert max(float(row["largest"]) for row in differences) < 1e-6
    assert "asked for no row: shape (0, 3)" in " ".join(parts["answers"]["notes"])


@pytest.mark.slow
def test_a_dry_run_of_a_whole_pipeline_ends_well(tmp_path: Path) -> None:
    parts = dry_run(tmp_path, "setup", "fit", "serve", "workers")
    states = {name: part["state"] for name, part in parts.items()}
    reasons = {name: part["reason"] for name, part in parts.items()}
    expected = {"setup": "done", "fit": "done", "serve": "skipped", "workers": "skipped"}
    assert states == expected, reasons
    assert "no version with an export for GPUs" in reasons["serve"]


def test_what_a_failing_part_had_found_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: script.Run
) -> None:
    part_of(tmp_path, monkeypatch, "raise ValueError('no such card')")
    result = script.run_part("made-up", PARTS["made-up"], run)
    assert (result.state, result.reason) == ("failed", "ValueError: no such card")
    assert result.tables == {"first": [{"figure": 1.5}]}
    assert result.notes == ["seen"]


def test_a_part_that_kills_its_process_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: script.Run
) -> None:
    part_of(tmp_path, monkeypatch, "os.abort()")
    result = script.run_part("made-up", PARTS["made-up"], run)
    assert (result.state, result.reason[:27]) == ("failed", "its process ended with -6; ")
    assert result.notes == ["seen"]


def test_a_part_that_hangs_is_cut_off_with_what_it_has_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: script.Run
) -> None:
    pid = tmp_path / "pid"
    code = f"""
        import subprocess
        open({str(pid)!r}, 'w').write(str(subprocess.Popen(['sleep', '600']).pid))
        time.sleep(600)
    """
    part_of(tmp_path, monkeypatch, code, seconds=20)
    result = script.run_part("made-up", PARTS["made-up"], run)
    assert (result.state, result.notes) == ("cut off", ["seen"])
    wait_for_end(int(pid.read_text()))


def test_ending_the_script_ends_its_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pid = tmp_path / "pid"
    code = f"open({str(pid)!r}, 'w').write(f'{{os.getpid()}}.')\ntime.sleep(600)"
    part_of(tmp_path, monkeypatch, code)
    command = [sys.executable, "-m", "benchmarks.gpu", "--dry-run", "--out", str(tmp_path / "out")]
    with subprocess.Popen([*command, "--parts", "made-up"], cwd=REPOSITORY) as process:
        deadline = time.monotonic() + PATIENCE
        while not (pid.exists() and pid.read_text().endswith(".")):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.05)
        process.terminate()
    wait_for_end(int(pid.read_text().removesuffix(".")))


def test_a_part_says_what_is_missing_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: script.Run
) -> None:
    part_of(tmp_path, monkeypatch, "", needs=("json", "no_such_package"))
    result = script.run_part("made-up", PARTS["made-up"], run)
    assert (result.state, result.reason) == ("skipped", "not installed here: no_such_package")


def test_a_part_without_time_left_is_not_started(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as log:
        run = script.Run(tmp_path, log, tiny=True, ends=time.monotonic())
        result = script.run_part("setup", PARTS["setup"], run)
    assert (result.state, result.reason) == ("skipped", "the time was over")


def test_all_shares_together_are_ten_minutes() -> None:
    assert sum(part.seconds for part in PARTS.values()) <= script.SECONDS


def test_only_dry_runs_are_called_so(tmp_path: Path) -> None:
    part = PartResult("setup", "Set-up", "done", "", 1.0, 40.0, ["a | b"], {"t": [{"x": 0.5}]})
    for is_dry in (True, False):
        Results(is_dry, "a machine", "today", [part]).write(tmp_path)
        assert (DRY in (tmp_path / "results.md").read_text()) is is_dry
        assert json.loads((tmp_path / "results.json").read_text())["dry_run"] is is_dry


def test_a_cell_stays_one_cell() -> None:
    assert markdown_table([{"text": "a|b\nc", "figure": 0.123456}])[2] == "| a\\|b c | 0.1235 |"


def test_parts_that_need_tensorflow_alone_import_no_tfx() -> None:
    heavy = ["tfx", "tensorflow_transform", "apache_beam", "tensorflow_metadata", "polars"]
    code = (
        "import sys; from benchmarks.gpu import answers, training_steps; "
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_the_script_starts_with_the_standard_library_alone() -> None:
    modules = "benchmarks.gpu.__main__, benchmarks.gpu.run_part, benchmarks.gpu.set_up"
    command = [sys.executable, "-S", "-c", f"import {modules}"]
    subprocess.run(command, cwd=REPOSITORY, check=True)
