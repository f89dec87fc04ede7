"""Signed messages that name an entry to refresh, for a task in a worker."""

import pickle
from typing import Any, Final

from asgiref.sync import async_to_sync, iscoroutinefunction
from django.core import signing

from cachedeco.runtime.log import text_of_key
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
    """
    Refresh the entries that a message of `refreshing` names.

    Raises:
        RuntimeError: The call has other keys here.
    """
    call, keys = signing.loads(message, salt=SALT, serializer=PickleSerializer)
    for there, here in zip(keys, call._entry_keys(), strict=True):  # noqa: SLF001 -- a call of ours
        if there != here:
            raise RuntimeError(OTHER_KEY.format(text_of_key(there), text_of_key(here), REMEDY))
    if iscoroutinefunction(call):
        async_to_sync(call.arefresh)()
    else:
        call.refresh()
