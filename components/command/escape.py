"""Text from logs, configurations and servers, made harmless for the place where it is shown.

Others choose the ids of learners, the names of classes and files, and what a server answers. Some
of these texts have a meaning where they are shown: escape sequences on a terminal, `|` in Markdown,
`<!channel>` in a chat. There is one function for each place; the one for spreadsheets is in
`components.files.spreadsheet`. Jinja escapes HTML, and its encoder JSON.
"""

from __future__ import annotations

import re

_UNSEEN = re.compile(
    "["
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters, except tab and line break
    "\u2028\u2029"  # further ends of lines
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # reverse the text, to disguise a name
    "\ud800-\udfff\ufffe\uffff"  # halves of characters, and code points that are not characters
    "]"
)
_BREAKS = re.compile(r"[\t\n]")
_GAP = "\u200b"  # a space of no width; it breaks a mention or an address

_HTML_AND_MARKDOWN = {ord(mark): f"&#{ord(mark)};" for mark in "&<>\"'|*`[]~\\"}
# Mentions of people, issues and labels; addresses.
_CALLS = re.compile(r"[@#!$%&~](?=\w)|:(?=//)|\bwww(?=\.)|\bmailto(?=:)")
_MARKDOWN = re.compile(r"([\\`*_\[\]<>|~&#])")
_CHAT = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}

_USERINFO = re.compile(r"(?<![A-Za-z0-9+.-])([A-Za-z0-9+.-]*://)[^/?#\s]*@")


def for_terminal(text: str) -> str:
    r"""Returns a text whose control characters are spelled out; tabs and line breaks stay.

    The spelling is that of JSON, so JSON stays JSON, with the same content.

    >>> print(for_terminal("\x1b]0;title\x07 done"))
    \u001b]0;title\u0007 done
    """
    return _UNSEEN.sub(_spelled, text)


def in_one_line(text: str) -> str:
    r"""Returns a text in one line: control characters, tabs and line breaks are spelled out.

    >>> print(in_one_line("unit-1\nunit-2 passed"))
    unit-1\u000aunit-2 passed
    """
    return _BREAKS.sub(_spelled, for_terminal(text))


def shorten(text: str, most: int = 80) -> str:
    """Returns `text`, cut to at most `most` characters; a cut text ends in `…`.

    >>> shorten("2026-11-20T08:00:00"), shorten("2026-11-20T08:00:00", most=11)
    ('2026-11-20T08:00:00', '2026-11-20…')
    """
    return text if len(text) <= most else text[: most - 1] + "…"


def printable(text: str) -> str:
    r"""Returns a text in which every character can be seen: unprintable ones are spelled out.

    Stricter than `in_one_line`, for values that people compare by eye.

    >>> print(printable("two\nlines"), printable("no\u00a0break"), printable("Grüezi"))
    two\nlines no\xa0break Grüezi
    """
    return "".join(mark if mark.isprintable() else ascii(mark)[1:-1] for mark in text)


def for_xml(text: str) -> str:
    """Returns a text of characters that XML 1.0 allows; the writer still escapes `<` and `&`."""
    return for_terminal(text)


def for_comment(text: str, *, lines: bool = False) -> str:
    r"""Returns a text for comments on GitHub and GitLab: for Markdown, HTML, tables and tags.

    Marks become character references, which neither Markdown nor HTML interprets. GitHub and GitLab
    look for mentions (`@all`, `#1`) and addresses in the finished page, so a space of no width
    breaks these up.

    Args:
        text: what to show.
        lines: keep line breaks, which is right inside `<pre>` only.

    >>> for_comment("a|b <b> @all")
    'a&#124;b &#60;b&#62; @\u200ball'
    """
    safe = for_terminal(text)
    if not lines:
        safe = " ".join(safe.split())
    return _CALLS.sub(rf"\g<0>{_GAP}", safe).translate(_HTML_AND_MARKDOWN)


def for_markdown(text: str) -> str:
    r"""Returns a text for Markdown without HTML, as Kubeflow shows it, in one line.

    >>> print(for_markdown("a|b <b> *"))
    a\|b \<b\> \*
    """
    return _MARKDOWN.sub(r"\\\1", " ".join(for_terminal(text).split()))


def for_chat(text: str) -> str:
    r"""Returns a text for Slack, Mattermost and Teams, without mentions and hidden links.

    >>> for_chat("<!channel> @all & <http://evil.example|here>")
    '&lt;!channel&gt; @\u200ball &amp; &lt;http://evil.example|here&gt;'
    """
    safe = "".join(_CHAT.get(character, character) for character in for_terminal(text))
    return safe.replace("@", f"@{_GAP}").replace("](", f"]{_GAP}(")


def hide_userinfo(text: str) -> str:
    """Returns a text without the user names and passwords in its addresses.

    >>> hide_userinfo("grpcs://me:word@host:8500: no answer")
    'grpcs://...@host:8500: no answer'
    """
    return _USERINFO.sub(r"\1...@", text)


def for_error(value: object) -> str:
    """Returns a value for an error text; of an address only scheme and host: paths hold tokens.

    >>> for_error("https://me:word@chat.example/hooks/T0/B0")
    "'https://chat.example/...'"
    >>> for_error(0.5)
    '0.5'
    """
    if "://" not in repr(value):
        return repr(value)
    if not isinstance(value, str):
        return f"a {type(value).__name__} with an address in it"

    scheme, _, rest = value.partition("://")
    host, *path = re.split(r"[/?#]", rest, maxsplit=1)
    hidden = "/..." if any(path) else ""
    return repr(f"{scheme}://{host.rpartition('@')[2]}{hidden}")


def _spelled(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"
