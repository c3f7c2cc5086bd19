"""Writes a simulated log of any size in bounded memory, whole or not at all.

Sequences of learners are drawn chunk by chunk (`sequences`), become rows of both tables (`tables`),
and are appended to files in a hidden folder, which are moved to their place at the end. Week by
week (`weeks`) each delivery has files of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Protocol

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from components.contracts.contract import ContractError
from components.contracts.simulation import Simulation
from components.errors import MasteryError
from components.files.atomic import draft_folder, sync, sync_tree
from components.node.cache_key import code_fingerprint
from components.platforms.formats import PLATFORMS
from components.simulator.bias import planted, require_bias
from components.simulator.changes import read_changes
from components.simulator.learner_model import CLASSES
from components.simulator.platform_logs import next_seconds, open_platform_log, whole_seconds
from components.simulator.sequences import CHUNK, check_request, draw
from components.simulator.tables import (
    EVENTS,
    OUTCOMES,
    TableFile,
    events_table,
    outcomes_table,
)
from components.simulator.weeks import FIRST_MONDAY, draw_week, monday_of, require_weeks

TABLE_FORMATS = ("parquet", "csv", "jsonl")
FORMATS = (*TABLE_FORMATS, *PLATFORMS)
TABLES = ("events", "outcomes")


@dataclass(frozen=True)
class SimulatedLog:
    """A simulated log in a folder.

    Attributes:
        directory: the folder.
        simulation: what it was made with.
        written: false if the same log was already there.
    """

    directory: Path
    simulation: Simulation
    written: bool

    @property
    def learners(self) -> int:
        """Number of learners, of all weeks."""
        return self.simulation.learners * (self.simulation.weeks or 1)

    @property
    def events(self) -> int:
        """Number of rows of events."""
        return self.simulation.events

    @property
    def classes(self) -> dict[str, int]:
        """Number of outcomes of each class."""
        return self.simulation.classes

    @property
    def outcomes(self) -> int:
        """Number of rows of outcomes."""
        return sum(self.classes.values())

    def describe(self) -> str:
        """Returns what the log holds, as one line for a terminal."""
        verb = "wrote" if self.written else "already holds"
        shares = [f"{name} {count / self.outcomes:.0%}" for name, count in self.classes.items()]
        weeks = f"{self.simulation.weeks} weeks, " if self.simulation.weeks else ""
        return (
            f"{self.directory}: {verb} {weeks}{self.events:,} events and "
            f"{self.outcomes:,} outcomes "
            f"({', '.join(shares)}) of {self.learners:,} learners, seed {self.simulation.seed}."
        )


def simulate(
    learners: int,
    seed: int,
    out: str | Path,
    *,
    format: str = "parquet",  # noqa: A002 (the name of the option)
    bias: str | None = None,
    weeks: int | None = None,
    first_day: date | None = None,
    changes: Sequence[str] = (),
    overwrite: bool = False,
    on_progress: Callable[[int], None] | None = None,
) -> SimulatedLog:
    """Writes the tables `events` and `outcomes` of simulated learners into the folder `out`.

    The same arguments give the same bytes, and the first learners are the same for any number of
    learners. If `out` already holds the same log, nothing is done. An error or an interruption
    leaves nothing behind.

    ```python
    print(simulate(4000, 1, "sample").describe())
    ```

    Args:
        learners: how many, at least 1; each has about 1.3 outcomes and 32 events.
        seed: 0 or more.
        out: a folder, created if missing.
        format: parquet, csv or jsonl; or a platform, whose events are in its own format and of
            whole seconds.
        bias: a bias against one group to plant, see `components.simulator.bias`.
        weeks: that many deliveries instead of one log, each in a folder named by its Monday and
            with `learners` new learners, see `components.simulator.weeks`.
        first_day: of the first week; default: `components.simulator.weeks.FIRST_MONDAY`.
        changes: of course, such as `relation:20`, see `components.simulator.changes`.
        overwrite: replace another log in `out` instead of refusing.
        on_progress: called after each chunk with the number of learners so far.

    Raises:
        MasteryError: an argument is invalid, `out` holds another log, or it cannot be written to.
    """
    check_request(learners, seed)
    require_bias(bias)
    if format not in FORMATS:
        raise MasteryError(f"Expected one of the formats {', '.join(FORMATS)}, found {format!r}.")
    if weeks is not None:
        require_weeks(weeks, learners)
    elif changes or first_day:
        option = "--change" if changes else "--first-day"
        raise MasteryError(f"{option}: expected --weeks with it: it is about a log week by week.")
    if weeks is not None and format not in TABLE_FORMATS:
        raise MasteryError(
            f"--weeks: expected one of the formats {', '.join(TABLE_FORMATS)}, found {format!r}."
        )
    folder = Path(out)
    writers = [f"components.simulator.{format}_log"] if format in PLATFORMS else []
    request = Simulation(
        learners=learners,
        seed=seed,
        table_format=format,
        code=code_fingerprint(__name__, *writers),
        bias=bias,
        weeks=weeks,
        first_day=(first_day or FIRST_MONDAY) if weeks else None,
        changes=tuple(map(str, read_changes(changes, weeks or 0))),
        events=0,
        classes={},
        sizes={},
    )

    try:
        found = _read_simulation(folder)
        if found and _is_whole(folder, found) and found.is_made_like(request):
            return SimulatedLog(folder, found, written=False)
        if not overwrite:
            _check_free(folder, found)
        return SimulatedLog(folder, _write(folder, request, on_progress), written=True)
    except OSError as error:
        raise MasteryError(
            f"{folder}: the log could not be written ({error.strerror}). Choose another --out."
        ) from error


def _write(
    folder: Path, request: Simulation, on_progress: Callable[[int], None] | None
) -> Simulation:
    """Writes the log into a folder within `folder`, then moves it to its place."""
    with draft_folder(folder) as draft:
        simulation = _write_tables(draft, request, on_progress)
        _publish(draft, folder, simulation)
    return simulation


def _write_tables(
    draft: Path, request: Simulation, on_progress: Callable[[int], None] | None
) -> Simulation:
    """Writes all tables chunk by chunk, in each folder in turn."""
    learners = 0
    rows = 0
    classes = Counter[str]()
    for name, chunks in _folders(request):
        folder = draft / name
        folder.mkdir(exist_ok=True)
        with _open_tables(folder, request.table_format) as (events, outcomes):
            for some_events, some_outcomes in chunks:
                events.write(some_events)
                outcomes.write(some_outcomes)

                rows += len(some_events)
                classes.update(some_outcomes["mastery"].to_pylist())
                learners += pc.count_distinct(some_outcomes["learner_id"]).as_py()
                if on_progress is not None:
                    on_progress(learners)

    files = sorted(path for path in draft.rglob("*") if path.is_file())
    counted = {
        "events": rows,
        "classes": {name: classes[name] for name in CLASSES},
        "sizes": {path.relative_to(draft).as_posix(): path.stat().st_size for path in files},
    }
    return request.model_copy(update=counted)


def _folders(request: Simulation) -> Iterator[tuple[str, Iterator[tuple[pa.Table, pa.Table]]]]:
    """Yields each folder of tables by its name in the log, and its events and outcomes by chunk."""
    if request.weeks is None:
        yield ".", _chunks(request)
        return
    for week in range(1, request.weeks + 1):
        monday = monday_of(week, request.first_day or FIRST_MONDAY)
        yield monday.isoformat(), _chunks_of_week(request, week)


def _chunks(request: Simulation) -> Iterator[tuple[pa.Table, pa.Table]]:
    for chunk in range(-(-request.learners // CHUNK)):
        drawn = draw(request.seed, chunk)
        sequences = planted(drawn, request.bias, request.seed, chunk)
        yield (
            events_table(sequences, request.learners),
            outcomes_table(sequences, request.learners),
        )


def _chunks_of_week(request: Simulation, week: int) -> Iterator[tuple[pa.Table, pa.Table]]:
    changes = read_changes(request.changes, request.weeks or 0)
    first_day = request.first_day or FIRST_MONDAY
    for part in draw_week(request.seed, week, request.learners, changes, request.bias, first_day):
        yield part.events(), part.outcomes()


@contextmanager
def _open_tables(folder: Path, format_: str) -> Iterator[tuple[_Appended, _Appended]]:
    """Opens what events and outcomes are appended to, as Arrow tables."""
    if format_ in TABLE_FORMATS:
        paths = [folder / f"{table}.{format_}" for table in TABLES]
        with TableFile(paths[0], EVENTS) as events, TableFile(paths[1], OUTCOMES) as outcomes:
            yield events, outcomes
        return
    with (
        open_platform_log(format_, folder) as log,
        TableFile(folder / "outcomes.csv", OUTCOMES) as outcomes,
    ):
        yield _Adapted(log.write, whole_seconds), _Adapted(outcomes.write_frame, next_seconds)


class _Appended(Protocol):
    """Something that Arrow tables are appended to."""

    def write(self, table: pa.Table) -> None: ...


@dataclass(frozen=True)
class _Adapted:
    """Appends tables as a platform would have recorded them."""

    append: Callable[[pl.DataFrame], None]
    adapt: Callable[[pl.DataFrame], pl.DataFrame]

    def write(self, table: pa.Table) -> None:
        """Appends `table`."""
        self.append(self.adapt(pl.DataFrame(pl.from_arrow(table))))


def _publish(draft: Path, folder: Path, simulation: Simulation) -> None:
    """Moves a complete log from `draft` into `folder`.

    `simulation.json` of an earlier log is removed first and the new one comes last: a folder
    without it holds no log of the simulator, or an incomplete one.
    """
    old = _read_simulation(folder)
    old_files = list(old.sizes) if old else []
    simulation.write(draft)
    sync_tree(draft)

    _remove(folder, [Simulation.FILE, *old_files])
    new_files = [*simulation.sizes, Simulation.FILE]
    try:
        for name in new_files:
            (folder / name).parent.mkdir(exist_ok=True)
            (draft / name).rename(folder / name)
        for parent in {(folder / name).parent for name in new_files}:
            sync(parent)
    except BaseException:
        _remove(folder, new_files)
        raise
    sync(folder)


def _remove(folder: Path, names: Sequence[str]) -> None:
    """Removes files of a log, and the folders of its weeks that are empty then."""
    for name in names:
        (folder / name).unlink(missing_ok=True)
    for week in {Path(name).parent for name in names} - {Path()}:
        with suppress(OSError):  # somebody has put something else there
            (folder / week).rmdir()


def _read_simulation(folder: Path) -> Simulation | None:
    try:
        return Simulation.read(folder)
    except ContractError:
        return None


def _is_whole(folder: Path, simulation: Simulation) -> bool:
    """Returns whether the files have the sizes with which they were written."""
    files = [(folder / name, size) for name, size in simulation.sizes.items()]
    return all(path.is_file() and path.stat().st_size == size for path, size in files)


def _check_free(folder: Path, found: Simulation | None) -> None:
    """Checks that no other log, simulated or not, is in the folder.

    Raises:
        MasteryError: there is one.
    """
    remedy = "Choose another --out, or add --overwrite to replace it."
    if found is not None:
        raise MasteryError(
            f"{folder} holds another log: {found.learners} learners, seed {found.seed}, "
            f"{found.table_format}, possibly of another version of the simulator. {remedy}"
        )
    names = [f"{table}.{suffix}" for table in TABLES for suffix in TABLE_FORMATS]
    taken = [name for name in names if (folder / name).exists()]
    if taken:
        raise MasteryError(f"{folder} holds another log: {', '.join(taken)}. {remedy}")
