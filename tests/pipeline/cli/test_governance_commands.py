"""`mastery models approve`, `policy` and `log --check`, as people type them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from serving.models.approval_signatures import public_key_of
from tests.pipeline.cli.typed import mastery
from tests.serving.models.folders import write_version

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def serving(tmp_path: Path) -> Path:
    """A serving folder with version 11, pushed by Dora."""
    write_version(tmp_path / "serving", 11)
    manifest = tmp_path / "serving" / "11" / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"pushed_by": "dora@ci"}))
    return tmp_path / "serving"


def test_a_version_is_signed_promoted_and_its_log_checked(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    serving: Path,
    tmp_path: Path,
) -> None:
    def run(*arguments: str) -> tuple[int, str]:
        code = mastery(monkeypatch, "models", *arguments, "--models", str(serving))
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "ann.pem").write_bytes(pem)
    section = {"needed": 1, "accept": ["signature"], "keys": {"ann": public_key_of(key)}}
    config = ["--config", str(REPOSITORY / "configs" / "sample.yaml")]
    config += ["--set", f"approvals={json.dumps(section)}"]

    assert "No policy yet" in run("policy")[1]
    assert run("policy", "--adopt", *config)[0] == 2  # without a reason
    assert run("policy", "--adopt", "--reason", "decided", *config)[0] == 0
    assert json.loads(run("policy", "--json")[1])["accept"] == ["signature"]

    code, refused = run("promote", "11")
    assert (code, "by others than dora@ci" in refused) == (1, True)
    assert run("approve", "11", "--reason", "read")[0] == 1  # by the account alone
    code, approved = run("approve", "11", "--reason", "read", "--key", str(tmp_path / "ann.pem"))
    assert (code, approved) == (0, "approved by ann (revision 2); 1 of 1 approvals\n")
    assert run("promote", "11") == (0, "stable 11 (revision 3)\n")

    witness = ["--witness", str(tmp_path / "head")]
    code, checked = run("log", "--check", *witness)
    assert (code, "3 entries, each follows" in checked) == (0, True)
    log = serving / "audit.jsonl"
    log.write_text(log.read_text().replace("decided", "DECIDED"))
    code, checked = run("log", *witness, "--json")
    assert code == 1
    assert json.loads(checked)["problems"][0].startswith("entry 1 was changed")


def test_a_key_that_nobody_lists_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    serving: Path,
    tmp_path: Path,
) -> None:
    path = tmp_path / "eve.pem"
    for content, expected in (
        (b"no key", "expected a private key in PEM"),
        (
            Ed25519PrivateKey.generate().private_bytes(
                Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
            ),
            "whom approvals.keys lists (nobody), found another. Its public key is MCow",
        ),
    ):
        path.write_bytes(content)
        arguments = ["--reason", "x", "--key", str(path), "--models", str(serving)]
        assert mastery(monkeypatch, "models", "approve", "11", *arguments) == 2
        assert expected in capsys.readouterr().err
    assert not (serving / "audit.jsonl").exists()
