"""What a version reads and answers, and how, in sentences."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from components.contracts.names import decision_output
from components.report import formats

if TYPE_CHECKING:
    from components.config.root import Config
    from components.papers.facts import VersionFacts


def describe_task(config: Config) -> str:
    """Returns what the model answers, and from what, in a sentence."""
    whose = "in a unit" if config.steps.history == "unit" else "in all units"
    read = f"From the last {formats.count(config.steps.max_steps)} events of a learner {whose}"
    if config.label.task == "regression":
        return f"{read} it answers which {config.label.column} to expect."
    *most, last = config.label.classes
    return (
        f"{read} it answers how likely each class of {config.label.column} is: "
        f"{', '.join(most)} or {last}."
    )


def describe_network(config: Config) -> str:
    """Returns what kind of network it is, in a sentence."""
    model = config.model
    reads = {"lstm": "Stacked LSTMs read", "transformer": "A causal transformer reads"}
    beside = [
        *(["the context"] if config.context else []),
        *(["counts and rates of the sequence"] if model.summaries else []),
    ]
    joined = f", joined with {' and '.join(beside)}" if beside else ""
    return f"{reads[model.kind]} the sequence{joined}; dense layers lead from that to the answer."


def describe_inputs(config: Config) -> str:
    """Returns the columns that the model reads, in sentences."""
    steps = ", ".join(config.steps.features)
    text = f"Of every event it reads {steps}."
    if config.context:
        text += f" Beside the sequence it reads {', '.join(config.context)}."
    return text


def describe_outputs(facts: VersionFacts) -> Iterator[str]:
    """Yields what each part of an answer means."""
    config, evaluation = facts.config, facts.evaluation
    if config.label.task == "regression":
        yield "prediction: the expected value."
    else:
        yield (
            "predicted_class and probabilities: the likeliest class, and how likely each one is: "
            "how often such learners had that outcome, not what this one will do."
        )
    yield (
        "basis: sequence where the learner's own events decide, prior where there were too few of "
        "them and the answer is that of the learner's group."
    )
    if evaluation.uncertainty is not None:
        promised = formats.percent(evaluation.uncertainty.promised)
        yield (
            "answer_text and prediction_set: the classes that cannot be ruled out, or not sure. "
            f"The set is meant to hold the truth in {promised} of the cases; the model card says "
            "how often it did."
        )
    for decision in evaluation.decisions:
        yield (
            f"{decision_output(decision.name)}: whether to act, which is where the probability of "
            f"{decision.class_} is at least {formats.number(decision.threshold)}."
        )
    if config.explain.enabled and evaluation.importance is not None:
        yield (
            "reasons: how much each feature adds to this answer, compared with the average learner "
            "of the group. They say what the model went by, not what caused the outcome."
        )


def describe_measures(facts: VersionFacts) -> str:
    """Returns what the system itself does so that people can overrule it."""
    parts = [
        "the board shows what each answer was made from",
        "people reject answers there",
    ]
    if facts.config.explain.enabled and facts.evaluation.importance is not None:
        parts.append("each answer can name its reasons")
    if facts.evaluation.uncertainty is not None:
        parts.append("an answer that is not sure says so")
    parts.append("a version is taken out of service by mastery models rollback")
    return f"{formats.sentence_case('; '.join(parts))}."
