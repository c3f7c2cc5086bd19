"""Commands that fill the answers' database: `score`, and `answers upgrade` and `import`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pipeline.cli.options import (
    NO_SETTINGS,
    RUNS,
    DatabaseOption,
    EventsOption,
    RootOption,
    SetOption,
    pushed_to,
)

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from components.config.beam import Beam
    from serving.answers.scoring.run import Scored, ScoringOptions
    from serving.answers.scoring.versions import PushedVersion
    from serving.answers.settings import AnswersSettings


def _table(name: str, columns: str) -> typer.models.OptionInfo:
    """Returns an option that names a file of who is who."""
    option: typer.models.OptionInfo = typer.Option(
        f"--{name}", metavar="FILE", help=f"CSV, Parquet or JSON lines: {columns}."
    )
    return option


def _column(name: str, default: str, meaning: str) -> typer.models.OptionInfo:
    """Returns an option that names a column of events."""
    option: typer.models.OptionInfo = typer.Option(
        name,
        metavar="COLUMN",
        help=f"The column of events with {meaning}; default: {default}, if there is one.",
        rich_help_panel="What pages show",
    )
    return option


def score(
    events: EventsOption,
    as_of: Annotated[
        list[str] | None,
        typer.Option("--as-of", metavar="now|TIME", help="The moment; repeatable; default: now."),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="URL",
            help="sqlite:///answers.db or postgresql://user@host/name; default: "
            "$MASTERY_ANSWERS_URL.",
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", metavar="FILE", help="Score with the stable version of its runs, or newest."
        ),
    ] = None,
    set_: SetOption = NO_SETTINGS,
    root: RootOption = RUNS,
    model: Annotated[
        Path | None,
        typer.Option("--model", metavar="DIR", help="Instead: score with this pushed version."),
    ] = None,
    server: Annotated[
        str | None,
        typer.Option(
            "--server",
            metavar="URL",
            help="Have that version answer on a server: http://host:8501 or grpc://host:8500.",
        ),
    ] = None,
    learners: Annotated[
        list[str] | None,
        typer.Option(
            "--learners",
            metavar="TABLE",
            help="learner_id with the columns that the model reads; outcomes will do; repeatable.",
        ),
    ] = None,
    only_new: Annotated[
        bool,
        typer.Option("--only-new", help="Only learners with events since the last scoring."),
    ] = False,
    every: Annotated[
        str | None,
        typer.Option(
            "--every", metavar="INTERVAL", help="Also earlier moments, such as 1d, back to --since."
        ),
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="No moment before; with --every.")
    ] = None,
    label_range: Annotated[
        tuple[float, float] | None,
        typer.Option(
            "--label-range", metavar="LOWEST HIGHEST", help="Of a predicted number, e.g. 0 100."
        ),
    ] = None,
    reasons: Annotated[
        Literal["needed", "all", "none"],
        typer.Option(
            "--reasons",
            help="Which answers are explained: those that call for help, all, or none.",
        ),
    ] = "needed",
    answers: Annotated[
        Path | None,
        typer.Option(
            "--answers", metavar="FILE", help="answers.yaml: whom to tell afterwards, and where."
        ),
    ] = None,
    left_out: Annotated[
        Path | None,
        typer.Option(
            "--left-out",
            metavar="FILE",
            help="Who is left out; default: data.left_out.",
        ),
    ] = None,
    component: Annotated[
        str | None,
        _column(
            "--component",
            "the component of data.format, or knowledge_component",
            "the knowledge component",
        ),
    ] = None,
    correct: Annotated[
        str | None, _column("--correct", "correct", "1 for a right answer, 0 for a wrong one")
    ] = None,
    seconds: Annotated[
        str | None, _column("--seconds", "dwell_seconds", "how long an event took")
    ] = None,
) -> None:
    """Score a log: an answer about every learner and unit, into a database.

    Run twice, it writes nothing twice; after a scoring that was killed, run it again.

    Example:
        mastery score --config configs/sample.yaml --events sample/events.parquet
            --learners sample/outcomes.parquet --to sqlite:///answers.db
    """
    from components.command.program import quiet_imports
    from components.config import load_config
    from components.errors import MasteryError

    with quiet_imports():
        from serving.answers.after_scoring import withdraw
        from serving.answers.scoring.activity import ActivityColumns
        from serving.answers.scoring.model import LabelRange
        from serving.answers.scoring.moments import parse_moments
        from serving.answers.scoring.run import ScoringOptions
        from serving.answers.scoring.run import score as score_log

    if label_range is not None and not -math.inf < label_range[0] < label_range[1] < math.inf:
        raise MasteryError("--label-range: expected two finite numbers, the lowest one first.")
    settings = _settings(answers)
    with _version(config, model, set_, root) as version:
        version = version.leaving_out(_left_out(left_out, config, set_, version))
        beam = _beam(config, set_)
        zone = version.config.data.timezone
        options = ScoringOptions(
            events=events,
            moments=parse_moments(as_of or [], zone, every=every, since=since),
            learners=learners or [],
            server=server,
            only_new=only_new,
            columns=ActivityColumns(component, correct, seconds),
            label_range=None if label_range is None else LabelRange(*label_range),
            reasons=reasons,
            words=None if config is None else load_config(config, set_),
            beam=beam.options,
            partitions=beam.partitions,
        )
        with _flink(beam):
            scored = score_log(to, version, options)
        print(_describe(scored, version, options))
        with _opened(to) as engine:
            withdraw(engine, version)
            if settings is not None:
                _tell(engine, settings, version, options)


def _settings(answers: Path | None) -> AnswersSettings | None:
    """Returns who is told, None for nobody; before anything is scored, because it may be wrong."""
    from serving.answers.settings import load_settings

    return None if answers is None else load_settings(answers)


def _left_out(
    given: Path | None, config: Path | None, set_: list[str], version: PushedVersion
) -> str | None:
    """Returns the list: the one given, that of the configuration, or that of the model."""
    from components.config import load_config

    if given is not None:
        return str(given)
    current = None if config is None else load_config(config, set_).data.left_out
    return current or version.config.data.left_out


@contextmanager
def _opened(url: str | None) -> Iterator[Engine]:
    from serving.answers.database import open_database

    engine = open_database(url)
    try:
        yield engine
    finally:
        engine.dispose()


def _tell(
    engine: Engine, settings: AnswersSettings, version: PushedVersion, options: ScoringOptions
) -> None:
    """Writes messages about the answers, and prints how many learners each rule tells about."""
    from datetime import UTC, datetime

    from serving.answers.after_scoring import follow_up

    told = follow_up(engine, settings, version, options.moments, datetime.now(UTC))
    for rule in told:
        print(f"alert {rule.decision.rule.name}: {len(rule.decision.told):,} learners.")
    print("`mastery answers send` sends what waits.")


@contextmanager
def _version(
    config: Path | None, model: Path | None, set_: list[str], root: Path
) -> Iterator[PushedVersion]:
    """Yields the version that scores."""
    from components.errors import MasteryError
    from serving.answers.scoring.versions import newest_version, open_version

    if config is not None and model is None:
        with newest_version(pushed_to(config, set_, root)) as version:
            yield version
    elif model is not None and config is None:
        yield open_version(model)
    else:
        raise MasteryError("expected either --config or --model, which say what scores.")


def _beam(config: Path | None, set_: list[str]) -> Beam:
    """Returns how Beam runs: the configuration's section, or its defaults."""
    from components.config import load_config
    from components.config.beam import Beam

    return Beam() if config is None else load_config(config, set_).beam


@contextmanager
def _flink(beam: Beam) -> Iterator[None]:
    """Has Beam's pipelines in the block run on the Flink cluster that is configured, if one is."""
    import os
    from tempfile import TemporaryDirectory

    from components.node.flink.check import check_flink
    from components.node.flink.job_server import running_job_server

    check_flink(beam)
    with (
        TemporaryDirectory(prefix="mastery-job-server-") as folder,
        running_job_server(beam, Path(folder)) as running,
    ):
        os.environ.update(running.as_environment())
        yield


def _describe(scored: Scored, version: PushedVersion, options: ScoringOptions) -> str:
    """Returns what was done, one fact per line."""
    newest = max(options.moments).strftime("%Y-%m-%d %H:%M:%S UTC")
    others = f" and {len(options.moments) - 1} moments before" if len(options.moments) > 1 else ""
    lines = [
        f"{version.name} {version.number}: {scored.answers:,} answers about {scored.learners:,} "
        f"learners as of {newest}{others}, {scored.new:,} of them new."
    ]
    if scored.skipped:
        reason = "no events since the last scoring" if options.only_new else "no events before"
        lines.append(f"{scored.skipped:,} learners were skipped: {reason}.")
    if scored.unknown:
        lines.append(
            f"{scored.unknown:,} learners have no row in --learners; what the model reads of them "
            "was taken as missing."
        )
    return "\n".join(lines)


def upgrade(db: DatabaseOption = None) -> None:
    """Make the tables of the answers' database, or bring them up to date.

    Example:
        mastery answers upgrade --db postgresql://mastery@db/answers
    """
    from components.database import describe
    from serving.answers.database import open_database

    engine = open_database(db)
    print(f"{describe(engine)}: its tables are those of this version of Mastery.")
    engine.dispose()


def import_(
    db: DatabaseOption = None,
    groups: Annotated[Path | None, _table("groups", "group_id, name, region")] = None,
    learners: Annotated[Path | None, _table("learners", "learner_id, name, group_id")] = None,
    units: Annotated[
        Path | None, _table("units", "unit_id, title, course, prerequisites (a|b)")
    ] = None,
    users: Annotated[Path | None, _table("users", "user, name, role, capacity")] = None,
    memberships: Annotated[Path | None, _table("memberships", "user, group_id")] = None,
) -> None:
    """Bring in who is who: groups, learners, units, and who may see which group.

    All files are written, or none; what they do not mention stays. The users in --memberships then
    see the groups in the file and no others.

    Example:
        mastery answers import --db sqlite:///answers.db --groups groups.csv --learners learners.csv
    """
    from components.errors import MasteryError
    from serving.answers.database import open_database
    from serving.answers.people import import_people

    given = {
        "groups": groups,
        "learners": learners,
        "units": units,
        "users": users,
        "memberships": memberships,
    }
    paths = {name: path for name, path in given.items() if path is not None}
    if not paths:
        options = ", ".join(f"--{name}" for name in given)
        raise MasteryError(f"expected at least one of {options}.")

    engine = open_database(db)
    try:
        imported = import_people(engine, paths)
    finally:
        engine.dispose()
    for name, done in imported.items():
        print(f"{name}: {done.rows:,} rows, {done.changed:,} of them new or changed.")
        if done.removed:
            print(f"{name}: {done.removed:,} others of the same users were removed.")
        if done.ignored:
            print(f"{name}: not read: {', '.join(done.ignored)}.")
