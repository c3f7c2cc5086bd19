"""Keeps what TensorFlow prints while it is imported away from the reader of a command's answer."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def quiet_imports() -> Iterator[None]:
    """Drops what C++ writes to standard error inside the block; errors raised there are not touched.

    TensorFlow logs before its own settings for logging are read, so no environment variable helps.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
