"""What every runner does before the first node, without TFX: is the log there, which schema is it held against."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from components.config import Config
from components.errors import ConfigError
from components.files.atomic import write_bytes
from pipeline.layout import Layout, read_schema_text

if TYPE_CHECKING:
    from tensorflow_metadata.proto.v0 import schema_pb2


def find_log(config: Config) -> None:
    """Looks for the files of the log, so that a wrong path is an error at once and not when TFX is loaded.

    Raises:
        LogError: files are missing, or the span that is asked for.
    """
    from components.event_log.problems import raise_if_any
    from components.event_log.sources import find_files
    from components.event_log.spans import choose_spans

    chosen = choose_spans([*config.data.events, *config.data.outcomes], config.data.span)
    for table, patterns in (("events", config.data.events), ("outcomes", config.data.outcomes)):
        raise_if_any(find_files(table, chosen.fill(patterns)).problems)


def read_schema(path: Path) -> schema_pb2.Schema:
    """Reads a schema from text.

    Raises:
        ConfigError: there is no such file, or it does not parse; the text names line and column.
    """
    from google.protobuf import text_format
    from tensorflow_metadata.proto.v0 import schema_pb2

    try:
        return text_format.Parse(path.read_text(encoding="utf-8"), schema_pb2.Schema())
    except OSError as error:
        raise ConfigError(
            f"schema: expected a TFDV schema at {path}, found none ({error.strerror})."
        ) from None
    except UnicodeDecodeError:
        raise ConfigError(
            f"{path}: expected a TFDV schema as text, found something else."
        ) from None
    except text_format.ParseError as error:
        raise ConfigError(
            f"{path}: expected a TFDV schema as text; line:column and problem: {error}"
        ) from None


def snapshot_schema(config: Config, layout: Layout) -> None:
    """Keeps the configured schema under the name that the plan knows it by.

    Raises:
        ConfigError: the configured schema cannot be read, or is none.
    """
    text, snapshot = read_schema_text(config), layout.schema_snapshot(config)
    read_schema(Path(config.schema_))
    if not snapshot.exists():
        snapshot.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(snapshot, text)
