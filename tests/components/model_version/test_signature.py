"""Signatures over whole versions: real keys, the library's own command, every kind of change."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from components.contracts.manifest import Manifest
from components.model_version.signature import (
    SignatureError,
    Trust,
    sign_version,
    verified_copy,
    verify_signature,
)
from components.model_version.signing_keys import KeyFileError, check_key, key_digest, make_keys

FILES = {
    "saved_model.pb": b"graph",
    "variables/variables.index": b"index",
    "variables/variables.data-00000-of-00001": bytes(range(256)),
    "assets/words": b"quiz\nvideo\n",
    "assets.extra/mastery.json": b"{}",
    "release/card.html": b"<h1>card</h1>",
    "provenance.json": b"{}",
    "empty": b"",
    ".gitignore": b"*",
}
MANIFEST = Manifest(version=17, name="sample").to_json().encode()


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A private and a public key."""
    return make_keys(tmp_path_factory.mktemp("keys"), None)


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory, keys: tuple[Path, Path]) -> Path:
    """A signed version."""
    folder = tmp_path_factory.mktemp("serving") / "17"
    for name, content in {**FILES, "manifest.json": MANIFEST}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    sign_version(folder, keys[0], {})
    return folder


@pytest.fixture
def copied(version: Path, tmp_path: Path) -> Path:
    """A copy of it to change."""
    return Path(shutil.copytree(version, tmp_path / "17"))


def test_a_signature_says_who_signed_and_what(version: Path, keys: tuple[Path, Path]) -> None:
    trust = Trust(public_key=keys[1])

    signed = verify_signature(version, trust, number=17)

    assert signed.files == len(FILES) + 1
    assert signed.by == f"the key with SHA-256 {key_digest(keys[1])}"
    bundle = json.loads((version / "model.sig").read_bytes())
    assert bundle["verificationMaterial"]["publicKey"]["hint"] == key_digest(keys[1])


def test_the_command_of_the_library_verifies_it_too(
    version: Path, keys: tuple[Path, Path], copied: Path
) -> None:
    # It passes over files of git by default, also those that are signed.
    command = [sys.executable, "-m", "model_signing", "verify", "key", "--no-ignore-git-paths"]
    for folder, code in ((version, 0), (copied, 1)):
        if code:
            (folder / "assets" / "words").write_bytes(b"quiz\nvideos\n")
        options = ["--signature", folder / "model.sig", "--public_key", keys[1]]
        ran = subprocess.run([*command, folder, *options], capture_output=True, check=False)
        assert (ran.returncode, b"succeeded" in ran.stdout) == (code, not code)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_one_changed_byte_of_any_file_is_refused(
    version: Path,
    keys: tuple[Path, Path],
    tmp_path_factory: pytest.TempPathFactory,
    data: st.DataObject,
) -> None:
    trust = Trust(public_key=keys[1])
    files = sorted(path for path in version.rglob("*") if path.is_file() and path.stat().st_size)
    changed = data.draw(st.sampled_from(files))
    content = changed.read_bytes()
    at = data.draw(st.integers(0, len(content) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != content[at]))

    folder = Path(shutil.copytree(version, tmp_path_factory.mktemp("changed") / "17"))
    name = changed.relative_to(version)
    (folder / name).write_bytes(content[:at] + bytes([byte]) + content[at + 1 :])

    with pytest.raises(SignatureError) as refused:
        verify_signature(folder, trust, number=17)
    assert name.name == "model.sig" or f"changed: {name}" in str(refused.value)


@pytest.mark.parametrize("name", [*FILES, "manifest.json", "model.sig"])
def test_a_removed_file_is_refused(name: str, copied: Path, keys: tuple[Path, Path]) -> None:
    (copied / name).unlink()
    with pytest.raises(SignatureError, match=f"missing: {name}|found no model.sig"):
        verify_signature(copied, Trust(public_key=keys[1]))


@pytest.mark.parametrize("name", ["new", ".gitattributes", ".git/config", "variables/a", "x/y/z"])
def test_an_added_file_is_refused(name: str, copied: Path, keys: tuple[Path, Path]) -> None:
    (copied / name).parent.mkdir(parents=True, exist_ok=True)
    (copied / name).write_bytes(b"")
    with pytest.raises(SignatureError, match=f"never signed: {name}"):
        verify_signature(copied, Trust(public_key=keys[1]))


@pytest.mark.parametrize("name", [*FILES, "manifest.json", "model.sig", "new"])
def test_a_link_in_place_of_a_file_is_refused(
    name: str, copied: Path, version: Path, keys: tuple[Path, Path]
) -> None:
    (copied / name).unlink(missing_ok=True)
    same = version / (name if name != "new" else "saved_model.pb")
    (copied / name).symlink_to(same)
    with pytest.raises(SignatureError, match=f"{name}: expected a file or a folder, found a link"):
        verify_signature(copied, Trust(public_key=keys[1]))
    with (
        pytest.raises(SignatureError, match="found a link"),
        verified_copy(copied, Trust(public_key=keys[1])),
    ):
        pass


def test_linked_folders_and_pipes_are_refused(copied: Path, keys: tuple[Path, Path]) -> None:
    trust = Trust(public_key=keys[1])
    shutil.move(copied / "assets", copied.parent / "assets")
    (copied / "assets").symlink_to(copied.parent / "assets")
    with pytest.raises(SignatureError, match="assets: expected a file or a folder, found a link"):
        verify_signature(copied, trust)
    (copied / "assets").unlink()
    os.mkfifo(copied / "assets")
    with pytest.raises(SignatureError, match="found a pipe, a socket or a device"):
        verify_signature(copied, trust)


def test_files_that_the_signer_left_out_are_refused(copied: Path, keys: tuple[Path, Path]) -> None:
    (copied / "model.sig").unlink()
    (copied / "notes").write_text("not signed")
    command = [sys.executable, "-m", "model_signing", "sign", "key", copied, "--ignore-paths"]
    options = [copied / "notes", "--private_key", keys[0], "--signature", copied / "model.sig"]
    subprocess.run([*command, *options], check=True, capture_output=True)
    with pytest.raises(SignatureError, match=r"never signed: .gitignore, notes"):
        verify_signature(copied, Trust(public_key=keys[1]))


def test_another_key_another_number_and_no_bundle_are_refused(
    copied: Path, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    _, other = make_keys(tmp_path / "other", None)
    with pytest.raises(SignatureError, match=r"signed by the owner of .*other.*Key mismatch"):
        verify_signature(copied, Trust(public_key=other))
    with pytest.raises(
        SignatureError, match=r"expected version 18, found the signed files of .* 17"
    ):
        verify_signature(copied, Trust(public_key=keys[1]), number=18)
    for content in (b"", b"{}", b"[]", b"null", b"\xff", b'{"mediaType": 1}', b"[" * 100_000):
        (copied / "model.sig").write_bytes(content)
        with pytest.raises(SignatureError, match="expected the files as they were signed"):
            verify_signature(copied, Trust(public_key=keys[1]))


def test_a_copy_is_what_was_verified(copied: Path, keys: tuple[Path, Path]) -> None:
    with verified_copy(copied, Trust(public_key=keys[1]), number=17) as copy:
        (copied / "saved_model.pb").write_bytes(b"exchanged after the check")
        files = {path.relative_to(copy).as_posix() for path in copy.rglob("*") if path.is_file()}
        assert files == {*FILES, "manifest.json", "model.sig"}
        assert (copy / "saved_model.pb").read_bytes() == b"graph"
        assert copy.parent.stat().st_mode & 0o077 == 0
    assert not copy.exists()
    with (
        pytest.raises(SignatureError, match=f"^{copied}: .*changed: saved_model.pb"),
        verified_copy(copied, Trust(public_key=keys[1])),
    ):
        pass


def test_keys_are_private_encrypted_and_never_overwritten(copied: Path, tmp_path: Path) -> None:
    private, public = make_keys(tmp_path / "keys", "sesame")
    assert private.stat().st_mode & 0o777 == 0o600
    assert b"ENCRYPTED" in private.read_bytes()
    with pytest.raises(KeyFileError, match="keys are never overwritten"):
        make_keys(tmp_path / "keys", "sesame")

    (copied / "model.sig").unlink()
    sign_version(copied, private, {"MASTERY_SIGNING_PASSWORD": "sesame"})
    assert verify_signature(copied, Trust(public_key=public)).files == len(FILES) + 1
    for environment, found in (
        ({}, r"password in \$MASTERY_SIGNING_PASSWORD; found no password"),
        ({"MASTERY_SIGNING_PASSWORD": "wrong"}, "found a wrong password"),
    ):
        with pytest.raises(KeyFileError, match=found) as refused:
            check_key(private, environment)
        assert "sesame" not in str(refused.value)
        assert "wrong," not in str(refused.value).replace("a wrong password,", "")


@pytest.mark.parametrize(
    ("key", "found"),
    [
        (rsa.generate_private_key(65537, 2048), "found another kind"),
        (ec.generate_private_key(ec.SECP256K1()), "found another kind"),
        (None, "found something else"),
    ],
)
def test_keys_of_other_kinds_are_refused(tmp_path: Path, key: object, found: str) -> None:
    private, public = tmp_path / "private.pem", tmp_path / "public.pem"
    private.write_bytes(b"?" if key is None else _private_pem(key))
    public.write_bytes(b"?" if key is None else _public_pem(key))
    with pytest.raises(KeyFileError, match=found):
        check_key(private, {})
    with pytest.raises(KeyFileError, match=found):
        key_digest(public)
    with pytest.raises(KeyFileError, match="No such file"):
        check_key(tmp_path / "none", {})


@pytest.mark.parametrize("curve", [ec.SECP384R1(), ec.SECP521R1()])
def test_larger_curves_sign_too(copied: Path, tmp_path: Path, curve: ec.EllipticCurve) -> None:
    key = ec.generate_private_key(curve)
    (tmp_path / "private").write_bytes(_private_pem(key))
    (tmp_path / "public").write_bytes(_public_pem(key))
    (copied / "model.sig").unlink()
    sign_version(copied, tmp_path / "private", {})
    verify_signature(copied, Trust(public_key=tmp_path / "public"))


def test_certificates_vouch_for_a_signer(copied: Path, tmp_path: Path) -> None:
    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root = _certificate("Example CA", root_key, "Example CA", root_key, authority=True)
    signer = _certificate("ana", key, "Example CA", root_key, authority=False)
    other = _certificate("Other", root_key, "Other", root_key, authority=True)
    for name, certificate in (("root", root), ("signer", signer), ("other", other)):
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        (tmp_path / name).write_bytes(pem)
    (tmp_path / "key").write_bytes(_private_pem(key))
    (copied / "model.sig").unlink()
    command = [sys.executable, "-m", "model_signing", "sign", "certificate", copied]
    options = {
        "--signature": copied / "model.sig", "--private_key": tmp_path / "key",
        "--signing_certificate": tmp_path / "signer", "--certificate_chain": tmp_path / "root",
    }  # fmt: skip
    flat = [part for option in options.items() for part in option]
    subprocess.run([*command, "--no-ignore-git-paths", *flat], check=True, capture_output=True)

    signed = verify_signature(copied, Trust(certificates=(tmp_path / "root",)))

    assert (signed.by, signed.files) == ("CN=ana", len(FILES) + 1)
    with pytest.raises(SignatureError, match="expected the files as they were signed"):
        verify_signature(copied, Trust(certificates=(tmp_path / "other",)))
    with pytest.raises(KeyFileError, match="expected certificates"):
        verify_signature(copied, Trust(certificates=(tmp_path / "key",)))


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    authority: bool,
) -> x509.Certificate:
    now = dt.datetime.now(dt.UTC)
    unused = (
        "content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "crl_sign",
        "encipher_only", "decipher_only",
    )  # fmt: skip
    usage = dict.fromkeys(unused, False)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(digital_signature=True, key_cert_sign=authority, **usage), critical=True
        )
        .sign(issuer_key, hashes.SHA256())
    )


def _private_pem(key: object) -> bytes:
    return key.private_bytes(  # type: ignore[attr-defined,no-any-return]
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _public_pem(key: object) -> bytes:
    return key.public_key().public_bytes(  # type: ignore[attr-defined,no-any-return]
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
