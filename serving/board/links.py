"""The addresses of pages about one learner. Ids are the log's own text, so they may hold anything.

A segment of an address cannot: servers take `%2F` for a slash, and browsers take `..` and `%2e%2e`
for the folder above. So whatever is no letter, digit, `-` or `_` of ASCII is written as `~` and two
hexadecimal digits per byte of UTF-8, and ids in use everywhere stay as they are.
"""

from __future__ import annotations

import re

_OTHER = re.compile(rb"[^A-Za-z0-9_-]")
_ESCAPED = re.compile(rb"~([0-9A-Fa-f]{2})")


def learner_link(learner_id: str, unit_id: str | None = None) -> str:
    """Returns the address of a learner's page, or of the path through a unit.

    >>> learner_link("learner-0001")
    '/learners/learner-0001'
    >>> learner_link("../a b", "1/2")
    '/learners/~2E~2E~2Fa~20b/units/1~2F2'
    """
    page = f"/learners/{as_segment(learner_id)}"
    return page if unit_id is None else f"{page}/units/{as_segment(unit_id)}"


def as_segment(text: str) -> str:
    """Returns an id as one segment of an address.

    >>> as_segment("é~")
    '~C3~A9~7E'
    """
    raw = text.encode("utf-8", "surrogatepass")
    return _OTHER.sub(lambda found: b"~%02X" % found[0][0], raw).decode("ascii")


def from_segment(segment: str) -> str | None:
    """Returns the id that a segment stands for; None if no id can be written so.

    A segment of plain percent-encoding is read, too, as it is what others write for most ids.

    >>> from_segment("~2E~2E~2Fa~20b"), from_segment("a b"), from_segment("~FF")
    ('../a b', 'a b', None)
    """
    raw = segment.encode("utf-8", "surrogatepass")
    try:
        text = _ESCAPED.sub(lambda found: bytes([int(found[1], 16)]), raw).decode()
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text  # no database keeps that character
