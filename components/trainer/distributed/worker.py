"""A worker's process: takes part in one attempt at a fit, and ends.

    python -m components.trainer.distributed.worker ORDER --rank RANK

It ends when its standard input closes, which has to be a pipe from the process that started it. So
no worker outlives who started it, whatever happens there.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import traceback
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from components.errors import MasteryError
from components.node.progress import PROGRESS_FILE
from components.trainer.distributed.order import FAILED, PEER_LOST, PROGRESS, Failure, Order
from components.trainer.distributed.pulse import Pulse


def main() -> NoReturn:
    """Works, and waits to be stopped; if it fails, the exit status says how.

    It leaves without a tear-down, in which TensorFlow's servers would wait for one another.
    """
    parser = argparse.ArgumentParser(description="takes part in a fit")
    parser.add_argument("order", type=Path, help="file of the order")
    parser.add_argument("--rank", type=int, required=True, help="which worker this is, from 0")
    parser.add_argument("--threads", type=int, default=0, help="cores to use; default: all")
    parser.add_argument("--scratch", type=Path, help="folder for parsed examples")
    given = parser.parse_args()

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the supervisor, which ends this
    threading.Thread(target=_end_with_input, daemon=True, name="end-with-input").start()
    order = Order.read_file(given.order)
    os.environ.pop(PROGRESS_FILE, None)
    if given.rank == 0:
        os.environ[PROGRESS_FILE] = str(Path(order.folder, PROGRESS))

    status = _work(order, given.rank, given.threads, given.scratch)
    with suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)


def _work(order: Order, rank: int, threads: int, scratch: Path | None) -> int:
    """Takes part in a fit; returns the exit status."""
    pulse = Pulse(order.beat(rank))
    pulse.start()
    try:
        # Only now, because it takes seconds: the process is known to live.
        from components.trainer.distributed.loop import fit_together

        scratch = scratch or Path(order.folder, f"scratch-{rank}")
        scratch.mkdir(parents=True, exist_ok=True)
        fit_together(order, rank, threads, scratch, pulse)
    except MasteryError as error:
        return _fail(order, rank, Failure(kind="expected", text=str(error)))
    except Exception as error:
        traceback.print_exc()
        if _is_of_others(error):
            return PEER_LOST
        text = f"{type(error).__name__}: {error}".splitlines()[0]
        return _fail(order, rank, Failure(kind="crash", text=text))
    threading.Event().wait()  # until the input closes
    return 0


def _fail(order: Order, rank: int, failure: Failure) -> int:
    Failure.path(order.folder, rank).write_text(failure.to_json(), encoding="utf-8")
    return FAILED


def _is_of_others(error: Exception) -> bool:
    """Returns whether an error says that another worker does not answer."""
    import tensorflow as tf

    return isinstance(
        error,
        tf.errors.UnavailableError
        | tf.errors.AbortedError
        | tf.errors.CancelledError
        | tf.errors.DeadlineExceededError
        | tf.errors.FailedPreconditionError
        | tf.errors.InternalError
        | tf.errors.UnknownError,
    )


def _end_with_input() -> None:
    """Ends this process when its standard input closes."""
    # Not by `sys.stdin`: its lock would be held while the interpreter ends, which aborts.
    while os.read(0, 4096):
        pass
    os._exit(1)


if __name__ == "__main__":
    main()
