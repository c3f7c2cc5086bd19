"""Alerts in the forms of chats: complete, within their limits, and harmless."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.answers.delivery.chats import SHOWN, render
from serving.answers.delivery.notice import Notice
from tests.serving.answers.delivery.messages import ALERT

FORMS = ["slack", "teams", "mattermost"]
LINK = ALERT["rows"][0]["link"]


def notice(**changes: Any) -> Notice:
    return Notice.model_validate({**ALERT, **changes})


def test_slack_gets_blocks_and_a_text_for_notifications() -> None:
    body = render("slack", notice())
    assert body["text"] == ALERT["subject"]
    header, text, one = body["blocks"]
    assert header == {
        "type": "header",
        "text": {"type": "plain_text", "text": ALERT["subject"], "emoji": False},
    }
    assert text["text"] == {"type": "mrkdwn", "text": "New since yesterday:"}
    assert one["text"]["text"].splitlines() == [
        "*Ada Ng* · Fractions",
        "very likely not mastered, 91%, since Mar 1, 2026",
        "no visit for 9 days; 2 of 9 answers were right",
        f"<{LINK}|Open on the board>",
    ]


def test_teams_gets_an_adaptive_card_of_runs_that_it_does_not_interpret() -> None:
    body = render("teams", notice(language="zh"))
    [attachment] = body["attachments"]
    card = attachment["content"]
    assert body["type"] == "message"
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    assert (card["type"], card["version"]) == ("AdaptiveCard", "1.4")
    assert {block["type"] for block in card["body"]} == {"RichTextBlock"}
    runs = [run for block in card["body"] for run in block["inlines"]]
    assert [run["text"] for run in runs] == [
        ALERT["subject"], "New since yesterday:", "Ada Ng", " · Fractions",
        "很可能未掌握，91%，自 2026年3月1日 起", "no visit for 9 days; 2 of 9 answers were right",
        "在看板上打开",
    ]  # fmt: skip
    assert runs[-1]["selectAction"] == {"type": "Action.OpenUrl", "url": LINK}


def test_mattermost_gets_markdown() -> None:
    assert render("mattermost", notice())["text"].splitlines() == [
        f"**{ALERT['subject']}**",
        "",
        "New since yesterday:",
        "",
        "- **Ada Ng** · Fractions",
        "  very likely not mastered, 91%, since Mar 1, 2026",
        "  no visit for 9 days; 2 of 9 answers were right",
        f"  [Open on the board]({LINK})",
    ]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("mark", ["x", "学", "&", "*"])
def test_a_long_alert_fits_and_says_how_many_it_leaves_out(form: str, mark: str) -> None:
    rows = [
        {**ALERT["rows"][0], "learner": f"L{number:03}" + mark * 400, "reasons": [mark * 900]}
        for number in range(SHOWN + 5)
    ]
    body = render(form, notice(rows=rows, subject=mark * 400, text=mark * 9000))
    said = json.dumps(body, ensure_ascii=False)
    shown = sum(f"L{number:03}" in said for number in range(SHOWN + 5))
    assert 5 <= shown <= SHOWN
    assert f"L{shown - 1:03}" in said
    assert f"and {SHOWN + 5 - shown} more" in said
    if form == "slack":
        assert len(body["blocks"]) <= 50
        assert len(body["blocks"][0]["text"]["text"]) <= 150
        assert all(len(block["text"]["text"]) <= 3000 for block in body["blocks"][1:-1])
    elif form == "teams":
        assert len(said.encode()) <= 28_000
    else:
        assert len(body["text"]) <= 16_383


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("link", ["javascript:alert(1)", "https://a.example/|x>", "", None])
def test_what_is_no_address_of_the_web_becomes_no_link(form: str, link: str | None) -> None:
    body = render(form, notice(rows=[{**ALERT["rows"][0], "link": link}]))
    assert "Open on the board" not in json.dumps(body)


_HOSTILE = st.text(st.sampled_from("<!channel>@all|*_`[]()#\\\n\x1b\u202e~&:/ax"), max_size=30)


@given(name=_HOSTILE, reason=_HOSTILE, text=_HOSTILE)
def test_names_from_a_log_neither_mention_anybody_nor_make_links(
    name: str, reason: str, text: str
) -> None:
    row = {**ALERT["rows"][0], "learner": name, "unit": name, "reasons": [reason], "link": None}
    alert = notice(rows=[row], text=text, subject=name)

    _, *interpreted = render("slack", alert)["blocks"]  # the header is plain text
    assert "<" not in json.dumps(interpreted)
    mattermost = render("mattermost", alert)["text"]
    assert "@a" not in mattermost
    for mark in "[]<>|`#":
        assert all(
            (len(before) - len(before.rstrip("\\"))) % 2 == 1
            for before in mattermost.split(mark)[:-1]
        )
    for form in FORMS:
        assert not {"\x1b", "\u202e"} & set(json.dumps(render(form, alert), ensure_ascii=False))
