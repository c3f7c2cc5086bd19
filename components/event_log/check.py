"""Checking a log without running anything."""

from __future__ import annotations

from components.config import Config
from components.event_log.log import read_log
from components.event_log.summary import LogSummary, summarise


def check_log(config: Config) -> LogSummary:
    """Reads a log as ExampleGen would, and says what is in it.

    Raises:
        LogError: the log cannot be used; with everything that is wrong with it.
    """
    _, total = read_log(config, splits=True, keys_only=True)
    return summarise(total, config.label.classes)
