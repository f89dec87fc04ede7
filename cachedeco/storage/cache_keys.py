"""Keys that every cache takes: bounded in length, without characters that memcached refuses."""

from hashlib import blake2b
from typing import Final

# memcached takes keys of up to 250 bytes (protocol.txt, "Keys"); Django warns of more on every backend.
LONGEST_KEY: Final = 250


USUAL_ROOM: Final = 180


# A digest of 20 bytes in hex, its "#", and a beginning to know it by.
SHORTEST_ROOM: Final = 60


def fit(keys: list[str], room: int) -> list[str]:
    """
    Return the keys, each as it is where memcached takes it, else its digest behind a readable beginning.

    *room* is what Django's prefix and version leave. The same settings give the same keys.
    """
    together = "".join(keys)
    # Nearly always, and quicker than one by one; is_plain() written out, as each hit comes by here.
    if len(together) <= room and together.isascii() and together.isprintable() and " " not in together:
        return keys
    return [key if len(key) <= room and is_plain(key) else digest_of(key, room) for key in keys]


def is_plain(key: str) -> bool:
    """Tell whether memcached takes these characters: no spaces, no control characters, one byte each."""
    return key.isascii() and key.isprintable() and " " not in key


def digest_of(key: str, room: int) -> str:
    """
    Return a key of at most *room* characters for one that is too long or has characters that memcached refuses.

    It ends in "#" and a digest. No key that is used as it is does: that of a namespace has no "#", any other one
    ends in ")".
    """
    digest = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=20).hexdigest()
    beginning = key[: max(0, min(room, 80) - len(digest) - 1)]
    return "".join([char if is_plain(char) else "_" for char in beginning]) + "#" + digest
