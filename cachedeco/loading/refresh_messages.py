"""Signed messages that tell a worker which entry to refresh."""

import pickle
from typing import Any, Final

from asgiref.sync import async_to_sync, iscoroutinefunction
from django.core import signing

from cachedeco.storage.serializers import to_pickle

OTHER_KEY: Final = "In the background the call of {0} is that of {1}: what it varies on is not known there. {2}"


REMEDY: Final = 'Say CACHEDECO["REFRESH"] = "caller".'


class Pickles:
    """Serializer for signed messages, as Django's signing takes it."""

    def dumps(self, obj: object) -> bytes:
        """Pickle."""
        return to_pickle(obj)

    def loads(self, data: bytes) -> Any:
        """Unpickle what was signed with this project's SECRET_KEY: Django checks that first."""
        return pickle.loads(data)  # noqa: S301 -- as just said


SALT: Final = "cachedeco.refresh"


def refresh_from(message: str) -> None:
    """Refresh the entry that a message of `enqueue()` names, in whatever process this is."""
    (cached, args, kwargs), key = signing.loads(message, salt=SALT, serializer=Pickles)
    if cached.key_for(*args, **kwargs) != key:
        raise RuntimeError(OTHER_KEY.format(key, cached.key_for(*args, **kwargs), REMEDY))
    if iscoroutinefunction(cached):
        async_to_sync(cached.arefresh)(*args, **kwargs)
    else:
        cached.refresh(*args, **kwargs)
