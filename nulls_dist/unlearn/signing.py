"""The key of whoever deletes: signs reports and ledger entries, and hides names in the ledger.

An Ed25519 key in a PEM file that only its owner can read. The secret of the commitments is derived
from it, so that there is one file to guard.
"""

import base64
import binascii
import hashlib
import hmac
import json
import logging
import os
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from nulls_dist.durable import replaced_file, write_bytes
from nulls_dist.errors import InputError, IntegrityError

logger = logging.getLogger(__name__)

ALGORITHM: Final = "ed25519"

_COMMITMENT_INFO: Final = b"nulls-dist deletion ledger, commitment to a source"
_PRIVATE_MODE: Final = 0o600


def canonical_bytes(content: Any) -> bytes:
    """Return JSON with sorted keys and without white space, as UTF-8: what is signed and chained.

    Args:
        content: JSON-ready values.
    """
    text = json.dumps(
        content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode()


class SigningKey:
    """A private key and what is derived from it.

    Attributes:
        public_key: base64 of its 32 raw bytes.
    """

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        raw = private.public_key().public_bytes_raw()
        self.public_key = base64.b64encode(raw).decode("ascii")
        derive = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=_COMMITMENT_INFO)
        self._secret = derive.derive(private.private_bytes_raw())

    def sign(self, content: Any) -> dict[str, str]:
        """Return the signature of JSON-ready values, as JSON-ready values."""
        value = self._private.sign(canonical_bytes(content))
        return {
            "algorithm": ALGORITHM,
            "public_key": self.public_key,
            "value": base64.b64encode(value).decode("ascii"),
        }

    def commit(self, source_id: int) -> str:
        """Return a commitment to a source: HMAC-SHA256 of its id.

        Whoever has the key can tell whether a source is meant; for others the name, which could be
        guessed from a plain hash, stays hidden.
        """
        message = source_id.to_bytes(8, "little")
        return hmac.new(self._secret, message, hashlib.sha256).hexdigest()


def open_key(path: Path) -> SigningKey:
    """Read a private key, or make one where the file does not exist.

    Raises:
        InputError: the file is no unencrypted Ed25519 private key in PEM.
    """
    if not path.exists():
        _create_key(path)
    try:
        private = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise _not_a_key(path) from error
    if not isinstance(private, Ed25519PrivateKey):
        raise _not_a_key(path)
    return SigningKey(private)


def check_signature(content: Any, signature: Any, *, place: str) -> str:
    """Check what `SigningKey.sign` returned.

    Args:
        content: the signed values.
        signature: as found beside them.
        place: file to name in errors.

    Returns:
        The public key that signed, base64.

    Raises:
        IntegrityError: the signature is malformed or does not fit the content.
    """
    try:
        if signature["algorithm"] != ALGORITHM or set(signature) != {
            "algorithm",
            "public_key",
            "value",
        }:
            raise ValueError(f"the algorithm must be {ALGORITHM}")
        public_key: str = signature["public_key"]
        key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public_key, validate=True))
        value = base64.b64decode(signature["value"], validate=True)
    except (TypeError, KeyError, ValueError, binascii.Error) as error:
        raise IntegrityError(f"{place}: no valid signature: {error}") from error
    try:
        key.verify(value, canonical_bytes(content))
    except InvalidSignature:
        raise IntegrityError(
            f"{place}: the signature does not fit; the contents were changed after signing"
        ) from None
    return public_key


def read_public_key(path: Path) -> str:
    """Read a public key, or the public half of a private one, from a PEM file.

    Returns:
        Base64 of its 32 raw bytes.

    Raises:
        InputError: it is no Ed25519 key.
    """
    content = path.read_bytes()
    if b"PRIVATE KEY" in content:
        return open_key(path).public_key
    try:
        public = serialization.load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _not_a_key(path) from error
    if not isinstance(public, Ed25519PublicKey):
        raise _not_a_key(path)
    return base64.b64encode(public.public_bytes_raw()).decode("ascii")


def public_key_file(path: Path) -> Path:
    """Return where the public half of a new key is written: beside it, to be given away."""
    return path.with_suffix(".pub.pem")


def _create_key(path: Path) -> None:
    private = Ed25519PrivateKey.generate()
    path.parent.mkdir(parents=True, exist_ok=True)
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    write_bytes(public_key_file(path), public)
    content = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    with replaced_file(path) as temporary:  # whole or not at all: half a key would stop all later
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE_MODE)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
    logger.info(
        "made a signing key, %s: keep it, for reports and the ledger go on with it; give %s to "
        "whoever checks them",
        path,
        public_key_file(path).name,
    )


def _not_a_key(path: Path) -> InputError:
    return InputError(
        f"{path} is not an unencrypted Ed25519 key in PEM; make one with "
        "openssl genpkey -algorithm ed25519, or name a file that does not exist"
    )
