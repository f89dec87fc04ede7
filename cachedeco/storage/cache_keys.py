"""Cache keys: bounded in length, without characters that memcached refuses."""

from hashlib import blake2b
from typing import Final

# memcached takes keys of up to 250 bytes (protocol.txt, "Keys"); Django warns of longer ones on every backend.
LONGEST_KEY: Final = 250
# What is left of these after a prefix and a version of usual length.
USUAL_KEY_BUDGET: Final = 180
# "!" and a digest of 10 bytes in hex.
DIGEST_AT_END: Final = 21
# A digest of 20 bytes in hex, its "#", and a readable beginning.
SMALLEST_KEY_BUDGET: Final = 60


def lease_key(whole_key: str, digest: str) -> str:
    """Return the whole key of a lease: it ends in "@" and a digest, as no other key does."""
    return f"{whole_key[: LONGEST_KEY - len(digest) - 1]}@{digest}"


def key_for_models(whole_key: str, digest: str) -> str:
    """
    Return the whole key of an entry for models with other fields than those of the entry under a key.

    It ends in "~" and a digest of the fields, as no other key does.
    """
    key = f"{whole_key}~{digest}"
    return key if len(key) <= LONGEST_KEY else f"{digest_key(whole_key, LONGEST_KEY - len(digest) - 1)}~{digest}"


def with_digest(whole_key: str) -> str:
    """Return a whole key that ends in "!" and a digest: of two that differ, no collation takes one for the other."""
    return f"{whole_key}!{blake2b(whole_key.encode(), digest_size=DIGEST_AT_END // 2).hexdigest()}"


def is_valid_key(key: str) -> bool:
    """Tell whether memcached takes these characters: no spaces, no control characters, one byte each."""
    return key.isascii() and key.isprintable() and " " not in key


def digest_key(key: str, key_budget: int) -> str:
    """
    Return a key of at most *key_budget* characters for one that is too long or has characters that memcached refuses.

    It ends in "#" and a digest. No unchanged key does: the key of a namespace's token has no "#", any other key ends
    in ")".
    """
    digest = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=20).hexdigest()
    beginning = key[: max(0, min(key_budget, 80) - len(digest) - 1)]
    return "".join([char if is_valid_key(char) else "_" for char in beginning]) + "#" + digest
