"""The typed configuration: one YAML file, one object."""

from components.config.data import Columns, Data, Label, Splits
from components.config.features import Categorical, Feature, Numeric, Prior, Steps
from components.config.gates import Evaluation, Gate
from components.config.kubeflow import Kubeflow
from components.config.load import load_config
from components.config.metadata import Metadata
from components.config.root import Beam, Config, Push
from components.config.training import Model, Training

__all__ = [
    "Beam", "Categorical", "Columns", "Config", "Data", "Evaluation", "Feature", "Gate", "Kubeflow", "Label", "Metadata",
    "Model", "Numeric", "Prior", "Push", "Splits", "Steps", "Training", "load_config",
]  # fmt: skip
