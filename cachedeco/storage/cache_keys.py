"""Keys that every cache takes: bounded in length, without characters that memcached refuses."""

from hashlib import blake2b
from typing import Final

# memcached takes keys of up to 250 bytes (protocol.txt, "Keys"); Django warns of more on every backend.
LONGEST_KEY: Final = 250


USUAL_KEY_BUDGET: Final = 180


# A digest of 20 bytes in hex, its "#", and a beginning to know it by.
SMALLEST_KEY_BUDGET: Final = 60


def shorten_keys(keys: list[str], key_budget: int) -> list[str]:
    """
    Return the keys, each as it is where memcached takes it, else its digest behind a readable beginning.

    *room* is what Django's prefix and version leave. The same settings give the same keys.
    """
    together = "".join(keys)
    # Nearly always, and quicker than one by one; is_plain() written out, as each hit comes by here.
    if len(together) <= key_budget and together.isascii() and together.isprintable() and " " not in together:
        return keys
    return [key if len(key) <= key_budget and is_valid_key(key) else digest_key(key, key_budget) for key in keys]


def is_valid_key(key: str) -> bool:
    """Tell whether memcached takes these characters: no spaces, no control characters, one byte each."""
    return key.isascii() and key.isprintable() and " " not in key


def digest_key(key: str, key_budget: int) -> str:
    """
    Return a key of at most *room* characters for one that is too long or has characters that memcached refuses.

    It ends in "#" and a digest. No key that is used as it is does: that of a namespace has no "#", any other one
    ends in ")".
    """
    digest = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=20).hexdigest()
    beginning = key[: max(0, min(key_budget, 80) - len(digest) - 1)]
    return "".join([char if is_valid_key(char) else "_" for char in beginning]) + "#" + digest
