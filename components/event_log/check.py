"""Checking a log without running anything."""

from __future__ import annotations

from components.config import Config
from components.event_log.log import read_log
from components.event_log.spans import choose_spans
from components.event_log.summary import LogSummary, summarise


def check_log(config: Config) -> LogSummary:
    """Reads a log as ExampleGen would, and says what is in it.

    Raises:
        LogError: the log cannot be used; with everything that is wrong with it.
    """
    chosen = choose_spans([*config.data.events, *config.data.outcomes], config.data.span)
    _, total = read_log(config, splits=True, keys_only=True)
    return summarise(total, config.label.classes, spans=chosen.names)
