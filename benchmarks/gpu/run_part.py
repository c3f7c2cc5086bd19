"""Runs one part in this process: `python -m benchmarks.gpu.run_part NAME --folder WORK ...`.

What it finds is a file of JSON lines that the starting process reads, also when this one dies.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import sys
import time
import traceback
from pathlib import Path

from benchmarks.gpu.parts import PARTS
from benchmarks.gpu.report import Report, SkippedError


def main(name: str, report: Report) -> int:
    """Runs a part; returns 0 unless it failed."""
    part = PARTS[name]
    missing = [package for package in part.needs if importlib.util.find_spec(package) is None]
    if missing:
        report.end("skipped", f"not installed here: {', '.join(missing)}")
        return 0

    try:
        module, _, function = part.function.partition(":")
        getattr(importlib.import_module(module), function)(report)
    except SkippedError as reason:
        report.end("skipped", str(reason))
    except (Exception, SystemExit) as error:
        traceback.print_exc()
        report.end("failed", f"{type(error).__name__}: {error}"[:2000])
        return 1
    else:
        report.end("done")
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("name", choices=list(PARTS))
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--lines", type=Path, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--tiny", action="store_true")
    given = parser.parse_args()
    ends = time.monotonic() + given.seconds
    sys.exit(main(given.name, Report(given.lines, given.folder, given.tiny, ends)))
