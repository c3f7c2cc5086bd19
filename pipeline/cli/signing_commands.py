"""`mastery models keygen` and `verify`: keys, and who signed a version."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.options import (
    NO_SETTINGS,
    RUNS,
    JsonOption,
    ModelsOption,
    NameArgument,
    OptionalConfigOption,
    RootOption,
    SetOption,
    open_folder,
)

if TYPE_CHECKING:
    from components.model_version.signature import Trust

PublicKeyOption = Annotated[
    Path | None,
    typer.Option(
        "--public-key",
        metavar="FILE",
        help="Check signatures with this public key (PEM); default: push.public_key of --config.",
    ),
]
CertificateOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--certificate",
        metavar="FILE",
        help="Instead: certificates (PEM) that vouch for who signed; repeatable.",
    ),
]


def keygen(
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Where to write both keys.")
    ] = Path("keys"),
) -> None:
    """Make a key to sign versions with, and the public key to check them with.

    The private key is encrypted with the password in $MASTERY_SIGNING_PASSWORD, if that is set.

    Example:
        mastery models keygen --out keys
    """
    import os

    from components.config.runtime import SIGNING_PASSWORD
    from components.model_version.signing_keys import key_digest, make_keys

    password = os.environ.get(SIGNING_PASSWORD) or None
    private, public = make_keys(out, password)
    state = "encrypted" if password else f"not encrypted: ${SIGNING_PASSWORD} is not set"
    print(f"Private key  {private} ({state}); keep it where no server and no one else can read it.")
    print(f"Public key   {public}; SHA-256 {key_digest(public)}")
    print("\npush:")
    print(f"  signing_key: {private.absolute()}\n  public_key: {public.absolute()}")


def verify(
    version: NameArgument,
    public_key: PublicKeyOption = None,
    certificate: CertificateOption = None,
    models: ModelsOption = None,
    config: OptionalConfigOption = None,
    set_: SetOption = NO_SETTINGS,
    root: RootOption = RUNS,
    json_: JsonOption = False,
) -> None:
    """Say who signed a version, and whether each of its files is as it was signed.

    Exit code 1: the signature is not good; the file that was changed, added or removed is named.

    Example:
        mastery models verify stable --public-key keys/signing-key.pub --models runs/sample/serving
    """
    import json
    from dataclasses import asdict

    from serving.models.listing import resolve, verify_stored

    trust = find_trust(public_key, certificate, config, set_, required=True)
    assert trust is not None
    storage = open_folder(models, config, set_, root)
    number = resolve(storage, version)
    signed = verify_stored(storage, number, trust)
    if json_:
        print(json.dumps({"version": number, **asdict(signed)}, indent=1))
    else:
        print(f"{number} is signed by {signed.by}, over all of its {signed.files} files.")


def find_trust(
    public_key: Path | None,
    certificates: list[Path] | None,
    config: Path | None,
    set_: list[str],
    *,
    required: bool = False,
) -> Trust | None:
    """Returns whose signatures count: by options, or else by the configuration; None for nobody's.

    Raises:
        MasteryError: two options contradict each other; or nothing says it, and it is `required`.
        ConfigError: the configuration cannot be used.
    """
    from components.errors import MasteryError

    if public_key is not None and certificates:
        raise MasteryError("expected one of --public-key and --certificate, found both.")
    if public_key is None and not certificates and config is not None:
        from components.config import load_config

        configured = load_config(config, set_).push.public_key
        public_key = Path(configured) if configured else None
    if public_key is None and not certificates:
        if required:
            raise MasteryError(
                "expected --public-key FILE, --certificate FILE, or --config with a file that has "
                "push.public_key, to check signatures with; found none."
            )
        return None

    from components.model_version.signature import Trust

    return Trust(public_key=public_key, certificates=tuple(certificates or ()))
