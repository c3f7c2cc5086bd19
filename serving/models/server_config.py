"""`models.config`: what TensorFlow Serving polls, in the format of its own protos.

`tensorflow_serving.config` needs protobuf only; `tensorflow_serving.apis` would import TensorFlow,
which takes seconds.

How a polling server takes a new file (`ServerCore::ReloadConfig`): first it begins to load and
unload versions as the policy says, without waiting for them. Then it assigns the labels, all or
none, and refuses when a label's version is not loaded yet; it keeps the labels it had and tries
again at the next poll. So a file may name a new version and give it a label at once, as long as the
version that had the label stays in the policy, which `promotion.py` ensures. Only a server that
starts has nothing loaded: it needs `--allow_version_labels_for_unavailable_models`, which applies
to labels that no version has yet.
"""

from __future__ import annotations

from google.protobuf import text_format
from tensorflow_serving.config.model_server_config_pb2 import ModelConfig, ModelServerConfig

from components.contracts.names import GPU
from components.contracts.serving_state import CANARY, STABLE, ServedState
from components.errors import MasteryError

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
            "Correct it, or delete it: the next change writes it again from the audit log."
        ) from None


def read_state(config: ModelServerConfig, name: str, base_path: str = "") -> ServedState:
    """Returns the state of a model in a `models.config`, or of its only one; empty if it has none.

    Args:
        config: the file's content.
        name: the model's name.
        base_path: its path, if it is known: the only model of another name and path is another.
    """
    model = _find(config, name, base_path)
    if model is None:
        return ServedState()
    labels = dict(model.version_labels)
    return ServedState(
        name=model.name,
        base_path=model.base_path,
        stable=labels.get(STABLE),
        canary=labels.get(CANARY),
        loaded=tuple(sorted(model.model_version_policy.specific.versions)),
    )


def render(state: ServedState, before: ModelServerConfig | None) -> bytes:
    """Returns the new content of `models.config`.

    A model that is out of service is not in it, so servers unload it. The list of models is, even
    if it is empty: a server that polls the file takes no other kind of configuration.

    Args:
        state: what is to be served.
        before: what is there now: other models, other labels and logging settings stay.
    """
    config = ModelServerConfig()
    if before is not None:
        config.CopyFrom(before)
    model = _find(config, state.name, state.base_path)
    if state.out_of_service:
        config.model_config_list.SetInParent()
        if model is not None:
            config.model_config_list.config.remove(model)
        return _to_bytes(config)
    if model is None:
        model = config.model_config_list.config.add()

    model.name = state.name
    model.base_path = state.base_path
    model.model_platform = PLATFORM
    model.model_version_policy.Clear()
    model.model_version_policy.specific.versions.extend(state.loaded)
    _set_labels(model, state)

    return _to_bytes(config)


def for_gpu_servers(content: bytes, state: ServedState) -> bytes:
    """Returns what servers with a GPU poll: the same `models.config`, with the path of the links.

    Args:
        content: the `models.config`.
        state: what is served.
    """
    config = text_format.Parse(content, ModelServerConfig())
    for model in config.model_config_list.config:
        if model.name == state.name:
            model.base_path = f"{state.base_path.rstrip('/')}/{GPU}"
    return _to_bytes(config)


def _to_bytes(config: ModelServerConfig) -> bytes:
    content: bytes = text_format.MessageToBytes(config, as_utf8=True)
    return content


def _set_labels(model: ModelConfig, state: ServedState) -> None:
    labels = model.version_labels
    for label, version in ((STABLE, state.stable), (CANARY, state.canary)):
        if version is not None:
            labels[label] = version
        elif label in labels:
            del labels[label]

    # A label that others set, for a version that is unloaded, would block the update of all labels.
    blocking = [label for label, version in labels.items() if version not in state.loaded]
    for label in blocking:
        del labels[label]


def _find(config: ModelServerConfig, name: str, base_path: str) -> ModelConfig | None:
    models = config.model_config_list.config
    named = [model for model in models if model.name == name]
    if named:
        return named[0]
    is_only = len(models) == 1 and base_path in ("", models[0].base_path)
    return models[0] if is_only else None
