"""Workers on other machines: those that have joined a folder, see `shared_folder`."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import shutil
import socket
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from components.command.escape import in_one_line
from components.errors import TrainingError
from components.node.progress import report_progress
from components.trainer.distributed.shared_folder import (
    BEAT,
    LOOK,
    LOST,
    Claim,
    Heartbeat,
    Liveness,
    Refusal,
    Registration,
    Status,
    Wanted,
    check_folder,
    difference,
    has,
    make_claim,
    make_member,
    members,
    new_id,
    read,
    remove_claim,
    software,
    write,
)

LOST_STATUS = 125  # exit status of a worker that was lost with its machine

_PATIENCE = 30 * 60.0  # seconds until enough workers must have joined; a cluster may add machines
_REPEAT = 60.0  # seconds between two reports of the same
_TAKEN = 60.0  # seconds until a worker that lives must have taken its order
_ENDING = 15.0  # seconds until a worker that lives must have ended its process
_BACK_OFF = (0.5, 3.0)  # seconds, when two Trainers want the same workers
_JOIN = "start `mastery training-worker --folder {folder}` on another machine"


@dataclass
class _Member:
    """A registered worker, as this Trainer has seen it so far."""

    folder: Path
    liveness: Liveness
    registration: Registration | None = None

    @property
    def is_alive(self) -> bool:
        """Whether its number was seen to grow, and lately: a file alone says nothing."""
        return self.liveness.beats > 0 and self.liveness.silence < 3 * BEAT


class JoinedMachines:
    """Hires workers that have joined a folder.

    Args:
        folder: `training.worker_folder`.
        patience: seconds until enough of them must have joined.

    Raises:
        MasteryError: the folder is missing, or cannot be written to.
    """

    def __init__(self, folder: Path, patience: float = _PATIENCE) -> None:
        self._folder = check_folder(folder, "training.worker_folder")
        self._patience = patience
        self._software = software()
        self._heart = _Heart(self._folder)

    def hire(self, count: int) -> list[RemoteWorker]:
        """Returns that many workers for one attempt, in the order of their machines' names.

        Those that live and that no Trainer uses. Either all are claimed or none, so that two
        Trainers never wait for each other.

        Raises:
            TrainingError: not enough joined in time.
        """
        started = time.monotonic()
        told = _Told()
        seen: dict[str, _Member] = {}  # anew: whoever was seen to live before may be dead
        while True:
            free, used, refused = self._look(seen)
            if len(free) >= count and (hired := self._claim(free[:count])):
                return hired

            seconds = time.monotonic() - started
            waiting = self._waiting(count, len(free), used, refused)
            if seconds > self._patience:
                minutes = f"{self._patience / 60:.0f} minutes"
                raise TrainingError(f"training.worker_folder: still {waiting} after {minutes}.")
            if seconds > 2 * BEAT:  # before, those that are there may not have been seen to live
                told.tell(f"{waiting}: {_JOIN.format(folder=self._folder)}")
            time.sleep(LOOK)

    def _waiting(self, count: int, free: int, used: int, refused: dict[str, str]) -> str:
        """Returns what is waited for, and who is there and not used."""
        text = f"waiting for {count - free} of {count} training workers in {self._folder}"
        others = [f"{used} used by another Trainer"] if used else []
        others += [f"{machine} {why}" for machine, why in refused.items()]
        return f"{text} ({'; '.join(others)})" if others else text

    def _look(self, seen: dict[str, _Member]) -> tuple[list[_Member], int, dict[str, str]]:
        """Returns the workers to choose from, how many are in use, and why others are not used.

        Args:
            seen: those of the last look, by id; new ones are added.
        """
        found: list[_Member] = []
        used, refused = 0, dict[str, str]()
        for folder in members(self._folder, "workers"):
            member = seen.setdefault(folder.name, _Member(folder, Liveness(folder)))
            member.liveness.look()
            member.registration = read(folder, Registration)
            if member.registration is None or not member.is_alive:
                continue
            if why := difference(member.registration.software, self._software):
                machine = in_one_line(member.registration.machine)
                refused[machine] = f"has another version: {in_one_line(why)[:300]}"
                self._refuse(folder, why)
            elif _is_used(folder):
                used += 1
            else:
                found.append(member)

        counts = Counter(_address(member) for member in found)
        for member in found:
            if counts[address := _address(member)] > 1:
                refused[member.folder.name] = f"has the address {address} of another worker"
        free = [member for member in found if member.folder.name not in refused]
        return sorted(free, key=_rank), used, refused

    def _refuse(self, folder: Path, why: str) -> None:
        """Says to a worker that this Trainer runs other code."""
        reason = f"the versions of worker and Trainer differ: {in_one_line(why)[:800]}. Update one"
        refusal = Refusal(machine=_machine(), reason=reason)
        with contextlib.suppress(OSError):
            if read(folder, Refusal) != refusal:
                write(folder, refusal)

    def _claim(self, chosen: list[_Member]) -> list[RemoteWorker]:
        """Claims all of some workers; none, if another Trainer was faster with one."""
        self._heart.start(len(chosen))
        hired: list[RemoteWorker] = []
        for number, member in enumerate(chosen, 1):
            assert member.registration is not None
            claim = Claim(claim=new_id(), trainer=self._heart.id, machine=_machine())
            if not make_claim(member.folder, claim):
                for worker in hired:
                    worker.stop()
                self._heart.release(len(chosen) - len(hired))
                time.sleep(random.uniform(*_BACK_OFF))
                return []
            worker = RemoteWorker(number, member, member.registration, claim, self._heart)
            worker.team = hired
            hired.append(worker)
        return hired


def _is_used(folder: Path) -> bool:
    """Whether a Trainer uses a worker, or has just ended to."""
    try:
        return has(folder, Claim) or has(folder, Status)
    except OSError:
        return True


def _address(member: _Member) -> str:
    assert member.registration is not None
    return member.registration.address


def _rank(member: _Member) -> tuple[str, str, str]:
    """Returns what workers are sorted by, so that they are chosen in the same order each time."""
    assert member.registration is not None
    return member.registration.machine, _address(member), member.folder.name


def _machine() -> str:
    return in_one_line(socket.gethostname())[:200]


@dataclass
class _Told:
    """Reports what is waited for: when it changes, and now and then."""

    text: str = ""
    at: float = field(default_factory=time.monotonic)

    def tell(self, text: str) -> None:
        if text == self.text and time.monotonic() - self.at < _REPEAT:
            return
        self.text, self.at = text, time.monotonic()
        report_progress(text)
        logging.getLogger(__name__).warning("%s", text)


class _Heart:
    """The heartbeat of this Trainer, which beats while it uses workers.

    Attributes:
        id: of its folder; another one whenever it begins to use workers.
    """

    def __init__(self, folder: Path) -> None:
        self.id = ""
        self._folder = folder
        self._uses = 0
        self._lock = threading.Lock()
        self._stop: threading.Event | None = None

    def start(self, uses: int) -> None:
        """Begins some uses of workers."""
        with self._lock:
            self._uses += uses
            if self._stop is None:
                self.id = new_id()
                own = make_member(self._folder, "trainers", self.id)
                write(own, Heartbeat(count=0))
                self._stop = threading.Event()
                arguments = (own, self._stop)
                threading.Thread(
                    target=_beat, args=arguments, daemon=True, name="trainer-heartbeat"
                ).start()

    def release(self, uses: int = 1) -> None:
        """Ends some; with the last one the heartbeat ends, and its file is removed."""
        with self._lock:
            self._uses -= uses
            if self._uses == 0 and self._stop is not None:
                self._stop.set()
                self._stop = None


def _beat(own: Path, stop: threading.Event) -> None:
    count = 0
    while not stop.wait(BEAT):
        count += 1
        with contextlib.suppress(OSError):  # tried again; workers wait for a minute
            write(own, Heartbeat(count=count))
    shutil.rmtree(own, ignore_errors=True)


class RemoteWorker:
    """A worker on another machine, for one attempt; see `Worker`.

    Attributes:
        address: `host:port` that the other workers reach.
        problem: why it ended, where the exit status does not say it; otherwise empty.
        team: the workers of the same attempt.
    """

    def __init__(
        self,
        number: int,
        member: _Member,
        registration: Registration,
        claim: Claim,
        heart: _Heart,
    ) -> None:
        self.address = registration.address
        self.problem = ""
        self.team = [self]
        self._name = f"worker {number} on {in_one_line(registration.machine)}"
        self._folder = member.folder
        self._liveness = member.liveness
        self._claim = claim
        self._heart = heart
        self._started: float | None = None
        self._has_begun = False
        self._looked = 0.0
        self._status: int | None = None
        self._is_released = False

    @property
    def name(self) -> str:
        """Its number and machine."""
        return self._name

    def start(self, order: Path, rank: int, tf_config: str) -> None:
        """Gives the worker its order; the machine sees the order's file at the same path.

        Raises:
            TrainingError: the shared folder cannot be written to.
        """
        wanted = Wanted(
            claim=self._claim.claim,
            order=os.fspath(order.absolute()),
            rank=rank,
            tf_config=tf_config,
        )
        self._started = time.monotonic()
        with contextlib.suppress(FileNotFoundError):  # it has left: `poll` says so
            write(self._folder, wanted)

    def poll(self) -> int | None:
        """Returns its exit status; None while it runs. One that is not heard from is lost."""
        now = time.monotonic()
        if self._status is None and now - self._looked >= LOOK:
            self._looked = now
            self._status = self._look()
        return self._status

    def _look(self) -> int | None:
        self._liveness.look()
        status = read(self._folder, Status)
        if status is not None and status.claim == self._claim.claim:
            self._has_begun = True
            if status.exit_status is not None:
                self.problem = in_one_line(status.message)
                return status.exit_status
        elif self._is_overdue():
            return self._lost(f"its machine has not begun within {_TAKEN:.0f} s")

        if not self._folder.is_dir():
            return self._lost("it was stopped on its machine")
        if self._liveness.silence > LOST:
            return self._lost(f"its machine was not heard from for {LOST:.0f} s")
        claim = read(self._folder, Claim)
        if claim is not None and claim.claim != self._claim.claim:
            return self._lost("another Trainer uses it, because this one was not heard from")
        return None

    def _is_overdue(self) -> bool:
        """Whether its machine lives, and has not taken its order for too long."""
        if self._has_begun or self._started is None or self._liveness.silence > LOST:
            return False  # once it has begun, a status that cannot be read says nothing
        return time.monotonic() - self._started > _TAKEN

    def _lost(self, why: str) -> int:
        self.problem = why
        return LOST_STATUS

    def stop(self) -> None:
        """Has its machine kill the process, and waits for that.

        An attempt ends for all its workers: those hired with it are told, too, so that the next
        ones need not be waited for.
        """
        for worker in self.team:
            worker._release()
        deadline = time.monotonic() + _ENDING
        while self._is_busy() and time.monotonic() < deadline:
            time.sleep(LOOK / 4)

    def _release(self) -> None:
        if not self._is_released:
            self._is_released = True
            remove_claim(self._folder, self._claim.claim)
            self._heart.release()

    def _is_busy(self) -> bool:
        """Whether its machine lives, and works for this Trainer."""
        self._liveness.look()
        status = read(self._folder, Status)
        is_there = status is not None and status.claim == self._claim.claim
        return is_there and self._liveness.silence < 3 * BEAT
