"""`mastery simulate`: writes a log of any size in bounded memory, whole or not at all."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from components.errors import MasteryError
from components.files.atomic import sync, sync_tree
from components.node.cache_key import code_fingerprint
from components.simulator import learner_model as model
from components.simulator.learner_model import CLASSES, Floats, Integers
from components.simulator.sequences import CHUNK, Sequences, check_request, draw

# Modules that decide the bytes of a log.
MAKERS = (
    "components.simulator.files",
    "components.simulator.sequences",
    "components.simulator.tables",
)
MANIFEST = "simulation.json"  # moved into place last: a folder without it holds no log of ours, or half of one


@dataclass(frozen=True)
class SimulatedLog:
    """A log that was written, or was already there."""

    directory: Path
    format: str
    learners: int
    seed: int
    events: int
    classes: dict[str, int]  # outcomes of each class
    written: bool  # false where the very same log was there before

    @property
    def outcomes(self) -> int:
        """Number of rows of outcomes."""
        return sum(self.classes.values())

    def describe(self) -> str:
        """Returns what the log holds, as a line for a terminal."""
        shares = ", ".join(
            f"{name} {count / self.outcomes:.0%}" for name, count in self.classes.items()
        )
        return (
            f"{self.directory}: {'wrote' if self.written else 'already holds'} {self.events:,} events and "
            f"{self.outcomes:,} outcomes ({shares}) of {self.learners:,} learners, seed {self.seed}."
        )


def simulate(
    learners: int,
    seed: int,
    out: str | Path,
    *,
    format: str = "parquet",  # noqa: A002 (the name of the option)
    overwrite: bool = False,
    on_progress: Callable[[int], None] | None = None,
) -> SimulatedLog:
    """Writes the tables `events` and `outcomes` of simulated learners into the folder `out`.

    Same arguments, same bytes; the first learners are the same however many follow. Where `out` holds the very
    same log already, nothing is done. An error or an interruption leaves nothing behind.

    Args:
        learners: how many, at least 1; each has about 1.3 outcomes and 32 events.
        seed: 0 or more.
        out: a folder, made if missing.
        format: parquet, csv or jsonl.
        overwrite: replace another log in `out` instead of refusing.
        on_progress: called after each chunk with the number of learners so far.

    Raises:
        MasteryError: an argument does not fit, `out` holds another log, or `out` cannot be written to.
    """
    check_request(learners, seed)
    if format not in FORMATS:
        raise MasteryError(f"Expected one of the formats {', '.join(FORMATS)}, found {format!r}.")
    folder = Path(out)
    request = {
        "learners": learners,
        "seed": seed,
        "format": format,
        "code": code_fingerprint(*MAKERS),
    }
    try:
        found = _manifest(folder)
        if found and _is_whole(folder, found) and request.items() <= found.items():
            return _summary(folder, found, written=False)
        if not overwrite:
            _check_free(folder, found)
        return _write(folder, request, on_progress)
    except OSError as error:
        raise MasteryError(
            f"{folder}: expected a folder that can be written to, found: {error.strerror}. Choose another --out."
        ) from error


def _write(
    folder: Path, request: dict[str, Any], on_progress: Callable[[int], None] | None
) -> SimulatedLog:
    """Writes the log into a folder within `folder`, then moves it to its place."""
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix=".simulate-", dir=folder) as draft:
            manifest = _write_tables(Path(draft), request, on_progress)
            _publish(Path(draft), folder, manifest)
    except BaseException:
        if made:
            folder.rmdir()
        raise
    return _summary(folder, manifest, written=True)


def _write_tables(
    draft: Path, request: dict[str, Any], on_progress: Callable[[int], None] | None
) -> dict[str, Any]:
    """Writes both tables chunk by chunk and returns the manifest."""
    learners, rows, classes = request["learners"], 0, Counter[str]()
    paths = [draft / f"{table}.{request['format']}" for table in ("events", "outcomes")]
    with TableFile(paths[0], EVENTS) as events, TableFile(paths[1], OUTCOMES) as outcomes:
        for chunk in range(-(-learners // CHUNK)):
            sequences = draw(request["seed"], chunk)
            happened, judged = (
                events_table(sequences, learners),
                outcomes_table(sequences, learners),
            )
            events.write(happened)
            outcomes.write(judged)
            rows += len(happened)
            classes.update(
                {
                    row["values"]: row["counts"]
                    for row in judged["mastery"].value_counts().to_pylist()
                }
            )
            if on_progress is not None:
                on_progress(min((chunk + 1) * CHUNK, learners))
    return {
        **request,
        "events": rows,
        "classes": {name: classes[name] for name in CLASSES},
        "bytes": {path.name: path.stat().st_size for path in paths},
    }


def _publish(draft: Path, folder: Path, manifest: dict[str, Any]) -> None:
    """Moves a complete log from `draft` into `folder`; an old manifest goes first, the new one comes last."""
    old = _manifest(folder) or {"bytes": {}}
    (draft / MANIFEST).write_text(json.dumps(manifest, indent=2), encoding="utf-8")
    sync_tree(draft)
    for name in (MANIFEST, *old["bytes"]):
        (folder / name).unlink(missing_ok=True)
    try:
        for name in (*manifest["bytes"], MANIFEST):
            (draft / name).rename(folder / name)
    except BaseException:
        for name in (*manifest["bytes"], MANIFEST):
            (folder / name).unlink(missing_ok=True)
        raise
    sync(folder)


def _manifest(folder: Path) -> dict[str, Any] | None:
    try:
        found = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return found if isinstance(found, dict) and isinstance(found.get("bytes"), dict) else None


def _is_whole(folder: Path, manifest: dict[str, Any]) -> bool:
    """Tells whether the files are as long as they were when they were written."""
    files = ((folder / name, size) for name, size in manifest["bytes"].items())
    return all(path.is_file() and path.stat().st_size == size for path, size in files)


def _check_free(folder: Path, manifest: dict[str, Any] | None) -> None:
    """Raises MasteryError where a log, simulated or not, is in the way."""
    remedy = "Choose another --out, or add --overwrite to replace it."
    if manifest is not None:
        raise MasteryError(
            f"{folder}: expected no other log here, found one of {manifest['learners']} learners, seed "
            f"{manifest['seed']}, {manifest['format']}, or of another version of the simulator. {remedy}"
        )
    taken = [f"{table}.{suffix}" for table in ("events", "outcomes") for suffix in FORMATS]
    found = [name for name in taken if (folder / name).exists()]
    if found:
        raise MasteryError(f"{folder}: expected no log here, found {', '.join(found)}. {remedy}")


def _summary(folder: Path, manifest: dict[str, Any], *, written: bool) -> SimulatedLog:
    return SimulatedLog(
        directory=folder,
        format=manifest["format"],
        learners=manifest["learners"],
        seed=manifest["seed"],
        events=manifest["events"],
        classes=manifest["classes"],
        written=written,
    )


TIMESTAMP = pa.timestamp("us", tz="UTC")

EVENTS = pa.schema(
    {
        "learner_id": pa.string(),
        "unit_id": pa.string(),
        "time": TIMESTAMP,
        "event_type": pa.string(),
        "knowledge_component": pa.string(),
        "dwell_seconds": pa.float32(),  # null where nobody saw the page close
        "exercise_completed": pa.bool_(),  # null where no exercise
        "correct": pa.int8(),  # null where no answer, or lost
        "playback_speed": pa.float32(),  # null where no video, or lost
    }
)
OUTCOMES = pa.schema(
    {
        "learner_id": pa.string(),
        "unit_id": pa.string(),
        "as_of": TIMESTAMP,
        "mastery": pa.string(),
        **dict.fromkeys(model.ATTRIBUTES, pa.string()),
    }
)

_COMPONENTS = [f"{unit}/{name}" for unit, names in model.CATALOGUE.items() for name in names]


def events_table(sequences: Sequences, learners: int) -> pa.Table:
    """Returns the recorded events of learners below `learners`, in the order of time, as a platform writes them."""
    shown = sequences.recorded & (sequences.learner < learners)
    exists = np.arange(sequences.time.shape[1]) < sequences.events[:, None]
    row, step = np.nonzero(exists & shown[:, None])
    order = np.argsort(sequences.time[row, step], kind="stable")
    row, step = row[order], step[order]
    unit = sequences.unit[row]
    columns = [
        _names(_ids(sequences), sequences.learner[row] % CHUNK),
        _names(list(model.CATALOGUE), unit),
        _timestamps(sequences.time[row, step]),
        _names(model.EVENT_TYPES, sequences.event_type[row, step]),
        _names(_COMPONENTS, unit * len(model.DIFFICULTY) + sequences.component[row, step]),
        *(_numbers(values[row, step]) for values in _measures(sequences)),
    ]
    return pa.table(
        [column.cast(kind) for column, kind in zip(columns, EVENTS.types, strict=True)],
        schema=EVENTS,
    )


def outcomes_table(sequences: Sequences, learners: int) -> pa.Table:
    """Returns one row for every sequence of learners below `learners`, cold starts too."""
    row = np.nonzero(sequences.learner < learners)[0]
    columns = [
        _names(_ids(sequences), sequences.learner[row] % CHUNK),
        _names(list(model.CATALOGUE), sequences.unit[row]),
        _timestamps(sequences.as_of[row]),
        _names(model.CLASSES, sequences.label[row]),
        *(
            _names(list(model.ATTRIBUTES[name]), codes[row])
            for name, codes in sequences.attributes.items()
        ),
    ]
    return pa.table(columns, schema=OUTCOMES)


def _measures(sequences: Sequences) -> tuple[Floats, Floats, Floats, Floats]:
    return sequences.dwell, sequences.completed, sequences.correct, sequences.speed


def _ids(sequences: Sequences) -> list[str]:
    first = int(sequences.learner[0]) // CHUNK * CHUNK
    return [f"learner-{number:07d}" for number in range(first, first + CHUNK)]


def _names(names: list[str] | list[str | None] | tuple[str, ...], codes: Integers) -> pa.Array:
    return pa.array(names, pa.string()).take(pa.array(codes))


def _numbers(values: Floats) -> pa.Array:
    return pa.array(values, from_pandas=True)  # NaN becomes null


def _timestamps(seconds: Floats) -> pa.Array:
    return pa.array(model.FIRST_DAY + np.rint(seconds * 1e6).astype("timedelta64[us]"), TIMESTAMP)


FORMATS = ("parquet", "csv", "jsonl")
_CLOCK = "%Y-%m-%dT%H:%M:%S%.3fZ"  # times in text files


class TableFile:
    """Writes Arrow tables one after the other into one new file, whose suffix says the format.

    A context manager; on the way out the file is complete.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._format = path.suffix.removeprefix(".")
        self._file = path.open("wb")
        self._parquet = (
            pq.ParquetWriter(self._file, schema, compression="zstd")
            if self._format == "parquet"
            else None
        )

    def write(self, table: pa.Table) -> None:
        """Appends `table`; Parquet gets a row group."""
        if self._parquet is not None:
            self._parquet.write_table(table)
            return
        frame = pl.DataFrame(pl.from_arrow(table)).with_columns(
            pl.col(pl.Datetime).dt.to_string(_CLOCK)
        )
        if self._format == "csv":
            frame.write_csv(self._file, include_header=self._file.tell() == 0)
        else:
            frame.write_ndjson(self._file)

    def __enter__(self) -> TableFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._parquet is not None:
            self._parquet.close()
        self._file.close()
