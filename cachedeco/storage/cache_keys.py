"""Shorten cache keys: bounded in length, without characters that memcached refuses."""

from hashlib import blake2b
from typing import Final

# memcached takes keys of up to 250 bytes (protocol.txt, "Keys"); Django warns of longer ones on every backend.
LONGEST_KEY: Final = 250
# What is left of these after a prefix and a version of usual length.
USUAL_KEY_BUDGET: Final = 180
# A digest of 20 bytes in hex, its "#", and a readable beginning.
SMALLEST_KEY_BUDGET: Final = 60


def shorten_keys(keys: list[str], key_budget: int) -> list[str]:
    """
    Return the keys, each unchanged if memcached takes it, else its digest behind a readable beginning.

    *key_budget* is the length that Django's prefix and version leave. The same settings give the same keys.
    """
    joined = "".join(keys)
    # The usual case, and quicker than key by key; is_valid_key() is inlined, because each hit runs this.
    if len(joined) <= key_budget and joined.isascii() and joined.isprintable() and " " not in joined:
        return keys
    return [key if len(key) <= key_budget and is_valid_key(key) else digest_key(key, key_budget) for key in keys]


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
