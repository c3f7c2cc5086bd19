"""The last task of a pipeline, red when a gate failed: `python -m pipeline.kubeflow.verdict --executor-input JSON`.

It runs after the report is written, and starts at once: it imports next to nothing.
"""

from __future__ import annotations

import json
import sys

from components.command.program import run_program


def main(arguments: list[str]) -> int:
    """Prints the failed gates, the reason first, and returns 1; or 0 when all passed."""
    given = json.loads(arguments[arguments.index("--executor-input") + 1])
    failed = given["inputs"]["parameterValues"]["failed_gates"]
    print(failed or "All gates passed.", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(run_program("pipeline.kubeflow.verdict", lambda: main(sys.argv)))
