"""Shows the table of a cross-validation: as Markdown, and in a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from components.command.escape import for_comment
from components.config.metrics import describe_metric
from components.contracts.evaluation import describe_slice
from components.report.formats import count, duration, number, sentence_case

if TYPE_CHECKING:
    from components.command.console import PlainConsole
    from components.contracts.cross_validation import CrossValidation, FoldRun, Spread, Subset

MARKDOWN = "cross-validation.md"
NETWORK = "network"
MOST_PRINTED = 4  # slices in a terminal; the rest is in the file
_DECIMALS = 4
_PIPE = 1000  # columns of a table that goes into a pipe, which has no width


@dataclass(frozen=True)
class _Row:
    """A row of a table: a metric's name where it begins, whose number it is, and the number."""

    metric: str
    model: str
    spread: Spread
    is_gain: bool = False

    def cells(self) -> list[str]:
        """Returns the row as text; a gain has a sign."""
        spread = self.spread
        mean, *folds = [self._value(value) for value in (spread.mean, *spread.folds)]
        errors = [number(value, decimals=_DECIMALS) for value in (spread.deviation, spread.error)]
        return [self.metric, self.model, mean, *errors, *folds]

    def _value(self, value: float | None) -> str:
        text = number(value, decimals=_DECIMALS)
        return f"+{text}" if self.is_gain and value is not None and value > 0 else text


def _rows(subset: Subset) -> Iterator[_Row]:
    for name, metric in subset.metrics.items():
        yield _Row(sentence_case(describe_metric(name).short), NETWORK, metric.value)
        for model, comparison in metric.simple_models.items():
            yield _Row("", model, comparison.value)
            yield _Row("", f"gain over {model}", comparison.gain, is_gain=True)


def _header(result: CrossValidation) -> list[str]:
    folds = [f"Fold {fold.fold}" for fold in result.folds]
    return ["Metric", "Model", "Mean", "SD", "SE", *folds]


def _title(subset: Subset) -> str:
    """Returns what a table is about: `gender=f (412 examples)`."""
    where = describe_slice(subset.slice) if subset.slice else "All examples"
    return f"{where} ({count(sum(subset.examples))} examples)"


def summarise(result: CrossValidation) -> str:
    """Returns what was run, in a sentence."""
    units = {unit for fold in result.folds for unit in fold.units}
    return (
        f"{len(result.folds)} folds by {result.by}: {count(result.outcomes)} outcomes of "
        f"{count(result.learners)} learners in {count(len(units))} units, each in the test split "
        f"of one fold; {duration(result.seconds)} for all."
    )


def render_markdown(result: CrossValidation) -> str:
    """Returns the table as Markdown; everything that came from a log is escaped."""
    parts = [
        f"# {for_comment(result.name)}: cross-validation",
        summarise(result),
        "SD is the standard deviation over folds, SE the standard error of the mean (SD over the "
        "root of the number of folds). A gain is the network's minus the other model's, fold by "
        "fold and so that more is better; its SE is that of paired differences.",
    ]
    if result.simple_models:
        meanings = result.simple_models.items()
        parts.append("\n".join(f"- {name}: {for_comment(text)}" for name, text in meanings))

    for subset in (result.overall, *result.slices):
        rows = [row.cells() for row in _rows(subset)]
        parts += [
            f"## {for_comment(_title(subset))}",
            markdown_table(_header(result), rows, left=2),
        ]
    parts += ["## Folds", _markdown_folds(result), _made_by(result)]
    return "\n\n".join(parts) + "\n"


def _markdown_folds(result: CrossValidation) -> str:
    header = ["Fold", "Gates", "Run", "Learners", "Outcomes", "Units", "Time"]
    table = markdown_table(header, [_fold_cells(fold) for fold in result.folds], left=3)
    if result.by == "learner":
        return table

    named = [
        f"- Fold {fold.fold}: {', '.join(for_comment(unit) for unit in fold.units)}"
        for fold in result.folds
    ]
    return "\n\n".join([table, "Units that each fold holds out:", "\n".join(named)])


def _fold_cells(fold: FoldRun) -> list[str]:
    gates = "passed" if fold.gates_passed else "failed"
    sizes = [count(fold.learners), count(fold.outcomes), count(len(fold.units))]
    return [str(fold.fold), gates, fold.run, *sizes, duration(fold.seconds)]


def _made_by(result: CrossValidation) -> str:
    data = f", data {result.data.fingerprint[:16]}" if result.data.fingerprint else ""
    spans = f" ({result.data.describe()})" if result.data.spans else ""
    made = f"Mastery {result.version}, code {result.code}, configuration {result.config}"
    return for_comment(f"{made}{data}{spans}.")


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]], *, left: int) -> str:
    """Returns a table whose first `left` columns are text, and the others numbers."""
    ruler = ["---"] * left + ["--:"] * (len(header) - left)
    escaped = [[for_comment(cell) for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in [header, ruler, *escaped])


def print_table(result: CrossValidation, console: PlainConsole | None = None) -> None:
    """Prints the tables of all examples and of the largest slices."""
    from rich.table import Table as RichTable

    from components.command.console import PlainConsole

    if console is None:
        on_terminal = sys.stdout is not None and sys.stdout.isatty()
        console = PlainConsole(width=None if on_terminal else _PIPE)

    largest = sorted(result.slices, key=lambda subset: -sum(subset.examples))[:MOST_PRINTED]
    shown = [subset for subset in result.slices if subset in largest]
    for subset in (result.overall, *shown):
        table = RichTable(title=_title(subset), title_justify="left", title_style="bold")
        for index, name in enumerate(_header(result)):
            table.add_column(name, justify="left" if index < 2 else "right")
        for row in _rows(subset):
            table.add_row(*row.cells())
        console.print(table)

    if len(shown) < len(result.slices):
        console.print(f"{len(result.slices) - len(shown)} smaller slices are in {MARKDOWN}.")
    if result.by == "unit":
        for fold in result.folds:
            console.print(f"Fold {fold.fold} holds out {', '.join(fold.units)}", soft_wrap=True)
    failed = [str(fold.fold) for fold in result.folds if not fold.gates_passed]
    if failed:
        console.print(f"Gates failed in fold{'s' * (len(failed) > 1)} {', '.join(failed)}")
    console.print(summarise(result), soft_wrap=True)
