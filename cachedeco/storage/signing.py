"""What vouches for bytes that come back from where others can write: HMAC (RFC 2104) with SHA-256."""

from collections.abc import Sequence
from hmac import compare_digest, digest
from typing import Final

from cachedeco.runtime.validation import secrets_of

SIGNATURE_BYTES: Final = 32
HASH: Final = "sha256"


class Signer:
    """
    Sign messages with the first of several keys, and accept the signatures of all.

    Two signers with different purposes do not accept each other's signatures, though they have the same keys. May be
    used by many threads at once.

    Args:
        keys: Texts or bytes. The first one signs. To change it, put a new one before it, and remove the old one once
            everything that it has signed has timed out.

        purpose: What is signed.

    Raises:
        TypeError: A key is neither text nor bytes, or *keys* is a single one.
        ValueError: There is no key, or one is shorter than sixteen bytes.
    """

    def __init__(self, keys: Sequence[str | bytes], purpose: str) -> None:
        """Derive keys of our own, so that no other use of the same secret gives away a signature."""
        self._keys = [digest(secret, purpose.encode(), HASH) for secret in secrets_of(keys)]

    def sign(self, message: bytes) -> bytes:
        """Return the signature."""
        return digest(self._keys[0], message, HASH)

    def accepts(self, signature: bytes, message: bytes) -> bool:
        """Tell whether one of the keys has signed this message."""
        return any(compare_digest(digest(key, message, HASH), signature) for key in self._keys)


def bound(place: bytes, *parts: bytes) -> bytes:
    """Return a message that says where its parts lie; the length of the place keeps it apart from them."""
    return b"".join((len(place).to_bytes(4), place, *parts))
