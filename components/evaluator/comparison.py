"""Fits the configured simple models to the train split, and answers the test split with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import polars.selectors as cs
from threadpoolctl import threadpool_limits

from components.config.section import KeyedError
from components.config.summaries import require_summary
from components.contracts.names import (
    DECISION_PREFIX,
    PREDICTED_CLASS,
    PREDICTION,
    PREDICTION_INTERVAL,
    PREDICTION_SET,
    PROBABILITIES,
    UNFAMILIAR,
)
from components.errors import ConfigError
from components.evaluator.outcome_rows import (
    MOST_ROWS,
    OutcomeReader,
    OutcomeRows,
    Vocabulary,
    learn_vocabulary,
)
from components.evaluator.scoring import WINDOW, windows_of_split
from components.evaluator.simple_models import (
    GroupPrior,
    LinearModel,
    RuleOfThumb,
    SimpleModel,
    Trees,
)
from components.files.atomic import new_file
from components.node.progress import report_progress

if TYPE_CHECKING:
    from components.evaluator.evaluator_settings import EvaluatorSettings

SEED = 7
OF_SETS = (PREDICTION_SET, PREDICTION_INTERVAL, UNFAMILIAR)  # columns of predictions


def write_simple_predictions(
    splits: Mapping[str, Path], settings: EvaluatorSettings, like: Path, folder: Path
) -> dict[str, tuple[Path, str]]:
    """Writes the predictions of each simple model as a Parquet file, as the candidate's are.

    Args:
        splits: folders of the splits train, eval and test.
        settings: the Evaluator's part of the configuration.
        like: the candidate's predictions on the test split.
        folder: where the files are written.

    Returns:
        The file of each model and what the model is, in the order of the configuration.

    Raises:
        ConfigError: the rule names a word that the train split does not have.
        MasteryError: an example has no label, or one that is not a class.
    """
    # Results then do not depend on how many cores there are.
    with threadpool_limits(1):
        reader, models = _fit(splits, settings)
        report_progress("scoring simple models")
        answered: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {name: [] for name in models}
        for window in windows_of_split(splits["test"]):
            rows = reader.read(window)
            for name, model in models.items():
                answers = model.answer(rows)
                answered[name].append((answers, model.choose(answers, rows)))

    # Simple models take no decisions, and do not say how sure they are.
    of_candidate = [cs.starts_with(DECISION_PREFIX), cs.by_name(*OF_SETS, require_all=False)]
    keys = pl.read_parquet(like).select(cs.exclude(*of_candidate))
    written = {}
    for name, model in models.items():
        answers, chosen = (np.concatenate(part) for part in zip(*answered[name], strict=True))
        table = keys.with_columns(_answer_columns(answers, chosen, settings.label.classes))
        path = folder / f"predictions_{name}.parquet"
        with new_file(path) as beside:
            table.write_parquet(beside, row_group_size=WINDOW)
        written[name] = path, model.meaning
    return written


def _fit(
    splits: Mapping[str, Path], settings: EvaluatorSettings
) -> tuple[OutcomeReader, dict[str, SimpleModel]]:
    report_progress("reading examples for simple models")
    vocabulary = learn_vocabulary(splits["train"], settings)
    _require_rule(settings, vocabulary)
    reader = OutcomeReader(settings, vocabulary)
    train = reader.read_all(splits["train"], share=vocabulary.share)
    held_out = reader.read_all(splits["eval"], share=vocabulary.share)

    models: dict[str, SimpleModel] = {}
    for name in dict.fromkeys(settings.evaluation.simple_models):
        report_progress(f"fitting {name}")
        model = _fit_one(name, train, held_out, settings, vocabulary)
        if vocabulary.share < 1 and name not in ("prior", "rule"):
            model.meaning += (
                f" Fitted to a sample of {len(train.labels):,} of {vocabulary.outcomes:,} "
                f"outcomes (at most about {MOST_ROWS:,})."
            )
        models[name] = model
    return reader, models


def _fit_one(
    name: str,
    train: OutcomeRows,
    held_out: OutcomeRows,
    settings: EvaluatorSettings,
    vocabulary: Vocabulary,
) -> SimpleModel:
    classes = len(settings.label.classes)
    if name == "prior":
        return GroupPrior(train, settings.prior, classes)
    if name == "rule":
        assert settings.evaluation.rule is not None  # the configuration was checked
        return RuleOfThumb(train, settings.evaluation.rule, settings.label.classes)
    if name == "trees":
        return Trees(train, held_out, classes, SEED)
    categories = [len(words) for words in vocabulary.context.values()]
    return LinearModel(train, held_out, classes, categories)


def _require_rule(settings: EvaluatorSettings, vocabulary: Vocabulary) -> None:
    rule = settings.evaluation.rule
    if rule is None:
        return
    try:
        require_summary(rule.summary, settings.steps, settings.context, vocabulary.steps)
    except KeyedError as error:
        raise ConfigError(f"{error}.") from None


def _answer_columns(
    answers: np.ndarray, chosen: np.ndarray, classes: Sequence[str]
) -> list[pl.Series]:
    if not classes:
        return [pl.Series(PREDICTION, answers[:, 0].astype(np.float32))]
    probabilities = pl.Series(PROBABILITIES, answers.astype(np.float32)).arr.to_list()
    return [probabilities, pl.Series(PREDICTED_CLASS, np.array(classes, object)[chosen].tolist())]
