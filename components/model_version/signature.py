"""Signs a version as a whole, and says who signed it: OpenSSF's model signing, in `model.sig`.

The signature covers every file of the version's folder but itself: graph, weights, manifest,
provenance and papers. It is a Sigstore bundle, which the library's own command verifies as well
(`model_signing verify key`).

The library would not notice some changes, so they are looked for here: links, files that a
signature leaves out on purpose (it has a list of ignored paths), files called `.gitignore` and the
like, which it passes over by default, and changes of `model.sig` that mean nothing.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.command.escape import shorten
from components.config.runtime import SIGNING_PASSWORD
from components.contracts.manifest import Manifest
from components.errors import VersionError
from components.files.atomic import sync
from components.model_version.folders import SIGNATURE
from components.model_version.signing_keys import (
    KeyFileError,
    key_digest,
    read_private_key,
    read_public_key,
)
from components.model_version.verify import file_digests, name_files

LONGEST_SIGNATURE = 64 * 2**20  # bytes; some 200 per file of the version

_LONGEST_REASON = 400  # characters of the library's own words in an error
_MISMATCH = "Signature mismatch"  # how its error begins where the bundle is good and a file is not


class SignatureError(VersionError):
    """A version is not signed, or not by whom it should be, or not as it is now."""

    exit_code = 1


@dataclass(frozen=True)
class Trust:
    """Whose signatures count: the owner of one key, or whoever some certificates vouch for.

    Attributes:
        public_key: a PEM file with the public key.
        certificates: PEM files with certificates of authorities; used if there is no key.
    """

    public_key: Path | None = None
    certificates: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Signed:
    """A good signature.

    Attributes:
        by: who signed: the SHA-256 of the public key, or the names in the certificate.
        files: how many files it covers.
    """

    by: str
    files: int


def sign_version(folder: Path, key: Path, environment: Mapping[str, str]) -> None:
    """Writes `model.sig` into a version's folder; it covers all other files in it.

    Args:
        folder: the version's, complete, and not in its place yet.
        key: a PEM file with a private key of a curve in `signing_keys.CURVES`.
        environment: has the key's password as `MASTERY_SIGNING_PASSWORD`, if it has one.

    Raises:
        KeyFileError: the key cannot be used; there is no signature.
        OSError: a file cannot be read or written.
    """
    password = environment.get(SIGNING_PASSWORD)
    read_private_key(key, password)  # the library's own errors name neither file nor variable

    from model_signing import signing

    config = signing.Config().use_elliptic_key_signer(
        private_key=key,
        # The library says `str`, and hands it to a function that takes bytes.
        password=None if password is None else password.encode(),
    )
    config.set_hashing_config(_every_file())
    config.sign(folder, folder / SIGNATURE)
    sync(folder / SIGNATURE)


def verify_signature(folder: Path, trust: Trust, *, number: int | None = None) -> Signed:
    """Checks that every file of a version is as somebody who is trusted has signed it.

    Nothing of the version is parsed before its signature is known to be good, except the
    signature.

    Args:
        folder: the version's. What is read now is what is checked; see `verified_copy`.
        trust: whose signatures count.
        number: the number that the version is to have, so that no signed version can stand under
            the number of another; None where a folder may have any name.

    Raises:
        SignatureError: there is no signature, it is not good, or it does not cover a file.
        KeyFileError: the key or a certificate cannot be read.
    """
    try:
        files = _list_files(folder)
        if SIGNATURE not in files:
            raise SignatureError(
                f"{folder}: expected a signature, found no {SIGNATURE}. The version was pushed "
                "without a key (push.signing_key), or the file was removed."
            )
        with tempfile.TemporaryDirectory(prefix="mastery-signature-") as private:
            # A copy, so that the library reads the very bytes that are looked at here.
            copy = Path(private, SIGNATURE)
            copy.write_bytes(_read_limited(folder / SIGNATURE))
            _verify(folder, copy, trust)
            signed = _Statement.of(copy.read_bytes())
    except OSError as error:
        raise SignatureError(
            f"{folder}: could not be read: {error.strerror} ({error.filename})."
        ) from error

    left_out = files - signed.digests.keys() - {SIGNATURE}
    if left_out:
        raise SignatureError(
            f"{folder}: expected a signature over every file, found one that leaves files out "
            f"({name_files({'never signed': left_out})}). Remove them, or sign again."
        )
    if number is not None and (found := Manifest.read(folder).version) != number:
        raise SignatureError(
            f"{folder}: expected version {number}, found the signed files of version {found}."
        )
    return Signed(by=signed.by or _key_name(trust), files=len(signed.digests))


@contextmanager
def verified_copy(folder: Path, trust: Trust, *, number: int | None = None) -> Iterator[Path]:
    """Yields a copy of a version whose signature is good, in a folder that only this user enters.

    Whoever may write to the version's own folder could exchange files after they were checked. So
    what is checked here, and what is to be loaded, is the copy.

    Raises:
        SignatureError: see `verify_signature`.
        KeyFileError: the key or a certificate cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="mastery-version-") as private:
        copy = Path(private, folder.name)
        try:
            _copy_files(folder, copy)
        except OSError as error:
            raise SignatureError(
                f"{folder}: could not be copied to {private}, to be verified there: "
                f"{error.strerror} ({error.filename})."
            ) from error
        try:
            verify_signature(copy, trust, number=number)
        except SignatureError as error:
            text = str(error).replace(str(copy), str(folder))
            raise SignatureError(text) from None
        yield copy


@dataclass(frozen=True)
class _Statement:
    """What a bundle says, once the library has found it good.

    Attributes:
        digests: SHA-256 of the files that it covers, by their paths below the version's folder.
        by: the names in the certificate; None for a key.
    """

    digests: dict[str, str]
    by: str | None

    @classmethod
    def of(cls, content: bytes) -> _Statement:
        bundle = json.loads(content)
        statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
        items = statement["predicate"]["resources"]
        digests = {item["name"]: item["digest"] for item in items}
        chain = bundle["verificationMaterial"].get("x509CertificateChain")
        if chain is None:
            return cls(digests, None)

        from cryptography import x509

        signer = base64.b64decode(chain["certificates"][0]["rawBytes"])
        subject = x509.load_der_x509_certificate(signer).subject
        return cls(digests, subject.rfc4514_string())

    def difference(self, folder: Path) -> str:
        """Returns how a version's files differ from those that were signed."""
        found = {**file_digests(folder, left_out=[SIGNATURE])}
        signed = self.digests
        return name_files(
            {
                "missing": signed.keys() - found.keys(),
                "never signed": found.keys() - signed.keys(),
                "changed": {
                    name for name in signed.keys() & found.keys() if signed[name] != found[name]
                },
            }
        )


def _verify(folder: Path, signature: Path, trust: Trust) -> None:
    """Has the library verify a signature and all files, and refuses what it would let pass."""
    verifier = _verifier(trust)
    try:
        _require_canonical(signature.read_text(encoding="utf-8"))
        verifier.set_hashing_config(_every_file()).verify(folder, signature)
    except OSError:
        raise
    except Exception as error:  # the library raises what its parts raise: many kinds
        reason = shorten(str(error) or type(error).__name__, _LONGEST_REASON)
        if reason.startswith(_MISMATCH):  # the bundle itself is good, so it can be believed
            reason = _Statement.of(signature.read_bytes()).difference(folder)
        raise SignatureError(
            f"{folder}: expected the files as they were signed by the owner of "
            f"{_trusted(trust)}; {reason}. Copy the version again from its source, or push again."
        ) from None


def _verifier(trust: Trust) -> Any:
    from model_signing import verifying

    config = verifying.Config()
    try:
        if trust.public_key is not None:
            read_public_key(trust.public_key)
            return config.use_elliptic_key_verifier(public_key=trust.public_key)
        if trust.certificates:
            return config.use_certificate_verifier(certificate_chain=[*trust.certificates])
    except (OSError, ValueError) as error:
        raise KeyFileError(f"{_trusted(trust)}: expected certificates (PEM): {error}.") from None
    raise KeyFileError("expected --public-key FILE or --certificate FILE, found neither.")


def _require_canonical(text: str) -> None:
    """Refuses a bundle that the library would not have written so: one byte more or less."""
    from sigstore_models.bundle.v1 import Bundle

    if Bundle.from_json(text).to_json() != text:
        raise ValueError(f"{SIGNATURE} was changed, or another version of the library wrote it")


def _every_file() -> Any:
    from model_signing import hashing

    config = hashing.Config().use_file_serialization()
    return config.set_ignored_paths(paths=[SIGNATURE], ignore_git_paths=False)


def _list_files(folder: Path) -> frozenset[str]:
    """Returns the paths of all files below a folder.

    Raises:
        SignatureError: there is something else than files and folders.
    """
    found = set()
    for path in _walk(folder):
        mode = path.lstat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            kind = "a link" if stat.S_ISLNK(mode) else "a pipe, a socket or a device"
            raise SignatureError(
                f"{path}: expected a file or a folder, found {kind}, which no signature covers."
            )
        if stat.S_ISREG(mode):
            found.add(path.relative_to(folder).as_posix())
    return frozenset(found)


def _walk(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder, onerror=_raise):
        yield from (Path(parent, name) for name in folders + files)


def _raise(error: OSError) -> None:
    raise error


def _copy_files(folder: Path, copy: Path) -> None:
    """Copies files and folders, and refuses links."""
    _list_files(folder)
    copy.mkdir()
    for path in _walk(folder):
        target = copy / path.relative_to(folder)
        if path.is_dir():
            target.mkdir()
            continue
        # It may have become a link, or a pipe, since it was listed.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as source, target.open("wb") as written:
            shutil.copyfileobj(source, written, 2**20)


def _read_limited(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(LONGEST_SIGNATURE + 1)
    if len(content) > LONGEST_SIGNATURE:
        raise SignatureError(f"{path}: expected a signature, found more than 64 MiB.")
    return content


def _trusted(trust: Trust) -> str:
    files = trust.certificates if trust.public_key is None else [trust.public_key]
    return ", ".join(map(str, files))


def _key_name(trust: Trust) -> str:
    assert trust.public_key is not None  # without one, the signature has a certificate
    return f"the key with SHA-256 {key_digest(trust.public_key)}"
