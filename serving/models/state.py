"""Which version is stable and which is canary, and what a change makes of that: pure functions, no files."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from pydantic import BaseModel, ConfigDict, Field

from components.errors import MasteryError

STABLE = "stable"
CANARY = "canary"
REMEMBERED = 50  # stable versions that rollback may go back through


class RefusedError(MasteryError):
    """A change that must not be made; nothing was changed."""

    exit_code = 1


class State(BaseModel):
    """What is served, and what was before."""

    model_config = ConfigDict(frozen=True)

    name: str = Field(default="", description="the model's name, in requests too")
    base_path: str = Field(default="", description="where the server finds the versions")
    stable: int | None = Field(default=None, description="the version with the label stable")
    canary: int | None = Field(default=None, description="the version with the label canary")
    share: int | None = Field(
        default=None, description="percent of the requests that the canary is to get"
    )
    earlier: tuple[int, ...] = Field(
        default=(), description="versions that were stable before, the latest last"
    )
    loaded: tuple[int, ...] = Field(
        default=(), description="all versions that the server is to hold in memory, sorted"
    )
    removing: tuple[int, ...] = Field(
        default=(), description="versions that a prune has set out to remove"
    )

    def previous(self, available: AbstractSet[int]) -> int | None:
        """Returns the version that rollback makes stable: the latest one before that is still there."""
        candidates = available - {self.stable}
        return next((version for version in reversed(self.earlier) if version in candidates), None)


def promote(state: State, version: int, available: AbstractSet[int]) -> State:
    """Makes a version stable; the one before becomes the target of a rollback."""
    earlier = (*state.earlier, state.stable) if state.stable is not None else state.earlier
    kept = {} if state.canary != version else {"canary": None, "share": None}
    return _loading(
        state, state.model_copy(update={"stable": version, "earlier": earlier, **kept}), available
    )


def roll_back(state: State, available: AbstractSet[int]) -> State:
    """Makes the version stable that was before; done again, it goes back further, never forth.

    Raises:
        RefusedError: there is none.
    """
    target = state.previous(available)
    if target is None:
        raise RefusedError(
            "rollback: expected a version that was stable before and is still there, found none. "
            "`mastery models promote VERSION` makes any version stable; `mastery models list` shows them."
        )
    last = len(state.earlier) - 1 - state.earlier[::-1].index(target)
    kept = {} if state.canary != target else {"canary": None, "share": None}
    new = state.model_copy(update={"stable": target, "earlier": state.earlier[:last], **kept})
    return _loading(state, new, available)


def start_canary(state: State, version: int, share: int, available: AbstractSet[int]) -> State:
    """Gives a version the label canary and a share of the requests.

    Raises:
        RefusedError: there is no stable version for the other requests, or it is this one.
    """
    if state.stable is None:
        raise RefusedError(
            f"canary {version}: expected a stable version for the other requests, found none. "
            "`mastery models promote VERSION` first."
        )
    if version == state.stable:
        raise RefusedError(
            f"canary {version}: expected another version than the stable one, found the same."
        )
    return _loading(state, state.model_copy(update={"canary": version, "share": share}), available)


def stop_canary(state: State, available: AbstractSet[int]) -> State:
    """Takes the label canary away; all requests are the stable version's."""
    return _loading(state, state.model_copy(update={"canary": None, "share": None}), available)


def to_prune(
    state: State, versions: Sequence[int], available: AbstractSet[int], keep: int
) -> list[int]:
    """Returns the versions to remove, oldest first.

    Args:
        state: what is served.
        versions: all there are, whole or not.
        available: those that can be served.
        keep: how many of the newest stay in any case.

    Returns:
        All but the newest `keep`, what is served or was just now, the target of a rollback and what is newer than the
        stable version (a push that nobody has decided on); and what an earlier prune did not get done. Without a
        stable version the newest one stays, since a server without a `models.config` serves that.
    """
    protected = {state.stable, state.canary, state.previous(available), *state.loaded}
    kept = max(keep, 1 if state.stable is None else 0)
    newest = set(sorted(versions, reverse=True)[:kept])
    undecided = {
        version for version in versions if state.stable is not None and version > state.stable
    }
    unfinished = set(state.removing) & set(versions)
    return sorted((set(versions) - newest - undecided | unfinished) - protected)


def _loading(before: State, after: State, available: AbstractSet[int]) -> State:
    """Adds what the server is to load: what has a label, what rollback goes to, and what had a label until now.

    A server takes up the list of versions at once and a label only when its version is loaded. Were a version dropped
    from the list in the same change that takes its label, requests to the label would fail in between.
    """
    labelled = {
        after.stable,
        after.canary,
    }  # also where somebody has removed the files: it is in memory still
    kept = {after.previous(available), before.stable, before.canary} & available
    loaded = tuple(sorted(version for version in labelled | kept if version is not None))
    return after.model_copy(update={"loaded": loaded, "earlier": after.earlier[-REMEMBERED:]})
