"""Names that one node or process writes and another reads: of columns, features and signatures."""

LEARNER = "learner_id"
UNIT = "unit_id"
TIME = "time"
EVENT_TYPE = "event_type"
AS_OF = "as_of"
DWELL = "dwell_seconds"  # how long an event lasted; gaps in it can be filled

# Step features that the point-in-time join adds, in the unit of `time` (seconds for timestamps).
TIME_SINCE_PREVIOUS = "time_since_previous"
TIME_TO_AS_OF = "time_to_as_of"
STEP_UNIT = "step_unit"  # the unit of the event, where the sequence has several
SAME_UNIT = "same_unit"  # 1.0 where that is the unit of the outcome, otherwise 0.0
DERIVED_STEPS = (TIME_SINCE_PREVIOUS, TIME_TO_AS_OF, STEP_UNIT, SAME_UNIT)
OUTCOME_STEPS = (TIME_TO_AS_OF, SAME_UNIT)  # differ between outcomes that see the same event

NUM_STEPS = "num_steps"  # how many events an example has, 0 for a cold start
ASKED_ROW = "asked_row"  # which sequence of a batch an outcome is asked of, where they are shared

TRAIN, EVAL, TEST = SPLITS = ("train", "eval", "test")

# Files in artifacts.
PREDICTIONS_FILE = "predictions.parquet"  # of the Evaluator, one row per example
STATISTICS_FILE = "FeatureStats.pb"  # of StatisticsGen, one folder per split
ANOMALIES_FILE = "SchemaDiff.pb"  # of ExampleValidator, one folder per split

SEEDS = "seeds"  # in the Trainer's model run: a SavedModel per further seed, by its number
WITHOUT_REMEDIES = "without_remedies"  # there, too: the SavedModel that shows what remedies cost

# Transformed examples: what Transform writes and the Trainer reads.
TRANSFORMED_LABEL = "label"  # int64 index of the class [B], or float32 [B]
TRANSFORMED_PRIOR = "prior"  # float32 [B, C], or [B, 1]: the answer for a cold start
GROUPS = "groups"  # int64 [B, L]: hashes of the prior's group at each level, the narrowest first
REWEIGHED = "reweighed"  # int64 [B]: hash of the protected value that examples are weighted by
SUMMARIES = "summaries"  # float32 [B, S]: scaled counts, rates and recent values of the sequence

# The tag of the graph that TensorFlow Serving loads; its signatures, their inputs and outputs.
SERVE = "serve"
SERVING_DEFAULT = "serving_default"

# Of the Trainer's `model_run`: TensorBoard's folder, with a folder for each fit.
LOGS = "logs"
PREDICT_STEPS = "predict_steps"
EXPLAIN = "explain"  # as `serving_default`, with the reasons
EXPLAIN_STEPS = "explain_steps"  # as `predict_steps`, with the reasons
EXAMPLES = "examples"
CLASSES = "classes"
PROBABILITIES = "probabilities"
PREDICTED_CLASS = "predicted_class"
PREDICTION = "prediction"
BASIS = "basis"
BASIS_SEQUENCE = "sequence"
BASIS_PRIOR = "prior"
BASIS_UNFAMILIAR = "unfamiliar"  # from a sequence or a unit that is unlike those of the fit
UNFAMILIAR = "unfamiliar"  # string [B]: what is unlike, names joined by ", "; "" for nothing

# How sure the answer is.
PREDICTION_SET = "prediction_set"  # bool [B, C]: classes that together hold the promised coverage
ANSWER_TEXT = "answer_text"  # string [B]: a class, "partial or proficient", or `NOT_SURE`
NOT_SURE = "not sure"
PREDICTION_INTERVAL = "prediction_interval"  # float32 [B, 2]: of a regression

# What the signatures `explain` and `explain_steps` add. N features: those of steps, then of the
# context, then summaries of the sequence, by their names in the configuration.
EXPLAINED_CLASS = "explained_class"  # string [B]: input, "" for the predicted class; and output
EXPLAINED_FEATURES = "explained_features"  # string [B, N]: their names, the same in every row
ATTRIBUTIONS = "attributions"  # float32 [B, N]: what each adds to the answer; of steps, their sum
DIRECTIONS = "directions"  # float32 [B, N]: above 0 where the value is above the typical one
STEP_ATTRIBUTIONS = "step_attributions"  # float32 [B, T, S]: of the S features of steps, by step
TYPICAL_ANSWER = "typical_answer"  # float32 [B]: the answer for the group's average learner

# Columns that are added to the rows of a log on their way to examples.
ORDER = "_order"  # place of an event in the log, file by file and row by row; breaks ties in time
SPLIT = "_split"
FOLD = "_fold"
SPLIT_HASH = "_split_hash"
PARTITION_HASH = "_partition_hash"
SAMPLE_HASH = "_sample_hash"
SEQUENCE = "_sequence"
FINGERPRINT = "_fingerprint"
NEXT = "_next"  # when the learner's next event is; null for the last one
GAP = "_gap"  # seconds until then, capped
DAYS_SEEN = "_days_seen"  # in predictions: days from the first event that was seen to `as_of`
ADDED = frozenset(
    {ORDER, SPLIT, FOLD, SPLIT_HASH, PARTITION_HASH, SAMPLE_HASH, SEQUENCE, FINGERPRINT, DAYS_SEEN}
    | {NEXT, GAP}
)

# Names that a column of a log cannot have: Transform, a signature or the join uses them.
RESERVED = (
    frozenset({NUM_STEPS, EXAMPLES, CLASSES, PROBABILITIES, PREDICTED_CLASS, PREDICTION, BASIS})
    | {UNFAMILIAR, PREDICTION_SET, ANSWER_TEXT, PREDICTION_INTERVAL, EXPLAINED_CLASS}
    | ADDED
)


DECISION_PREFIX = "decision_"


def decision_output(name: str) -> str:
    """Returns the name of the output, bool [B], that says whether a decision is taken."""
    return f"{DECISION_PREFIX}{name}"


# Names of transformed features: the prefixes keep steps and context of the same name apart.
def step_feature(column: str) -> str:
    """Returns the name of a step feature's scaled values or ids: ragged [B, T]."""
    return f"step_{column}"


def step_is_missing(column: str) -> str:
    """Returns the name of the indicator, 0.0 or 1.0, of missing step values: ragged [B, T]."""
    return f"missing_step_{column}"


def context_feature(column: str) -> str:
    """Returns the name of a context column's scaled value or id: [B]."""
    return f"context_{column}"


def context_is_missing(column: str) -> str:
    """Returns the name of the indicator, 0.0 or 1.0, of a missing context value: [B]."""
    return f"missing_context_{column}"


# Exports of a model.
PORTABLE = "portable"  # the export that runs on any machine
RELEASE = "release"  # the folder of a pushed version with its papers
GPU = "gpu"  # the export that holds operations for GPUs only; also the name of its folder

OLDER = "replayed_"  # before the names of the tables of older spans, which are replayed
SERVED = "Format-Serving"  # TFX's folder of the SavedModel in a model's artifact
