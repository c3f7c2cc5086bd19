"""Decides whether a model is trained again, and trains it: on the newest spans, from the last one.

The decision is made from what lasts: the version in service, the records of runs and ML Metadata.
So it is the same after a restart, and whoever makes it.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from components.config.outcomes import DerivedOutcomes
from components.config.spans import parse_span, span_kind
from components.contracts.retraining import RetrainDecision
from components.contracts.run_record import Retraining
from pipeline.layout import Layout, check_root
from pipeline.retrain.causes import (
    Cause,
    VersionInService,
    find_drift,
    find_new_data,
    find_worse_quality,
)
from pipeline.run.local import run_pipeline

if TYPE_CHECKING:
    from pathlib import Path

    from components.command.console import PlainConsole
    from components.config.root import Config
    from components.contracts.run_record import RunRecord

WEEK = timedelta(days=7)


def decide(
    config: Config, root: Path, version: VersionInService | None, *, now: datetime | None = None
) -> RetrainDecision:
    """Returns whether a model is to be trained again, and why; changes nothing.

    Args:
        config: what `mastery run` would run; its section `retrain` says when, and on what.
        root: where runs keep everything.
        version: the version in service, if there is one.
        now: the time; default: this moment.

    Raises:
        MasteryError: what decides cannot be found out.
    """
    root = root.resolve()
    check_root(root)
    now = now or datetime.now(UTC)
    rules = config.retrain
    trained_on = retraining_config(config, version)
    cause = _find_cause(config, trained_on, root, version)
    recent = recent_retrainings(config, root, now)
    train = cause.calls and len(recent) < rules.max_per_week
    why = cause.why
    if cause.calls and not train:
        first = (recent[-rules.max_per_week][1] + WEEK).strftime("%Y-%m-%d %H:%M")
        why = (
            f"{why}; but {len(recent)} retrainings were made in the last seven days, and "
            f"retrain.max_per_week allows {rules.max_per_week}; the next may begin on {first} UTC"
        )

    return RetrainDecision(
        name=config.name,
        train=train,
        cause=Retraining(
            when=rules.when,
            why=why,
            columns=[*cause.columns],
            version=version.number if version else None,
            decided_at=now,
        ),
        window=trained_on.data.span,
        replay=trained_on.data.replay,
        starts_from=trained_on.training.start_from,
        this_week=[run for run, _ in recent],
        max_per_week=rules.max_per_week,
    )


def _find_cause(
    config: Config, trained_on: Config, root: Path, version: VersionInService | None
) -> Cause:
    if config.retrain.when == "always":
        return Cause(calls=True, why="retrain.when is always")
    if version is None:
        return Cause(calls=True, why="no version is in service yet")
    if config.retrain.when == "schedule":
        return find_new_data(trained_on, root)
    if config.retrain.when == "quality":
        return find_worse_quality(config, root, version)
    return find_drift(config, root, version.folder)


def recent_retrainings(config: Config, root: Path, now: datetime) -> list[tuple[str, datetime]]:
    """Returns the retrainings of the last seven days, oldest first, by ML Metadata.

    Raises:
        MetadataError: the store cannot be used.
    """
    from pipeline.store.lookups import open_history

    layout = Layout(root, config.name)
    store = config.metadata.with_environment(os.environ)
    if store.store == "sqlite" and not layout.metadata.exists():
        return []
    with open_history(store, layout) as history:
        return history.retrainings(now - WEEK, now)


def retraining_config(config: Config, version: VersionInService | None) -> Config:
    """Returns what a retraining runs: the window, what is replayed, and where the fit starts.

    A log without spans is read whole, and nothing of it is older.
    """
    rules = config.retrain
    data: dict[str, Any] = {}
    training: dict[str, Any] = {}
    if any(map(span_kind, [*config.data.events, *config.data.outcome_files])):
        until = parse_span(config.data.span).until  # a window may be in the past, for a backtest
        data["span"] = rules.window if until is None else _ending(rules.window, until)
        data["replay"] = rules.replay if tells_spans_apart(config) else 0.0
    if not rules.warm_start:
        training = {"warm_start": False, "start_from": None}
    elif version is not None:
        training = {"warm_start": False, "start_from": str(version.folder)}
    return config.model_copy(
        update={
            "data": config.data.model_copy(update=data),
            "training": config.training.model_copy(update=training),
        }
    )


def _ending(window: str, until: object) -> str:
    return str(parse_span(f"last:{parse_span(window).last} until {until}"))


def tells_spans_apart(config: Config) -> bool:
    """Returns whether what is asked about is delivered in spans, so that some of it is older."""
    derives = isinstance(config.data.outcomes, DerivedOutcomes)
    return all(map(span_kind, config.data.events if derives else config.data.outcome_files))


def retrain(
    config: Config,
    root: Path,
    decision: RetrainDecision,
    version: VersionInService | None,
    *,
    console: PlainConsole,
) -> RunRecord:
    """Trains again as decided, by the same pipeline as `mastery run`.

    Raises:
        MasteryError: the run could not start.
    """
    return run_pipeline(
        retraining_config(config, version), root, retraining=decision.cause, console=console
    )


def with_run(decision: RetrainDecision, record: RunRecord) -> RetrainDecision:
    """Returns a decision with what became of it."""
    fields = {name: getattr(record, name) for name in ("run", "state", "pushed_version", "report")}
    return decision.model_copy(update=fields)


def describe(decision: RetrainDecision, *, dry_run: bool = False) -> str:
    """Returns the decision in one line."""
    if not decision.train:
        return f"Not training again: {decision.cause.why}."
    window = parse_span(decision.window)
    spans = "the newest span" if window.last == 1 else f"the newest {window.last} spans"
    replay = f", {decision.replay * 100:.4g}% of older learners" if decision.replay else ""
    start = f", from version {decision.cause.version}" if decision.starts_from else ""
    verb = "Would train again" if dry_run else "Training again"
    return f"{verb} on {spans}{replay}{start}: {decision.cause.why}."
