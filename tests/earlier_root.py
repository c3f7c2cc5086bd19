"""Unpacks the root that an earlier version made; see `tests/fixtures/earlier_root/README.md`."""

from __future__ import annotations

import sqlite3
import tarfile
from pathlib import Path

from pipeline.layout import Layout

ARCHIVE = Path(__file__).parent / "fixtures" / "earlier_root" / "mastery.tar.xz"
HOME = "/srv/mastery"
NAME = "small"
FIRST, SECOND = 1795716886, 1795716936  # the versions; the second one is stable


def unpack(folder: Path) -> Path:
    """Unpacks the archive into `folder` as if everything in it had been made there.

    Returns:
        The folder with the configuration `small.yaml`, the log and the root `runs`.
    """
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    home = folder / "mastery"
    replacements = {
        HOME: str(home),
        Layout(Path(HOME, "runs"), NAME).store_name: Layout(home / "runs", NAME).store_name,
    }
    _relocate_records(home / "runs" / NAME, HOME, str(home))
    _relocate_store(home / "runs" / "metadata.sqlite", replacements)
    return home


def _relocate_records(pipeline: Path, old: str, new: str) -> None:
    records = [
        *pipeline.glob("runs/*/*.json"),
        *pipeline.glob("nodes/Pusher/*/*/push.json"),
        *pipeline.glob("serving/*/manifest.json"),
    ]
    for record in records:
        text = record.read_text(encoding="utf-8")
        record.write_text(text.replace(old, new), encoding="utf-8")


def _relocate_store(file: Path, replacements: dict[str, str]) -> None:
    store = sqlite3.connect(file)
    tables = [
        ("Artifact", "uri"),
        ("ArtifactProperty", "string_value"),
        ("ExecutionProperty", "string_value"),
        ("Context", "name"),
        ("ContextProperty", "string_value"),
        ("Execution", "name"),
        ("Artifact", "name"),
    ]
    for table, column in tables:
        for old, new in replacements.items():
            update = f"UPDATE {table} SET {column} = replace({column}, ?, ?)"
            store.execute(f"{update} WHERE {column} LIKE ?", (old, new, f"%{old}%"))
    store.commit()
    store.close()
