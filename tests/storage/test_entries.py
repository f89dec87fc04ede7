"""The bytes of an entry: what is encoded is read again, and nothing else is an entry."""

from collections.abc import Sequence
from math import inf
from os import getpid
from time import time
from typing import Any

import pytest
from django.contrib.auth.models import User
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from cachedeco.storage.entries import (
    MOST_REFUSED,
    TOKEN_BYTES,
    Entry,
    EntryCodec,
    decode_entry,
    decode_values,
    encode_entry,
    has_value,
    key_for_models_here,
    own_tokens_of,
    read_details,
    read_nested_names,
    serialized_value,
)
from cachedeco.storage.serializers import ABSENT, Raised, build_serializer
from cachedeco.storage.store import Store
from cachedeco.testing import capture_events
from tests.support.selection import of_length

SECRET = b"a key of the tests, long enough"
CODECS = {
    f"{name}{' signed' if keys else ''}": EntryCodec(Store("default"), build_serializer(name, keys))
    for name in ("pickle", "json")
    for keys in ((), (SECRET,))
}
codecs = st.sampled_from(list(CODECS.values()))
keys_of_entries = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=250)
names = keys_of_entries.map("n{}".format)
tokens = st.binary(min_size=TOKEN_BYTES, max_size=TOKEN_BYTES)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.just(b"\r\nEND\r\n".decode()),
    lambda parts: st.lists(parts) | st.dictionaries(st.text(), parts),
    max_leaves=5,
)
spans = st.floats(min_value=0, allow_nan=False)
written = st.builds(
    Entry,
    *(values, spans, spans, spans),
    is_error=st.just(False),  # noqa: FBT003 -- the strategy of a field
    statements=st.integers(0, 2**32 - 1),
    models=st.just(b""),
)
stamps = st.lists(tokens, min_size=1, max_size=6)


def encoded(codec: EntryCodec, key: str, stamp: Sequence[bytes], value: object) -> bytes:
    """Return the bytes of an entry without nested tokens."""
    return encode_entry(codec, key, stamp, {}, Entry(codec.serializer.dumps(value).data, inf, 0.0))


@examples(max_examples=of_length(30, soak=500), deadline=None)
@given(codecs, keys_of_entries, stamps, st.dictionaries(names, tokens, max_size=5), written)
def test_entry_is_read_as_it_was_written(
    codec: EntryCodec, key: str, stamp: list[bytes], nested: dict[str, bytes], entry: Entry
) -> None:
    """Value, header, origin and names come back, for any value and tokens."""
    data = codec.serializer.dumps(entry.value).data
    stored = encode_entry(codec, key, stamp, nested, entry._replace(value=data))
    own = [f"own {number}" for number in range(len(stamp) + 1)]
    own[0] = key
    held = [stored, *stamp, *nested.values()]
    raw = dict(zip([*own, *nested], held, strict=True))

    read, details = decode_values(codec, key, held, "\n".join(nested).encode()), read_details(codec, key, stored)

    assert decode_values(codec, key, held, b"other names") is None
    assert entry._replace(statements=0) == read == decode_entry(codec, [*own, *nested], raw)
    assert (list(nested), data) == (read_nested_names(codec, own, raw), serialized_value(codec, key, stored))
    assert {data} == {each for each in (data, data[:-1], data + b"0", None) if has_value(codec, key, stored, each)}
    assert details is not None
    assert (entry.statements, str(getpid())) == (details.statements, details.process.rpartition(":")[2])
    assert details.stored_at <= time()


@examples(max_examples=of_length(50, soak=1000), deadline=None)
@given(codecs, keys_of_entries, stamps, values, st.data())
def test_bytes_that_are_cut_are_no_entry(
    codec: EntryCodec, key: str, stamp: list[bytes], value: object, data: st.DataObject
) -> None:
    """What lacks an end is a miss, and raises nothing: the entry, or a token of its stamp."""
    held = [encoded(codec, key, stamp, value), *stamp]
    one = data.draw(st.integers(0, len(held) - 1))
    end = data.draw(st.integers(0, len(held[one]) - 1))
    from_left = data.draw(st.booleans()) and one > 0
    held[one] = held[one][-end:] if from_left and end else held[one][:end]

    assert decode_values(codec, key, held) is None
    if one == 0:
        assert (None, None) == (read_details(codec, key, held[0]), serialized_value(codec, key, held[0]))
        assert own_tokens_of(codec, key, held[0]) is None


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS.keys())
def test_entry_that_begins_in_its_names_is_no_entry(codec: EntryCodec) -> None:
    """Its header says more of them than there are."""
    value = codec.serializer.dumps(1).data
    stored = encode_entry(codec, "key", [b"t" * TOKEN_BYTES], {"name": b"n" * TOKEN_BYTES}, Entry(value, inf, 0.0))
    begun_late = stored[len(value) + 1 :]

    found = serialized_value(codec, "key", begun_late), own_tokens_of(codec, "key", begun_late)

    assert (None, None) == found


@examples(max_examples=of_length(30, soak=500), deadline=None)
@given(codecs, keys_of_entries, keys_of_entries, stamps, values)
def test_shifted_reply_is_no_entry(codec: EntryCodec, key: str, other: str, stamp: list[bytes], value: object) -> None:
    """An entry of another key is a miss, though its tokens come with it, signed or not."""
    held = [encoded(codec, other, stamp, value), *stamp]

    assert (decode_values(codec, key, held) is None) == (key != other)


@examples(max_examples=of_length(50, soak=1000), deadline=None)
@given(codecs, keys_of_entries, stamps, values, st.data())
def test_other_tokens_are_no_hit(
    codec: EntryCodec, key: str, stamp: list[bytes], value: object, data: st.DataObject
) -> None:
    """An entry is current under its own tokens alone: all of them, in their order, none absent."""
    stored = encoded(codec, key, stamp, value)
    now: Any = data.draw(
        st.permutations(stamp)
        | st.lists(st.none() | tokens | st.sampled_from(stamp), max_size=len(stamp) + 1)
        | st.just(stamp[:-1])
        | st.just([b"".join(stamp)])
    )

    found = decode_values(codec, key, [stored, *now])

    assert (now == stamp) == (found is not None)


@examples(max_examples=of_length(50, soak=1000), deadline=None)
@given(codecs, keys_of_entries, st.binary(), stamps)
def test_any_bytes_raise_nothing(codec: EntryCodec, key: str, value: bytes, stamp: list[bytes]) -> None:
    """Bytes of another origin are a miss, those with the right end too."""
    end = b"".join([*stamp, key.encode(), len(stamp).to_bytes(2, "little"), codec.serializer.format_id])
    raw = {"token": stamp[0], key: value + end}

    assert decode_values(codec, key, [value, *stamp]) is None
    assert decode_values(codec, key, [value + end, *stamp]) is None or len(value) > TOKEN_BYTES
    read_nested_names(codec, [key, "token"], raw)
    read_details(codec, key, value + end)
    serialized_value(codec, key, value + end)


@pytest.mark.parametrize("name", CODECS)
def test_formats_are_not_mixed(name: str) -> None:
    """An entry of another serializer, or without the signature, is a miss."""
    stamp = [b"t" * TOKEN_BYTES]
    stored = encoded(CODECS[name], "key", stamp, "value")

    read = {other: decode_values(codec, "key", [stored, *stamp]) is not None for other, codec in CODECS.items()}

    assert {other: other == name for other in CODECS} == read


@pytest.mark.parametrize("changed", [0, 3, 20, -70])
def test_signed_entry_is_refused_if_a_byte_differs(changed: int) -> None:
    """The signature covers value, header and trailer."""
    stamp = [b"t" * TOKEN_BYTES]
    stored = bytearray(encoded(CODECS["pickle signed"], "key", stamp, "value"))
    stored[changed] ^= 1

    assert decode_values(CODECS["pickle signed"], "key", [bytes(stored), *stamp]) is None


@pytest.mark.parametrize("value", [None, ABSENT, Raised(KeyError("name"))], ids=repr)
def test_special_values_come_back(value: object) -> None:
    """None, an absent id and an exception are values."""
    stamp = [b"t" * TOKEN_BYTES]

    read = decode_values(CODECS["pickle"], "key", [encoded(CODECS["pickle"], "key", stamp, value), *stamp])

    assert read is not None
    assert (type(value), repr(value)) == (type(read.value), repr(read.value))


@pytest.mark.parametrize("name", ["pickle", "pickle signed"])
def test_only_a_living_entry_of_other_models_has_an_entry_beside_it(name: str) -> None:
    """Not one that is dead, expired, cut or forged, nor one without models, or with those of today."""
    codec, token = CODECS[name], b"t" * TOKEN_BYTES
    users = codec.serializer.dumps([User(pk=1)])
    today = users.models
    others = b"-" * 8 + today[8:]

    def beside(models: bytes = others, now: bytes = token, cut: int = 0, **changed: Any) -> str | None:
        entry = Entry(users.data, inf, 0.0, models=models)._replace(**changed)
        data = encode_entry(codec, "key", [token], {}, entry)
        return key_for_models_here(codec, ["key", "token"], {"key": data[cut:], "token": now})

    key = beside()
    assert key is not None
    assert key.startswith("key~")
    assert key == beside(expires=time() - 5, stale=10.0)
    assert [None] * 6 == [
        beside(models=b""),
        beside(models=today),
        beside(now=b"u" * TOKEN_BYTES),
        beside(now=b"no token"),
        beside(expires=time() - 5, stale=1.0),
        beside(cut=len(users.data) + 100),
    ]
    assert (None if codec.serializer.signer else key) == beside(cut=1)  # the value alone: the rest is as it was
    assert key_for_models_here(codec, ["key", "token"], {}) is None


def test_bytes_that_are_no_entry_are_told_of_once_of_a_bounded_number_of_keys() -> None:
    """Other bytes under the key are told of, too; an attacker's keys take no room."""
    codec = EntryCodec(Store("default"), build_serializer("pickle", []))

    def told(key: str, data: bytes) -> int:
        with capture_events() as events:
            codec.emit_refused("No entry", key, data)
        return len(events)

    assert [1, 0, 1] == [told("key", data) for data in (b"a", b"a", b"b")]
    assert [1] * MOST_REFUSED == [told(f"key {n}", b"a") for n in range(MOST_REFUSED)]
    assert 1 == told("key", b"b")
    assert MOST_REFUSED >= len(codec._refused)
