"""Alerts as chats read them: Slack, Microsoft Teams and Mattermost, each in its own form.

Names of learners and units come from logs. Each form is written so that they cannot mention
people, hide links or change the layout: Slack's text is escaped as Slack asks, Teams gets runs of
text that it never interprets, Mattermost gets escaped Markdown.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from components.command.escape import for_chat, for_markdown, for_terminal, shorten
from serving.answers.delivery.notice import Notice, NoticeRow, Wording

SHOWN = 20  # rows of a message, at most
_TITLE = 150  # characters, Slack's limit of a header
_TEXT = 2500  # characters before the rows
_SLACK_BLOCK = 3000  # characters
_TEAMS_MESSAGE = 25_000  # bytes; Teams takes 28 KB
_MATTERMOST_MESSAGE = 16_000  # characters; Mattermost takes 16,383


def render(form: str, notice: Notice) -> dict[str, Any]:
    """Returns the body for a chat's incoming webhook.

    Args:
        form: `slack`, `teams` or `mattermost`.
        notice: what to say.
    """
    renderers: dict[str, Callable[[Notice, int], dict[str, Any]]] = {
        "slack": _slack, "teams": _teams, "mattermost": _mattermost,
    }  # fmt: skip
    shown = min(len(notice.rows), SHOWN)
    body = renderers[form](notice, shown)
    while shown and not _fits(form, body):
        shown -= 1
        body = renderers[form](notice, shown)
    return body


def _fits(form: str, body: dict[str, Any]) -> bool:
    if form == "teams":
        return len(json.dumps(body, ensure_ascii=False).encode()) <= _TEAMS_MESSAGE
    return form == "slack" or len(body["text"]) <= _MATTERMOST_MESSAGE


def _slack(notice: Notice, shown: int) -> dict[str, Any]:
    title = shorten(for_terminal(notice.subject), _TITLE)
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": {"type": "plain_text", "text": title, "emoji": False}}
    ]
    if notice.text:
        text = for_chat(shorten(notice.text, _TEXT))
        if len(text) > _SLACK_BLOCK:  # an escaped character is up to five
            text = for_chat(shorten(notice.text, _SLACK_BLOCK // 5))
        blocks.append(_slack_section(text))
    blocks += [_slack_section(_slack_row(notice, row)) for row in notice.rows[:shown]]
    more = notice.more_than(shown)
    if more:
        blocks.append({"type": "context", "elements": [{"type": "mrkdwn", "text": for_chat(more)}]})
    return {"text": for_chat(title), "blocks": blocks}


def _slack_section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


def _slack_row(notice: Notice, row: NoticeRow) -> str:
    said = Wording(row, notice.language)
    lines = [f"*{for_chat(said.learner)}* · {for_chat(said.unit)}", for_chat(said.answer)]
    if said.reasons:
        lines.append(for_chat(said.reasons))
    if said.link:
        lines.append(f"<{said.link.replace('&', '&amp;')}|{for_chat(said.link_text)}>")
    return "\n".join(filter(None, lines))


def _teams(notice: Notice, shown: int) -> dict[str, Any]:
    title = shorten(for_terminal(notice.subject), _TITLE)
    body = [_teams_text({"text": title, "weight": "Bolder", "size": "Large"})]
    if notice.text:
        body.append(_teams_text({"text": shorten(for_terminal(notice.text), _TEXT)}))
    for row in notice.rows[:shown]:
        body += _teams_row(notice, row)
    more = notice.more_than(shown)
    if more:
        body.append(_teams_text({"text": more, "isSubtle": True}))
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": body,
        "msteams": {"width": "Full"},
    }
    content_type = "application/vnd.microsoft.card.adaptive"
    return {
        "type": "message",
        "attachments": [{"contentType": content_type, "contentUrl": None, "content": card}],
    }


def _teams_text(*runs: dict[str, Any]) -> dict[str, Any]:
    # A TextBlock reads its text as Markdown, a TextRun does not.
    return {"type": "RichTextBlock", "inlines": [{"type": "TextRun", **run} for run in runs]}


def _teams_row(notice: Notice, row: NoticeRow) -> list[dict[str, Any]]:
    said = Wording(row, notice.language)
    blocks = [
        {
            **_teams_text({"text": said.learner, "weight": "Bolder"}, {"text": f" · {said.unit}"}),
            "separator": True,
            "spacing": "Medium",
        }
    ]
    details = [{"text": text} for text in (said.answer, said.reasons) if text]
    blocks += [{**_teams_text(detail), "spacing": "None"} for detail in details]
    if said.link:
        action = {"type": "Action.OpenUrl", "url": said.link}
        link = _teams_text({"text": said.link_text, "selectAction": action, "underline": True})
        blocks.append({**link, "spacing": "None"})
    return blocks


def _mattermost(notice: Notice, shown: int) -> dict[str, Any]:
    paragraphs = [f"**{_escape(shorten(notice.subject, _TITLE))}**"]
    if notice.text:
        lines = shorten(notice.text, _TEXT).splitlines()
        paragraphs.append("\n".join(map(_escape, lines)))
    rows = [_mattermost_row(notice, row) for row in notice.rows[:shown]]
    if rows:
        paragraphs.append("\n".join(rows))
    more = notice.more_than(shown)
    if more:
        paragraphs.append(_escape(more))
    return {"text": "\n\n".join(paragraphs)}


def _mattermost_row(notice: Notice, row: NoticeRow) -> str:
    said = Wording(row, notice.language)
    details = [_escape(text) for text in (said.answer, said.reasons) if text]
    if said.link:
        address = said.link.replace("(", "%28").replace(")", "%29")
        details.append(f"[{_escape(said.link_text)}]({address})")
    head = f"- **{_escape(said.learner)}** · {_escape(said.unit)}"
    return "\n".join([head, *(f"  {detail}" for detail in details)])


def _escape(text: str) -> str:
    """Returns a line that Mattermost shows as it is: no Markdown, no mention, no address."""
    return for_markdown(text).replace("@", "@\u200b").replace("://", ":\u200b//")
