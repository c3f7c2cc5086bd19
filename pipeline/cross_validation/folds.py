"""Runs the whole pipeline once per fold of a log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.config import Config
from components.contracts.cross_validation import CrossValidation, FoldRun
from components.contracts.evaluation import Evaluation
from components.contracts.names import AS_OF, LEARNER, PREDICTIONS_FILE, UNIT
from components.contracts.provenance import DataProvenance
from components.errors import ConfigError, MasteryError
from components.files.atomic import write_text
from components.node.cache_key import code_fingerprint
from pipeline.cross_validation.render import MARKDOWN, render_markdown
from pipeline.cross_validation.table import make_table
from pipeline.layout import Layout, check_root
from pipeline.run.prepare import lock_root
from pipeline.run.series import run_one, seconds_of

if TYPE_CHECKING:
    import polars as pl

    from components.command.console import PlainConsole
    from components.contracts.run_record import RunRecord

# What decides the numbers of a fold.
_CODE = (
    "components.example_gen.executor",
    "components.transform.executor",
    "components.transform.preprocessing",
    "components.trainer.run",
    "components.evaluator.executor",
)


def cross_validate(config: Config, root: Path, *, console: PlainConsole) -> CrossValidation:
    """Runs every fold of a log in a root of its own, and writes the table of all of them.

    Nothing is pushed, and a failed gate ends nothing. The first fold that fails does: without it
    there is no table. The same call later takes the finished folds from their caches.

    Args:
        config: what `mastery run` would run, with `data.splits.folds`; its `fold` is not read.
        root: the folder that keeps everything.
        console: where the runs are shown.

    Returns:
        The table, which is also in `cross-validation.json` and `cross-validation.md` below `root`.

    Raises:
        ConfigError: no folds are configured.
        SeriesError: a fold failed.
        SeriesInterruptedError: Ctrl-C, or the process was asked to end.
        MasteryError: a run could not start.
    """
    count = config.data.splits.folds
    if count is None:
        raise ConfigError(
            "data.splits.folds: expected the number of folds, found none; set it, or give --folds."
        )
    root = root.resolve()
    check_root(root)
    layout = Layout(root, config.name)

    with lock_root(layout.cross_validation):
        done: list[_Fold] = []
        for number in range(count):
            console.print(f"\nFold {number} ({number + 1} of {count})")
            done.append(_run_fold(config, layout, number, console))
        result = _conclude(config, done)

        page = layout.cross_validation / MARKDOWN
        page.unlink(missing_ok=True)  # never beside the numbers of another call
        result.write(layout.cross_validation)
        write_text(page, render_markdown(result))
    return result


def fold_config(config: Config, number: int) -> Config:
    """Returns the configuration of a fold.

    It pushes nothing. There is no warm start: a model from an earlier call in the same root may
    have been trained on the learners of this fold. Metadata stays in the fold's root, as a
    configured server is for the models that are served.
    """
    values: dict[str, Any] = config.model_dump(mode="json", by_alias=True)
    values["data"]["splits"]["fold"] = number
    values["push"] |= {"enabled": False, "directory": None}
    values["training"]["warm_start"] = False
    # No dump holds `metadata`, so it gets its default: SQLite in the run's root.
    return Config.model_validate(values)


@dataclass(frozen=True)
class _Fold:
    """A fold that has run: its record, how long making it took, and what it measured."""

    number: int
    record: RunRecord
    seconds: float
    evaluation: Evaluation
    keys: pl.DataFrame  # learner, unit and `as_of` of each outcome in the test split


def _run_fold(config: Config, layout: Layout, number: int, console: PlainConsole) -> _Fold:
    root = layout.fold(number)
    record = run_one(
        fold_config(config, number),
        root,
        name=f"fold {number}",
        kept=_kept(number),
        is_first=number == 0,
        console=console,
    )
    assert record.metrics is not None, "a run without metrics has failed"
    return _Fold(
        number=number,
        record=record,
        seconds=seconds_of(record, root),
        evaluation=Evaluation.read_file(Path(record.metrics)),
        keys=_read_keys(Path(record.metrics).parent / PREDICTIONS_FILE),
    )


def _kept(number: int) -> str:
    """Returns which folds are done when a fold ends too early, and how to go on."""
    if number == 0:
        return "No fold is done yet. The same command reuses the nodes that finished."
    done = "Fold 0 is" if number == 1 else f"Folds 0 to {number - 1} are"
    return f"{done} done and kept. The same command goes on with fold {number}."


def _read_keys(predictions: Path) -> pl.DataFrame:
    import polars as pl

    return pl.read_parquet(predictions, columns=[LEARNER, UNIT, AS_OF])


def _conclude(config: Config, folds: Sequence[_Fold]) -> CrossValidation:
    """Returns the table of all folds.

    Raises:
        MasteryError: they do not belong together.
    """
    keys = _join_keys(folds)
    data = folds[0].record.data or DataProvenance()
    for fold in folds:
        found = fold.record.data or DataProvenance()
        if found.fingerprint != data.fingerprint:
            raise MasteryError(
                f"the log changed while the folds ran: fold {fold.number} read other data than "
                "fold 0. The same command runs the older folds again."
            )

    table = make_table([fold.evaluation for fold in folds])
    return CrossValidation(
        name=config.name,
        task=config.label.task,
        by=config.data.splits.by,
        folds=[_describe(fold) for fold in folds],
        learners=keys[LEARNER].n_unique(),
        outcomes=keys.height,
        seconds=sum(fold.seconds for fold in folds),
        overall=table.overall,
        slices=table.slices,
        simple_models=table.simple_models,
        version=version("mastery"),
        code=code_fingerprint(*_CODE),
        config=fold_config(config, 0).fingerprint,
        data=data,
    )


def _join_keys(folds: Sequence[_Fold]) -> pl.DataFrame:
    """Returns the outcomes of all test splits, each of which is in one of them.

    Raises:
        MasteryError: one is in two.
    """
    import polars as pl

    keys = pl.concat([fold.keys.with_columns(fold=pl.lit(fold.number)) for fold in folds])
    twice = keys.filter(keys.select(LEARNER, UNIT, AS_OF).is_duplicated())
    if twice.height:
        learner, unit, as_of, _ = twice.row(0)
        numbers = twice.filter(
            (pl.col(LEARNER) == learner) & (pl.col(UNIT) == unit) & (pl.col(AS_OF) == as_of)
        )["fold"].to_list()
        raise MasteryError(
            f"expected every outcome in the test split of one fold, found learner {learner}, unit "
            f"{unit}, as_of {as_of} in folds {numbers}."
        )
    return keys


def _describe(fold: _Fold) -> FoldRun:
    return FoldRun(
        fold=fold.number,
        run=fold.record.run,
        gates_passed=fold.record.state == "passed",
        learners=fold.keys[LEARNER].n_unique(),
        outcomes=fold.keys.height,
        units=fold.keys[UNIT].unique().sort().to_list(),
        seconds=fold.seconds,
        metrics=str(fold.record.metrics),
        report=fold.record.report,
    )
