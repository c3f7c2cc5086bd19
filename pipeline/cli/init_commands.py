"""`mastery init`: a first configuration of a log, proposed from what the log holds."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.options import NO_SETTINGS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.proposal.session import Asker


class _Silent:
    """Takes every default: for scripts, and where nobody can answer."""

    def ask(self, question: str, default: str, choices: Sequence[str] = ()) -> str:  # noqa: ARG002
        return default


class _Terminal:
    """Asks on the terminal, with the default in brackets."""

    def ask(self, question: str, default: str, choices: Sequence[str] = ()) -> str:
        if len(choices) == 1:
            return default
        while True:
            shown = f"{question} ({', '.join(choices)})" if choices else question
            answer = str(typer.prompt(shown, default=default)).strip()
            if not choices or answer in choices:
                return answer
            typer.echo(f"Expected one of {', '.join(choices)}, found {answer!r}.")


def _asker(yes: bool) -> Asker:
    on_terminal = sys.stdin is not None and sys.stdin.isatty()
    return _Terminal() if on_terminal and not yes else _Silent()


def init(
    log: Annotated[
        list[str] | None,
        typer.Argument(metavar="LOG", help="Events: files, folders or patterns."),
    ] = None,
    outcomes: Annotated[
        list[str],
        typer.Option("--outcomes", help="A table of outcomes or grades; repeatable."),
    ] = NO_SETTINGS,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FILE", help="The configuration to write; default: NAME.yaml."
        ),
    ] = None,
    name: Annotated[str, typer.Option("--name", help="Name of the pipeline and the model.")] = "",
    format_: Annotated[
        str, typer.Option("--format", help="standard, moodle, open_edx, xapi or caliper.")
    ] = "",
    learner: Annotated[str, typer.Option("--learner", metavar="COLUMN", help="The learner.")] = "",
    unit: Annotated[
        str, typer.Option("--unit", metavar="COLUMN", help="What mastery is judged for.")
    ] = "",
    time: Annotated[str, typer.Option("--time", metavar="COLUMN", help="When it happened.")] = "",
    event_type: Annotated[
        str, typer.Option("--event-type", metavar="COLUMN", help="The kind of an event.")
    ] = "",
    label: Annotated[
        str, typer.Option("--label", metavar="COLUMN", help="The column of outcomes to predict.")
    ] = "",
    outcome: Annotated[
        str,
        typer.Option(
            "--outcome",
            metavar="HOW",
            help="Derive outcomes: grade, completion, next_answers or inactivity.",
        ),
    ] = "",
    timezone: Annotated[
        str, typer.Option("--timezone", metavar="ZONE", help="Of times without one.")
    ] = "UTC",
    yes: Annotated[bool, typer.Option("--yes", help="Ask nothing, take every default.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite existing files.")] = False,
) -> None:
    """Look at a log, and write a first configuration of it.

    Recognises the format, proposes what is predicted, what the model reads and how it is judged,
    and writes it as YAML with comments, checks the log and writes a first schema.

    Example:
        mastery init exports/ --yes
    """
    from pipeline.proposal.session import Wishes, make_proposal
    from pipeline.proposal.words import Role
    from pipeline.proposal.write import require_free, write_proposal

    given = {Role.LEARNER: learner, Role.UNIT: unit, Role.TIME: time, Role.EVENT_TYPE: event_type}
    wishes = Wishes(
        events=tuple(log or ()),
        outcomes=tuple(outcomes),
        out=out,
        name=name,
        format=format_,
        roles={role: column for role, column in given.items() if column},
        label=label,
        outcome=outcome,
        timezone=timezone,
    )
    if out is not None:
        require_free(out, force=force)
    proposal, path = make_proposal(wishes, _asker(yes), print)
    write_proposal(proposal, path, force=force, say=print)
