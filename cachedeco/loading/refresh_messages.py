"""Signed messages that name an entry to refresh, for a task in a worker."""

import pickle
from typing import Any, Final

from asgiref.sync import async_to_sync, iscoroutinefunction
from django.core import signing

from cachedeco.storage.serializers import to_pickle

SALT: Final = "cachedeco.refresh"
OTHER_KEY: Final = "In the background the call of {0} is that of {1}: what it varies on is not known there. {2}"
REMEDY: Final = 'Say CACHEDECO["REFRESH"] = "caller".'


class PickleSerializer:
    """Pickles signed messages, for Django's signing."""

    def dumps(self, obj: object) -> bytes:
        """Pickle an object."""
        return to_pickle(obj)

    def loads(self, data: bytes) -> Any:
        """Unpickle bytes whose signature by this project's SECRET_KEY Django has verified."""
        return pickle.loads(data)  # noqa: S301 -- verified, as the docstring says


def refresh_from(message: str) -> None:
    """Refresh the entry that a message of `refreshing.enqueue()` names."""
    (cached, args, kwargs), key = signing.loads(message, salt=SALT, serializer=PickleSerializer)
    if cached.key_for(*args, **kwargs) != key:
        raise RuntimeError(OTHER_KEY.format(key, cached.key_for(*args, **kwargs), REMEDY))
    if iscoroutinefunction(cached):
        async_to_sync(cached.arefresh)(*args, **kwargs)
    else:
        cached.refresh(*args, **kwargs)
