"""What an alert says: the payload of a message to a channel."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class NoticeRow(BaseModel):
    """A learner whom an alert names.

    Attributes:
        learner: the name that people know.
        unit: its title.
        class_: the class that the alert is about, as the model names it; in JSON `class`.
        probability: of this class, 0 to 1; None for a regression.
        since: the first of the uninterrupted answers with this class.
        reasons: sentences in the notice's language, the most important first.
        link: the learner on the board; None without a board.
    """

    model_config = ConfigDict(populate_by_name=True)

    learner_id: str
    learner: str
    unit_id: str
    unit: str
    class_: str | None = Field(None, alias="class")
    probability: float | None = None
    since: datetime | None = None
    reasons: list[str] = []
    link: str | None = None


class Notice(BaseModel):
    """An alert, as every channel gets it.

    Attributes:
        subject: one line.
        text: what stands before the rows; it does not repeat them.
        rule: the name of the rule.
        language: of the words that channels add.
    """

    subject: str
    text: str
    rows: list[NoticeRow] = []
    rule: str
    language: Literal["en", "de", "zh"] = "en"
