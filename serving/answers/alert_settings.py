"""The section `alerts` of `answers.yaml`."""

from __future__ import annotations

from pydantic import Field

from components.config.section import Section


class AlertRule(Section):
    """Whom to tell about which answers."""

    name: str = Field(description="the rule's name, unique; alerts are remembered by it")
    when: str = Field(description="the condition, e.g. `p(not_mastered) >= 0.7 and horizon <= 14`")
    to: list[str] = Field(description="names of channels", min_length=1)


class Alerts(Section):
    """Rules that are evaluated after each scoring."""

    rules: list[AlertRule] = Field(default_factory=list, description="in the order of the file")
