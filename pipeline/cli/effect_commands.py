"""`mastery effect`: what calling changed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.options import (
    NO_SETTINGS,
    ConfigOption,
    DatabaseOption,
    JsonOption,
    SetOption,
    parse_moment,
)

if TYPE_CHECKING:
    from components.contracts.effect_report import EffectArm, EffectReport


def effect(
    config: ConfigOption,
    answers: Annotated[
        Path,
        typer.Option(
            "--answers", metavar="FILE", help="The settings: what is held out, and what counts."
        ),
    ],
    db: DatabaseOption = None,
    set_: SetOption = NO_SETTINGS,
    since: Annotated[
        str | None,
        typer.Option(
            "--since", metavar="DAY", help="Only lots from then on, e.g. 2026-03-02; default: all."
        ),
    ] = None,
    json_: JsonOption = False,
) -> None:
    """Report what calling changed: the named against those held out by lot.

    Without `effect: {hold_out: ...}` in the settings that cannot be known, and the report says so.

    Example:
        mastery effect --config configs/sample.yaml --answers answers.yaml --db answers.db
    """
    from datetime import UTC, datetime

    from sqlalchemy.orm import Session

    from components.config import load_config
    from serving.answers.database import open_database
    from serving.answers.effect.report import report_effect
    from serving.answers.settings import load_settings

    loaded, settings = load_config(config, set_), load_settings(answers)
    zone, example = settings.alerts.zone, "day such as 2026-03-02"
    begin = None if since is None else parse_moment("--since", since, zone=zone, example=example)
    engine = open_database(db, existing=True)
    try:
        with Session(engine) as session:
            report = report_effect(
                session, settings.effect, loaded.label.classes, name=loaded.name,
                now=datetime.now(UTC), since=begin,
            )  # fmt: skip
    finally:
        engine.dispose()
    if json_:
        print(report.to_json(), end="")
    else:
        _print(report)


def _print(report: EffectReport) -> None:
    from rich.table import Table

    from components.command.console import PlainConsole
    from serving.answers.effect.sentences import described

    console = PlainConsole()
    for sentence in report.words:
        console.print(sentence)
    if report.verdict == "no_hold_out":
        return

    title = "good outcomes" if report.is_share else "mean"
    table = Table("", "named", "held out", box=None, pad_edge=False)
    arms = report.named, report.held_out
    table.add_row("cases", *(f"{arm.cases:,}" for arm in arms))
    table.add_row("with an outcome", *(f"{arm.with_outcome:,}" for arm in arms))
    table.add_row("still waiting", *(f"{arm.waiting:,}" for arm in arms))
    table.add_row("called or helped", *(_share(arm.acted) for arm in arms))
    table.add_row(title, *(_outcome(arm, report) for arm in arms))
    console.print()
    console.print(table)

    if report.actions:
        console.print("\nNamed learners by what was done first. No lot was drawn about that:")
        console.print("who was called may have been in greater need. These are no effects.")
        table = Table("", "cases", title, "said by the model", box=None, pad_edge=False)
        for row in report.actions:
            value = _number(row.outcome, report)
            table.add_row(row.kind.replace("_", " "), f"{row.cases:,}", value,
                          f"{row.probability:.0%}")  # fmt: skip
        console.print(table)

    if len(report.groups) > 1:
        console.print("\nBy group. Of twenty intervals one leaves 0 out by chance.")
        table = Table("", "named", "held out", "difference", box=None, pad_edge=False)
        for group in report.groups:
            estimate = group.difference
            size = "too few" if estimate is None else described(estimate, is_share=report.is_share)
            table.add_row(group.name or "no group", f"{group.named.with_outcome:,}",
                          f"{group.held_out.with_outcome:,}", size)  # fmt: skip
        console.print(table)


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def _outcome(arm: EffectArm, report: EffectReport) -> str:
    return "–" if arm.outcome is None else _number(arm.outcome, report)


def _number(value: float, report: EffectReport) -> str:
    return f"{value:.1%}" if report.is_share else f"{value:.4g}"
