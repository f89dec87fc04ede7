"""What of an entry is signed, and where the signature lies: nothing of that can be changed."""

from itertools import count
from math import inf
from struct import Struct
from typing import Any

import pytest
from django.core.cache import cache
from pytest_django import Settings

from cachedeco import cached_query
from cachedeco.storage.serializers import SerializerName
from cachedeco.storage.signing import SIGNATURE_BYTES, message_for
from tests.support.stored import stored

TIMES = Struct("<ddI")  # when it is due, what it took, and how much stands before
numbers = count(1)
KEY = "a key of the tests, long enough"
# What a visitor has uploaded, say. Its last bytes, as many as a signature has, are a pickle; where an entry were to end
# before them, "~~~~~~~~" would be when it is due: never.
CODE = b"cos\ngetpid\n)R."
UPLOAD = b"~" * 64 + CODE.ljust(SIGNATURE_BYTES, b"x")


@pytest.mark.parametrize("form", ["pickle", "json"])
def test_signature_moved_into_the_value_is_a_miss(form: SerializerName, settings: Settings) -> None:
    """What lies under the name of a token may have any length, and does not tell where the signature is."""
    settings.CACHEDECO = {"SIGNING_KEYS": [KEY]}
    value: Any = UPLOAD if form == "pickle" else UPLOAD.decode()

    @cached_query(timeout=None, serializer=form, ignore=("value",))
    def upload() -> Any:
        return value

    upload()
    [entry, own, *others] = upload._spec.resolve_call((), {})[1]
    sealed, token = stored().get(entry), stored().get(own)
    stamp = sealed.index(token + b"".join([stored().get(key) for key in others]))
    head, signature, tail = sealed[: stamp - SIGNATURE_BYTES], sealed[stamp - SIGNATURE_BYTES : stamp], sealed[stamp:]
    cut = head.index(CODE[:3]) - 8
    stored().set(own, head[cut:] + token)
    cache.set(entry, head[:cut] + signature + head[cut:] + tail)

    found = upload()

    assert value == found


@cached_query(timeout=60)
def balance(account: int) -> list[int]:
    """Return what is not always the same."""
    return [account, next(numbers)]


def test_old_value_under_the_stamp_of_now_is_a_miss(settings: Settings) -> None:
    """An attacker can't undo an invalidation by giving an old value the tokens of now."""
    settings.CACHEDECO = {"SIGNING_KEYS": [KEY]}
    old = balance(7)
    key = balance.key_for(7)
    before, token = stored().get(key), own_token(7)
    balance.invalidate(7)
    new = balance(7)
    stored().set(key, before.replace(token, own_token(7)))

    found = balance(7)

    assert found not in (old, new)


def test_entry_with_another_time_is_a_miss(settings: Settings) -> None:
    """An attacker can't have a value served for longer."""
    settings.CACHEDECO = {"SIGNING_KEYS": [KEY]}
    old = balance(8)
    key = balance.key_for(8)
    sealed = stored().get(key)
    expires = sealed.index(own_token(8)) - SIGNATURE_BYTES - TIMES.size
    _, seconds, length = TIMES.unpack_from(sealed, expires)
    stored().set(key, sealed[:expires] + TIMES.pack(inf, seconds, length) + sealed[expires + TIMES.size :])

    found = balance(8)

    assert old != found


def own_token(account: int) -> bytes:
    """Return the token of one call as it stands."""
    token = stored().get(balance._spec.resolve_call((account,), {})[1][1])
    assert isinstance(token, bytes)
    return token


def test_places_and_what_lies_there_do_not_run_together() -> None:
    """The end of a place is not the beginning of what lies there."""
    assert message_for(b"a", b"bc") != message_for(b"ab", b"c")
