"""`models.config`: what TensorFlow Serving polls, as its own protos have it.

`tensorflow_serving.config` needs protobuf only; `tensorflow_serving.apis` would import TensorFlow, which takes seconds.

How a polling server takes a new file (`ServerCore::ReloadConfig`): first it sets out to load and unload versions as the
policy says, without waiting for them; then it assigns labels, all or none, and refuses when a label's version is not
loaded yet. It keeps the labels it had, and tries again at the next poll. So a file may name a new version and give it
a label at once, as long as the version that had the label stays in the policy; `state.py` sees to that. Only
a server that starts has nothing loaded: it needs `--allow_version_labels_for_unavailable_models`, which goes for labels
that no version has yet.
"""

from __future__ import annotations

from google.protobuf import text_format
from tensorflow_serving.config.model_server_config_pb2 import ModelConfig, ModelServerConfig

from components.errors import MasteryError
from components.model_version.exports import GPU
from serving.models.state import CANARY, STABLE, State

MODELS_CONFIG = "models.config"
GPU_MODELS_CONFIG = f"{GPU}/{MODELS_CONFIG}"
PLATFORM = "tensorflow"


def parse(content: bytes, address: str) -> ModelServerConfig:
    """Returns the message in a `models.config`.

    Raises:
        MasteryError: it holds something else.
    """
    try:
        return text_format.Parse(content, ModelServerConfig())
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise MasteryError(
            f"{address}/{MODELS_CONFIG}: expected a ModelServerConfig in text format. {error} "
            "Correct it, or delete it: the next change writes it anew from the audit log."
        ) from None


def read_state(config: ModelServerConfig, name: str) -> State:
    """Returns what a `models.config` says of a model, or of the only one that it has; an empty state of none."""
    model = _find(config, name)
    if model is None:
        return State()
    labels = dict(model.version_labels)
    return State(
        name=model.name,
        base_path=model.base_path,
        stable=labels.get(STABLE),
        canary=labels.get(CANARY),
        loaded=tuple(sorted(model.model_version_policy.specific.versions)),
    )


def render(state: State, before: ModelServerConfig | None) -> bytes:
    """Returns the new content of `models.config`.

    Args:
        state: what is to be served.
        before: what is there now: other models, other labels and settings of logging stay as they are.
    """
    config = ModelServerConfig()
    if before is not None:
        config.CopyFrom(before)
    model = _find(config, state.name)
    if model is None:
        model = config.model_config_list.config.add()
    model.name, model.base_path, model.model_platform = state.name, state.base_path, PLATFORM
    model.model_version_policy.Clear()
    model.model_version_policy.specific.versions.extend(state.loaded)
    for label, version in ((STABLE, state.stable), (CANARY, state.canary)):
        if version is not None:
            model.version_labels[label] = version
        elif label in model.version_labels:
            del model.version_labels[label]
    for label in [
        label for label, version in model.version_labels.items() if version not in state.loaded
    ]:
        del model.version_labels[
            label
        ]  # a label of somebody else's, of a version that goes: it would stop all labels
    content: bytes = text_format.MessageToBytes(config, as_utf8=True)
    return content


def for_gpu_servers(content: bytes, state: State) -> bytes:
    """Returns what servers with a GPU poll: a `models.config` of ours, with the place of their exports."""
    config = text_format.Parse(content, ModelServerConfig())
    for model in config.model_config_list.config:
        if model.name == state.name:
            model.base_path = f"{state.base_path.rstrip('/')}/{GPU}"
    adapted: bytes = text_format.MessageToBytes(config, as_utf8=True)
    return adapted


def _find(config: ModelServerConfig, name: str) -> ModelConfig | None:
    models = config.model_config_list.config
    named = [model for model in models if model.name == name]
    if named:
        return named[0]
    return models[0] if len(models) == 1 else None
