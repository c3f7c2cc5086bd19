"""`mastery watch`: everything there is to know of a model in service, made for a timer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from pipeline.cli.options import (
    NO_SETTINGS,
    RUNS,
    ConfigOption,
    DatabaseOption,
    JsonOption,
    ModelsOption,
    NowOption,
    OfflineOption,
    RootOption,
    SetOption,
    fetch_new,
    open_folder,
    parse_moment,
)

if TYPE_CHECKING:
    from components.config import Config
    from components.contracts.drift_report import DriftReport
    from components.contracts.quality_report import QualityReport
    from components.contracts.watch_report import (
        Finding,
        FindingKind,
        VersionInService,
        WatchReport,
    )
    from serving.answers.settings import AnswersSettings
    from serving.models.storage import Storage

ATTENTION = 3  # exit code: something calls for attention
_SUFFIX = ".prom"  # node_exporter reads no other files

_Measured = TypeVar("_Measured")


def watch(
    config: ConfigOption,
    set_: SetOption = NO_SETTINGS,
    root: RootOption = RUNS,
    models: ModelsOption = None,
    db: DatabaseOption = None,
    answers: Annotated[
        Path | None,
        typer.Option(
            "--answers",
            metavar="FILE",
            help="answers.yaml: its watch.to names channels that are told; needs --db.",
        ),
    ] = None,
    metrics: Annotated[
        Path | None,
        typer.Option(
            "--metrics",
            metavar="FILE",
            help="Also write metrics for Prometheus, for node_exporter: a path that ends in .prom.",
        ),
    ] = None,
    drift: Annotated[
        bool, typer.Option("--drift/--no-drift", help="Whether to compare the log.")
    ] = True,
    now: NowOption = None,
    json_: JsonOption = False,
    offline: OfflineOption = False,
) -> None:
    """Look at a model in service once: drift, quality, the log's age, versions.

    Writes watch.json into the root. What was not found the time before is told by notify.webhook
    and notify.email of the configuration, and by the channels of --answers. Without --db, quality
    is left out.

    Exit code 0: all is well; 2: an error; 3: something calls for attention.

    Example:
        mastery watch --config configs/sample.yaml --db answers.db --metrics mastery.prom
    """
    from components.command.console import PlainConsole
    from components.command.program import write_data
    from components.config import load_config
    from components.files.atomic import write_text
    from pipeline.layout import Layout
    from pipeline.watch.prometheus import as_metrics
    from pipeline.watch.show_watch import print_watch
    from serving.answers.settings import load_settings

    _expect_suffix(metrics)
    loaded = load_config(config, set_)
    settings = load_settings(answers) if answers else None
    moment = parse_moment("--now", now)
    if not offline and not json_:
        fetch_new(loaded)

    folder = Layout(root.resolve(), loaded.name).runs.parent
    storage = open_folder(models, config, set_, root)
    report = _measure(loaded, storage, root, db, moment, drift=drift)
    report = _tell(report, loaded, folder, db, settings)
    report.write(folder)
    if metrics is not None:
        write_text(metrics, as_metrics(report))

    if json_:
        write_data(report.to_json())
    else:
        print_watch(report, moment, PlainConsole())
    raise typer.Exit(ATTENTION if report.calls_for_attention else 0)


def _expect_suffix(metrics: Path | None) -> None:
    from components.errors import MasteryError

    if metrics is not None and metrics.suffix != _SUFFIX:
        raise MasteryError(
            f"--metrics {metrics}: expected a path that ends in {_SUFFIX}: node_exporter reads no "
            "other files."
        )


def _measure(
    config: Config,
    storage: Storage,
    root: Path,
    db: str | None,
    now: datetime,
    *,
    drift: bool,
) -> WatchReport:
    """Measures everything; what cannot be measured is a finding, and the rest is still measured."""
    import os
    from datetime import UTC

    from components.contracts.watch_report import LogFreshness, WatchReport
    from pipeline.watch.findings import of_drift, of_freshness, of_quality, of_versions
    from pipeline.watch.log_freshness import measure_freshness
    from serving.answers.database import URL_VARIABLE

    findings: list[Finding] = []
    notes: list[str] = []
    versions = [*_versions(storage)]
    findings += of_versions(versions)

    log = _or_finding("freshness", lambda: measure_freshness(config), findings)
    log = log or LogFreshness(max_age_days=config.watch.max_log_age_days, note="it was not read")
    findings += of_freshness(log, now)

    compared: DriftReport | None = None
    if not drift:
        notes.append("drift was not measured: --no-drift")
    elif not any(item.label in ("stable", "newest") for item in versions):
        notes.append("drift was not measured: no version is in service")
    else:
        compared = _or_finding("drift", lambda: _drift(config, storage, root), findings)
        findings += of_drift(compared) if compared else []

    quality: QualityReport | None = None
    if db or os.environ.get(URL_VARIABLE):
        quality = _or_finding("quality", lambda: _quality(db, now, config.watch.weeks), findings)
        findings += of_quality(quality, config, versions) if quality else []
    else:
        notes.append("quality was not measured: no database of answers is given (--db)")

    return WatchReport(
        name=config.name,
        as_of=now.astimezone(UTC).isoformat(timespec="seconds"),
        findings=findings,
        log=log,
        versions=versions,
        drift=compared,
        quality=quality,
        notes=notes,
    )


def _or_finding(
    kind: FindingKind, measure: Callable[[], _Measured], findings: list[Finding]
) -> _Measured | None:
    """Returns what was measured; an error that a user can fix becomes a finding."""
    from components.contracts.watch_report import Finding
    from components.errors import MasteryError

    try:
        return measure()
    except MasteryError as error:
        name = "The log's age" if kind == "freshness" else kind.capitalize()
        text = f"{name} could not be measured. {error}"
        findings.append(Finding(kind=kind, key=f"{kind} was not measured", text=text))
        return None


def _drift(config: Config, storage: Storage, root: Path) -> DriftReport:
    from pipeline.watch.drift import measure_drift
    from serving.models.in_service import open_in_service

    with open_in_service(storage) as folder:
        return measure_drift(config, version=folder, root=root)


def _quality(db: str | None, now: datetime, weeks: int) -> QualityReport:
    from serving.answers.database import open_database
    from serving.answers.quality import measure_quality

    engine = open_database(db, upgrade=False)
    try:
        return measure_quality(engine, now=now, weeks=weeks)
    finally:
        engine.dispose()


def _versions(storage: Storage) -> Iterator[VersionInService]:
    """Yields what answers, and what was stopped."""
    from components.contracts.watch_report import VersionInService
    from serving.models.changes import current_state, newest_name
    from serving.models.in_service import newest_not_stopped

    state, _ = current_state(storage)
    name = state.name or newest_name(storage)
    canary = state.share or 0
    if state.stable is not None:
        yield VersionInService(version=state.stable, label="stable", share=100 - canary)
        if state.canary is not None:
            yield VersionInService(version=state.canary, label="canary", share=canary)
    elif state.out_of_service is None:
        newest = newest_not_stopped(storage, state)
        if newest is not None:
            yield VersionInService(version=newest, label="newest", share=100)
    for stop in state.stopped:
        yield VersionInService(version=stop.version, label="stopped", stopped=stop.describe(name))


def _tell(
    report: WatchReport,
    config: Config,
    folder: Path,
    db: str | None,
    settings: AnswersSettings | None,
) -> WatchReport:
    """Tells people what was not found the time before; returns the report with who was told."""
    import sys

    from pipeline.run.notify import Notification, deliver

    before = _told_before(folder)
    known = [item.key for item in report.findings if item.key in before]
    new = [item for item in report.findings if item.key not in before]
    if not new:
        return report.model_copy(update={"told": known})

    channels = settings.watch.to if settings else []
    has_notify = bool(config.notify.webhook or config.notify.email)
    if not channels and not has_notify:  # nobody is told; whoever is named later still is
        return report.model_copy(update={"told": known})
    texts = [item.text for item in new]
    problems: list[str] = []
    if "attention" in config.notify.on:
        note = Notification(name=config.name, state="attention", findings=texts)
        problems = deliver(config.notify, note)
    if settings and channels:
        _enqueue(report, texts, db, settings)
    for problem in problems:
        print(f"mastery: {problem}", file=sys.stderr)
    told = known if problems else [*known, *(item.key for item in new)]
    return report.model_copy(update={"told": told})


def _told_before(folder: Path) -> list[str]:
    """Returns the keys of the findings that people know; none without a report that can be read."""
    from components.contracts.contract import ContractError
    from components.contracts.watch_report import WatchReport

    try:
        return WatchReport.read(folder).told
    except ContractError:
        return []


def _enqueue(
    report: WatchReport, texts: list[str], db: str | None, settings: AnswersSettings
) -> None:
    """Puts a message for each channel into the outbox; `mastery answers send` sends it."""
    from sqlalchemy.orm import Session

    from serving.answers.database import open_database
    from serving.answers.delivery.notice import Notice
    from serving.answers.delivery.outbox import enqueue

    language = settings.alerts.language
    subject = f"Mastery, {report.name}: the model calls for attention"
    notice = Notice(subject=subject, text="\n".join(texts), rule="watch", language=language)
    engine = open_database(db, existing=True)
    try:
        with Session(engine) as session, session.begin():
            for channel in settings.watch.to:
                key = f"watch/{report.name}/{report.as_of}/{channel}"
                enqueue(session, key, channel, notice.model_dump(mode="json"), [])
    finally:
        engine.dispose()
