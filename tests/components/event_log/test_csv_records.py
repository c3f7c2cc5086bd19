"""Where CSV rows begin and end, compared with RFC 4180 read character by character."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from components.event_log import csv_records
from components.event_log.chunks import TextFault
from components.event_log.csv_records import check_folded, split_records
from components.event_log.problems import describe_fault


def by_the_letter(text: str) -> list[tuple[int, str]]:
    """Returns the records that are not blank, each with its line.

    Raises:
        ValueError: the text violates RFC 4180.
    """
    records: list[tuple[int, str]] = []
    line, place = 1, 0
    while place < len(text):
        start, first, quoted, field_begins = place, line, False, True
        while place < len(text):
            char = text[place]
            is_break = char == "\n" or (char == "\r" and text[place + 1 : place + 2] != "\n")
            if quoted and char == '"':
                if text[place + 1 : place + 2] == '"':
                    place += 1
                elif text[place + 1 : place + 2] in ("", ",", "\n", "\r"):
                    quoted = False
                else:
                    raise ValueError
            elif quoted:
                line += is_break
            elif char == '"':
                if not field_begins:
                    raise ValueError
                quoted = True
            elif is_break:
                break
            field_begins = not quoted and char == ","
            place += 1
        if quoted:
            raise ValueError
        record = (
            text[start:place].removesuffix("\r")
            if text[place : place + 1] == "\n"
            else text[start:place]
        )
        records += [(first, record)] if record else []
        place += 1
        line += 1
    return records


def pieces(text: str, size: int) -> list[bytes]:
    content = text.encode()
    return [content[start : start + size] for start in range(0, len(content), size)]


@given(st.text(alphabet='a,"\n\r\\', max_size=30), st.integers(1, 40))
@example('a,"b\\"",c\n"d"', 100)
@example('"a\r', 2)
@example('a\r\n\r\n"b\r\nc"\r\r\n', 1)
def test_quotes_are_judged_by_rfc_4180(text: str, size: int) -> None:
    try:
        expected = by_the_letter(text)
    except ValueError:
        with pytest.raises(TextFault):
            list(split_records(pieces(text, size)))
        return
    blocks = list(split_records(pieces(text, size)))
    assert b"".join(records.content for records in blocks) == text.encode()
    assert [line for records in blocks for line in records.lines] == [line for line, _ in expected]
    breaks = sum(len(records.lines) + records.blank + records.within for records in blocks)
    assert breaks == len(text.replace("\r\n", "\n").replace("\r", "\n").splitlines())


@given(
    st.lists(
        st.lists(st.text(alphabet='ab,"\n é', max_size=6), min_size=2, max_size=2),
        min_size=1,
        max_size=12,
    ),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    st.integers(1, 60),
)
def test_what_a_writer_writes_is_read_as_many_rows(
    rows: list[list[str]], terminator: str, quoting: int, size: int
) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator=terminator, quoting=quoting).writerows(rows)  # type: ignore[arg-type]
    blocks = list(split_records(pieces(text.getvalue(), size)))
    assert sum(len(records.lines) for records in blocks) == len(rows)


@pytest.mark.parametrize(
    ("text", "line", "found"),
    [
        ('a,b\n1,"x\n2,y\n', 2, "a quote that is never closed: '\"x 2,y'"),
        ('a,b\n1,"""x\n2,y\n', 2, 'a quote that is never closed: \'"""x 2,y\''),
        ('a,b\n\n1,"x\n2,"y"\n', 3, "(the next quote, in line 4, does not end it)"),
        (
            'a,b\n1,"x \\"y\\""\n',
            2,
            "(it is closed in the middle; a quote inside a field is doubled, not escaped by",
        ),
        ('a,b\r1,x"y\r', 2, "a quote inside a field that is not quoted: 'a,b 1,x\"y'"),
        ('a,b\r\n1,"x" ,y\r\n', 2, "(it is closed in the middle)"),
    ],
)
def test_a_fault_names_the_line_and_the_cause(text: str, line: int, found: str) -> None:
    with pytest.raises(TextFault) as fault:
        list(split_records([text.encode()]))
    assert fault.value.line == line
    assert found in describe_fault(fault.value)


@pytest.mark.parametrize(("text", "line"), [("x" * 90, 3), ("x,y\n" * 9 + '"' + "x" * 90, 12)])
def test_a_line_without_end_is_not_kept_in_memory(
    text: str, line: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_records, "MAX_RECORD_BYTES", 50)
    with pytest.raises(TextFault) as fault:
        list(split_records(pieces("a,b\n\n" + text, 10)))
    assert fault.value.line == line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            '1,2,x\n2,3,"x\n3,4,y\n4,5,z"\n',
            2,
        ),  # two stray quotes, at the begin and the end of a text
        ('1,"x,5\n2,y,6\n3,z"z,7\n', None),  # no CSV at all
        ('1,2,"dear all,\nno, thanks"\n', None),
        ('1,2,"dear all\nno, thanks, bye"\n', None),  # as many commas, and no number
        ('1,2,"1,2\n3,4,5"\n', None),
    ],
)
def test_rows_that_quotes_swallow_are_found(text: str, line: int | None) -> None:
    try:
        (records,) = split_records([text.encode()])
    except TextFault:
        return
    if line is None:
        check_folded(records, 3)
        return
    with pytest.raises(
        TextFault, match=r"a quoted field of 3 lines, each of which looks like a row"
    ) as fault:
        check_folded(records, 3)
    assert fault.value.line == line
