"""The client of one model on one server, reached by REST or gRPC as its address says."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from hashlib import sha256
from types import TracebackType
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

from components.command.escape import hide_userinfo
from components.contracts.names import (
    EXAMPLES,
    EXPLAIN,
    EXPLAIN_STEPS,
    EXPLAINED_CLASS,
    NUM_STEPS,
    SERVING_DEFAULT,
)
from components.errors import MasteryError
from serving.client.answers import (
    Answer,
    Explanation,
    Outputs,
    parse_answers,
    parse_explanations,
)
from serving.client.calls import Retry, Target
from serving.client.shadow import Shadow, ShadowCopies

Learner = Mapping[str, Any]  # lists of steps, and single values beside them
Parsed = TypeVar("Parsed")

BATCH = 64  # examples per request: the max_batch_size of configs/serving/overlays/cpu


class Transport(Protocol):
    """The connection to a server, by REST or gRPC."""

    def call(
        self,
        signature: str,
        inputs: Mapping[str, Sequence[Any]],
        timeout: float,
        learners: str | None = None,
    ) -> dict[str, list[Any]]:
        """Returns the outputs of a signature; inputs are columns of bytes, text or numbers."""

    def close(self) -> None:
        """Closes connections."""


class Client:
    """Asks a model for answers, and tries again if that may help; made by `connect`.

    Attributes:
        shadow: the copies that go to another version; None without.
    """

    def __init__(
        self,
        transport: Transport,
        retry: Retry,
        batch: int = BATCH,
        shadow: ShadowCopies | None = None,
    ) -> None:
        self._transport = transport
        self._retry = retry
        self._batch = batch
        self.shadow = shadow

    def predict(
        self, examples: Sequence[bytes], learners: Sequence[str] | None = None
    ) -> list[Answer]:
        """Returns the answers for serialized `tf.Example`s, in their order.

        Args:
            examples: the questions.
            learners: whom each of them is about, so that a learner has the same version each time
                while `mastery serve` has a canary. Hashes of the names are sent, in a header.

        Raises:
            PredictError: a request was refused, or no attempts or no time are left for it. The
                deadline applies to each request.
        """
        answers = self._ask(SERVING_DEFAULT, {EXAMPLES: examples}, parse_answers, learners)
        if self.shadow is not None:
            for start in range(0, len(examples), self._batch):
                rows = slice(start, start + self._batch)
                named = None if learners is None else learners[rows]
                self.shadow.offer(examples[rows], named, answers[rows])
        return answers

    def explain(
        self,
        examples: Sequence[bytes],
        explained_class: str | Sequence[str] | None = "",
        learners: Sequence[str] | None = None,
    ) -> list[Explanation]:
        """Returns the answers for serialized `tf.Example`s with what each feature adds to them.

        Args:
            examples: as for `predict`.
            explained_class: the class to explain, of all or of each; "" for the predicted one, None
                for a regression, which has no classes.
            learners: as for `predict`.

        Raises:
            PredictError: as for `predict`; a version that cannot explain refuses the request.

        >>> with connect(EXPLAINING_SERVER, model="small") as client:
        ...     [found] = client.explain(EXAMPLES_WITH_STEPS, explained_class="low")
        >>> found.explained_class, [*found.attributions], len(found.step_attributions)
        ('low', ['event_type', 'correct', 'level'], 2)
        >>> round(found.typical_answer + sum(found.attributions.values()), 2)
        0.78
        >>> round(found.answer.probabilities["low"], 2)
        0.78
        """
        inputs = {EXAMPLES: examples, **_classes(explained_class, len(examples))}
        return self._ask(EXPLAIN, inputs, parse_explanations, learners)

    def explain_steps(
        self, learners: Sequence[Learner], explained_class: str | Sequence[str] | None = ""
    ) -> list[Explanation]:
        """Returns the same for learners given by their steps, without an encoder of examples.

        Args:
            learners: by feature, a list of steps for those of steps and one value for the others,
                such as `{"event_type": ["quiz"], "correct": [1.0], "level": 2.0}`. None is a
                missing number, "" a missing text. Numbers of steps are sent as floats, a whole
                number beside them as int64.
            explained_class: see `explain`.

        Raises:
            PredictError: see `explain`.
            MasteryError: the learners do not have the same features, or a learner's lists of steps
                are not equally long.

        >>> with connect(EXPLAINING_SERVER, model="small") as client:
        ...     [found] = client.explain_steps([LEARNER])
        >>> found.explained_class, found.answer.predicted_class
        ('low', 'low')
        """
        inputs = {**padded_columns(learners), **_classes(explained_class, len(learners))}
        return self._ask(EXPLAIN_STEPS, inputs, parse_explanations)

    def _ask(
        self,
        signature: str,
        inputs: Mapping[str, Sequence[Any]],
        parse: Callable[[Outputs, int], list[Parsed]],
        learners: Sequence[str] | None = None,
    ) -> list[Parsed]:
        """Returns what is parsed from the answers to all rows, a batch of them in a request."""
        answers: list[Parsed] = []
        for part, count in _batches(inputs, self._batch):
            start = len(answers)
            named = None if learners is None else pseudonyms(learners[start : start + count])
            call = partial(self._transport.call, signature, part, learners=named)
            outputs = self._retry.call(call)
            answers += parse(outputs, count)
        return answers

    def close(self) -> None:
        """Closes connections."""
        if self.shadow is not None:
            self.shadow.close()
        self._transport.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _batches(
    inputs: Mapping[str, Sequence[Any]], size: int
) -> Iterator[tuple[dict[str, Sequence[Any]], int]]:
    """Yields the rows of all columns in parts, each with its number of rows."""
    count = len(next(iter(inputs.values())))
    for start in range(0, count, size):
        part = {name: column[start : start + size] for name, column in inputs.items()}
        yield part, min(size, count - start)


def pseudonyms(learners: Sequence[str]) -> str:
    """Returns the header `X-Learner` for the learners of a request's rows.

    >>> pseudonyms(["ann", "ben"]), pseudonyms(["ann", "ann"])
    ('49915e0d7d4b402e,6700869c8ff7480e', '49915e0d7d4b402e')
    """
    known = {name: sha256(name.encode()).hexdigest()[:16] for name in learners}
    if len(known) == 1:
        return next(iter(known.values()))
    return ",".join(known[name] for name in learners)


def _classes(
    explained_class: str | Sequence[str] | None, count: int
) -> Mapping[str, Sequence[str]]:
    """Returns the input that names the classes to explain, which a regression does not have."""
    if explained_class is None:
        return {}
    if isinstance(explained_class, str):
        return {EXPLAINED_CLASS: [explained_class] * count}
    if len(explained_class) != count:
        raise MasteryError(
            f"explained_class: expected {count} classes, found {len(explained_class)}."
        )
    return {EXPLAINED_CLASS: [*explained_class]}


def padded_columns(learners: Sequence[Learner]) -> dict[str, list[Any]]:
    """Returns learners as the inputs of `predict_steps`: a column per feature, steps padded.

    Raises:
        MasteryError: see `Client.explain_steps`.

    >>> columns = padded_columns([{"kind": ["a", None], "level": 2}, {"kind": ["b"], "level": 1}])
    >>> columns["kind"], columns["level"], columns["num_steps"]
    ([['a', ''], ['b', '']], [2, 1], [2, 1])
    """
    names = [*learners[0]] if learners else []
    for row, learner in enumerate(learners):
        lengths = {len(value) for value in learner.values() if isinstance(value, list)}
        if set(learner) != set(names) or len(lengths) > 1:
            raise MasteryError(
                f"learner {row}: expected {', '.join(names)}, with equally many values in each "
                f"list of steps, found {', '.join(learner)} and lists of {sorted(lengths)} values."
            )

    lengths_by_row = [
        max((len(value) for value in learner.values() if isinstance(value, list)), default=0)
        for learner in learners
    ]
    longest = max([1, *lengths_by_row])
    columns: dict[str, list[Any]] = {}
    for name in names:
        values = [learner[name] for learner in learners]
        if isinstance(values[0], list):
            missing = _missing(item for steps in values for item in steps)
            columns[name] = [
                [missing if item is None else _step(item) for item in steps]
                + [missing] * (longest - len(steps))
                for steps in values
            ]
        else:
            missing = _missing(iter(values))
            columns[name] = [missing if value is None else value for value in values]
    columns[NUM_STEPS] = lengths_by_row
    return columns


def _missing(values: Iterator[Any]) -> Any:
    """Returns what stands for a missing value among others: "" in text, NaN in numbers."""
    return "" if any(isinstance(value, str) for value in values) else math.nan


def _step(value: Any) -> Any:
    return value if isinstance(value, str) else float(value)


def connect(
    server: str,
    model: str,
    *,
    version: int | None = None,
    label: str | None = None,
    retry: Retry | None = None,
    batch: int = BATCH,
    token: str | None = None,
    shadow: Shadow | None = None,
) -> Client:
    """Returns a client; it sends nothing before the first request.

    Args:
        server: `http://host:8501` and `https://` for REST, `grpc://host:8500` and `grpcs://` (TLS)
            for gRPC.
        model: its name.
        version: number of a version; by default the highest that the server has loaded.
        label: a version label, such as `stable`, instead of a number.
        retry: attempts and deadline of each request.
        batch: examples per request, at most; a server that batches refuses more than its
            max_batch_size.
        token: sent as `Authorization: Bearer`; TensorFlow Serving itself needs none.
        shadow: another version that is asked the same, and whose answers are not returned.

    Raises:
        MasteryError: the address is of another kind or holds a password, or both a version and a
            label are given.

    >>> patient = Retry(attempts=10, deadline=60.0)
    >>> with connect(SERVER, model="sample", label="stable", retry=patient) as client:
    ...     [answer] = client.predict(EXAMPLES)
    >>> {name: round(value, 2) for name, value in answer.probabilities.items()}
    {'low': 0.2, 'middle': 0.3, 'high': 0.5}
    """
    if hide_userinfo(server) != server:
        raise MasteryError(
            f"server {hide_userinfo(server)}: expected an address without user name and password, "
            "found some before the @. Give a token as `token` instead."
        )
    target = Target(model, version, label)
    transport = _transport(server, target, token)
    copies = None
    if shadow is not None:
        other = Target(model, shadow.version, shadow.label)
        copies = ShadowCopies(shadow, _transport(server, other, token))
    return Client(transport, retry or Retry(), batch, copies)


def _transport(server: str, target: Target, token: str | None) -> Transport:
    try:
        parts = urlsplit(server)
        port = parts.port
    except ValueError:  # unbalanced brackets, or an invalid port
        parts, port = urlsplit(""), None

    if parts.scheme in ("http", "https") and parts.netloc:
        from serving.client.rest_transport import RestTransport

        return RestTransport(server, target, token=token)
    if parts.scheme in ("grpc", "grpcs") and port:
        from serving.client.grpc_transport import GrpcTransport

        is_secure = parts.scheme == "grpcs"
        return GrpcTransport(parts.netloc, target, secure=is_secure, token=token)
    raise MasteryError(
        f"server {server}: expected an address such as http://localhost:8501 (REST) or "
        "grpc://localhost:8500."
    )
