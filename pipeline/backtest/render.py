"""Shows a backtest: as Markdown, and in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from components.command.escape import for_comment
from components.config.metrics import describe_metric
from components.config.spans import describe_spans
from components.contracts.evaluation import format_confidence
from components.report.formats import count, duration, number, sentence_case
from pipeline.cross_validation.render import markdown_table

if TYPE_CHECKING:
    from components.command.console import PlainConsole
    from components.contracts.backtest import Backtest, BacktestSpan, Measured

MARKDOWN = "backtest.md"
_DECIMALS = 3


def summarise(result: Backtest) -> str:
    """Returns what was run, in a sentence."""
    spans, pushed = result.spans, result.pushed
    start = "from the version in service" if result.warm_start else "from scratch"
    replay = f", {result.replay * 100:.4g}% of older learners" if result.replay else ""
    seconds = sum(span.seconds for span in spans)
    return (
        f"{describe_spans([span.span for span in spans])}, each as if it were the newest: trained "
        f"on {result.window}{replay}, {start}; {len(pushed)} of {len(spans)} models would have "
        f"been pushed; {duration(seconds)} for all."
    )


def _header(result: Backtest) -> list[str]:
    first = result.spans[0].judged
    names = [sentence_case(describe_metric(name).short) for name in first]
    judged = f"{names[0]} on test"
    return ["As of", "Gates", judged, "In service", "Asked about", "Outcomes", *names]


def _cells(span: BacktestSpan) -> list[str]:
    judged = next(iter(span.judged.values()))
    metrics = [_measured(span.metrics.get(name)) for name in span.judged]
    gates = "passed" if span.gates_passed else "failed"
    return [
        span.span, gates, number(judged, decimals=_DECIMALS), span.in_service or "none",
        span.after, count(span.outcomes), *metrics,
    ]  # fmt: skip


def _measured(found: Measured | None) -> str:
    if found is None:
        return "–"
    text = number(found.value, decimals=_DECIMALS)
    if found.interval is None:
        return text
    low, high = (number(end, decimals=_DECIMALS) for end in found.interval)
    return f"{text} ({low} to {high})"


def render_markdown(result: Backtest) -> str:
    """Returns the table as Markdown; everything that came from a log is escaped."""
    confidence = format_confidence(result.confidence)
    intervals = f" Intervals are at {confidence}, by drawing learners." if confidence else ""
    parts = [
        f"# {for_comment(result.name)}: backtest",
        for_comment(summarise(result)),
        "The last columns are the version in service, asked about the span after, which it had not "
        f"seen.{intervals}",
        markdown_table(_header(result), [_cells(span) for span in result.spans], left=2),
    ]
    failed = [
        f"- {for_comment(span.span)}: {for_comment(gate)}"
        for span in result.spans
        for gate in span.failed_gates
    ]
    if failed:
        parts += ["## Gates that failed", "\n".join(failed)]
    made = f"Mastery {result.version}, configuration {result.config}."
    return "\n\n".join([*parts, for_comment(made)]) + "\n"


def print_table(result: Backtest, console: PlainConsole) -> None:
    """Prints the table, and the gates that failed."""
    from rich.table import Table

    table = Table(title_justify="left")
    for index, name in enumerate(_header(result)):
        table.add_column(name, justify="left" if index < 2 else "right")
    for span in result.spans:
        table.add_row(*_cells(span))
    console.print(table)
    for span in result.spans:
        for gate in span.failed_gates:
            console.print(f"{span.span}: {gate}", soft_wrap=True)
    console.print(summarise(result), soft_wrap=True)
