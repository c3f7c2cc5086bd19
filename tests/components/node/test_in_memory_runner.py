"""The runner of one process against Beam's own, and what it does differently on purpose."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pvalue import AsDict, AsIter, AsList, AsMultiMap, AsSingleton
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.transforms.userstate import CombiningValueStateSpec

from components.node.in_memory_runner import InMemoryRunner, make_runner

Build = Callable[[beam.Pipeline], beam.PCollection]
NUMBERS = [5, 3, 8, 3, 1, 5]
PAIRS = [("a", 1), ("b", 2), ("a", 3), ("c", 4)]
SEEN: list[Any] = []  # what functions note: Beam copies a list in a closure


@pytest.fixture(autouse=True)
def nothing_seen() -> None:
    SEEN.clear()


def note(element: Any, step: str = "") -> Any:
    SEEN.append((step, element) if step else element)
    return element


def elements(runner: Any, build: Build, folder: Path) -> list[str]:
    """Runs a pipeline and returns the `repr` of the elements of its result, in order."""
    folder.mkdir()
    file = folder / "elements"
    with beam.Pipeline(runner=runner, options=PipelineOptions([])) as pipeline:
        result = build(pipeline) | "Repr" >> beam.Map(repr)
        _ = result | "WriteText" >> beam.io.WriteToText(str(file), shard_name_template="")
    return file.read_text().splitlines()


def given(pipeline: beam.Pipeline, values: list[Any], name: str = "Given") -> beam.PCollection:
    return pipeline | name >> beam.Create(values, reshuffle=False)


class Tag(beam.DoFn):  # type: ignore[misc]
    def process(self, number: int) -> Iterator[Any]:
        yield number
        yield beam.pvalue.TaggedOutput("odd" if number % 2 else "even", -number)


class Batch(beam.DoFn):  # type: ignore[misc]
    """Holds elements until the end, as Beam's own batching does."""

    def setup(self) -> None:
        self.factor = 10

    def start_bundle(self) -> None:
        self.held: list[int] = []

    def process(self, number: int) -> None:
        self.held.append(number * self.factor)

    def finish_bundle(self) -> Iterator[Any]:
        yield beam.transforms.window.GlobalWindows.windowed_value(self.held)


class Longest(beam.CombineFn):  # type: ignore[misc]
    def setup(self, *_: Any) -> None:
        self.ready = True

    def create_accumulator(self, _: int) -> str:
        return ""

    def add_input(self, longest: str, text: str, _: int) -> str:
        assert self.ready
        return max(longest, text, key=len)

    def merge_accumulators(self, found: list[str], _: int) -> str:
        return max(found, key=len)

    def extract_output(self, longest: str, times: int) -> str:
        return longest * times


def tagged(pipeline: beam.Pipeline) -> beam.PCollection:
    outputs = given(pipeline, NUMBERS) | beam.ParDo(Tag()).with_outputs("odd", "even", main="all")
    return (outputs.even, outputs.all, outputs.odd) | beam.Flatten()


def viewed(pipeline: beam.Pipeline) -> beam.PCollection:
    pairs = given(pipeline, PAIRS, "Pairs")
    total = given(pipeline, NUMBERS) | beam.CombineGlobally(sum)
    unique = pairs | "Sum" >> beam.CombinePerKey(sum)

    def describe(key: str, one: int, every: list[Any], some: Any, sums: Any, many: Any) -> Any:
        return key, one, every, sorted(some), sums[key], list(many[key])

    views = AsSingleton(total), AsList(pairs), AsIter(pairs), AsDict(unique), AsMultiMap(pairs)
    return given(pipeline, ["a", "c"], "Keys") | "Describe" >> beam.Map(describe, *views)


def batched(pipeline: beam.Pipeline) -> beam.PCollection:
    batch = Batch()
    first = given(pipeline, [1, 2]) | "Batch" >> beam.ParDo(batch)
    again = given(pipeline, [3], "More") | "BatchMore" >> beam.ParDo(batch)
    return (first, again) | beam.Flatten()


PIPELINES: dict[str, Build] = {
    "tagged outputs": tagged,
    "side inputs": viewed,
    "functions used twice": batched,
    "groups": lambda pipeline: given(pipeline, PAIRS) | beam.GroupByKey(),
    "keys without a hash": lambda pipeline: (
        given(pipeline, [([1], 1), ([2], 2), ([1], 3)]) | beam.GroupByKey()
    ),
    "joined groups": lambda pipeline: (
        {"left": given(pipeline, PAIRS, "Left"), "right": given(pipeline, PAIRS[:1], "Right")}
        | beam.CoGroupByKey()
    ),
    "a combination with arguments": lambda pipeline: (
        given(pipeline, [(1, "x"), (2, "yz"), (1, "xyz")]) | beam.CombinePerKey(Longest(), 2)
    ),
    "a combination of nothing": lambda pipeline: given(pipeline, []) | beam.CombineGlobally(sum),
    "distinct": lambda pipeline: given(pipeline, NUMBERS) | beam.Distinct(),
    "top": lambda pipeline: given(pipeline, NUMBERS) | beam.combiners.Top.Of(2),
    "partitions": lambda pipeline: (
        given(pipeline, NUMBERS) | beam.Partition(lambda number, _: number % 2, 2)
    )[1],
    "a fanned out combination": lambda pipeline: (
        given(pipeline, PAIRS) | beam.CombinePerKey(sum).with_hot_key_fanout(3)
    ),
    "a global window": lambda pipeline: (
        given(pipeline, NUMBERS) | beam.WindowInto(beam.transforms.window.GlobalWindows())
    ),
}


@pytest.mark.parametrize("name", PIPELINES)
def test_it_gives_what_beams_own_runner_gives(name: str, tmp_path: Path) -> None:
    ours = elements(InMemoryRunner(), PIPELINES[name], tmp_path / "ours")
    beams = elements(FnApiRunner(), PIPELINES[name], tmp_path / "beams")
    assert sorted(ours) == sorted(beams)
    assert ours == elements(InMemoryRunner(), PIPELINES[name], tmp_path / "again")


def test_it_reads_and_writes_files(tmp_path: Path) -> None:
    records = [bytes([number]) * number for number in range(20)]
    with beam.Pipeline(runner=InMemoryRunner()) as pipeline:
        _ = given(pipeline, records) | beam.io.WriteToTFRecord(
            str(tmp_path / "r"), file_name_suffix=".gz", num_shards=3
        )
    assert len([*tmp_path.glob("r-*-of-00003.gz")]) == 3
    read = elements(
        InMemoryRunner(),
        lambda pipeline: pipeline | beam.io.ReadFromTFRecord(str(tmp_path / "r-*")),
        tmp_path / "out",
    )
    assert sorted(read) == sorted(map(repr, records))


def test_an_element_flows_to_the_end_before_the_next_is_made() -> None:
    with beam.Pipeline(runner=InMemoryRunner()) as pipeline:
        later = given(pipeline, [7], "Later") | beam.CombineGlobally(sum)
        read = given(pipeline, [1, 2]) | "Read" >> beam.Map(note, "read")
        # The source waits for the side input: nothing it gives is kept for the function.
        added = read | beam.Map(lambda number, more: number + more, AsSingleton(later))
        _ = added | "Added" >> beam.Map(note, "added")
    assert SEEN == [("read", 1), ("added", 8), ("read", 2), ("added", 9)]


def test_a_function_that_only_counts_does_not_make_a_source_give_early() -> None:
    with beam.Pipeline(runner=InMemoryRunner()) as pipeline:
        later = given(pipeline, [7], "Later") | beam.CombineGlobally(sum)
        read = given(pipeline, [1, 2]) | "Read" >> beam.Map(note, "read")
        _ = read | "Count" >> beam.Map(note, "counted")
        added = read | beam.Map(lambda number, more: number + more, AsSingleton(later))
        _ = added | "Added" >> beam.Map(note, "added")
    assert SEEN[:3] == [("read", 1), ("counted", 1), ("added", 8)]
    assert SEEN[3:] == [("read", 2), ("counted", 2), ("added", 9)]


def test_a_source_that_is_needed_early_and_late_is_read_once() -> None:
    with beam.Pipeline(runner=InMemoryRunner()) as pipeline:
        numbers = given(pipeline, [4, 6]) | "Read" >> beam.Map(note)
        total = numbers | beam.CombineGlobally(sum)
        shares = numbers | "Share" >> beam.Map(lambda part, whole: part / whole, AsSingleton(total))
        _ = shares | "Note" >> beam.Map(note)
    assert SEEN == [4, 6, 0.4, 0.6]


class Fail(beam.DoFn):  # type: ignore[misc]
    def process(self, error: BaseException) -> None:
        raise error

    def teardown(self) -> None:
        note("torn down")


@pytest.mark.parametrize("error", [LookupError("no such number", 1), KeyboardInterrupt()])
def test_an_exception_arrives_as_it_was_raised_and_functions_are_torn_down(
    error: BaseException,
) -> None:
    with pytest.raises(type(error)) as raised, beam.Pipeline(runner=InMemoryRunner()) as pipeline:
        _ = given(pipeline, [error]) | beam.ParDo(Fail())
    assert raised.value.args == error.args
    assert SEEN == ["torn down"]


class Count(beam.DoFn):  # type: ignore[misc]
    STATE = beam.DoFn.StateParam(CombiningValueStateSpec("count", combine_fn=sum))

    def process(self, pair: Any, count: Any = STATE) -> None:
        count.add(pair[1])


@pytest.mark.parametrize(
    ("build", "lacking"),
    [
        (lambda numbers: numbers | "Count" >> beam.ParDo(Count()), "state, .* which Count needs"),
        (
            lambda numbers: numbers | beam.WindowInto(beam.transforms.window.FixedWindows(5)),
            "windows",
        ),
    ],
)
def test_what_it_cannot_do_it_refuses(build: Any, lacking: str) -> None:
    with (
        pytest.raises(NotImplementedError, match=f"{lacking}.*--runner=FnApiRunner"),
        beam.Pipeline(runner=InMemoryRunner()) as pipeline,
    ):
        build(given(pipeline, PAIRS))


def test_another_version_of_beam_has_beams_own_runner(monkeypatch: pytest.MonkeyPatch) -> None:
    assert type(make_runner()) is InMemoryRunner
    monkeypatch.setattr(beam, "__version__", "2.100.0")
    assert type(make_runner()) is FnApiRunner
