"""Text of others, where it is shown."""

from __future__ import annotations

import doctest
import json
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.command import escape
from components.command.escape import (
    for_chat,
    for_comment,
    for_markdown,
    for_terminal,
    for_xml,
    hide_userinfo,
    in_one_line,
)

CONTROLS = [
    *range(0x09),
    0x0B,
    0x0C,
    0x0D,
    *range(0x0E, 0x20),
    *range(0x7F, 0xA0),
    0x202E,
    0x2066,
    0x2028,
    0xDC80,
]
ANYTHING = st.text(st.characters(exclude_categories=()), max_size=40)


def test_the_examples_are_right() -> None:
    assert doctest.testmod(escape).failed == 0


@pytest.mark.parametrize("code", CONTROLS)
def test_no_control_character_reaches_a_terminal(code: int) -> None:
    assert for_terminal(f"a{chr(code)}b") == f"a\\u{code:04x}b"


def test_printable_characters_are_unchanged() -> None:
    for text in ("tab\tand\nline", "Zürich 日本 \U0001f600 \u200d", "\\x1b", ""):
        assert for_terminal(text) == text
    assert in_one_line("a\tb\nc") == "a\\u0009b\\u000ac"


@given(ANYTHING)
def test_json_stays_json_with_the_same_content(text: str) -> None:
    assert json.loads(for_terminal(json.dumps({"key": text}, ensure_ascii=False))) == {"key": text}


@given(ANYTHING)
def test_every_text_goes_into_xml(text: str) -> None:
    element = ET.Element("case", name=for_xml(text))
    element.text = for_xml(text)
    read = ET.fromstring(ET.tostring(element, encoding="utf-8"))
    assert (read.text or "") == for_xml(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a | b", "a &#124; b"),
        ("<img src=x onerror=alert(1)>", "&#60;img src=x onerror=alert(1)&#62;"),
        ("<!-- mastery ci: other -->", "&#60;!-- mastery ci: other --&#62;"),
        ("[x](javascript:alert)", "&#91;x&#93;(javascript:alert)"),
        ("line\n\n# heading\n| cell", "line # heading &#124; cell"),
        ("@all #12 !3 5 % $1", "@\u200ball #\u200b12 !\u200b3 5 % $\u200b1"),
        (
            "https://evil.example www.evil.example",
            "https:\u200b//evil.example www\u200b.evil.example",
        ),
        ("`code` *b* ~x~ \\|", "&#96;code&#96; &#42;b&#42; &#126;\u200bx&#126; &#92;&#124;"),
        ("\x1b[2J", "&#92;u001b&#91;2J"),
        ("not_mastered, 0.5", "not_mastered, 0.5"),
    ],
)
def test_a_comment_shows_text_and_does_nothing(text: str, shown: str) -> None:
    assert for_comment(text) == shown


def test_line_breaks_are_kept_only_on_request() -> None:
    assert for_comment("a\n</pre>\nb", lines=True) == "a\n&#60;/pre&#62;\nb"


@given(ANYTHING)
def test_markdown_is_one_line_in_which_every_mark_is_escaped(text: str) -> None:
    shown = for_markdown(text)
    assert "\n" not in shown
    plain = shown.replace("\\\\", "")
    for mark in "`*[]<>|&#":
        assert mark not in plain.replace(f"\\{mark}", "")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<!channel> <!here> <@U1>", "&lt;!channel&gt; &lt;!here&gt; &lt;@\u200bU1&gt;"),
        ("<http://evil.example|the report>", "&lt;http://evil.example|the report&gt;"),
        ("a & b &amp; c", "a &amp; b &amp;amp; c"),
        (
            "@channel [here](http://evil.example)",
            "@\u200bchannel [here]\u200b(http://evil.example)",
        ),
        ("two\nlines", "two\nlines"),
    ],
)
def test_chat_commands_and_links_are_disarmed(text: str, shown: str) -> None:
    assert for_chat(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://me:word@host/x@y", "https://...@host/x@y"),
        ("see s3://key:secret@bucket and me@example.org", "see s3://...@bucket and me@example.org"),
        ("https://a:b@c@host", "https://...@host"),
        ("https://host/path?mail=me@example.org", "https://host/path?mail=me@example.org"),
    ],
)
def test_no_password_of_an_address_is_shown(text: str, shown: str) -> None:
    assert hide_userinfo(text) == shown
