"""Alerts as mail: plain text, and the same as HTML."""

from __future__ import annotations

from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, Template

from components.command.escape import for_terminal, in_one_line
from serving.answers.delivery.notice import Notice, Wording


def write_mail(
    notice: Notice, identifier: str, now: datetime, *, sender: str, to: list[str]
) -> EmailMessage:
    """Returns the mail about a notice.

    Args:
        notice: what to say.
        identifier: makes the Message-ID, by which mail programs recognise a repetition.
        now: its date.
        sender: the address it is from.
        to: the addresses in its header.
    """
    domain = parseaddr(sender)[1].rpartition("@")[2]
    message = EmailMessage(policy=SMTP)
    message["Subject"] = in_one_line(notice.subject)
    message["From"] = sender
    if to:
        message["To"] = ", ".join(to)
    message["Date"] = format_datetime(now)
    message["Message-ID"] = f"<{identifier}@{domain}>"
    message["Auto-Submitted"] = "auto-generated"  # no answers of those who are on holiday
    message["Content-Language"] = notice.language

    rows = [Wording(row, notice.language) for row in notice.rows]
    text = for_terminal(notice.text)
    message.set_content(_plain(text, rows))
    message.add_alternative(
        _template().render(
            subject=in_one_line(notice.subject), text=text, rows=rows, language=notice.language
        ),
        subtype="html",
    )
    return message


def _plain(text: str, rows: list[Wording]) -> str:
    paragraphs = [text] if text else []
    for row in rows:
        lines = [f"{row.learner} · {row.unit}", row.answer, row.reasons, row.link]
        paragraphs.append("\n".join(filter(None, lines)))
    return "\n\n".join(paragraphs) + "\n"


@cache
def _template() -> Template:
    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(loader=loader, autoescape=True, trim_blocks=True)
    return environment.get_template("mail.html.j2")
