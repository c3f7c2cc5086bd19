"""Writes what each format's mapping says: `python -m components.platforms.reference docs`.

`make docs` calls it. In the page of each format, and in `formats.md`, it replaces what is between
the lines `<!-- mapping -->` and `<!-- end of mapping -->`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from components.platforms.formats import PLATFORMS, mapping_of

if TYPE_CHECKING:
    from components.config.mapping import EventMapping
    from components.config.record_paths import Condition, Conditions, Rule
    from components.config.value_sources import Source

BEGIN, END = "<!-- mapping -->", "<!-- end of mapping -->"
STANDARD_COLUMNS = (
    "learner_id", "unit_id", "time", "event_type", "component",
    "dwell_seconds", "correct", "score", "completed", "playback_speed",
)  # fmt: skip
SHOWN_VALUES = 8
SHOWN_PATHS = 3
SHOWN_LETTERS = 110


class Line(NamedTuple):
    """A column of events, or a rule, and what it says in words; one line per way."""

    name: str
    ways: list[str]


class Part(NamedTuple):
    """What a mapping says about all records, or about those of one kind."""

    title: str
    columns: list[Line]
    rules: list[Line]


def parts_of(mapping: EventMapping) -> Iterator[Part]:
    """Yields what a mapping says in words, for all records and then for each kind of them."""
    if mapping.columns or mapping.leave_out:
        yield _part("", mapping.columns, mapping.leave_out)
    for name, kind in mapping.kinds.items():
        yield _part(kind.title or name, kind.columns, kind.leave_out)


def _part(title: str, columns: Mapping[str, list[Source]], rules: Mapping[str, Rule]) -> Part:
    return Part(
        title,
        [Line(name, [describe_source(way) for way in ways]) for name, ways in columns.items()],
        [Line(name, [_all_of(item) for item in rule]) for name, rule in rules.items()],
    )


def describe_source(source: Source) -> str:
    """Returns one way to a value in words.

    >>> from components.config.value_sources import Source
    >>> describe_source(Source.model_validate({"from": "event.grade", "over": "event.max_grade"}))
    '`event.grade`, divided by `event.max_grade`'
    """
    words = [_origin(source)]
    if source.pattern is not None:
        words.append(f"what {_code(source.pattern)} finds in it")
    if source.values:
        words.append(_values(source.values) + (", else nothing" if source.only_values else ""))
    if source.equals is not None:
        words.append(f"1 if it is the same as {_code(source.equals)}, else 0")
    words += {"boolean": ["as 1 or 0"], "duration": ["in seconds"]}.get(source.as_, [])
    if source.minus is not None:
        words.append(f"less {_code(source.minus)}")
    if source.over is not None:
        words.append(f"divided by {_code(source.over)}")
    if source.format is not None:
        words.append(f"written as {_code(source.format)}")
    text = ", ".join(words)
    if source.when:
        text += f"; if {_all_of(source.when)}"
    if source.unless:
        text += f"; unless {_all_of(source.unless)}"
    return text


def _origin(source: Source) -> str:
    if source.from_ is not None:
        return _code(source.from_)
    if source.template is not None:
        return _code(source.template)
    if source.file is not None:
        return f"what {_code(source.file)} finds in the path of the file"
    return f"always {_code(source.constant or '')}"


def _values(values: Mapping[str, str]) -> str:
    shown = [f"{_code(old)} is {_code(new)}" for old, new in [*values.items()][:SHOWN_VALUES]]
    more = len(values) - SHOWN_VALUES
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def _all_of(conditions: Conditions) -> str:
    return " and ".join(_condition(path, wanted) for path, wanted in conditions.items())


def _condition(path: str, wanted: Condition) -> str:
    if isinstance(wanted, str):
        return f"{_code(path)} has {_code(wanted)}"
    if isinstance(wanted, list):
        shown = ", ".join(map(_code, wanted[:SHOWN_VALUES]))
        more = len(wanted) - SHOWN_VALUES
        return f"{_code(path)} is {shown}" + (f" or one of {more} more" if more > 0 else "")
    return f"{_code(path)} is in {_code(wanted.file)}"


def _code(text: str) -> str:
    """Returns text as Markdown's code, on one line and cut where it is too long for a table."""
    text = " ".join(text.split())
    text = f"{text[:SHOWN_LETTERS]}..." if len(text) > SHOWN_LETTERS else text
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def tables(mapping: EventMapping) -> str:
    """Returns a mapping as tables in Markdown."""
    lines: list[str] = []
    for part in parts_of(mapping):
        lines += [f"**{_heading(part.title)}**", ""] if part.title else []
        for heading, rows in (("column", part.columns), ("left out", part.rules)):
            if not rows:
                continue
            what = "where its value is found" if heading == "column" else "what these records have"
            lines += [f"| {heading} | {what} |", "|---|---|"]
            lines += [f"| {_name(heading, name)} | {_cell(ways)} |" for name, ways in rows]
            lines.append("")
    for name, lookup in mapping.lookups.items():
        lines += [f"The lookup `{name}` finds `{lookup.path}` in `{lookup.key}` of a table.", ""]
    return "\n".join(lines)


def _heading(title: str) -> str:
    """Returns a title with a capital, unless it begins with the name of a table."""
    return title if "_" in title.split()[0] else f"{title[:1].upper()}{title[1:]}"


def _name(heading: str, name: str) -> str:
    return f"`{name}`" if heading == "column" else name


def _cell(ways: list[str]) -> str:
    numbered = [f"{number}. {way}" for number, way in enumerate(ways, start=1)]
    return "<br>".join(numbered if len(ways) > 1 else ways).replace("|", "\\|")


def overview() -> str:
    """Returns one table in Markdown over all formats: which paths each standard column is from."""
    mappings = {name: mapping_of(name) for name in PLATFORMS}
    titles = [mapping.title for mapping in mappings.values()]
    lines = [f"| column | {' | '.join(titles)} |", "|---" * (len(titles) + 1) + "|"]
    for column in STANDARD_COLUMNS:
        cells = [_paths_of(mapping, column) for mapping in mappings.values()]
        lines.append(f"| `{column}` | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _paths_of(mapping: EventMapping, column: str) -> str:
    columns = [mapping.columns, *(kind.columns for kind in mapping.kinds.values())]
    sources = [source for group in columns for source in group.get(column, [])]
    paths = dict.fromkeys(path for source in sources for path in source.value_paths)
    shown = [*paths][:SHOWN_PATHS]
    more = f" and {len(paths) - SHOWN_PATHS} more" if len(paths) > SHOWN_PATHS else ""
    text = ", ".join(map(_code, shown)) + more
    return (text or ("always the same" if sources else "-")).replace("|", "\\|")


def as_yaml(mapping: EventMapping) -> str:
    """Returns a mapping as the YAML of a configuration's section `data`, to copy and change.

    What all kinds share stands in each of them, since `data.mapping` would count for all.
    """
    if mapping.kinds:
        names = mapping.column_names
        whole = {name: mapping.of_kind(kind, names) for name, kind in mapping.kinds.items()}
        kinds = {
            name: kind.model_copy(
                update={"columns": whole[name].columns, "leave_out": whole[name].leave_out}
            )
            for name, kind in mapping.kinds.items()
        }
        mapping = mapping.model_copy(update={"columns": {}, "leave_out": {}, "kinds": kinds})
    keys = {"columns", "leave_out", "lookups", "kinds"}  # what a configuration may change
    content = mapping.model_dump(mode="json", by_alias=True, exclude_defaults=True, include=keys)
    if "columns" in content:
        content = {"mapping": _short(content.pop("columns")), **content}
    for kind in content.get("kinds", {}).values():
        kind.update({"columns": _short(kind["columns"])} if "columns" in kind else {})
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)
    return str(text)


def _short(columns: dict[str, Any]) -> dict[str, Any]:
    """Returns columns with a path alone, and one way without a list, as people write them."""
    short = {}
    for name, ways in columns.items():
        plain = [way["from"] if way.keys() == {"from"} else way for way in ways]
        short[name] = plain[0] if len(plain) == 1 else plain
    return short


def with_tables(page: str, text: str) -> str:
    """Returns a page whose generated part is replaced.

    Raises:
        ValueError: it has none.
    """
    pattern = re.compile(f"{BEGIN}\n.*?{END}", re.DOTALL)
    if not pattern.search(page):
        raise ValueError(f"expected the lines {BEGIN} and {END}, found none")
    return pattern.sub(lambda _: f"{BEGIN}\n\n{text}\n{END}", page)


def pages(docs: Path) -> Iterator[tuple[Path, str]]:
    """Yields each page with a generated part, and what it should be."""
    generated = {docs / "formats.md": overview()}
    generated |= {
        docs / "formats" / f"{name}.md": tables(mapping_of(name))
        for name in PLATFORMS
        if (docs / "formats" / f"{name}.md").exists()
    }
    for page, text in generated.items():
        yield page, with_tables(page.read_text(encoding="utf-8"), text)


if __name__ == "__main__":
    for page, text in pages(Path(sys.argv[1])):
        page.write_text(text, encoding="utf-8")
