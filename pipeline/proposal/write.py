"""Checks a proposal against its log, and writes it with a schema: whole, or not at all."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.config.data import absolute_pattern
from components.errors import LogError, MasteryError
from components.files.atomic import write_text
from pipeline.proposal.document import write_document

if TYPE_CHECKING:
    from components.config.root import Config
    from pipeline.proposal.propose import Proposal

TITLE = (
    "Proposed by `mastery init`. The comments say what was seen; lines that are commented out are "
    "alternatives. docs/configuration.md lists all keys."
)

SCHEMA_TITLE = (
    "What the columns of examples hold, inferred from the log by `mastery init`. Later logs are "
    "compared with it before anything is trained on them. Add what you know: ranges "
    "(float_domain { min: 0 max: 1 }), all values of a column (string_domain)."
)


def write_proposal(
    proposal: Proposal, path: Path, *, force: bool, say: Callable[[str], None]
) -> None:
    """Writes a configuration and its schema, after checking the log.

    Args:
        proposal: what to write.
        path: of the configuration.
        force: whether files that exist are replaced.
        say: shows a line.

    Raises:
        LogError: the log has problems; the configuration is written all the same.
        MasteryError: a file exists and `force` is false.
    """
    from components.event_log.log import check_log

    schema = path.parent / proposal.schema
    require_free(path, force=force)
    config = proposal.config(_absolute(proposal.values, path.resolve().parent))
    text = proposal.text([TITLE])
    try:
        say(check_log(config).describe())
    except LogError:
        write_text(path, text)
        say(f"Wrote {path}; the log has to be mended, or the configuration, before it can be used.")
        raise

    inferred = with_comments(schema_text(config), proposal)
    if not (schema.exists() and schema.read_text(encoding="utf-8") == inferred):
        require_free(schema, force=force)
    write_text(schema, inferred)
    write_text(path, text)
    say(f"Wrote {path} and {schema}. Look at both, and then:\n  mastery run --config {path}")


def schema_text(config: Config) -> str:
    """Returns a first schema of the log as text."""
    from components.command.program import quiet_imports

    with quiet_imports():
        from components.schema.infer import to_text
        from pipeline.schema import infer_schema
    return to_text(infer_schema(config))


def with_comments(schema: str, proposal: Proposal) -> str:
    """Returns a schema as text with what was seen of each column, and what is to be done."""
    title = write_document([SCHEMA_TITLE], [])
    seen = proposal.seen
    lines: list[str] = []
    for line in schema.splitlines():
        match = re.fullmatch(r'  name: "(\w+)"', line)
        if match and lines[-1] == "feature {" and seen.get(match[1]):
            lines.insert(-1, f"# {seen[match[1]]}")
        lines.append(line)
    return title + "\n".join(lines) + "\n"


def require_free(path: Path, *, force: bool) -> None:
    """Makes sure that no file is overwritten by accident.

    Raises:
        MasteryError: it exists.
    """
    if path.exists() and not force:
        raise MasteryError(
            f"{path} already exists. Choose another file with --out, or overwrite it with --force."
        )


def _absolute(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Returns the values whose paths count from the configuration's folder, as absolute ones."""
    data = {**values["data"]}
    for key in ("events", "outcomes"):
        data[key] = _absolute_paths(data[key], folder)
    return {"data": data, "schema": str(folder / values["schema"])}


def _absolute_paths(value: Any, folder: Path) -> Any:
    if isinstance(value, list):
        return [_absolute_paths(item, folder) for item in value]
    if isinstance(value, dict):
        return (
            {**value, "table": _absolute_paths(value["table"], folder)}
            if "table" in value
            else value
        )
    return absolute_pattern(value, folder)
