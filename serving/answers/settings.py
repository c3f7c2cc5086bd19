"""`answers.yaml`: how answers reach people. `python -m serving.answers.settings FILE` documents it.

Neither training nor serving reads this file, so a change of it retrains nothing.
"""

from __future__ import annotations

import sys
from pathlib import Path

from pydantic import Field, model_validator

from components.command.suggest import did_you_mean
from components.config.load import load_file
from components.config.reference import reference
from components.config.section import KeyedError, Section
from serving.answers.alert_settings import Alerts
from serving.answers.delivery_settings import Channel, Delivery, Name
from serving.answers.effect_settings import Effect
from serving.board.settings import Board

_INTRODUCTION = """# Answers: configuration reference

One YAML file says how answers reach people: `mastery score`, `alerts` and `board` read it. All of
it is optional. An error names the file, the line and the key, what was expected and what was found.

This page is generated from the typed settings by `make docs`.
"""


class WatchedBy(Section):
    """Who is told what `mastery watch` finds."""

    to: list[Name] = Field(default_factory=list, description="names of channels")


class AnswersSettings(Section):
    """How answers reach people."""

    channels: dict[Name, Channel] = Field(
        default_factory=dict, description="where alerts go, by a name that rules refer to"
    )
    alerts: Alerts = Field(default_factory=Alerts, description="who is told about what")
    delivery: Delivery = Field(
        default_factory=Delivery, description="where every answer goes, besides the database"
    )
    watch: WatchedBy = Field(
        default_factory=WatchedBy, description="who is told what `mastery watch` finds"
    )
    board: Board = Field(default_factory=Board, description="the pages")
    effect: Effect = Field(
        default_factory=Effect, description="what calling changes: nobody is held out by default"
    )

    @model_validator(mode="after")
    def _rules_name_channels(self) -> AnswersSettings:
        named: list[tuple[list[str | int], str]] = [
            (["alerts", "rules", place, "to", number], name)
            for place, rule in enumerate(self.alerts.rules)
            for number, name in enumerate(rule.to)
        ]
        named += [(["watch", "to", number], name) for number, name in enumerate(self.watch.to)]
        for keys, name in named:
            if name not in self.channels:
                listed = ", ".join(self.channels) or "there are none"
                hint = did_you_mean(name, self.channels)
                raise KeyedError(
                    keys, f"expected the name of a channel ({listed}), found {name!r}{hint}"
                )
        return self

    @model_validator(mode="after")
    def _somebody_is_named(self) -> AnswersSettings:
        told = [rule for rule in self.alerts.rules if not rule.must_tell]
        if self.effect.hold_out and not told and self.effect.who is None:
            raise KeyedError(
                ["effect", "who"],
                "expected a condition, or a rule of alerts without must_tell: of nobody else lots "
                "are drawn; found neither",
            )
        return self


def load_settings(path: Path | None) -> AnswersSettings:
    """Returns what a file says; all defaults without one.

    Raises:
        ConfigError: the file cannot be used; names the line and the key.
    """
    if path is None:
        return AnswersSettings()
    return load_file(
        path,
        AnswersSettings,
        paths=[
            ("channels", "*", "path"),
            ("board", "models"),
            ("board", "watch"),
            ("effect", "opt_out"),
        ],
        example="alerts: {rules: []}",
        reference="docs/answers-configuration.md",
    )


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(reference(AnswersSettings, _INTRODUCTION), encoding="utf-8")
