"""`mastery`: the table of its commands, and how it starts and ends.

A command's module is imported when the command is called, or listed in a help text. Commands import
what they need when they run, so help answers at once.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from components.command.program import run_program, start_process
from components.command.suggest import did_you_mean

# Each command's module in this folder, and the function in it.
COMMANDS = {
    "doctor": "prepare_commands:doctor",
    "simulate": "prepare_commands:simulate",
    "fetch": "fetch_commands:fetch",
    "init": "init_commands:init",
    "check-log": "prepare_commands:check_log",
    "spans": "spans_commands:spans",
    "convert": "convert_commands:convert",
    "formats list": "formats_commands:list_",
    "formats show": "formats_commands:show",
    "audit": "validate_commands:audit",
    "schema infer": "prepare_commands:infer",
    "schema diff": "prepare_commands:diff",
    "run": "run_commands:run",
    "runs": "run_commands:runs",
    "report": "run_commands:report",
    "evaluate": "run_commands:evaluate",
    "tensorboard": "tracking_commands:tensorboard",
    "tracking sync": "tracking_commands:sync",
    "drift": "drift_commands:drift",
    "watch": "watch_commands:watch",
    "training-worker": "training_commands:training_worker",
    "retrain": "retrain_commands:retrain",
    "backtest": "retrain_commands:backtest",
    "cross-validate": "validate_commands:cross_validate",
    "tune": "tuning_commands:tune",
    "ci": "run_commands:ci",
    "notify": "run_commands:notify",
    "beam-workers": "beam_commands:workers",
    "kubeflow compile": "kubeflow_commands:compile_",
    "kubeflow submit": "kubeflow_commands:submit",
    "kubeflow run": "kubeflow_commands:run",
    "kubeflow schedule": "kubeflow_commands:schedule",
    "kubeflow list": "kubeflow_commands:list_",
    "kubeflow status": "kubeflow_commands:status",
    "models list": "models_commands:list_",
    "models show": "models_commands:show",
    "models card": "card_commands:card",
    "models compare": "models_commands:compare",
    "models approve": "governance_commands:approve",
    "models policy": "governance_commands:policy",
    "models replay": "governance_commands:replay",
    "models promote": "models_commands:promote",
    "models canary": "models_commands:canary",
    "models rollout": "rollout_commands:rollout",
    "models kserve": "rollout_commands:kserve",
    "models rollback": "models_commands:rollback",
    "models prune": "models_commands:prune",
    "models log": "models_commands:log",
    "models keygen": "signing_commands:keygen",
    "models verify": "signing_commands:verify",
    "models stop": "stop_commands:stop",
    "models resume": "stop_commands:resume",
    "models incident": "stop_commands:incident",
    "serve": "serve_commands:serve",
    "predict": "serve_commands:predict",
    "demo": "demo_commands:demo",
    "score": "score_commands:score",
    "answers upgrade": "score_commands:upgrade",
    "learner show": "learner_commands:show",
    "learner export": "learner_commands:export",
    "learner opt-out": "learner_commands:opt_out",
    "learner erase": "learner_commands:erase",
    "answers import": "score_commands:import_",
    "prediction-log show": "prediction_log_commands:show",
    "prediction-log export": "prediction_log_commands:export",
    "prediction-log purge": "prediction_log_commands:purge",
    "board": "board_commands:board",
    "answers outcomes": "outcomes_commands:outcomes",
    "answers send": "delivery_commands:send",
    "answers outbox": "delivery_commands:outbox",
    "answers retry": "delivery_commands:retry",
    "alerts test": "alerts_commands:try_",
    "alerts run": "alerts_commands:run",
    "feedback export": "feedback_commands:export",
    "effect": "effect_commands:effect",
}
GROUPS = {
    "formats": "List the formats of logs, or show how records of one become events.",
    "learner": "Show, hand over or erase what is kept of one learner.",
    "tracking": "Tell servers of MLflow and OpenLineage how runs went.",
    "schema": "Write a first schema from a log, or compare a new log with it.",
    "kubeflow": "Run the pipeline on Kubeflow Pipelines.",
    "models": "List a model's versions, and decide which one is served.",
    "prediction-log": "Look at what `mastery serve` has answered.",
    "answers": "Keep the answers' database, and bring answers to where people work.",
    "alerts": "Tell people about learners who need attention.",
    "feedback": "What people said about answers.",
}
PANELS = {
    "Prepare": (
        "doctor", "simulate", "formats", "fetch", "init", "check-log", "spans", "convert", "audit",
        "schema",
    ),
    "Train and judge": (
        "run", "runs", "report", "evaluate", "retrain", "backtest", "cross-validate", "tune", "ci",
        "notify", "kubeflow", "tensorboard", "tracking", "training-worker", "beam-workers",
    ),
    "Serve": ("models", "serve", "predict"),
    "Watch": ("watch", "drift"),
    "Reach people": (
        "score", "answers", "alerts", "board", "feedback", "effect", "learner", "prediction-log",
        "demo",
    ),
}  # fmt: skip

# What a group does without a command; others print their help.
DEFAULTS = {"formats": "list"}

_Command = TyperCommand | TyperGroup
_Context = Any  # Typer keeps its copy of Click private


class _EscapedError(Exception):
    """An error on its way past Typer, which exits with 1 for some: our code for a failed gate."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error


@contextmanager
def _suggesting(command: _Command, ctx: _Context) -> Iterator[None]:
    """Adds a suggestion to the error about an unknown option."""
    try:
        yield
    except Exception as error:
        unknown = getattr(error, "option_name", None)
        if hasattr(error, "possibilities") and unknown:
            known = [name for param in command.get_params(ctx) for name in param.opts]
            error.possibilities = None  # Typer's own suggestions
            error.message = f"{error.message}{did_you_mean(unknown, known)}"  # type: ignore[attr-defined]
        raise


def _with_light_flags(params: list[Any]) -> list[Any]:
    """Replaces flags' default None by False: for None, Typer would import Pydantic."""
    for param in params:
        if getattr(param, "is_flag", False) and param.default is None:
            param.default = False
    return params


class LeafCommand(TyperCommand):
    """A command that suggests an option in place of an unknown one, and lists options in panels."""

    def get_params(self, ctx: _Context) -> list[Any]:
        """Returns arguments and options."""
        return _with_light_flags(super().get_params(ctx))

    def parse_args(self, ctx: _Context, args: list[str]) -> list[str]:
        """Parses the options."""
        with _suggesting(self, ctx):
            return super().parse_args(ctx, args)

    def format_options(self, ctx: _Context, formatter: Any) -> None:
        """Writes arguments and options under the titles of their panels."""
        panels: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None:
                default = "Arguments" if param.param_type_name == "argument" else "Options"
                title = getattr(param, "rich_help_panel", None) or default
                panels.setdefault(title, []).append(record)

        for title, rows in panels.items():
            with formatter.section(title):
                formatter.write_dl(rows)


class LazyGroup(TyperGroup):
    """A group of the commands in `COMMANDS` whose paths begin with the group's own.

    Attributes:
        path: the names that lead to the group; empty for `mastery` itself.
    """

    path: tuple[str, ...] = ()

    def list_commands(self, ctx: _Context) -> list[str]:  # noqa: ARG002
        """Returns the names of the group's commands, in the order of the table."""
        depth = len(self.path)
        paths = [tuple(path.split()) for path in COMMANDS]
        return [*dict.fromkeys(path[depth] for path in paths if path[:depth] == self.path)]

    def get_command(self, ctx: _Context, cmd_name: str) -> _Command | None:
        """Imports a command, or returns None if there is none of that name."""
        if cmd_name not in self.list_commands(ctx):
            return None
        if cmd_name not in self.commands:
            self.commands[cmd_name] = _build((*self.path, cmd_name))
        return self.commands[cmd_name]  # type: ignore[return-value]

    def resolve_command(
        self, ctx: _Context, args: list[str]
    ) -> tuple[str | None, Any | None, list[str]]:
        """Finds the command that arguments name; an unknown one is an error with a suggestion."""
        name = args[0]
        if not name.startswith("-") and self.get_command(ctx, name) is None:
            hint = did_you_mean(name, self.list_commands(ctx))
            ctx.fail(f"No such command {name!r}{hint or '.'}")
        return super().resolve_command(ctx, args)

    def get_params(self, ctx: _Context) -> list[Any]:
        """Returns the group's own options."""
        return _with_light_flags(super().get_params(ctx))

    def parse_args(self, ctx: _Context, args: list[str]) -> list[str]:
        """Parses the group's own options."""
        default = DEFAULTS.get(" ".join(self.path))
        if default and not args:
            args = [default]
        with _suggesting(self, ctx):
            return super().parse_args(ctx, args)

    def invoke(self, ctx: _Context) -> Any:
        """Runs the command, and keeps Typer from ending the process after certain errors."""
        try:
            return super().invoke(ctx)
        except (EOFError, OSError, KeyboardInterrupt) as error:
            raise _EscapedError(error) from None

    def format_commands(self, ctx: _Context, formatter: Any) -> None:
        """Writes the commands with their summaries, in panels at the top."""
        panels = {"Commands": self.list_commands(ctx)} if self.path else PANELS
        for title, names in panels.items():
            commands = [(name, self.get_command(ctx, name)) for name in names]
            rows = [(name, _summary(found.help)) for name, found in commands if found is not None]
            with formatter.section(title):
                formatter.write_dl(rows)


def _build(path: tuple[str, ...]) -> _Command:
    """Returns the command or group of a path."""
    name = " ".join(path)
    if name in GROUPS:
        group = LazyGroup(
            name=path[-1], help=GROUPS[name], no_args_is_help=True, rich_markup_mode=None
        )
        group.path = path
        return group

    module, _, function = COMMANDS[name].partition(":")
    callback = getattr(import_module(f"pipeline.cli.{module}"), function)
    single = typer.Typer(
        add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False
    )

    single.command(path[-1], cls=LeafCommand, help=_help_of(callback))(callback)
    return typer.main.get_command(single)  # type: ignore[return-value]


def _help_of(function: Callable[..., None]) -> str:
    """Returns a command's docstring; its example keeps its lines."""
    return re.sub(r"\n\n(?=Examples?:\n)", "\n\n\b\n", inspect.getdoc(function) or "")


def _summary(text: str | None) -> str:
    """Returns the first sentence of a help text, without its full stop."""
    first = " ".join((text or "").partition("\n\n")[0].split())
    return first.removesuffix(".")


app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    from importlib.metadata import version

    if wanted:
        print(f"mastery {version('mastery')}")
        raise typer.Exit


@app.callback()
def mastery(
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_print_version, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Reads learners' behaviour logs and makes a gated, served model of who has mastered what.

    `mastery COMMAND --help` describes a command, with an example.
    """


def main() -> None:
    """Runs the command line and exits; no error shows a traceback."""
    sys.exit(run_program("mastery", _run_command))


def program() -> None:
    """Runs `main` as the program of this process: the entry point `mastery`."""
    start_process("mastery")
    main()


def _run_command() -> None:
    try:
        # `app()` would set hooks of its own for tracebacks.
        typer.main.get_command(app)(prog_name="mastery", standalone_mode=True)
    except _EscapedError as escaped:
        raise escaped.error from None


if __name__ == "__main__":
    program()
