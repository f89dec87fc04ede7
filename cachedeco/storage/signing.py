"""Sign bytes stored in an untrusted cache: HMAC (RFC 2104) with SHA-256."""

from collections.abc import Sequence
from hmac import compare_digest, digest
from typing import Final

from cachedeco.runtime.validation import secrets_of

SIGNATURE_BYTES: Final = 32
HASH: Final = "sha256"


class Signer:
    """
    Sign messages with the first of several keys, and accept the signatures of all.

    Two signers with different purposes do not accept each other's signatures, even with the same keys. Thread-safe.

    Args:
        keys: Texts or bytes. The first one signs. To rotate it, put a new one before it, and remove the old one when
            everything that it signed has expired.

        purpose: What is signed, as text.

    Raises:
        TypeError: A key is neither text nor bytes, or *keys* is a single one.
        ValueError: There is no key, or one is shorter than sixteen bytes.
    """

    def __init__(self, keys: Sequence[str | bytes], purpose: str) -> None:
        """Derive keys from the secrets, so that another use of the same secret reveals no signature."""
        self._keys = [digest(secret, purpose.encode(), HASH) for secret in secrets_of(keys)]

    def sign(self, message: bytes) -> bytes:
        """Return the signature."""
        return digest(self._keys[0], message, HASH)

    def accepts(self, signature: bytes, message: bytes) -> bool:
        """Tell whether one of the keys signed this message."""
        return any(compare_digest(digest(key, message, HASH), signature) for key in self._keys)


def message_for(place: bytes, *parts: bytes) -> bytes:
    """
    Return the message to sign for bytes that are stored in a place: the place's length, the place, and the parts.

    The length makes it unambiguous: no other place and parts give the same message.
    """
    return b"".join((len(place).to_bytes(4), place, *parts))
