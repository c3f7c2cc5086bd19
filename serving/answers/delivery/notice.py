"""What an alert says: the payload of a message to a channel."""

from __future__ import annotations

from datetime import datetime

from babel.dates import format_date
from pydantic import BaseModel, ConfigDict, Field

from components.command.escape import in_one_line, shorten
from serving.answers.words import Language, in_words, translations

_NAME = 80  # characters of a name in a message, at most
_REASONS = 240  # characters of all reasons of a row


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
    language: Language = "en"

    def more_than(self, shown: int) -> str | None:
        """Returns the sentence about rows that a message has no room for, if there are any."""
        rest = len(self.rows) - shown
        if rest <= 0:
            return None
        texts = translations(self.language)
        return texts.ngettext("and %(count)d more", "and %(count)d more", rest) % {"count": rest}


class Wording:
    """A row in the reader's words, without control characters; each place escapes the rest.

    Attributes:
        learner: whom it is about.
        unit: in what.
        answer: the class with its probability, and since when.
        reasons: all of them in one line; empty if there are none.
        link: an address of the web, or None.
        link_text: what to click.
    """

    def __init__(self, row: NoticeRow, language: Language) -> None:
        texts = translations(language)
        self.learner = _safe(row.learner, _NAME)
        self.unit = _safe(row.unit, _NAME)
        self.reasons = _safe("; ".join(row.reasons), _REASONS)
        self.link = row.link if _is_web_address(row.link) else None
        self.link_text = texts.gettext("Open on the board")

        self.answer = ""
        if row.class_ is not None and row.probability is not None:
            words = in_words(row.class_, row.probability, language)
            self.answer = _safe(words, _NAME)
        if self.answer and row.since is not None:
            date = format_date(row.since, "medium", locale=language)
            text = texts.gettext("%(answer)s, since %(date)s")
            self.answer = text % {"answer": self.answer, "date": date}


def _safe(text: str, most: int) -> str:
    return shorten(in_one_line(text), most)


def _is_web_address(link: str | None) -> bool:
    return bool(
        link and link.startswith(("https://", "http://")) and not set(link) & set(' <>|"\n')
    )
