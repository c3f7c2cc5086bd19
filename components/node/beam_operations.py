"""What the steps of a Beam pipeline do in the runner for one process.

A step is performed by an operation. It takes the elements of its input, and hands what it makes to
the outlets of its collections.
"""

from __future__ import annotations

import pickle
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias
from zlib import crc32

import apache_beam as beam
from apache_beam.portability import common_urns
from apache_beam.pvalue import AsSideInput
from apache_beam.runners.common import DoFnRunner, Receiver
from apache_beam.transforms.core import Windowing
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.windowed_value import WindowedValue

Accept: TypeAlias = Callable[[WindowedValue], None]
Accumulated: TypeAlias = dict[Any, list[Any]]  # key and accumulator, by what tells keys apart

MOST_KEYS = 1_000_000  # of a combination in memory, about 500 bytes each
PARTS = 256  # files of what is put on disk

GLOBAL = GlobalWindows.windowed_value(None)


class Outlet(Receiver):  # type: ignore[misc]
    """Passes the elements of a collection on to everything that takes them in this round."""

    def __init__(self) -> None:
        self.targets: list[Accept] = []

    def receive(self, windowed_value: WindowedValue) -> None:
        """Passes an element on."""
        for target in self.targets:
            target(windowed_value)

    def flush(self) -> None:
        """Does nothing: no element waits here."""


def read(transform: Any) -> Iterator[Any]:
    """Yields the elements of a source."""
    if isinstance(transform, beam.Impulse):
        yield b""
    elif isinstance(transform, beam.Create):
        coder = transform._coder  # a copy of each, as the pipeline may run again
        yield from (coder.decode(coder.encode(value)) for value in transform.values)
    else:
        source = transform.source
        yield from source.read(source.get_range_tracker(None, None))


class View:
    """A side input: what a function reads instead of a collection, by the window of an element."""

    def __init__(self, view: AsSideInput, elements: list[Any]) -> None:
        data = view._side_input_data()
        if data.access_pattern == common_urns.side_inputs.MULTIMAP.urn:
            groups = defaultdict(list)
            for key, value in elements:
                groups[key].append(value)
            self._value = data.view_fn(groups)
        else:
            self._value = data.view_fn(elements)

    def __getitem__(self, window: Any) -> Any:
        return self._value

    def is_globally_windowed(self) -> bool:
        """Says that the same value is read by every window."""
        return True


class Operation:
    """What a step does in the round in which it takes its input."""

    def start(self) -> None:
        """Prepares; the base class has nothing to prepare."""

    def process(self, windowed_value: WindowedValue) -> None:
        """Takes an element."""
        raise NotImplementedError

    def finish(self) -> None:
        """Gives what is left after the last element."""

    def teardown(self) -> None:
        """Frees what `start` made, also after an exception."""


class Forward(Operation):
    """Merges collections."""

    def __init__(self, outlet: Outlet) -> None:
        self.process = outlet.receive  # type: ignore[method-assign]


class Call(Operation):
    """Calls a function."""

    def __init__(
        self,
        transform: beam.ParDo,
        function: beam.DoFn,
        views: list[View],
        receivers: dict[str | None, Outlet],
    ) -> None:
        self._runner = DoFnRunner(
            function,
            transform.args,
            transform.kwargs,
            views,
            Windowing(GlobalWindows()),
            receivers,
        )
        self.process = self._runner.process  # type: ignore[method-assign]
        self.teardown = self._runner.teardown  # type: ignore[method-assign]
        self.finish = self._runner.finish  # type: ignore[method-assign]

    def start(self) -> None:
        """Sets the function up."""
        self._runner.setup()
        self._runner.start()


class Grouping(Operation):
    """Collects elements by key; gives one element per key in a later round."""

    def results(self) -> Iterator[tuple[Any, Any]]:
        """Yields the groups in the order of their first elements; frees each."""
        raise NotImplementedError


class Group(Grouping):
    """Keeps the values of each key, in their order."""

    def __init__(self) -> None:
        self._groups: dict[Any, tuple[Any, list[Any]]] = {}

    def process(self, windowed_value: WindowedValue) -> None:
        """Adds a value to the group of its key."""
        key, value = windowed_value.value
        self._groups.setdefault(_identity(key), (key, []))[1].append(value)

    def results(self) -> Iterator[tuple[Any, Any]]:
        """Yields each key with its values."""
        for identity in [*self._groups]:
            yield self._groups.pop(identity)


class Combine(Grouping):
    """Adds every element to what its group has come to so far, so that no element is kept.

    What more than `MOST_KEYS` groups have come to is put on disk and merged at the end, so memory
    does not grow with the number of groups: TFDV, for one, counts every learner's id.
    """

    def __init__(self, combine: beam.CombineFn) -> None:
        self._combine = combine
        self._groups: Accumulated = {}
        self._stored = StoredGroups()

    def start(self) -> None:
        """Sets the combination up."""
        self._combine.setup()

    def process(self, windowed_value: WindowedValue) -> None:
        """Adds a value to the group of its key."""
        key, value = windowed_value.value
        identity = _identity(key)
        group = self._groups.get(identity)
        if group is None:
            if len(self._groups) >= MOST_KEYS:
                self._store()
            group = self._groups[identity] = [key, self._combine.create_accumulator()]
        group[1] = self._combine.add_input(group[1], value)

    def results(self) -> Iterator[tuple[Any, Any]]:
        """Yields each key with what its values were combined to."""
        self._combine.setup()
        try:
            for groups in self._all_groups():
                for identity in [*groups]:
                    key, accumulator = groups.pop(identity)
                    merged = self._combine.merge_accumulators([self._combine.compact(accumulator)])
                    yield key, self._combine.extract_output(merged)
        finally:
            self._stored.remove()
            self._combine.teardown()

    def teardown(self) -> None:
        """Tears the combination down."""
        self._combine.teardown()

    def _all_groups(self) -> Iterator[Accumulated]:
        if not self._stored.exist:
            return iter([self._groups])
        self._store()
        return self._stored.parts(self._combine)

    def _store(self) -> None:
        for group in self._groups.values():
            group[1] = self._combine.compact(group[1])
        self._stored.add(self._groups)
        self._groups = {}


class StoredGroups:
    """Groups on disk, by parts that each fit into memory: in the folder of temporary files.

    Equal keys are in one part, so each part is merged on its own. The order of the groups is that
    of the parts, then of their first elements; like that of all elements, it depends on the
    pipeline alone.
    """

    def __init__(self) -> None:
        self._folder: TemporaryDirectory[str] | None = None

    @property
    def exist(self) -> bool:
        """Whether any groups were added."""
        return self._folder is not None

    def add(self, groups: Accumulated) -> None:
        """Appends groups to the files of their parts."""
        if self._folder is None:
            self._folder = TemporaryDirectory(prefix="mastery-groups-")
        by_part: dict[int, list[list[Any]]] = defaultdict(list)
        for identity, group in groups.items():
            told = identity if isinstance(identity, bytes) else identity[1]  # not its type
            by_part[_checksum(told) % PARTS].append(group)
        for part, found in by_part.items():
            with Path(self._folder.name, str(part)).open("ab") as file:
                pickle.dump(found, file, pickle.HIGHEST_PROTOCOL)

    def parts(self, combine: beam.CombineFn) -> Iterator[Accumulated]:
        """Yields the groups of each part, those of equal keys merged."""
        assert self._folder is not None, "groups are stored"
        for path in sorted(Path(self._folder.name).iterdir()):
            merged: Accumulated = {}
            with path.open("rb") as file:
                while file.peek(1):
                    for key, accumulator in pickle.load(file):
                        known = merged.setdefault(_identity(key), [key])
                        if len(known) > 1:
                            accumulator = combine.merge_accumulators([known.pop(), accumulator])
                        known.append(accumulator)
            path.unlink()
            yield merged

    def remove(self) -> None:
        """Removes the files."""
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None


def _checksum(key: Any) -> int:
    """Returns a number that equal keys share, in every process; Python's hashes of texts differ."""
    if isinstance(key, str):
        return crc32(key.encode(errors="surrogatepass"))
    if isinstance(key, bytes):
        return crc32(key)
    if isinstance(key, tuple):
        return crc32(b"".join(_checksum(item).to_bytes(8, "little") for item in key))
    if isinstance(key, int | float):
        return hash(key) % 2**64
    return 0  # few kinds of keys are left; they share a part


def _identity(key: Any) -> Any:
    """Returns what tells keys apart: 1, 1.0 and True are different ones."""
    try:
        hash(key)
    except TypeError:
        return pickle.dumps(key)
    return type(key), key
