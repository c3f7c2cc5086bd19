"""Keys that versions are signed with, and checked with: PEM files with keys of elliptic curves."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from components.config.runtime import SIGNING_PASSWORD
from components.errors import MasteryError
from components.files.atomic import sync

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import (
        EllipticCurvePrivateKey,
        EllipticCurvePublicKey,
    )

PRIVATE_KEY, PUBLIC_KEY = "signing-key.pem", "signing-key.pub"  # files that `make_keys` writes
CURVES = ("secp256r1", "secp384r1", "secp521r1")  # those that the library signs with


class KeyFileError(MasteryError):
    """A key cannot be read or written."""


def make_keys(folder: Path, password: str | None) -> tuple[Path, Path]:
    """Makes a key of the curve P-256 for trying, or for keeping.

    Args:
        folder: where to write `signing-key.pem` (readable by its owner only) and
            `signing-key.pub`.
        password: encrypts the private key; None leaves it in clear.

    Returns:
        The paths of the private and of the public key.

    Raises:
        KeyFileError: there is a key already, or the folder cannot be written to.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password is not None:
        encryption = serialization.BestAvailableEncryption(password.encode())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    )

    paths = folder / PRIVATE_KEY, folder / PUBLIC_KEY
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, content, mode in (
            (paths[0], private, 0o600),
            (paths[1], _public_pem(key.public_key()), 0o644),
        ):
            # O_EXCL: neither a key that is there nor what a link leads to is overwritten.
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            sync(path)
    except FileExistsError as error:
        raise KeyFileError(
            f"{error.filename}: there is such a file already, and keys are never overwritten. "
            "Name another folder by --out, or move it away."
        ) from None
    except OSError as error:
        raise KeyFileError(f"{folder}: no key could be written: {error.strerror}.") from error
    return paths


def check_key(key: Path, environment: Mapping[str, str]) -> None:
    """Checks that a private key can be used, before anything depends on it.

    Raises:
        KeyFileError: it cannot.
    """
    read_private_key(key, environment.get(SIGNING_PASSWORD))


def read_private_key(path: Path, password: str | None) -> EllipticCurvePrivateKey:
    """Returns the private key in a file.

    Raises:
        KeyFileError: there is none that can be used, or its password is another.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

    expected = f"{path}: expected a private key for signing (PEM, of the curves P-256 to P-521)"
    try:
        key = serialization.load_pem_private_key(
            path.read_bytes(), None if password is None else password.encode()
        )
    except OSError as error:
        raise KeyFileError(f"{expected}, found none: {error.strerror}.") from None
    except TypeError:  # there is a password and no encryption, or the other way round
        found = "no password" if password is None else "a password for a key without one"
        raise KeyFileError(
            f"{expected}, and its password in ${SIGNING_PASSWORD}; found {found}."
        ) from None
    except ValueError:
        found = "something else" if password is None else "a wrong password, or something else"
        raise KeyFileError(f"{expected}, found {found}.") from None
    if not isinstance(key, EllipticCurvePrivateKey) or key.curve.name not in CURVES:
        raise KeyFileError(f"{expected}, found another kind. `mastery models keygen` makes one.")
    return key


def read_public_key(path: Path) -> EllipticCurvePublicKey:
    """Returns the public key in a file.

    Raises:
        KeyFileError: there is none that can be used.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

    expected = f"{path}: expected a public key (PEM, of the curves P-256 to P-521)"
    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except OSError as error:
        raise KeyFileError(f"{expected}, found none: {error.strerror}.") from None
    except ValueError:
        raise KeyFileError(f"{expected}, found something else.") from None
    if not isinstance(key, EllipticCurvePublicKey) or key.curve.name not in CURVES:
        raise KeyFileError(f"{expected}, found another kind of key.")
    return key


def _public_pem(key: EllipticCurvePublicKey) -> bytes:
    from cryptography.hazmat.primitives import serialization

    return key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def key_digest(path: Path) -> str:
    """Returns the SHA-256 of a public key, in hexadecimal, as the signature names it.

    Raises:
        KeyFileError: there is no public key in the file.
    """
    return hashlib.sha256(_public_pem(read_public_key(path))).hexdigest()
