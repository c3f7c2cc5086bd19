"""`mastery learner`: what is kept of one learner, and the right to have it erased."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.options import (
    NO_SETTINGS,
    RUNS,
    ConfigOption,
    DatabaseOption,
    RootOption,
    SetOption,
)

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from components.config import Config
    from components.contracts.left_out import LeftOutList
    from pipeline.learners.log_files import LogRows
    from pipeline.learners.traces import Trace


def _an_id(learner: str) -> str:
    """Refuses an empty id, which is a part of every text."""
    if not learner.strip():
        raise typer.BadParameter(f"expected the id of a learner, found {learner!r}")
    return learner


def _ids(learners: list[str] | None) -> list[str] | None:
    return None if learners is None else [_an_id(learner) for learner in learners]


LearnerArgument = Annotated[
    str, typer.Argument(metavar="ID", help="The learner's id in the log.", callback=_an_id)
]
ListOption = Annotated[
    Path | None,
    typer.Option("--list", metavar="FILE", help="The list; default: data.left_out of --config."),
]
OptionalConfig = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="The configuration, a YAML file.")
]


def show(
    learner: LearnerArgument,
    config: ConfigOption,
    set_: SetOption = NO_SETTINGS,
    root: RootOption = RUNS,
    db: DatabaseOption = None,
) -> None:
    """Print where a learner is kept, in the log, runs and database.

    Also which pushed models were trained with the learner.

    Example:
        mastery learner show learner-17 --config configs/sample.yaml --db answers.db
    """
    from components.config import load_config

    loaded = load_config(config, set_)
    found = _search(loaded, root, learner)
    rows = _count_in_database(db, learner)

    for item in found.log:
        print(f"log         {item.rows:>8,} rows   {item.path}")
    for trace in found.traces:
        print(f"{trace.kind:<11} {trace.rows:>8,} rows   {trace.path}")
    for table, count in rows.items():
        print(f"database    {count:>8,} rows   {table}")
    _print_models(found.models)
    if not (found.log or found.traces or rows):
        print("nothing is kept of this learner")
    _print_list_entry(loaded, learner)


def export(
    learner: LearnerArgument,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="A file of JSON.")],
    db: DatabaseOption = None,
) -> None:
    """Write all that the database holds of a learner, to hand it over.

    Example:
        mastery learner export learner-17 --db answers.db --out learner-17.json
    """
    import json

    from components.files.atomic import write_text
    from serving.answers.database import open_database
    from serving.answers.learner_record import export_rows

    rows = export_rows(open_database(db, upgrade=False), learner)
    write_text(out, json.dumps({"learner_id": learner, "tables": rows}, indent=1, default=str))
    count = sum(map(len, rows.values()))
    print(f"{count:,} rows of {len(rows)} tables in {out}")


def opt_out(
    learners: Annotated[
        list[str] | None,
        typer.Argument(metavar="ID...", help="The learners' ids in the log.", callback=_ids),
    ] = None,
    ids: Annotated[
        Path | None,
        typer.Option("--ids", metavar="FILE", help="A file with further ids, one per line."),
    ] = None,
    list_: ListOption = None,
    config: OptionalConfig = None,
    again: Annotated[
        bool, typer.Option("--undo", help="They take part again; those erased do not.")
    ] = False,
) -> None:
    """Leave learners out of the next training and scoring.

    Without ids, makes an empty list if there is none. The list holds digests, no ids.

    Example:
        mastery learner opt-out learner-17 --config configs/sample.yaml
    """
    path = _list_path(list_, config)
    names = [*(learners or []), *(_read_ids(ids) if ids else [])]
    with _locked(path):
        known = _read_list(path)
        changed = known.opting_in(names) if again else known.adding(names, "opted out")
        _write_list(changed, path)
    print(f"{len(changed.learners):,} learners are left out, by {path}")


def erase(
    learner: LearnerArgument,
    config: ConfigOption,
    set_: SetOption = NO_SETTINGS,
    root: RootOption = RUNS,
    db: DatabaseOption = None,
    list_: ListOption = None,
    prediction_log: Annotated[
        str | None,
        typer.Option(
            "--prediction-log",
            metavar="DIR_OR_URL",
            help="The server's log of answers: rows about inputs of the learner go, too.",
        ),
    ] = None,
    rewrite_log: Annotated[
        bool,
        typer.Option("--rewrite-log", help="Also remove the learner's rows from the log's files."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Erase a learner: from the database, and from the files of all runs.

    The learner is put on the list first, so that the next run leaves them out. Examples,
    predictions and statistics of earlier runs get a pseudonym in place of the id; nothing leads
    back from it. Stop it anywhere and start it again: it does the rest.

    Exit code 1: the id is still in a file, which is named.

    Example:
        mastery learner erase learner-17 --config configs/sample.yaml --db answers.db
    """
    from components.config import load_config
    from pipeline.learners.log_files import remove_rows
    from pipeline.learners.traces import erase_traces, new_pseudonym

    loaded = load_config(config, set_)
    path = _list_path(list_, config, loaded)
    found = _search(loaded, root, learner)
    engine = _open(db)
    if not yes:
        typer.confirm(f"Erase {learner} from database and runs? This cannot be undone.", abort=True)

    if prediction_log is not None:  # first: it needs what is erased below
        _erase_in_prediction_log(prediction_log, loaded, engine, learner)
    with _locked(path):
        _write_list(_read_list(path).adding([learner], "erased"), path)
    if engine is not None:
        _erase_in_database(engine, learner)
    left = erase_traces(found.traces, learner, new_pseudonym())
    print(f"runs       {len(found.traces) - len(left):,} files hold a pseudonym now")
    with _no_fetch(loaded) if rewrite_log else nullcontext():
        for item in found.log:
            if rewrite_log:
                remove_rows(item, learner, loaded.data.columns.learner_id)
            done = "rows removed from" if rewrite_log else "rows stay in"
            advice = "" if rewrite_log else " (--rewrite-log removes them)"
            print(f"log        {item.rows:,} {done} {item.path}{advice}")
    print(f"list       {path}: the next run leaves the learner out")
    if loaded.data.left_out is None:
        print(f"           set `data: {{left_out: {path}}}` in {config}, or no run reads it")
    _print_models(found.models)

    for trace in left:
        print(f"left       {trace.path} still holds the id")
    if left:
        raise typer.Exit(1)


@dataclass(frozen=True)
class _Found:
    """What files hold of a learner.

    Attributes:
        log: files of the log.
        traces: files below the root.
        models: pushed versions whose training or evaluation split has the learner.
    """

    log: list[LogRows]
    traces: list[Trace]
    models: list[Path]


def _search(config: Config, root: Path, learner: str) -> _Found:
    from components.command.program import quiet_imports

    with quiet_imports():
        from pipeline.layout import Layout
        from pipeline.learners.log_files import find_rows
        from pipeline.learners.models import models_trained_with
        from pipeline.learners.traces import find_traces

    data = config.data
    tables = {"events": data.events, "outcomes": data.outcome_files}
    log = find_rows(
        tables, learner, data.columns.learner_id, span=data.span, mapping=data.event_mapping
    )
    layout = Layout(root.resolve(), config.name)
    traces = find_traces(layout.root / config.name, learner)
    return _Found(log, traces, models_trained_with(traces, config, layout))


@contextmanager
def _no_fetch(config: Config) -> Iterator[None]:
    """Keeps `mastery fetch` from changing files that are rewritten."""
    if config.data.fetch is None:
        yield
        return
    from components.config.fetch import fetch_folder
    from components.platforms.fetch.progress import locked

    with locked(fetch_folder(config.data.events[0]).path):
        yield


def _open(db: str | None) -> Engine | None:
    import os

    from serving.answers.database import URL_VARIABLE, open_database

    if db is None and not os.environ.get(URL_VARIABLE):
        return None
    return open_database(db, upgrade=False)


def _count_in_database(db: str | None, learner: str) -> dict[str, int]:
    from serving.answers.learner_record import count_rows

    engine = _open(db)
    return count_rows(engine, learner) if engine is not None else {}


def _erase_in_database(engine: Engine, learner: str) -> None:
    from serving.answers.learner_record import erase_rows

    erased = erase_rows(engine, learner)
    tables = ", ".join(f"{count:,} of {table}" for table, count in erased.items())
    print(f"database   rows erased: {tables or 'none'}")


def _erase_in_prediction_log(log: str, config: Config, engine: Engine | None, learner: str) -> None:
    from components.command.program import quiet_imports

    with quiet_imports():
        from serving.answers.learner_inputs import asked_about, input_hashes
        from serving.prediction_log.log_store import delete_by_hashes

    asked = [] if engine is None else asked_about(engine, learner)
    erased = delete_by_hashes(log, input_hashes(config, learner, asked))
    print(f"answered   {erased:,} rows erased from the prediction log {log}")


def _print_models(models: list[Path]) -> None:
    for model in models:
        print(f"trained    {model} was trained with this learner; it holds weights, no ids")


def _print_list_entry(config: Config, learner: str) -> None:
    from components.contracts.left_out import read_left_out

    left_out = read_left_out(config.data.left_out)
    if left_out is None:
        return
    digest = left_out.digest(learner)
    for item in left_out.learners:
        if item.digest == digest:
            print(f"left out   {item.reason} on {item.at:%Y-%m-%d}")


def _list_path(list_: Path | None, config: Path | None, loaded: Config | None = None) -> Path:
    from components.config import load_config
    from components.errors import MasteryError

    if list_ is not None:
        return list_
    if loaded is None and config is not None:
        loaded = load_config(config)
    if loaded is None or loaded.data.left_out is None:
        raise MasteryError(
            "expected --list, or a --config with data.left_out: the file that says who is left "
            "out, such as left-out.json."
        )
    return Path(loaded.data.left_out)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Lets one process change a list at a time: of two changes at once, one would be lost."""
    import fcntl

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _read_list(path: Path) -> LeftOutList:
    from components.contracts.left_out import LeftOutList

    return LeftOutList.read_file(path) if path.exists() else LeftOutList.empty()


def _write_list(known: LeftOutList, path: Path) -> None:
    from components.files.atomic import write_text

    write_text(path, known.to_json())


def _read_ids(path: Path) -> list[str]:
    from components.errors import MasteryError

    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise MasteryError(f"{path}: could not be read ({error}).") from None
    return [line for line in lines if line.strip()]
