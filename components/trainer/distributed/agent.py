"""A machine that joins a shared folder and works for the Trainers that use it.

See `shared_folder` for the files. The agent itself imports no TensorFlow: each order is worked on
by a process of its own, which ends with the agent, because it reads the agent's end off its
standard input.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from components.command.escape import in_one_line, shorten
from components.errors import MasteryError
from components.gpu import gpus
from components.node.this_machine import free_ports
from components.trainer.distributed.order import Order
from components.trainer.distributed.processes import worker_command, worker_environment
from components.trainer.distributed.shared_folder import (
    BEAT,
    LOOK,
    TRAINER_LOST,
    Claim,
    Heartbeat,
    Liveness,
    Refusal,
    Registration,
    Status,
    Wanted,
    check_folder,
    has,
    is_host,
    make_member,
    new_id,
    read,
    remove_claim,
    remove_forgotten,
    software,
    write,
)

NOT_STARTED = 126  # exit status of an order that could not be worked on, as shells have it

_VISIBLE = 20.0  # seconds until a file that another machine wrote must be seen here
_NOWHERE = "192.0.2.1"  # reserved for documentation; nothing is ever sent to it
_ADDRESS = re.compile(r"(\[(?P<literal>[^][]+)\]|(?P<name>[^][:]+))(:(?P<port>[0-9]{1,5}))?")

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Endpoint:
    """Where other machines reach a worker.

    Attributes:
        host: its name or IP address.
        port: a fixed port; None: any free one, another one for each order.
    """

    host: str
    port: int | None = None


def parse_address(text: str | None) -> Endpoint:
    """Returns the host and port that `HOST[:PORT]` names; without it, this machine's address.

    >>> parse_address("host-b:7900")
    Endpoint(host='host-b', port=7900)
    >>> parse_address("[fd00::7]:7900")
    Endpoint(host='fd00::7', port=7900)

    Raises:
        MasteryError: it is not an address, or this machine has none that others reach.
    """
    if text is None:
        return Endpoint(_own_address())

    found = _ADDRESS.fullmatch(text)
    host = text if found is None else found["literal"] or found["name"]  # perhaps a bare IPv6 one
    port = int(found["port"] or 0) if found else 0
    is_port = 1 <= port <= 65535 or found is None or found["port"] is None
    if not is_host(host) or not is_port:
        raise MasteryError(
            f"--address: expected HOST or HOST:PORT, such as 10.0.0.7:7900, found {text!r}."
        )
    return Endpoint(host, port or None)


def _own_address() -> str:
    """Returns the address of the interface that leads to other networks."""
    for family, target in ((socket.AF_INET, _NOWHERE), (socket.AF_INET6, "2001:db8::1")):
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((target, 9))  # of a datagram: chooses the interface, sends nothing
            return str(probe.getsockname()[0])
    raise MasteryError(
        "--address: expected the address at which other workers reach this machine, as it has no "
        "route to other networks; found none. Give --address HOST."
    )


def serve(
    folder: Path,
    endpoint: Endpoint,
    *,
    idle_minutes: float | None = None,
    tell: Tell = print,
    stop: threading.Event | None = None,
) -> None:
    """Works on the orders of a folder until SIGTERM or Ctrl-C; leaves nothing of it there.

    Args:
        folder: the folder that all machines share.
        endpoint: where other machines reach this one.
        idle_minutes: how long to wait for work before ending; None: for ever.
        tell: gets what happens, a line each.
        stop: ends it when set; default: signals do.

    Raises:
        MasteryError: the folder is missing, or cannot be written to.
    """
    path = check_folder(folder, "--folder")
    if stop is None:
        stop = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())

    agent = _Agent(path, endpoint, tell)
    try:
        agent.join()
        while not stop.is_set():
            agent.turn()
            if idle_minutes is not None and agent.idle_seconds > idle_minutes * 60:
                tell(f"no work for {idle_minutes:g} minutes")
                break
            stop.wait(LOOK)
    finally:
        agent.leave()


class _Agent:
    """The state of one agent: free, claimed by a Trainer, or with a process at work for it."""

    def __init__(self, folder: Path, endpoint: Endpoint, tell: Tell) -> None:
        self._folder = folder
        self._endpoint = endpoint
        self._tell: Tell = lambda text: tell(in_one_line(text))  # others wrote parts of it
        self._software = software()
        self._id = new_id()
        self._own = folder / "workers" / self._id
        self._beats = 0
        self._last_beat = -BEAT
        self._free_since = time.monotonic()
        self._use: _Use | None = None
        self._refused: str | None = None
        self._trouble: str | None = None
        self._unreadable_since: float | None = None

    @property
    def idle_seconds(self) -> float:
        """Returns for how long no Trainer has used this machine."""
        return 0.0 if self._use else time.monotonic() - self._free_since

    def join(self) -> None:
        """Registers this machine."""
        address = self._register()
        with contextlib.suppress(OSError):
            remove_forgotten(self._folder, self._own)
        count = _count_gpus()
        gpus = "1 GPU" if count == 1 else f"{count or 'no'} GPUs"
        self._tell(f"joined {self._folder} as {address} ({gpus}); waiting for a Trainer")

    def _register(self) -> str:
        """Makes the files that say that this machine is there; returns its address."""
        registration = Registration(
            host=self._endpoint.host,
            port=self._endpoint.port or free_ports(1)[0],
            machine=shorten(in_one_line(socket.gethostname()), 200),
            gpus=_count_gpus(),
            software=self._software,
        )
        make_member(self._folder, "workers", self._id)
        self._beat()
        write(self._own, registration)
        return registration.address

    def _beat(self) -> None:
        self._beats += 1
        self._last_beat = time.monotonic()
        write(self._own, Heartbeat(count=self._beats))

    def turn(self) -> None:
        """Does what is to be done now; a folder that cannot be reached is tried again."""
        try:
            if time.monotonic() - self._last_beat >= BEAT:
                try:
                    self._beat()
                except FileNotFoundError:  # somebody has tidied up
                    self._register()
            self._follow_claim()
            self._hear_refusal()
        except OSError as error:
            reason = error.strerror or type(error).__name__
            if reason != self._trouble:
                self._tell(f"{self._folder} cannot be used now ({reason}); trying again")
            self._trouble = reason
            return
        self._trouble = None

    def _follow_claim(self) -> None:
        """Starts to work for a Trainer, goes on, or ends it."""
        claim = read(self._own, Claim)
        if claim is None and has(self._own, Claim):
            self._wait_for_content()
            return

        self._unreadable_since = None
        if self._use is None:
            if claim is not None:
                self._use = _Use(self._folder, self._own, claim, self._tell)
            return

        why = self._use.why_over(claim)
        if not why:
            self._use.turn()
            return

        self._use.end()
        self._use = None
        self._free_since = time.monotonic()
        self._register()  # with a new port, where none was given
        self._tell(f"free again: {why}")

    def _wait_for_content(self) -> None:
        """Waits for a claim that is being written; its Trainer may have died just then."""
        if self._unreadable_since is None:
            self._unreadable_since = time.monotonic()
        if time.monotonic() - self._unreadable_since > TRAINER_LOST:
            (self._own / Claim.FILE).unlink(missing_ok=True)

    def _hear_refusal(self) -> None:
        refusal = read(self._own, Refusal)
        if refusal is None or refusal.reason == self._refused:
            return
        self._refused = refusal.reason
        self._tell(f"not used by the Trainer on {refusal.machine}: {refusal.reason}")

    def leave(self) -> None:
        """Ends what runs, and removes this machine's files."""
        if self._use:
            self._use.end()
        shutil.rmtree(self._own, ignore_errors=True)


class _Use:
    """The use of this machine by a Trainer: at most one process.

    Args:
        folder: the shared folder.
        own: this machine's folder in it.
        claim: the Trainer's.
        tell: gets what happens.
    """

    def __init__(self, folder: Path, own: Path, claim: Claim, tell: Tell) -> None:
        self._own = own
        self._claim = claim
        self._tell = tell
        self._trainer = claim.machine
        self._liveness = Liveness(folder / "trainers" / claim.trainer)
        self._process: subprocess.Popen[bytes] | None = None
        self._scratch: str | None = None
        self._started = 0.0
        self._asked_since: float | None = None
        self._has_ended = False
        write(own, Status(claim=claim.claim))

    def why_over(self, claim: Claim | None) -> str:
        """Returns why the Trainer no longer uses this machine; empty while it does.

        Args:
            claim: the one that is there now.
        """
        if claim is None or claim.claim != self._claim.claim:
            return f"the Trainer on {self._trainer} no longer uses this worker"
        self._liveness.look()
        if self._liveness.silence > TRAINER_LOST:
            return f"the Trainer on {self._trainer} was not heard from for {TRAINER_LOST:.0f} s"
        return ""

    def turn(self) -> None:
        """Starts the process when there is an order, and says how it has ended."""
        if self._has_ended:
            return
        if self._process is None:
            wanted = read(self._own, Wanted)
            if wanted is not None and wanted.claim == self._claim.claim:
                self._start(wanted)
            return

        status = self._process.poll()
        if status is not None:
            seconds = time.monotonic() - self._started
            self._report(status)
            self._tell(f"process {self._process.pid} ended with {status} after {seconds:.0f} s")

    def _start(self, wanted: Wanted) -> None:
        """Starts the process, once the order can be seen here."""
        order = Path(wanted.order)
        if not _is_listed(order):
            if self._asked_since is None:
                self._asked_since = time.monotonic()
            if time.monotonic() - self._asked_since > _VISIBLE:
                self._refuse(
                    f"{order} is not there on this machine. Mount the folder of runs at the same "
                    "path on all machines, or give all of them the same --root."
                )
            return

        try:
            printed = Order.read_file(order).log(wanted.rank)  # the Trainer reads it, too
            self._scratch = tempfile.mkdtemp(prefix="mastery-training-")
            with printed.open("wb") as log:
                self._process = subprocess.Popen(
                    worker_command(order, wanted.rank, "--scratch", self._scratch),
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=worker_environment(wanted.tf_config),
                    start_new_session=True,  # Ctrl-C in a terminal is for the agent
                )
        except (OSError, MasteryError) as error:
            self._refuse(f"{order} cannot be worked on: {error}")
            return

        self._started = time.monotonic()
        self._tell(
            f"working for the Trainer on {self._trainer} as worker {wanted.rank + 1}, process "
            f"{self._process.pid}"
        )

    def _refuse(self, why: str) -> None:
        self._report(NOT_STARTED, why)
        self._tell(why)

    def _report(self, status: int, message: str = "") -> None:
        """Says how it has ended; if that fails, the next turn says it."""
        text = shorten(in_one_line(message), 1000)
        write(self._own, Status(claim=self._claim.claim, exit_status=status, message=text))
        self._has_ended = True

    def end(self) -> None:
        """Kills the process, and removes the files of this use."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            if self._process.stdin:
                with contextlib.suppress(BrokenPipeError):
                    self._process.stdin.close()
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)
        with contextlib.suppress(OSError):
            for kind in (Wanted, Status):
                (self._own / kind.FILE).unlink(missing_ok=True)
        remove_claim(self._own, self._claim.claim)


def _is_listed(path: Path) -> bool:
    """Returns whether a file is there, by a list of its folder, which asks the file server."""
    try:
        return path in path.parent.iterdir() and path.is_file()
    except OSError:
        return False


def _count_gpus() -> int:
    """Returns how many GPUs an order may use."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return len(gpus())
    names = [name.strip() for name in visible.split(",")]
    return 0 if names[0].startswith("-") else len([name for name in names if name])
