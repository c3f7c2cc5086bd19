"""From events to what a model is asked: the examples that ExampleGen would have made, less what is no input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from components.config import Config
from components.contracts.names import AS_OF, LEARNER, NUM_STEPS, ORDER, UNIT
from components.event_log.log import question_spec, read_questions
from components.example_gen.examples import encode, join_batches


@dataclass(frozen=True)
class Questions:
    """What is asked, about whom.

    Attributes:
        keys: `learner_id`, `unit_id`, `as_of`, one row a question, in the order in which they were asked.
        examples: a serialized `tf.Example` for each, with the inputs of the model only: a server need not know
            who is asked about.
    """

    keys: pl.DataFrame
    examples: list[bytes]


def questions_from_log(
    config: Config, events: Sequence[str], outcomes: Sequence[str] = (), *, as_of: str | None = None
) -> Questions:
    """Joins events and questions point in time, by the code that made the model's own training examples.

    Args:
        config: the one that the model was made with.
        events: files, folders or patterns.
        outcomes: the same for the table of questions; labels may be in it and are not read.
        as_of: instead of `outcomes`, one moment for every learner and unit in the events.

    Raises:
        LogError: the files cannot be used.
        MasteryError: see `read_questions`.
    """
    part = read_questions(config, events, outcomes, as_of=as_of)
    spec = question_spec(config)
    inputs = dict.fromkeys([NUM_STEPS, *config.context, *config.prior.group_by, *spec.features])
    batches = join_batches(part.windows, part.outcomes, list(spec.features))
    examples = [example for batch in batches for example in encode(batch, list(inputs))]
    order = part.outcomes[ORDER].arg_sort()
    keys = part.outcomes.select(LEARNER, UNIT, AS_OF)[order]
    return Questions(keys, [examples[place] for place in order])
