"""Tells people how a run ended, by webhook and by mail. What cannot be delivered is said and changes nothing."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from components.command.escape import for_chat, for_terminal, in_one_line
from components.config.runtime import Notify
from pipeline.run.deliver import UndeliveredError, post, send
from pipeline.run.record import RunRecord, RunState

SHOWN_ERROR = 2000  # characters of an error in a message; all of it is in the run's record


class FailedGate(BaseModel):
    """A gate that did not hold, as `metrics.json` has it; `value` is None where the metric is not defined."""

    text: str
    metric: str
    bound: str
    threshold: float
    value: float | None = None
    reason: str | None = None

    def describe(self) -> str:
        """Returns what was asked, what was found and why, in one line."""
        return f"{self.text}: {self.reason}" if self.reason else self.text


class Outcome(BaseModel):
    """How a run ended, as any runner can tell it.

    Attributes:
        name: of the pipeline.
        state: how it ended; `test` for a message that tries the way.
        run: its id, None where it could not start.
        gates_failed: of a run whose gates failed.
        error: of a run that failed.
        report: path or URL of the report.
        pushed_version: path or URL of the version that was pushed, None where the served one was left alone.
        machine: where it ran.
    """

    name: str
    state: RunState | Literal["test"]
    run: str | None = None
    gates_failed: list[FailedGate] = []
    error: str | None = None
    report: str | None = None
    pushed_version: str | None = None
    machine: str = socket.gethostname()

    @property
    def title(self) -> str:
        """The message in a few words."""
        what = "this is a test" if self.state == "test" else self.state
        return f"Mastery, {self.name}: {what}{', a new version is pushed' if self.pushed_version else ''}"

    @property
    def text(self) -> str:
        """The whole message, a line for each thing to know."""
        lines = [self.title, *(f"- {gate.describe()}" for gate in self.gates_failed)]
        if self.error:
            lines.append(
                self.error if len(self.error) <= SHOWN_ERROR else f"{self.error[:SHOWN_ERROR]} ..."
            )
        if self.pushed_version:
            lines.append(f"Pushed: {self.pushed_version}")
        elif self.state != "test":
            lines.append("Nothing was pushed: the version that is served stays.")
        lines += [f"Report: {self.report}"] if self.report else []
        lines.append(
            f"Run: {self.run or 'did not start'} on {self.machine}"
            if self.state != "test"
            else self.machine
        )
        return "\n".join(lines)


def outcome_of(record: RunRecord) -> Outcome:
    """Returns the outcome of a run on this machine."""
    gates = (
        json.loads(Path(record.metrics).read_text(encoding="utf-8"))["gates"]
        if record.metrics
        else []
    )
    return Outcome(
        name=record.name,
        state=record.state,
        run=record.run,
        gates_failed=[FailedGate.model_validate(gate) for gate in gates if not gate["passed"]],
        error=record.error,
        report=record.report,
        pushed_version=record.pushed_version if record.state == "passed" else None,
    )


def notify(config: Notify, outcome: Outcome) -> None:
    """Tells of a run, if it ended as `config.on` says; what cannot be delivered becomes a line on standard error."""
    if outcome.state in config.on:
        for problem in deliver(config, outcome):
            print(f"mastery: {problem}", file=sys.stderr)


def deliver(config: Notify, outcome: Outcome) -> list[str]:
    """Sends a message by every way that is configured.

    Returns:
        A line for each way by which it could not be delivered; no secrets in it.
    """
    ways: list[tuple[str, Callable[[], None]]] = []
    if webhook := config.webhook:
        payload = {"text": for_chat(outcome.text), **outcome.model_dump(mode="json")}
        ways.append(("notify.webhook", lambda: post(webhook, payload)))
    if email := config.email:
        ways.append(
            (
                "notify.email",
                lambda: send(email, in_one_line(outcome.title), for_terminal(outcome.text)),
            )
        )
    problems = []
    for way, attempt in ways:
        try:
            attempt()
        except UndeliveredError as error:
            problems.append(f"{way}: {error}")
        except (
            Exception
        ) as error:  # whatever it is, the run has ended as it has; its text may hold a secret
            problems.append(f"{way}: an unexpected {type(error).__name__}")
    return problems
