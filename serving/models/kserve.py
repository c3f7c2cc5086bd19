"""KServe's manifest: the version and the canary's share in it follow `mastery models`.

KServe knows one version at a time, the one at `storageUri`. A new one is a new revision, which gets
`canaryTrafficPercent` of the requests while the revision before gets the others; without that line
it gets all. Only these two lines are changed, so that comments and everything else stay.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.contracts.contract import ContractError
from components.contracts.serving_state import CANARY, STABLE, Routing
from components.errors import MasteryError
from components.files.atomic import write_text
from serving.models.changes import RefusedError

if TYPE_CHECKING:
    from serving.models.storage import Storage

API = "serving.kserve.io/v1beta1"
KIND = "InferenceService"

_PREDICTOR = re.compile(r"^(?P<indent> +)predictor:[ \t]*(?:#.*)?\n", re.MULTILINE)
_PERCENT = re.compile(r"^ +canaryTrafficPercent:[^\n]*\n", re.MULTILINE)
_STORAGE = re.compile(
    r"^(?P<head> +storageUri:[ \t]*[\"']?)(?P<folder>[^\s\"'#]*/)(?P<version>\d+)(?=[\"']?\s)",
    re.MULTILINE,
)


def read_routing(storage: Storage) -> Routing:
    """Returns how requests are split.

    Raises:
        MasteryError: nothing was promoted yet, or `routing.json` cannot be used.
    """
    content = storage.read(Routing.FILE)
    if content is None:
        raise MasteryError(
            f"{storage.address}: expected {Routing.FILE}, found none; `mastery models promote` "
            "writes it."
        )
    try:
        return Routing.from_json(content)
    except ContractError as error:
        raise MasteryError(f"{storage.address}/{Routing.FILE}: {error}") from None


def follow(manifest: str, routing: Routing, *, name: str = "the manifest") -> str:
    """Returns a manifest of an InferenceService with what is served now.

    Args:
        manifest: its text.
        routing: how requests are split.
        name: of the manifest, for errors.

    Raises:
        RefusedError: the model is out of service; KServe has no such state.
        MasteryError: the text is not the manifest of one InferenceService whose `storageUri` ends
            in a version.
    """
    shares = {route.label: route for route in routing.routes}
    stable, canary = shares.get(STABLE), shares.get(CANARY)
    if stable is None:
        stop = routing.out_of_service
        why = "no version is stable" if stop is None else stop.describe(routing.model)
        raise RefusedError(
            f"{name}: KServe serves a manifest as long as it is applied, and {why}. Nothing was "
            f"changed; `kubectl delete -f {name}` takes the model out of service."
        )

    _require_service(manifest, name)
    served = stable if canary is None else canary
    found = _STORAGE.search(manifest)
    assert found is not None
    text = _STORAGE.sub(rf"\g<head>\g<folder>{served.version}", manifest, count=1)
    line = _PERCENT.search(text)
    if canary is None:
        return text if line is None else text[: line.start()] + text[line.end() :]

    predictor = _PREDICTOR.search(text)
    assert predictor is not None
    indent = re.match(r" +", text[predictor.end() :])
    inner = indent[0] if indent else f"{predictor['indent']}  "
    share = f"{inner}canaryTrafficPercent: {canary.percent}\n"
    if line is None:
        return text[: predictor.end()] + share + text[predictor.end() :]
    return text[: line.start()] + share + text[line.end() :]


def write_kserve(storage: Storage, path: Path, *, dry_run: bool = False) -> str:
    """Makes a manifest follow what is served, and returns in words what it says now.

    Args:
        storage: the serving folder.
        path: the manifest.
        dry_run: whether to leave the file as it is.

    Raises:
        RefusedError: see `follow`.
        MasteryError: see `follow`; or a file cannot be read or written.
    """
    routing = read_routing(storage)
    try:
        before = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise MasteryError(f"{path}: the manifest could not be read: {error}.") from None
    after = follow(before, routing, name=str(path))
    if after != before and not dry_run:
        write_text(path, after)

    shares = {route.label: route for route in routing.routes}
    canary = shares.get(CANARY)
    said = (
        f"version {shares[STABLE].version} gets all requests"
        if canary is None
        else f"version {canary.version} gets {canary.percent} % of the requests"
    )
    if after == before:
        return f"{path}: nothing to change: {said} (revision {routing.revision})."
    verb = "would say" if dry_run else "says now"
    return f"{path} {verb}: {said} (revision {routing.revision})."


def _require_service(manifest: str, name: str) -> None:
    """Checks that a text is one InferenceService of the form that `follow` changes.

    Raises:
        MasteryError: it is not.
    """
    import yaml

    try:
        documents: list[Any] = [item for item in yaml.safe_load_all(manifest) if item is not None]
    except yaml.YAMLError as error:
        raise MasteryError(f"{name}: expected YAML, found: {error}") from None
    document = documents[0] if len(documents) == 1 else None
    kind = document.get("kind") if isinstance(document, dict) else None
    if not isinstance(document, dict) or (document.get("apiVersion"), kind) != (API, KIND):
        raise MasteryError(
            f"{name}: expected one {KIND} of {API}, found {kind or f'{len(documents)} documents'}."
        )

    spec = document.get("spec")
    predictor = spec.get("predictor") if isinstance(spec, dict) else None
    model = predictor.get("model") if isinstance(predictor, dict) else None
    place = model.get("storageUri") if isinstance(model, dict) else None
    lines = _STORAGE.findall(manifest)
    is_plain = len(lines) == 1 and place == f"{lines[0][1]}{lines[0][2]}"
    percents = len(_PERCENT.findall(manifest))
    if not is_plain or percents > 1 or len(_PREDICTOR.findall(manifest)) != 1:
        raise MasteryError(
            f"{name}: expected spec.predictor.model.storageUri on a line of its own, ending in "
            f"/VERSION, found {place!r}."
        )
