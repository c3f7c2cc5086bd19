"""The Markdown that goes to the pull request."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from components.command.escape import for_comment
from components.report import formats
from components.report.verdict import read_gate
from components.report.wording import sentence_case
from pipeline.ci.results import Results, SliceRow

MOST_SLICES = 40  # a comment may hold 65,536 characters; the rest is in metrics.json

_HEADLINES = {
    "passed": "passed",
    "gates failed": "a gate failed",
    "failed": "the run failed",
    "interrupted": "interrupted",
}


def render_summary(results: Results, root: Path) -> str:
    """Returns the summary of a small training as Markdown; its first line marks the comment that it is written into.

    Args:
        results: what came of it. Everything that came from a log or a configuration is escaped.
        root: where the run keeps everything.
    """
    slices = _keep_largest(results.slices)
    return (
        _environment()
        .get_template("summary.md.j2")
        .render(
            results=results,
            slices=slices,
            left_out=len(results.slices) - len(slices),
            headline=_HEADLINES[results.record.state],
            gates=[read_gate(gate, results.evaluation.slices) for gate in results.gates]
            if results.evaluation
            else [],
            baseline=results.config.evaluation.baseline
            or f"the latest other blessed model in {root}",
            no_baseline=results.evaluation.baseline_note if results.evaluation else None,
            pushed=_say_pushed(results),
            cached=sum(node.state == "cached" for node in results.record.nodes),
        )
    )


def _keep_largest(rows: list[SliceRow]) -> list[SliceRow]:
    largest = sorted(rows, key=lambda row: -row.examples)[:MOST_SLICES]
    return [row for row in rows if row in largest]


def _say_pushed(results: Results) -> str:
    record = results.record
    if record.state == "passed":
        return record.pushed_version or "nothing"
    return "nothing, because a gate failed" if record.state == "gates failed" else "nothing"


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        finalize=_plain,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["lines"] = lambda text: Markup(for_comment(text, lines=True))
    environment.globals |= {
        "sentence_case": sentence_case,
        **{
            name: getattr(formats, name)
            for name in ("change", "count", "duration", "number", "told_apart")
        },
    }
    return environment


def _plain(value: object) -> object:
    """Escapes what Markdown, its tables, HTML and mentions of people would take for their own."""
    return for_comment(value) if isinstance(value, str) and not isinstance(value, Markup) else value
