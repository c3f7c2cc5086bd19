"""The task that fails when a gate did: it runs after the report is written, and runs no node.

    python -m pipeline.kubeflow.gates_task --executor-input JSON

It starts at once, because it imports next to nothing.
"""

from __future__ import annotations

import json
import sys

from components.command.program import run_program


def main(arguments: list[str]) -> int:
    """Prints the failed gates, the reason first, and returns 1; returns 0 when all passed."""
    executor_input = json.loads(arguments[arguments.index("--executor-input") + 1])
    failed = executor_input["inputs"]["parameterValues"]["failed_gates"]
    print(failed or "All gates passed.", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(run_program("pipeline.kubeflow.gates_task", lambda: main(sys.argv)))
