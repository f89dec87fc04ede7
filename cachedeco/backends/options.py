"""What `OPTIONS` takes: all that pymemcache's clients do, and what becomes of each."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Final

from django.core.exceptions import ImproperlyConfigured
from pymemcache.client.rendezvous import RendezvousHash

from cachedeco.backends.pickles import Pickles

# Seconds, for a connection and for each part of an answer. memcached answers in a millisecond; Linux sends a lost
# packet again after 0.2 seconds, and that should be no failure; and who waits longer for a page notices.
PATIENCE: Final = 0.5
# Connections kept for each server, for more threads than a process usually has; and for how many seconds. Firewalls
# forget a silent connection after minutes, without telling either end.
MOST_IDLE: Final = 64
IDLE_SECONDS: Final = 60.0

# Of pymemcache's Client, with our defaults: Django's for pymemcache, and what a server in trouble needs.
CONNECTION: Final[Mapping[str, Any]] = {
    "allow_unicode_keys": True,
    "connect_timeout": PATIENCE,
    "encoding": "ascii",
    "key_prefix": b"",
    "no_delay": True,
    "socket_keepalive": None,
    "timeout": PATIENCE,
    "tls_context": None,
}
OURS: Final[Mapping[str, Any]] = {
    "deserializer": None,
    "hasher": RendezvousHash,
    "ignore_exc": False,
    "max_pool_size": MOST_IDLE,
    "pool_idle_timeout": IDLE_SECONDS,
    "serde": Pickles(),
    "serializer": None,
}
# Without a default of ours.
OPTIONAL: Final = frozenset({"socket_module"})
# What a site that comes from PyMemcacheCache may have, and nothing here needs: connections are always pooled, without
# a lock; every write waits for its answer; and no server is ever taken for another.
WITHOUT_EFFECT: Final = frozenset(
    {"dead_timeout", "default_noreply", "lock_generator", "retry_attempts", "retry_timeout", "use_pooling"}
)


def accepted(options: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return the options with their defaults, without those that have no effect.

    Raises:
        ImproperlyConfigured: There is one that no client of pymemcache takes.
    """
    known = {*CONNECTION, *OURS, *OPTIONAL, *WITHOUT_EFFECT}
    for name in options:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            meant = f"did you mean {near[0]!r}?" if near else f"it takes {', '.join(sorted(known))}."
            msg = f"MemcachedCache has no option {name!r}; {meant}"
            raise ImproperlyConfigured(msg)
    given = {name: value for name, value in options.items() if name not in WITHOUT_EFFECT}
    return {**CONNECTION, **OURS, **given}
