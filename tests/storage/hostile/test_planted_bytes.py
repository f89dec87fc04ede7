"""A key or value that an attacker has put into the cache server can at worst cause a miss."""

import pickle
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import count
from math import inf
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from pytest_django import Settings

from cachedeco import cached_query, cached_query_many
from cachedeco.backends import serializers
from cachedeco.loading import writing
from cachedeco.runtime import conf
from cachedeco.storage import entries, keyspace
from cachedeco.storage.serializers import SERIALIZERS, Serialized
from cachedeco.testing import capture_events
from tests.conftest import UseCaches
from tests.storage.hostile.conftest import Defend
from tests.storage.hostile.raw_servers import BOMB, Raw, exploded
from tests.support.backends import Commands
from tests.support.selection import of_length
from tests.support.servers import Redis
from tests.support.stored import stored

numbers = count(1)  # so that each example has calls of its own


# --- what is cached ---


@cached_query(timeout=None)
def inner(number: int) -> list[str]:
    """Return what is cached inside another call."""
    return [f"inner {number}"]


@cached_query(timeout=None)
def outer(number: int) -> list[str]:
    """Return what depends on another call."""
    return [f"outer {number}", *inner(number)]


@cached_query_many(over="ids", timeout=None)
def many(ids: list[int]) -> dict[int, list[str]]:
    """Return the values of several ids, each with an entry of its own."""
    return {each: [f"one of many, {each}"] for each in ids}


class Pair(NamedTuple):
    """Two numbers, and what is cached for them."""

    mine: int
    other: int

    def called(self) -> list[Any]:
        """Call everything."""
        return [inner(self.mine), inner(self.other), outer(self.mine), outer(self.other), many([*self])]

    def right(self) -> list[Any]:
        """Return what that is if nothing is cached."""
        outers = [[f"outer {each}", f"inner {each}"] for each in self]
        return [*[[f"inner {each}"] for each in self], *outers, {each: [f"one of many, {each}"] for each in self}]

    def places(self) -> list[str]:
        """Return the whole keys of all entries and tokens, an entry and its own token after the other."""
        single = [function._spec.resolve_call((each,), {})[1] for function in (inner, outer) for each in self]
        rows = many._spec.resolve_calls([((each,), {}) for each in self])[1]
        return list(dict.fromkeys(key for row in [*single, *rows] for key in row))


# --- what an attacker does to it ---

Change = Callable[[bytes, bytes, int], bytes]  # what is there, what is under another key, a number: what to plant


def flip(here: bytes, _there: bytes, number: int) -> bytes:
    """Flip one bit."""
    place = number % (8 * len(here))
    return here[: place // 8] + bytes([here[place // 8] ^ (1 << place % 8)]) + here[place // 8 + 1 :]


def tail_of(here: bytes, there: bytes, number: int) -> bytes:
    """Put a bomb before what an entry ends with: stamp and format are right then."""
    del there
    return BOMB + here[-(number % len(here)) :]


CHANGES: dict[str, Change] = {
    "flip": flip,
    "cut the end": lambda here, _, number: here[: number % len(here)],
    "cut the beginning": lambda here, _, number: here[number % len(here) :],
    "replace": lambda _here, there, _: there,
    "join": lambda here, there, number: here[: number % len(here)] + there[number % len(there) :],
    "say it twice": lambda here, _there, _: here + here,
    "a bomb": lambda *_: BOMB,
    "a bomb with the right end": tail_of,
    "nothing": lambda *_: b"",
    "a number": lambda *_: b"7",
}

attacks = st.lists(
    st.tuples(st.sampled_from(sorted(CHANGES)), st.integers(0, 30), st.integers(0, 30), st.integers(0, 10_000)),
    min_size=1,
    max_size=6,
)


def planted(raw: Raw, keys: Sequence[str], attack: Sequence[tuple[str, int, int, int]], *, bombs: bool) -> None:
    """Change what lies under keys; without bombs also none that several changes make."""
    for name, one, other, number in attack:
        key = keys[one % len(keys)]
        here, there = raw.read(key), raw.read(keys[other % len(keys)])
        if here and there:
            changed = CHANGES[name](here, there, number)
            if bombs or changed != BOMB:
                raw.plant(key, changed)


class Watch:
    """What was sealed by us, and what was unpickled."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.sealed: set[bytes] = set()
        self.unpickled: set[bytes] = set()

    def encode_entry(self, *args: Any) -> bytes:
        """Seal an entry, and remember it."""
        sealed = entries.encode_entry(*args)
        self.sealed.add(sealed)
        return sealed

    def pickled(self, serialized: Serialized) -> Serialized:
        """Remember what we have pickled: once an entry can't be read, a value is tried before it is stored."""
        self.sealed.add(serialized.data)
        return serialized

    def loads(self, data: bytes) -> object:
        """Unpickle, and remember what."""
        self.unpickled.add(data)
        return pickle.loads(data)  # noqa: S301 -- what this is about


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    """Look at all that is sealed and unpickled by us: an entry whole, as it lay in the cache."""
    watch = Watch()
    monkeypatch.setattr(writing, "encode_entry", watch.encode_entry)
    monkeypatch.setattr(serializers, "pickle", watch)
    dumps = SERIALIZERS["pickle"].dumps
    watched = replace(SERIALIZERS["pickle"], loads=watch.loads, dumps=lambda value: watch.pickled(dumps(value)))
    monkeypatch.setitem(SERIALIZERS, "pickle", watched)
    conf.forget()
    yield watch
    conf.forget()


def attacked(
    raw: Raw, attack: Sequence[tuple[str, int, int, int]], *, bombs: bool = True
) -> tuple[list[Any], list[Any]]:
    """Return what calls are to return, and what they do after the attack."""
    exploded.clear()  # of another example
    pair = Pair(next(numbers), -next(numbers))
    pair.called()
    planted(raw, pair.places(), attack, bombs=bombs)
    return pair.right(), pair.called()


fuzzed = examples(
    max_examples=of_length(20, soak=500),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    database=None,
)


@fuzzed
@given(attack=attacks)
def test_bytes_that_we_did_not_sign_are_never_unpickled(
    attack: list[tuple[str, int, int, int]], raw: Raw, defend: Defend, watch: Watch
) -> None:
    """With any bytes flipped, cut, swapped and replaced, values are right, and only what we had signed is unpickled."""
    defend()

    expected, found = attacked(raw, attack)

    assert (expected, []) == (found, exploded)
    assert watch.unpickled <= watch.sealed


@pytest.mark.parametrize("shared_kind", ["memcached"], indirect=True)
@fuzzed
@given(attack=attacks)
def test_signed_entries_need_no_serializer_where_bytes_are_left_alone(
    attack: list[tuple[str, int, int, int]], raw: Raw, defend: Defend, watch: Watch
) -> None:
    """The same with the stock serializer of pymemcache, which leaves alone what is not marked as a pickle."""
    defend(serializer=False)

    expected, found = attacked(raw, attack, bombs=False)

    assert (expected, []) == (found, exploded)
    assert watch.unpickled <= watch.sealed


ENTRY = entries.Entry(b"", inf, 0.0)


# --- one by one, and what happens without ---


def test_planted_pickle_runs_where_nothing_is_signed(raw: Raw, defend: Defend) -> None:
    """What plain pickle means: the reason for all of this."""
    defend(entries=False, serializer=False)
    pair = Pair(next(numbers), -next(numbers))
    pair.called()

    raw.plant(pair.places()[0], BOMB)
    inner(pair.mine)

    assert {"a pickle"} == set(exploded)


@pytest.mark.parametrize("shared_kind", ["redis"], indirect=True)
@pytest.mark.parametrize(
    "backend", ["django.core.cache.backends.redis.RedisCache", "cachedeco.backends.redis.RedisCache"]
)
def test_tokens_that_can_not_be_read_are_written_over(
    backend: str, raw: Raw, redis_server: Redis, use_caches: UseCaches
) -> None:
    """Those of a compressor that the cache had before keep no call from being stored."""
    use_caches(default={"BACKEND": backend, "LOCATION": redis_server.location})
    pair = Pair(next(numbers), -next(numbers))
    pair.called()
    for place in pair.places():
        raw.plant(place, b"x\x9c of a compressor")

    pair.called()
    before = inner.stats().hits

    assert pair.right() == pair.called()
    assert 2 == inner.stats().hits - before


def test_planted_pickle_does_not_run_where_the_serializer_signs(raw: Raw, defend: Defend) -> None:
    """... and with a serializer that looks at a signature it does not, for any entries."""
    defend(entries=False)
    pair = Pair(next(numbers), -next(numbers))
    pair.called()

    raw.plant(pair.places()[0], BOMB)

    assert (pair.right()[0], []) == (inner(pair.mine), exploded)


def put_under_another_key(raw: Raw) -> tuple[list[str], list[str]]:
    """Put the entry of one call under another one's key, and its own token as well; return what is right, and found."""
    pair = Pair(next(numbers), -next(numbers))
    pair.called()
    (entry, token), (other_entry, other_token) = [inner._spec.resolve_call((each,), {})[1][:2] for each in pair]
    for key, source in ((entry, other_entry), (token, other_token)):
        raw.plant(key, raw.read(source) or b"")
    return pair.right()[0], inner(pair.mine)


def test_entry_of_another_key_is_a_miss_without_a_signature(raw: Raw, defend: Defend) -> None:
    """An entry is bound to its whole key, signed or not: the answer to another call's command is never served."""
    defend(entries=False, serializer=False)

    expected, found = put_under_another_key(raw)

    assert expected == found


def test_entry_of_another_key_is_a_miss(raw: Raw, defend: Defend) -> None:
    """A signed entry counts under its own key only, though the token that it names is there as well."""
    defend()

    expected, found = put_under_another_key(raw)

    assert expected == found


def test_entry_of_another_site_is_a_miss(raw: Raw, defend: Defend, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole key is signed: what another site with the same keys has stored counts for nothing here."""
    defend(serializer=False)
    pair = Pair(next(numbers), -next(numbers))
    pair.called()
    there = [raw.read(key) for key in pair.places()]
    elsewhere = replace(keyspace.keyspace("default"), prefix="elsewhere:1:", table_prefix="elsewhere:1:")
    monkeypatch.setitem(keyspace._keyspaces, "default", elsewhere)
    conf.forget()
    here = pair.places()

    with capture_events(inner) as events:
        for key, value in zip(here, there, strict=True):
            raw.plant(key, value or b"")
        found = inner(pair.mine)

    assert pair.right()[0] == found
    assert "hit" not in [event.kind for event in events]


@pytest.mark.usefixtures("raw")
def test_forged_entry_is_told_of(defend: Defend) -> None:
    """The log tells that an attacker writes to the cache; the next call replaces what was written."""
    defend()
    pair = Pair(next(numbers), -next(numbers))
    pair.called()
    key = inner.key_for(pair.mine)
    stored().set(key, b"x" + stored().get(key)[1:])

    with capture_events(inner) as events:
        inner(pair.mine)
        inner(pair.mine)

    told = {event.reason for event in events if event.kind == "error"}
    assert ({"The entry is not signed by a key of the setting SIGNING_KEYS"}, "hit") == (told, events[-1].kind)


@pytest.mark.parametrize("keys", [[], ["a key of the tests, long enough"]], ids=["unsigned", "signed"])
def test_names_in_a_forged_entry_are_not_asked_for(keys: list[str], commands: Commands, settings: Settings) -> None:
    """What a forged entry says that it depends on is looked up only where there is nothing to know it by."""
    settings.CACHEDECO = {"SIGNING_KEYS": keys}
    number = next(numbers)
    inner(number)
    policy, names = inner._spec.resolve_call((number,), {})
    own: list[Any] = [policy.store.get_many(names)[name] for name in names[1:]]  # type: ignore[index] # it is there
    forged = entries.encode_entry(
        entries.EntryCodec(policy.store, SERIALIZERS["pickle"]), names[0], own, {"evil": own[0]}, ENTRY
    )
    mark, signed = SERIALIZERS["pickle"].format_id, policy.codec.serializer
    tail = len(own) * entries.TOKEN_BYTES + entries.TOKEN_BYTES + 2 + len(names[0]) + len(mark)
    stored().set(
        names[0], forged[:-tail] + b"0" * signed.signature_bytes + forged[-tail : -len(mark)] + signed.format_id
    )
    commands.clear()

    found = inner(number)

    asked = "evil" in [key for command in commands for key in command.keys]
    assert ([f"inner {number}"], not keys) == (found, asked)
