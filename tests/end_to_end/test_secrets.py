"""Puts a canary into every secret, and searches everything that commands leave for them."""

from __future__ import annotations

import os
import signal
import ssl
import stat
import subprocess
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.end_to_end.conftest import COMMAND, REPOSITORY, environment
from tests.pipeline.receivers import mail_server, make_certificate, webhook
from tests.ports import free_port

pytestmark = pytest.mark.slow

NAMES = (
    "MASTERY_METADATA_PASSWORD", "MASTERY_SERVE_TOKEN", "CHAT", "MAIL_PASSWORD", "KUBEFLOW_TOKEN",
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
)  # fmt: skip


@dataclass
class Trial:
    """Commands with canaries in their environment, and what they printed.

    Attributes:
        folder: where they write.
        canaries: of every secret, by name.
        printed: standard output and error of all commands.
        arguments: of every process that ran meanwhile.
    """

    folder: Path
    canaries: dict[str, str]
    printed: list[str] = field(default_factory=list)
    arguments: set[bytes] = field(default_factory=set)

    def run(self, *arguments: object, code: int, **more: str) -> str:
        """Runs `mastery ...` and returns what it printed."""
        ran = subprocess.run(
            [*COMMAND, *map(str, arguments)],
            capture_output=True, text=True, cwd="/", env=self.environment | more,
            check=False,
        )  # fmt: skip
        self.printed.append(ran.stdout + ran.stderr)
        assert ran.returncode == code, self.printed[-1]
        return self.printed[-1]

    @property
    def environment(self) -> dict[str, str]:
        secrets = {name: self.canaries[name] for name in NAMES}
        chat = f"http://127.0.0.1:{free_port()}/{self.canaries['CHAT']}"
        return {**environment(), **secrets, "CHAT": chat, "NO_PROXY": "127.0.0.1,localhost"}

    def found_in(self, content: bytes) -> list[str]:
        return [name for name, canary in self.canaries.items() if canary.encode() in content]


@contextmanager
def watched(trial: Trial) -> Iterator[None]:
    """Notes the arguments of all processes while the block runs."""
    done = threading.Event()

    def look() -> None:
        while not done.wait(0.05):
            for file in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    trial.arguments.add(file.read_bytes())
                except OSError:
                    continue  # it has ended

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@contextmanager
def serving(command: list[str], variables: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """Runs a server for the length of the block, however that ends."""
    with subprocess.Popen(
        command, cwd="/", stderr=subprocess.PIPE, text=True, env=variables
    ) as server:
        try:
            yield server
        finally:
            server.terminate()


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Trial:
    unique = uuid.uuid4().hex
    names = (*NAMES, "webhook in the file", "bucket")
    return Trial(
        tmp_path_factory.mktemp("trial"),
        {name: f"canary{index}x{unique}" for index, name in enumerate(names)},
    )


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def config(trial: Trial, sample: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample's configuration as a file, with a webhook's address in it that is a secret."""
    content: dict[str, Any] = yaml.safe_load(
        (REPOSITORY / "configs" / "sample.yaml").read_text(encoding="utf-8")
    )
    content["schema"] = str(REPOSITORY / "schemas" / "sample.pbtxt")
    settings = dict(part.split("=", 1) for part in sample if "=" in part)
    content["data"] |= {table: settings[f"data.{table}"] for table in ("events", "outcomes")}
    content |= {
        "gates": yaml.safe_load(settings["gates"]),
        "training": {"epochs": 1},
        "ci": {},
        "fairness": {},
    }
    content["kubeflow"] = {"token_env": "KUBEFLOW_TOKEN"}
    email = {
        "host": "localhost",
        "user": "me",
        "password_env": "MAIL_PASSWORD",
        "sender": "a@b.example",
    }
    content["notify"] = {
        "on": ["passed", "failed"],
        "webhook": {"url": f"http://127.0.0.1:1/{trial.canaries['webhook in the file']}"},
        "email": {**email, "port": 1, "to": ["c@d.example"]},
    }
    file = tmp_path_factory.mktemp("config") / "sample.yaml"
    file.write_text(yaml.safe_dump(content))
    return file


def test_a_run_whose_notifications_fail(trial: Trial, config: Path, tls: tuple[Path, Path]) -> None:
    root = trial.folder / "runs"
    content = yaml.safe_load(config.read_text())
    with webhook(500) as chat, mail_server(tls, login=("me", "another")) as mailbox, watched(trial):
        content["notify"]["webhook"]["url"] = f"{chat.url}/{trial.canaries['webhook in the file']}"
        content["notify"]["email"]["port"] = mailbox.port
        config.write_text(yaml.safe_dump(content))
        printed = trial.run(
            "run", "--config", config, "--root", root, code=0, SSL_CERT_FILE=str(tls[0])
        )
    assert "notify.webhook: expected an answer 2xx, found 500" in printed
    assert "notify.email: the server refused it (SMTPAuthenticationError, 535)" in printed
    assert trial.found_in(config.read_bytes()) == ["webhook in the file"]  # so a leak would be seen
    assert any(b"pipeline.run.worker" in arguments for arguments in trial.arguments)


def test_what_a_run_leaves_is_for_user_and_group(trial: Trial) -> None:
    [serving] = trial.folder.glob("runs/sample/serving/[0-9]*")
    assert (serving / "saved_model.pb").is_file()
    for path in (trial.folder / "runs").rglob("*"):
        mode = path.lstat().st_mode
        assert not mode & 0o007 or stat.S_ISLNK(mode), path
    for path in (serving, *serving.rglob("*")):  # a server that is in the group reads it
        assert path.stat().st_mode & 0o777 == (0o750 if path.is_dir() else 0o640), path


def test_commands_that_fail(trial: Trial, config: Path) -> None:
    port, out, canary = free_port(), trial.folder / "pipeline.yaml", trial.canaries
    closed = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_MAX_ATTEMPTS": "1",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    model = next(trial.folder.glob("runs/sample/serving/[0-9]*"))
    log = yaml.safe_load(config.read_text())["data"]["events"]
    events = ["--events", log, "--as-of", "2026-01-01"]
    asking = ["predict", "--model", model, *events, "--attempts", 1, "--server"]
    by_chat = ["--set", "notify={webhook: {url_env: CHAT}}"]

    trial.run("kubeflow", "compile", "--config", config, "--output", out, code=0)
    secret = ["--set", f"notify.webhook.url=http://c/{canary['CHAT']}"]
    compiled = trial.run("kubeflow", "compile", "--config", config, *secret, "-o", out, code=2)
    assert "expected no address here" in compiled

    submit = ["kubeflow", "submit", "--config", config, "--host"]
    trial.run(*submit, f"http://127.0.0.1:{port}", code=2)
    trial.run(*submit, f"http://{canary['bucket']}@127.0.0.1:{port}", code=2)
    notified = trial.run("notify", "--test", "--config", config, *by_chat, code=2)
    assert "could not be reached" in notified
    for scheme in ("http", "grpc"):
        trial.run(*asking, f"{scheme}://127.0.0.1:{port}", code=2)
        trial.run(*asking, f"{scheme}://me:{canary['bucket']}@127.0.0.1:{port}", code=2)
    trial.run("models", "list", "--models", "s3://bucket/serving", code=2, **closed)
    address = f"s3://key:{canary['bucket']}@bucket/serving"
    trial.run("models", "list", "--models", address, code=2, **closed)
    wrong = [
        f"notify.webhook=https://chat/{canary['CHAT']}",
        f"notify.webhook.url=https://me:{canary['CHAT']}@chat",
        f"push.directory=s3://key:{canary['bucket']}@bucket/serving",
        f"kubeflow.token_env={canary['KUBEFLOW_TOKEN']}-",
        f"beam.args=[--s3_secret_access_key={canary['AWS_SECRET_ACCESS_KEY']}]",
    ]
    for setting in wrong:
        trial.run(
            "run", "--config", config, "--set", setting, "--root", trial.folder / "none", code=2
        )


def test_a_server_with_a_token_and_a_key(trial: Trial, tls: tuple[Path, Path]) -> None:
    key = tls[1].read_text().splitlines()[1]
    trial.canaries["TLS key"] = key[:40]
    command = [
        *COMMAND, "serve", "--engine", "embedded",
        "--models", str(trial.folder / "runs/sample/serving"),
        "--rest-port", "0", "--grpc-port", "0", "--tls-cert", str(tls[0]), "--tls-key", str(tls[1]),
    ]  # fmt: skip
    context = ssl.create_default_context(cafile=tls[0])
    context.check_hostname = False  # the certificate is that of localhost
    with watched(trial), serving(command, trial.environment) as server:
        assert server.stderr is not None
        lines = []
        for line in iter(server.stderr.readline, ""):
            lines.append(line)
            if line.startswith("Serving sample: REST "):
                break
        assert server.poll() is None, lines
        address = lines[-1].partition("REST ")[2].partition(",")[0]
        for token, code in (("wrong", 401), (trial.canaries["MASTERY_SERVE_TOKEN"], 200)):
            headers = {"Authorization": f"Bearer {token}"}
            answer = httpx.get(
                address, headers=headers, verify=context, trust_env=False, timeout=60
            )
            assert answer.status_code == code
            lines.append(answer.text)
        server.send_signal(signal.SIGTERM)
        lines += iter(server.stderr.readline, "")
    trial.printed.append("".join(lines))


def test_no_canary_is_in_anything_that_was_left(trial: Trial) -> None:
    for printed in trial.printed:
        assert trial.found_in(printed.encode()) == []
    ours = {arguments for arguments in trial.arguments if b"pipeline." in arguments}
    assert ours
    for arguments in ours:
        assert trial.found_in(arguments) == []
    files = [file for file in trial.folder.rglob("*") if file.is_file()]
    names = {file.name for file in files}
    written = {"plan.json", "run.json", "manifest.json", "report.html"}
    assert written | {"metadata.sqlite", "pipeline.yaml"} <= names
    assert any(file.suffix == ".log" for file in files)
    for file in files:
        assert trial.found_in(file.read_bytes()) == [], file
    assert os.environ.get("CHAT") is None
