"""Runs a configuration on the spans of the past, one after the other, as if each were the newest.

Each span has a root of its own, and nothing in it depends on later ones: a fit starts from the
version that was in service then, and the gates compare with that version. Both are named by their
folders. So the same call later takes every run from its cache.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib.metadata import version as version_of
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.config.metrics import foremost_metrics
from components.config.outcomes import DerivedOutcomes
from components.config.root import Config
from components.contracts.backtest import Backtest, BacktestSpan, Measured
from components.contracts.evaluation import Evaluation
from components.errors import ConfigError
from components.event_log.spans import choose_spans
from components.files.atomic import write_text
from pipeline.backtest.render import MARKDOWN, render_markdown
from pipeline.layout import Layout, check_root
from pipeline.retrain.causes import VersionInService
from pipeline.retrain.retrain import retraining_config, tells_spans_apart
from pipeline.run.prepare import lock_root
from pipeline.run.series import run_one, seconds_of

if TYPE_CHECKING:
    from components.command.console import PlainConsole

EVERY = 1_000_000  # more spans than any log has


def backtest(config: Config, root: Path, spans: int, *, console: PlainConsole) -> Backtest:
    """Trains on each of the newest spans but the last, as of then, and asks about the span after.

    Each model is trained and judged as `mastery retrain` would with `retrain.when: always`. One
    that fails its gates is not pushed, and the version before stays in service.

    Args:
        config: what `mastery run` would run.
        root: the folder that keeps everything.
        spans: how many models; fewer where the log has fewer spans.
        console: where the runs are shown.

    Returns:
        The table, which is also in `backtest.json` and `backtest.md` below `root`.

    Raises:
        ConfigError: the log has no spans.
        LogError: files are missing, or there are fewer than two spans.
        SeriesError: a run failed.
        SeriesInterruptedError: Ctrl-C, or the process was asked to end.
        MasteryError: a run could not start.
    """
    root = root.resolve()
    check_root(root)
    names = _names_of_spans(config)[-spans - 1 :]
    folder = Layout(root, config.name).backtest / digest_of(config)

    with lock_root(folder):
        done: list[BacktestSpan] = []
        version: VersionInService | None = None
        for number, (name, after) in enumerate(pairwise(names)):
            console.print(f"\nAs of {name} ({number + 1} of {len(names) - 1})")
            found, version = _run_span(config, folder, (name, after), done, version, console)
            done.append(found)
        result = _conclude(config, done)

        page = folder / MARKDOWN
        page.unlink(missing_ok=True)  # never beside the numbers of another call
        result.write(folder)
        write_text(page, render_markdown(result))
    return result


def digest_of(config: Config) -> str:
    """Returns what the runs of a configuration depend on, as a short digest."""
    text = f"{config.fingerprint} {config.section_json('retrain')}"
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _names_of_spans(config: Config) -> list[str]:
    if not tells_spans_apart(config):
        raise ConfigError(
            "data: expected {SPAN} or {YYYY}, {MM}, {DD} in every path of outcomes, or of events "
            "that they are derived from, since a backtest goes through the spans of a log; found "
            "a path without."
        )
    patterns = [*config.data.events, *config.data.outcome_files]
    names = choose_spans(patterns, f"last:{EVERY}").names
    if len(names) < 2:
        raise ConfigError(
            "data: expected two spans or more, to train on one and ask about the one after; found "
            f"{len(names)}."
        )
    return names


def span_config(config: Config, span: str, version: VersionInService | None) -> Config:
    """Returns the configuration of a span.

    It pushes into the span's own root. Metadata stays there, as a configured server is for the
    models that are served.

    Args:
        config: what `mastery run` would run.
        span: its name, the newest that is known.
        version: what was in service then, which the fit starts from and the gates compare with.
    """
    values: dict[str, Any] = config.model_dump(mode="json", by_alias=True)
    values["data"]["span"] = f"last:1 until {span}"
    values["push"] |= {"enabled": True, "directory": None}
    values["training"] |= {"warm_start": False}
    if version is not None:
        values["evaluation"]["baseline"] = str(version.folder)
    # No dump holds `metadata`, so it gets its default: SQLite in the run's root.
    return retraining_config(Config.model_validate(values), version)


def _run_span(
    config: Config,
    folder: Path,
    names: tuple[str, str],
    done: Sequence[BacktestSpan],
    version: VersionInService | None,
    console: PlainConsole,
) -> tuple[BacktestSpan, VersionInService | None]:
    """Returns what became of a span, and the version in service after it."""
    name, after = names
    root = folder / name
    several = "1 span is" if len(done) == 1 else f"{len(done)} spans are"
    kept = f"{several} done and kept." if done else "No span is done yet."
    record = run_one(
        span_config(config, name, version),
        root,
        name=f"span {name}",
        kept=f"{kept} The same command goes on with span {name}.",
        is_first=not done,
        console=console,
    )
    assert record.metrics is not None, "a run without metrics has failed"
    judged = Evaluation.read_file(Path(record.metrics))
    passed = record.state == "passed" and record.pushed_version is not None
    in_service = done[-1].in_service if done else None
    if passed:
        pushed = Path(str(record.pushed_version))
        version, in_service = VersionInService(int(pushed.name), pushed), name

    metrics = foremost_metrics(judged.task)
    found = BacktestSpan(
        span=name,
        run=record.run,
        gates_passed=passed,
        failed_gates=[gate.text for gate in judged.failed_gates],
        judged={metric: judged.overall.value_of(metric) for metric in metrics},
        in_service=in_service,
        after=after,
        seconds=seconds_of(record, root),
        report=record.report,
        **({} if version is None else _ask(config, version, names, metrics)),
    )
    return found, version


def _ask(
    config: Config, version: VersionInService, names: tuple[str, str], metrics: Sequence[str]
) -> dict[str, Any]:
    """Asks the version in service about the outcomes of the span after; returns fields of a row.

    They see the events of the window before as well. Derived outcomes are those of the events of
    the span after alone.
    """
    from pipeline.evaluate_log import evaluate_log

    data = config.data
    name, after = names
    patterns = [*data.events, *data.outcome_files]
    alone = choose_spans(patterns, f"last:1 until {after}")
    window = span_config(config, name, None).data.span
    length = len(choose_spans(patterns, window).spans) + 1
    derives = isinstance(data.outcomes, DerivedOutcomes)
    seen = alone if derives else choose_spans(patterns, f"last:{length} until {after}")

    found = evaluate_log(version.folder, seen.fill(data.events), alone.fill(data.outcome_files))
    overall = found.overall
    return {
        "outcomes": overall.examples,
        "metrics": {
            metric: Measured(value=overall.value_of(metric), interval=overall.interval_of(metric))
            for metric in metrics
        },
    }


def _conclude(config: Config, done: list[BacktestSpan]) -> Backtest:
    rules = config.retrain
    return Backtest(
        name=config.name,
        task=config.label.task,
        window=rules.window,
        replay=rules.replay,
        warm_start=rules.warm_start,
        confidence=config.evaluation.confidence if config.evaluation.draws else None,
        spans=done,
        config=digest_of(config),
        version=version_of("mastery"),
    )
