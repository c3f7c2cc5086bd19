"""`mastery alerts`: who is told about which learners."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.options import DatabaseOption, JsonOption, parse_moment

if TYPE_CHECKING:
    from serving.answers.alerts.evaluation import Told
    from serving.answers.alerts.selection import Candidate
    from serving.answers.delivery.notice import NoticeRow
    from serving.answers.settings import AnswersSettings

AnswersOption = Annotated[
    Path, typer.Option("--answers", metavar="FILE", help="The settings: rules and channels.")
]
RuleOption = Annotated[
    list[str] | None,
    typer.Option("--rule", metavar="NAME", help="Only this rule; repeatable; default: all."),
]
AsOfOption = Annotated[
    str | None,
    typer.Option(
        "--as-of",
        metavar="TIME",
        help="As if it were this time, e.g. 2026-03-02T06:00; default: now.",
    ),
]
LeftOutOption = Annotated[
    Path | None,
    typer.Option(
        "--left-out", metavar="FILE", help="Learners who opted out; they are never told about."
    ),
]


def try_(
    answers: AnswersOption,
    db: DatabaseOption = None,
    rule: RuleOption = None,
    as_of: AsOfOption = None,
    left_out: LeftOutOption = None,
    json_: JsonOption = False,
) -> None:
    """Say whom the rules would tell about, and for near misses why not.

    Nothing is written.

    Example:
        mastery alerts test --db answers.db --answers answers.yaml --rule call
    """
    from serving.answers.alerts.evaluation import try_alerts

    settings, told = _evaluate(try_alerts, answers, db, rule, as_of, left_out)
    _print(settings, told, as_json=json_, is_test=True)


def run(
    answers: AnswersOption,
    db: DatabaseOption = None,
    rule: RuleOption = None,
    as_of: AsOfOption = None,
    left_out: LeftOutOption = None,
    json_: JsonOption = False,
) -> None:
    """Evaluate the rules, and put their messages into the outbox.

    `mastery answers send` sends them. Run twice, or killed and run again, it tells nobody twice.

    Example:
        mastery alerts run --db answers.db --answers answers.yaml
    """
    from serving.answers.alerts.evaluation import run_alerts

    settings, told = _evaluate(run_alerts, answers, db, rule, as_of, left_out)
    _print(settings, told, as_json=json_, is_test=False)


def _evaluate(
    evaluate: Callable[..., list[Told]],
    answers: Path,
    db: str | None,
    rule: list[str] | None,
    as_of: str | None,
    left_out: Path | None,
) -> tuple[AnswersSettings, list[Told]]:
    from components.contracts.left_out import LeftOutList
    from serving.answers.database import open_database
    from serving.answers.settings import load_settings

    settings = load_settings(answers)
    example = "time such as 2026-03-02T06:00"
    now = parse_moment("--as-of", as_of, zone=settings.alerts.zone, example=example)
    known = None if left_out is None else LeftOutList.read_file(left_out)
    engine = open_database(db, existing=True)
    try:
        told = evaluate(
            engine, settings, now, rules=rule or (),
            is_left_out=(lambda _: False) if known is None else known.holds,
        )  # fmt: skip
    finally:
        engine.dispose()
    return settings, told


def _print(settings: AnswersSettings, told: list[Told], *, as_json: bool, is_test: bool) -> None:
    import json

    from components.command.console import PlainConsole

    if as_json:
        print(json.dumps([_as_json(item) for item in told], indent=1, ensure_ascii=False))
        return

    console = PlainConsole(soft_wrap=True)
    if not settings.alerts.rules:
        console.print("The settings have no rules.")
    elif not told:
        console.print("There are no answers yet; `mastery score` writes them.")
    for item in told:
        _print_rule(item, settings, console, is_test=is_test)


def _as_json(item: Told) -> dict[str, Any]:
    decision = item.decision
    return {
        "rule": decision.rule.name,
        "told_at": decision.told_at.isoformat(),
        "told": [_named(candidate) for candidate in decision.told],
        "not_told": dict(decision.reasons),
        "near_misses": [
            {**_named(candidate), "reason": reason} for candidate, reason in decision.near_misses
        ],
        "messages": [message.model_dump(mode="json", by_alias=True) for message in item.messages],
        "remarks": item.remarks,
    }


def _named(candidate: Candidate) -> dict[str, Any]:
    return {
        "learner_id": candidate.learner_id,
        "unit_id": candidate.unit_id,
        "group_id": candidate.group_id,
        "need": candidate.need,
    }


def _print_rule(item: Told, settings: AnswersSettings, console: Any, *, is_test: bool) -> None:
    decision = item.decision
    verb = "would tell" if is_test else "told"
    names = ", ".join(decision.rule.to)
    held = ""
    if decision.told and decision.told_at > decision.now:
        local = decision.told_at.astimezone(settings.alerts.zone)
        held = f", held by quiet hours until {local:%Y-%m-%d %H:%M %Z}"
    console.print(
        f"{decision.rule.name}: {verb} {names} about {_count(len(decision.told), 'learner')} in "
        f"{_count(len(item.messages), 'message')}{held}"
    )
    for remark in item.remarks:
        console.print(f"  remark: {remark}")

    if is_test:
        for row in (row for message in item.messages for row in message.rows):
            console.print(f"  {row.learner_id}, {row.unit_id}: {_said(row)}")
    for reason, number in decision.reasons.items():
        console.print(f"  not told: {number} ({reason})")
        if is_test and reason != "held out":  # nobody is named who is
            near = [one for one, why in decision.near_misses if why == reason]
            for candidate in near:
                console.print(f"    {candidate.learner_id}, {candidate.unit_id}")
            if number > len(near):
                console.print(f"    and {number - len(near)} more")


def _count(number: int, name: str) -> str:
    return f"{number} {name}{'s' * (number != 1)}"


def _said(row: NoticeRow) -> str:
    from serving.answers.words import in_words

    if row.class_ is None or row.probability is None:
        return "; ".join(row.reasons)
    return in_words(row.class_, row.probability, "en")
