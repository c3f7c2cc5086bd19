"""What every runner does before the first node, without TFX: is the log there, which schema is it held against."""

from __future__ import annotations

from components.atomic import write_bytes
from components.config import Config
from pipeline.layout import Layout, read_schema_text


def find_log(config: Config) -> None:
    """Looks for the files of the log, so that a wrong path is an error at once and not when TFX is loaded.

    Raises:
        LogError: files are missing, or the span that is asked for.
    """
    from components.event_log.files import find_files
    from components.event_log.problems import raise_if_any
    from components.event_log.spans import choose_spans

    chosen = choose_spans([*config.data.events, *config.data.outcomes], config.data.span)
    for table, patterns in (("events", config.data.events), ("outcomes", config.data.outcomes)):
        raise_if_any(find_files(table, chosen.fill(patterns)).problems)


def snapshot_schema(config: Config, layout: Layout) -> None:
    """Keeps the configured schema under the name that the plan knows it by.

    Raises:
        ConfigError: the configured schema cannot be read.
    """
    text, snapshot = read_schema_text(config), layout.schema_snapshot(config)
    if not snapshot.exists():
        snapshot.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(snapshot, text)
