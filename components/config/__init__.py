"""The typed configuration: one YAML file, one object.

A section of the file is an attribute of the object; values never change. `model_copy` makes a copy
with other values:

>>> from components.config import Config, load_config
>>> config = load_config("configs/sample.yaml")
>>> config.training.batch_size, [gate.metric for gate in config.gates][:2]
(64, ['f1_macro', 'recall'])
>>> slower = config.training.model_copy(update={"learning_rate": 0.001})
>>> config.model_copy(update={"training": slower}).training.learning_rate
0.001
>>> Config.model_validate_json(config.model_dump_json(by_alias=True)) == config
True
"""

from components.config.beam import Beam
from components.config.data import Columns, Data, Label, Splits
from components.config.gates import EvaluationRules, Gate
from components.config.kubeflow import Kubeflow
from components.config.load import load_config
from components.config.root import Config
from components.config.runtime import Ci, Metadata, Push
from components.config.training import Categorical, Feature, Model, Numeric, Prior, Steps, Training

__all__ = [
    "Beam", "Categorical", "Ci", "Columns", "Config", "Data", "EvaluationRules", "Feature", "Gate",
    "Kubeflow", "Label", "Metadata", "Model", "Numeric", "Prior", "Push", "Splits", "Steps",
    "Training", "load_config",
]  # fmt: skip
