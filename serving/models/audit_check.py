"""Checks the audit log: its chain, and what files outside the log remember of it.

A chain shows any change before its newest entry that somebody remembers. Whoever may write to the
folder can cut entries off the end, or write the whole log anew; only a digest that was kept
elsewhere shows that. Digests are kept in `routing.json`, in the manifest of every version that is
pushed, and wherever people keep the head that `mastery models log --check` prints.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.contracts.audit_chain import check_chain
from components.contracts.contract import ContractError
from components.contracts.serving_state import AuditEntry, Routing
from components.errors import MasteryError
from components.files.atomic import write_text

if TYPE_CHECKING:
    from serving.models.storage import Storage

_HEAD = re.compile(r"[0-9a-f]{12,64}")


@dataclass(frozen=True)
class CheckedLog:
    """What a check of the audit log found.

    Attributes:
        entries: how many the log has.
        head: the digest of the whole log.
        problems: what is wrong, each a sentence; empty for a sound log.
        witnesses: the digests that were compared, besides those in the log: where each one is.
    """

    entries: int
    head: str
    problems: list[str]
    witnesses: list[str]

    def describe(self) -> str:
        """Returns the result for people."""
        lines = [f"{problem}." for problem in self.problems]
        if not lines:
            lines.append(f"{self.entries} entries, each follows the one before.")
            lines += [f"As remembered by {place}." for place in self.witnesses]
        return "\n".join([*lines, f"head {self.head}"])


def check_log(
    storage: Storage, *, expect: str | None = None, witness: Path | None = None
) -> CheckedLog:
    """Checks the audit log.

    Args:
        storage: the serving folder.
        expect: a head that an earlier check printed, or its first twelve or more digits.
        witness: a file that those who may change the log cannot write to. The log must have had the
            head in it; if all is well, the new head is written there.

    Raises:
        MasteryError: the storage cannot be read, or `expect` or `witness` holds no head.
    """
    # What remembers the log is read first: whatever is added meanwhile, the log still has the rest.
    remembered = [*_given(expect, witness), *_in_folder(storage)]
    chain = check_chain(storage.entries())
    problems = [*chain.problems, *_cut_off(storage)]
    problems += [
        f"the log never had the head {head[:12]}, which {place} remembers: entries were cut off "
        "its end, or it was written anew"
        for head, place in remembered
        if chain.place_of(head) is None
    ]
    if witness is not None and not problems:
        _write(witness, chain.head)
    return CheckedLog(len(chain.heads), chain.head, problems, [place for _, place in remembered])


def _given(expect: str | None, witness: Path | None) -> Iterator[tuple[str, str]]:
    """Yields the heads that the caller knows, and where each one is."""
    if expect is not None:
        if not _HEAD.fullmatch(expect):
            raise MasteryError(
                f"--expect: expected the head that an earlier check printed, found {expect!r}."
            )
        yield expect, "--expect"

    if witness is not None and (known := _read(witness)) is not None:
        if not _HEAD.fullmatch(known):
            raise MasteryError(
                f"{witness}: expected the head that an earlier check wrote, found another text."
            )
        yield known, str(witness)


def _in_folder(storage: Storage) -> Iterator[tuple[str, str]]:
    """Yields the heads in files beside the log."""
    with suppress(ContractError):
        head = Routing.from_json(storage.read(Routing.FILE) or b"").head
        if head is not None:
            yield head, Routing.FILE
    for version in storage.versions():
        with suppress(ContractError):
            manifest = storage.read_manifest(version)
            if manifest is not None and manifest.audit_head is not None:
                yield manifest.audit_head, f"the manifest of version {version}"


def _cut_off(storage: Storage) -> Iterator[str]:
    content = storage.read(AuditEntry.FILE) if storage.locks else None
    if content and not content.endswith(b"\n"):
        yield (
            "after the last entry there are bytes that are none: a write was cut off (the next "
            "change removes them), or the last entry was changed"
        )


def _read(witness: Path) -> str | None:
    try:
        return witness.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise MasteryError(f"{witness}: could not be read ({error}).") from None


def _write(witness: Path, head: str) -> None:
    try:
        write_text(witness, f"{head}\n")
    except OSError as error:
        raise MasteryError(f"{witness}: could not be written ({error}).") from None
