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

# Names that a column of a log cannot take as an input, because Transform or a signature needs them.
RESERVED = frozenset({NUM_STEPS, EXAMPLES, CLASSES, PROBABILITIES, PREDICTED_CLASS, PREDICTION, BASIS})
