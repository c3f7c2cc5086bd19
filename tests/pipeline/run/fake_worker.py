"""A worker that runs no nodes: it does what `MASTERY_FAKE` says, in the folder of a run."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

folder = Path(sys.argv[1])
order, _, argument = os.environ["MASTERY_FAKE"].partition(" ")
NODES = [
    {"id": "ExampleGen", "state": "done", "seconds": 1.5},
    {"id": "Trainer", "state": "running", "seconds": None},
]


def write_nodes(nodes: list[dict[str, object]]) -> None:
    beside = folder / "nodes.json.new"
    beside.write_text(json.dumps({"format": 1, "nodes": nodes}))
    beside.replace(folder / "nodes.json")


if order == "pass":
    (folder / "progress").mkdir()
    (folder / "progress" / "Trainer.txt").write_text("epoch 1/2\nepoch 2/2\n")
    write_nodes(NODES)
    time.sleep(0.3)
    write_nodes([{**node, "state": "done", "seconds": 2.0} for node in NODES])
    (folder / "result.json").write_text(argument or "{}")
elif order == "die":
    (folder / "logs").mkdir()
    (folder / "logs" / "Trainer.log").write_text("the last line\n\n")
    write_nodes(NODES)
    os.kill(os.getpid(), int(argument))
elif order == "exit":
    sys.exit(int(argument))
elif order == "say":
    sys.exit(argument)
elif order == "signal":  # what a terminal or a supervisor sends to the command
    write_nodes(NODES)
    (folder / "pid").write_text(str(os.getpid()))
    os.kill(os.getppid(), int(argument))
    time.sleep(60)
elif order == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    (folder / "pid").write_text(str(os.getpid()))
    os.kill(os.getppid(), int(argument))
    time.sleep(60)
