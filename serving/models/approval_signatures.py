"""Approvals that are signed: an Ed25519 or ECDSA signature by a key that the policy lists.

What is signed is a short text that names the version and the digests of its files and manifest, so
a signature is good for these bytes and no others, and anybody who has the public key can check it
with any tool.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.errors import MasteryError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from components.contracts.serving_state import AuditEntry

    PrivateKey = Ed25519PrivateKey | EllipticCurvePrivateKey

PASSWORD = "MASTERY_APPROVAL_KEY_PASSWORD"  # environment variable: of an encrypted key


def statement(entry: AuditEntry) -> bytes:
    """Returns what the signature of an approval, or of its revocation, is over.

    It is JSON in ASCII, with sorted keys and without spaces.
    """
    approval = entry.approval
    assert approval is not None, "only approvals are signed"
    content = {
        "statement": "mastery approval 1",
        "action": entry.action,
        "version": entry.version,
        "model_sha256": approval.model_sha256,
        "manifest_sha256": approval.manifest_sha256,
        "by": approval.by,
        "time": entry.time,
        "reason": entry.reason,
    }
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


def read_private_key(path: Path) -> PrivateKey:
    """Returns the key in a PEM file; its password, if it has one, is in the environment.

    Raises:
        MasteryError: it cannot be read, or is of another kind.
    """
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    password = os.environ.get(PASSWORD)
    try:
        key = load_pem_private_key(path.read_bytes(), password.encode() if password else None)
    except OSError as error:
        raise MasteryError(f"{path}: could not be read ({error.strerror}).") from None
    except TypeError:  # encrypted without a password, or the reverse
        raise MasteryError(
            f"{path}: expected the key's password in ${PASSWORD}, if it has one; found "
            f"{'one that it does not need' if password else 'none'}."
        ) from None
    except ValueError as error:
        raise MasteryError(
            f"{path}: expected a private key in PEM, and its password in ${PASSWORD} if it has "
            f"one ({error})."
        ) from None
    if not isinstance(key, Ed25519PrivateKey | EllipticCurvePrivateKey):
        raise MasteryError(
            f"{path}: expected an Ed25519 or ECDSA key, found another kind. "
            "`openssl genpkey -algorithm ed25519 -out approver.pem` makes one."
        )
    return key


def public_key_of(key: PrivateKey) -> str:
    """Returns the public key as `approvals.keys` has it: the body of its PEM file on one line."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    content = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(content).decode()


def name_of(key: PrivateKey, keys: Mapping[str, str], path: Path) -> str:
    """Returns whose key it is.

    Args:
        key: the private key.
        keys: the public keys of the policy, by name.
        path: the key's file, for the error.

    Raises:
        MasteryError: the policy does not list it.
    """
    public = public_key_of(key)
    found = next((name for name, listed in keys.items() if listed == public), None)
    if found is None:
        listed = ", ".join(keys) or "nobody"
        raise MasteryError(
            f"{path}: expected the key of one of those whom approvals.keys lists ({listed}), found "
            f"another. Its public key is {public}"
        )
    return found


def sign(key: PrivateKey, entry: AuditEntry) -> str:
    """Returns the signature of an approval in base64."""
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.hashes import SHA256

    if isinstance(key, EllipticCurvePrivateKey):
        signature = key.sign(statement(entry), ECDSA(SHA256()))
    else:
        signature = key.sign(statement(entry))
    return base64.b64encode(signature).decode()


def is_signed(entry: AuditEntry, public_key: str) -> bool:
    """Returns whether an approval has a signature that is right.

    Args:
        entry: the approval.
        public_key: as `approvals.keys` has it.
    """
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    assert entry.approval is not None
    try:
        signature = base64.b64decode(entry.approval.signature or "", validate=True)
        key: Any = load_der_public_key(base64.b64decode(public_key, validate=True))
        if isinstance(key, Ed25519PublicKey):
            key.verify(signature, statement(entry))
        elif isinstance(key, EllipticCurvePublicKey):
            key.verify(signature, statement(entry), ECDSA(SHA256()))
        else:
            return False
    except (InvalidSignature, UnsupportedAlgorithm, binascii.Error, ValueError):
        return False
    return True
