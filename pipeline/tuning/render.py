"""Shows the trials of a search: as Markdown, and in a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.command.escape import for_comment
from components.config.edited_yaml import as_flow
from components.files.atomic import write_text
from components.report.formats import duration, number

if TYPE_CHECKING:
    from components.command.console import PlainConsole
    from components.contracts.tuning import Trial, Tuning

MARKDOWN = "tuning.md"
MOST_PRINTED = 10  # trials in a terminal; the rest is in the file
_DECIMALS = 4
_GIVEN = "the given configuration"


def describe_trial(trial: Trial, most: int, trials: Sequence[Trial]) -> str:
    """Returns a line about a trial that has ended.

    Args:
        trial: the trial.
        most: how many are asked for.
        trials: all so far, this one included.
    """
    is_best = trial is ordered(trials)[0]
    parts = [
        f"Trial {trial.number}/{most}",
        trial.state,
        _loss(trial),
        f"epoch {trial.epoch}/{trial.epochs}" if trial.epoch else "",
        duration(trial.seconds),
        describe_values(trial),
        f"as trial {trial.same_as}" if trial.same_as else "",
        trial.reason or "",
        "best so far" if is_best else "",
    ]
    return "  ".join(filter(None, parts))


def describe_values(trial: Trial) -> str:
    """Returns what was tried, in the words of the file."""
    return _written(trial.values) if trial.values else _GIVEN


def summarise(result: Tuning) -> str:
    """Returns what was found, in a sentence or two."""
    states = [trial.state for trial in result.trials]
    counted = ", ".join(
        f"{states.count(state)} {state}" for state in ("complete", "pruned", "failed")
    )
    best, given = result.best_trial, result.given
    seconds = duration(sum(trial.seconds for trial in result.trials))
    text = f"{len(states)} trials ({counted}) in {seconds}."
    if best.number == given.number or best.eval_loss == given.eval_loss:
        return f"{text} None had a lower eval loss than {_GIVEN}, {_loss(given)}."
    return (
        f"{text} The lowest eval loss is {_loss(best)}, of trial {best.number}; "
        f"{_GIVEN} has {_loss(given)}."
    )


def write_page(result: Tuning, folder: Path) -> Path:
    """Writes the table as Markdown; everything that came from files is escaped."""
    path = folder / MARKDOWN
    write_text(path, render_markdown(result))
    return path


def render_markdown(result: Tuning) -> str:
    """Returns the page."""
    parts = [
        f"# {for_comment(result.name)}: tuning",
        for_comment(summarise(result)),
        "The eval loss of a trial is that of its best epoch. A pruned trial was ended because "
        "others had a lower loss at the same epoch. The test split was not read.",
        "## Importance",
        _importance(result),
        "## Trials, the lowest eval loss first",
        _table(_HEADER, [_cells(trial) for trial in ordered(result.trials)], left=4),
        for_comment(
            f"Mastery {result.version}, code {result.code}, configuration {result.config}, "
            f"study {result.study}."
        ),
    ]
    return "\n\n".join(parts) + "\n"


def print_result(result: Tuning, console: PlainConsole) -> None:
    """Prints the best trials and what mattered."""
    from rich.table import Table

    table = Table()
    for index, name in enumerate(_HEADER):
        table.add_column(name, justify="left" if index < 4 else "right")
    shown = ordered(result.trials)[:MOST_PRINTED]
    for trial in shown:
        table.add_row(*_cells(trial))
    console.print(table)
    if len(shown) < len(result.trials):
        console.print(f"{len(result.trials) - len(shown)} more trials are in {MARKDOWN}.")
    for key, share in result.importance.items():
        console.print(f"Importance  {share:4.0%}  {key}")
    console.print(summarise(result), soft_wrap=True)


def ordered(trials: Sequence[Trial]) -> list[Trial]:
    """Returns the complete trials, the best first; then the pruned and the failed ones."""
    rank = {"complete": 0, "pruned": 1, "failed": 2}
    return sorted(
        trials,
        key=lambda trial: (
            rank[trial.state],
            float("inf") if trial.eval_loss is None else trial.eval_loss,
            trial.number,
        ),
    )


_HEADER = ("Trial", "State", "Values", "Note", "Eval loss", "Best epoch", "Epochs", "Time")


def _cells(trial: Trial) -> list[str]:
    note = trial.reason or (f"as trial {trial.same_as}" if trial.same_as else "")
    return [
        str(trial.number),
        trial.state,
        describe_values(trial),
        note,
        _loss(trial),
        str(trial.epoch or "–"),
        str(trial.epochs),
        duration(trial.seconds),
    ]


def _loss(trial: Trial) -> str:
    return number(trial.eval_loss, decimals=_DECIMALS)


def _written(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}: {as_flow(value)}" for key, value in values.items())


def _importance(result: Tuning) -> str:
    if not result.importance:
        return "Too few complete trials."
    rows = [[key, f"{share:.0%}"] for key, share in result.importance.items()]
    meaning = (
        "How much of the variance of the eval loss each key explains (fANOVA, over complete "
        "trials)."
    )
    return f"{meaning}\n\n{_table(('Key', 'Share'), rows, left=1)}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], *, left: int) -> str:
    """Returns a table whose first `left` columns are text, and the others numbers."""
    ruler = ["---"] * left + ["--:"] * (len(header) - left)
    escaped = [[for_comment(cell) for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in [list(header), ruler, *escaped])
