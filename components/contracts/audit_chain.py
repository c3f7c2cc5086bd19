"""The chain of the audit log: each entry holds the digest of the entry before it, and its own.

```
{"format":1,"revision":7, ... ,"previous":"<digest of entry 6>","digest":"<SHA-256 of all before>"}
```

An entry's digest covers its line up to the digest itself, and so, by `previous`, all entries before
it. Whoever knows the digest of one entry, the *head*, can check every byte up to there. Whoever
knows none can only check that the log agrees with itself: somebody who may write to it can compute
all digests anew.

Logs from before there were digests go on: the first entry with one covers all bytes before it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from components.contracts.contract import ContractError
from components.contracts.serving_state import DIGEST_KEY, AuditEntry

BEGINNING = "0" * 64  # what the first entry holds in place of a digest

_DIGITS = 64
_END = b'"}'


@dataclass(frozen=True)
class ChainCheck:
    """What a check of the log found.

    Attributes:
        heads: the digest after each entry: what the next one holds, or would hold, as `previous`.
        problems: what is wrong, each a sentence that names the entry; empty for a sound log.
    """

    heads: tuple[str, ...]
    problems: tuple[str, ...]

    @property
    def head(self) -> str:
        """The digest of the whole log."""
        return self.heads[-1] if self.heads else BEGINNING

    def place_of(self, head: str) -> int | None:
        """Returns how many entries the log had when this was its head; None if it never was.

        Args:
            head: a digest, or its first twelve or more digits.
        """
        if head == BEGINNING:
            return 0
        found = (place for place, known in enumerate(self.heads, 1) if known.startswith(head))
        return next(found, None)


def seal(entry: AuditEntry, before: Sequence[bytes]) -> AuditEntry:
    """Returns an entry with the digest of the entry before it and its own.

    Args:
        entry: the next one.
        before: the lines of the log; the last one is enough where that has a digest.
    """
    linked = entry.model_copy(update={"previous": head_of(before), "digest": None})
    return linked.model_copy(update={"digest": _sha256(linked.to_line()[:-1])})


def head_of(lines: Sequence[bytes]) -> str:
    """Returns the digest that the next entry holds.

    Args:
        lines: those of the log; the last one is enough where that has a digest.
    """
    if not lines:
        return BEGINNING
    return recorded_digest(lines[-1]) or _sha256(b"".join(line + b"\n" for line in lines))


def head_in(folder: Path) -> str | None:
    """Returns the digest of the log in a serving folder; None where nothing was changed yet.

    Raises:
        OSError: it cannot be read.
    """
    try:
        content = (folder / AuditEntry.FILE).read_bytes()
    except FileNotFoundError:
        return None
    whole = content[: content.rfind(b"\n") + 1]
    return head_of(whole.splitlines()) if whole else None


def recorded_digest(line: bytes) -> str | None:
    """Returns the digest that an entry has of itself, right or wrong; None for an older entry."""
    start = len(line) - _DIGITS - len(_END)
    if line[start:].endswith(_END) and line[:start].endswith(DIGEST_KEY):
        return line[start : start + _DIGITS].decode(errors="replace")
    return None


def check_chain(lines: Sequence[bytes]) -> ChainCheck:
    """Checks every entry of a log, oldest first."""
    heads: list[str] = []
    problems: list[str] = []
    everything = hashlib.sha256()
    is_chained = False
    for place, line in enumerate(lines, 1):
        before = heads[-1] if heads else BEGINNING
        problems += (f"entry {place} {text}" for text in _problems(line, place, before, is_chained))

        digest = recorded_digest(line)
        is_chained |= digest is not None
        everything.update(line + b"\n")
        heads.append(digest or everything.hexdigest())
    return ChainCheck(tuple(heads), tuple(problems))


def _problems(line: bytes, place: int, before: str, is_chained: bool) -> Iterator[str]:
    """Yields what is wrong with an entry, each a part of a sentence."""
    try:
        entry = AuditEntry.from_json(line)
    except ContractError as error:
        yield f"was changed or damaged: {error}"
        return
    if entry.revision != place:
        yield f"says that it is entry {entry.revision}: entries were removed, added or reordered"

    digest = recorded_digest(line)
    if digest is None:
        if is_chained or entry.previous is not None:
            yield (
                "has no digest at its end: it was changed, or did not come from this version of "
                "Mastery"
            )
        return
    if _sha256(line[: -len(_END) - _DIGITS - len(DIGEST_KEY)]) != digest:
        yield "was changed: its content has another digest than it says"
    if entry.previous != before:
        yield (
            f"does not follow entry {place - 1}: that was changed, or entries were removed, added "
            "or reordered"
            if place > 1
            else "is not the first of a log: entries before it were removed"
        )


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
