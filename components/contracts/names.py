"""Names that cross a node's border: features, outputs of signatures, files beside the model."""

LEARNER = "learner_id"
UNIT = "unit_id"
TIME = "time"
EVENT_TYPE = "event_type"
AS_OF = "as_of"

# Step features that the point-in-time join adds, in the unit of `time` (seconds where it is a timestamp).
TIME_SINCE_PREVIOUS = "time_since_previous"
TIME_TO_AS_OF = "time_to_as_of"
DERIVED_STEPS = (TIME_SINCE_PREVIOUS, TIME_TO_AS_OF)

NUM_STEPS = "num_steps"  # how many events stand behind an example, 0 for a cold start

SPLITS = ("train", "eval", "test")

# Signatures of the served model and what they answer.
SERVING_DEFAULT = "serving_default"
PREDICT_STEPS = "predict_steps"
EXAMPLES = "examples"
CLASSES = "classes"
PROBABILITIES = "probabilities"
PREDICTED_CLASS = "predicted_class"
PREDICTION = "prediction"
BASIS = "basis"
BASIS_SEQUENCE = "sequence"
BASIS_PRIOR = "prior"

# Columns that are added to the rows of a log on their way to examples.
ORDER = "_order"  # where an event stood in the log: file by file, row by row; settles equal times
SPLIT = "_split"
SPLIT_HASH = "_split_hash"
PARTITION_HASH = "_partition_hash"
SAMPLE_HASH = "_sample_hash"
SEQUENCE = "_sequence"
FINGERPRINT = "_fingerprint"
ADDED = frozenset({ORDER, SPLIT, SPLIT_HASH, PARTITION_HASH, SAMPLE_HASH, SEQUENCE, FINGERPRINT})

# Names that a column of a log cannot take: Transform, a signature or the join needs them.
RESERVED = (
    frozenset({NUM_STEPS, EXAMPLES, CLASSES, PROBABILITIES, PREDICTED_CLASS, PREDICTION, BASIS})
    | ADDED
)
