"""How a change is made so that it is there whole or not at all, and none of two at once gets lost.

The audit log comes first: an entry holds what is to be served after it, and its number is taken by one process only
(under a lock in a folder; by a put-if-absent in an object store, where the loser looks again and starts over). Then
`models.config`, the same for servers with a GPU and, last, `routing.json` are replaced, each in one step.
`routing.json` names the revision it shows. So a change that was cut off is seen by the next one, which finishes it; and
a `models.config` that differs from the log without that was edited by hand: what it says is what is served, so the log
takes it over.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from components.errors import MasteryError
from serving.models.audit import Entry, last_entry
from serving.models.server_config import (
    GPU_MODELS_CONFIG,
    MODELS_CONFIG,
    for_gpu_servers,
    parse,
    read_state,
    render,
)
from serving.models.state import State
from serving.models.storage import Storage
from serving.models.versions import name_of

ROUTING = "routing.json"
TRIES = 20  # how often to start over when others are quicker; each time one of them got through
SETTLING = 1.0  # seconds; where there is no lock, somebody may be between two of his writes

Decide = Callable[[State, int], Entry | None]


def current_state(storage: Storage) -> tuple[State, str | None]:
    """Returns what is served and what was before, and a note when files and log do not agree.

    Raises:
        MasteryError: `models.config` or the log cannot be read.
    """
    last = last_entry(storage)
    served = _served(storage, last)
    if last is None:
        return served or State(), None
    if not _differs(served, last):
        return last.after, None
    if served is None:
        return last.after, f"{MODELS_CONFIG} is missing; the next change writes it anew."
    if _published(storage) < last.revision:
        note = f"revision {last.revision} is not finished; unless somebody is at it just now, the next change does so."
        return _adopted(last.before, served), note
    note = f"{MODELS_CONFIG} was edited since revision {last.revision}; the next change takes over what it says."
    return _adopted(last.after, served), note


def change(storage: Storage, decide: Decide) -> Entry | None:
    """Makes one change.

    Args:
        storage: the serving folder.
        decide: from what is served, and the revision the change would have, to the entry; None for nothing to do. It
            may be called again, after somebody else's change.

    Returns:
        The entry as recorded, when `models.config` has it.

    Raises:
        RefusedError: `decide` refuses; nothing was changed.
        MasteryError: the storage cannot be read or written to.
    """
    with storage.exclusive():
        for _ in range(TRIES):
            last = last_entry(storage)
            adoption = _settle(storage, last)
            if adoption is not None:
                if not storage.append(adoption.revision, _line(adoption)):
                    continue
                _publish(storage, adoption)
            last = adoption or last
            state = last.after if last else _served(storage, None) or State()
            entry = decide(state, last.revision + 1 if last else 1)
            if entry is None:
                return None
            if storage.append(entry.revision, _line(entry)):
                _publish(storage, entry)
                return entry
    raise MasteryError(
        f"{storage.address}: expected to make one change, found others {TRIES} times in between. Nothing was changed; "
        "see `mastery models log` for who is at it."
    )


def _settle(storage: Storage, last: Entry | None) -> Entry | None:
    """Finishes a change that was cut off; returns an entry that takes over what was edited by hand, if so."""
    if last is None:
        return None
    if _published(storage) < last.revision:
        _publish(storage, last)
        return None
    for pause in () if storage.locks else (SETTLING,):
        if not _differs(_served(storage, last), last):
            return None
        time.sleep(pause)
    served = _served(storage, last)
    if not _differs(served, last):
        return None
    if served is None:  # deleted: nobody serves less because of that
        _publish(storage, last)
        return None
    after = _adopted(last.after, served)
    return Entry(
        revision=last.revision + 1, action="adopt", version=after.stable, before=last.after, after=after,
        reason=f"{MODELS_CONFIG} was edited by other means",
    )  # fmt: skip


def _publish(storage: Storage, entry: Entry) -> None:
    """Writes what an entry says, until nobody has added another one meanwhile.

    Without a lock a slower process may write after a quicker one. Whoever writes last looks at the log last, so in the
    end the files show the newest entry.
    """
    while True:
        content = storage.read(MODELS_CONFIG)
        before = None if content is None else parse(content, storage.address)
        if (
            entry.after.stable is not None
        ):  # else nobody has decided anything: a file would unload what is served
            rendered = render(entry.after, before)
            storage.replace(MODELS_CONFIG, rendered)
            if storage.has_gpu_exports():
                storage.replace(GPU_MODELS_CONFIG, for_gpu_servers(rendered, entry.after))
        storage.replace(ROUTING, _routing(entry))
        newest = last_entry(storage)
        if newest is None or newest.revision <= entry.revision:
            return
        entry = newest


def _routing(entry: Entry) -> bytes:
    state = entry.after
    share = state.share or 0
    routes = [{"label": "stable", "version": state.stable, "percent": 100 - share}]
    if state.canary is not None:
        routes.append({"label": "canary", "version": state.canary, "percent": share})
    content = {"revision": entry.revision, "time": entry.time, "model": state.name}
    return (
        json.dumps({**content, "routes": routes if state.stable is not None else []}, indent=2)
        + "\n"
    ).encode()


def _published(storage: Storage) -> int:
    """Returns the revision that the files show; 0 where that cannot be said, so that they are written again."""
    try:
        return int(json.loads(storage.read(ROUTING) or b"{}")["revision"])
    except (ValueError, KeyError, TypeError):
        return 0


def _served(storage: Storage, last: Entry | None) -> State | None:
    content = storage.read(MODELS_CONFIG)
    if content is None:
        return None
    name = (
        last.after.name
        if last
        else next((name_of(storage, number) for number in storage.versions()[-1:]), "")
    )
    return read_state(parse(content, storage.address), name)


def _differs(served: State | None, last: Entry) -> bool:
    if served is None:
        return last.after.stable is not None
    fields = {"stable", "canary", "loaded", "name", "base_path"}
    return served.model_dump(include=fields) != last.after.model_dump(include=fields)


def _adopted(recorded: State, served: State) -> State:
    """Returns what is served by a file that was edited, with the history that the log has."""
    moved = recorded.stable is not None and served.stable != recorded.stable
    return served.model_copy(
        update={
            "name": served.name or recorded.name,
            "base_path": served.base_path or recorded.base_path,
            "share": recorded.share if served.canary == recorded.canary else None,
            "earlier": (*recorded.earlier, recorded.stable) if moved else recorded.earlier,
            "removing": recorded.removing,
        }
    )


def _line(entry: Entry) -> bytes:
    return entry.model_dump_json().encode()
