"""The typed configuration: one YAML file, one object."""

from components.config.data import Columns, Data, Label, Splits
from components.config.gates import Evaluation, Gate
from components.config.kubeflow import Kubeflow
from components.config.load import load_config
from components.config.root import Config
from components.config.runtime import Beam, Ci, Metadata, Push
from components.config.training import Categorical, Feature, Model, Numeric, Prior, Steps, Training

__all__ = [
    "Beam", "Categorical", "Ci", "Columns", "Config", "Data", "Evaluation", "Feature", "Gate", "Kubeflow", "Label",
    "Metadata", "Model", "Numeric", "Prior", "Push", "Splits", "Steps", "Training", "load_config",
]  # fmt: skip
