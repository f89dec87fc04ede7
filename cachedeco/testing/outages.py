"""What is wrong with the cache of a function whose test has failed: it does not answer, or it keeps nothing."""

from os import urandom

from django.core.cache import caches

from cachedeco.runtime.interrupts import pass_interrupt
from cachedeco.runtime.reprs import mask_credentials, shorten_error
from cachedeco.storage.connections import connection
from cachedeco.storage.store import PROBE_SECONDS, Store, servers_of


def fault_of(store: Store) -> str:
    """Write a small value to a cache, read it back, and return what is wrong as a sentence; empty if nothing is."""
    [key], value = store.probe_keys(1), urandom(8)
    try:
        written = store.write_unguarded([(key, value, PROBE_SECONDS)])
        found = connection(store.alias).read([key])
    except Exception as error:  # noqa: BLE001 -- any failure of the cache is told
        pass_interrupt(error)
        return f" (Cache {store.alias!r}{_places_of(store.alias)} fails: {shorten_error(error)})"
    if not all(written):
        reason = f": {shorten_error(written.error)}" if written.error else ""
        return f" (Cache {store.alias!r}{_places_of(store.alias)} acknowledges no write{reason})"
    if found != [value]:
        backend = type(connection(store.alias).cache).__name__
        return f" (Cache {store.alias!r} is a {backend}, which has not kept a value that was just stored.)"
    return ""


def _places_of(alias: str) -> str:
    """Return where the servers of a cache are."""
    places = mask_credentials(", ".join(map(str, servers_of(caches.settings[alias]))))
    return f" at {places}" if places else ""
