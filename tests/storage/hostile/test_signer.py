"""Signatures: of one key or several, and for one purpose."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachedeco.runtime.validation import SHORTEST_KEY
from cachedeco.storage.signing import SIGNATURE_BYTES, Signer

OLD, NEW = "an old key, long enough", "a new key, long enough"


@given(message=st.binary(max_size=100))
def test_signature_is_accepted_of_what_was_signed(message: bytes) -> None:
    """Who has the key accepts the signature, which is always of one length."""
    signer = Signer([NEW], "tests")

    signature = signer.sign(message)

    assert (SIGNATURE_BYTES, True) == (len(signature), signer.accepts(signature, message))


@given(message=st.binary(max_size=100), other=st.binary(max_size=100))
def test_signature_is_of_one_message(message: bytes, other: bytes) -> None:
    """A signature says nothing of another message."""
    signer = Signer([NEW], "tests")

    assert (message == other) == signer.accepts(signer.sign(message), other)


def test_signature_by_an_older_key_is_accepted() -> None:
    """A key can be changed while what the old one signed is still there, and taken out later."""
    old, both, new = Signer([OLD], "tests"), Signer([NEW, OLD], "tests"), Signer([NEW], "tests")

    assert [True, False] == [each.accepts(old.sign(b"m"), b"m") for each in (both, new)]


def test_first_key_signs() -> None:
    """Processes that know the new key only read what those with both have signed."""
    both, new, old = Signer([NEW, OLD], "tests"), Signer([NEW], "tests"), Signer([OLD], "tests")

    assert [True, False] == [each.accepts(both.sign(b"m"), b"m") for each in (new, old)]


def test_signature_is_for_one_purpose() -> None:
    """What was signed for one purpose can't be used for another, with the same key."""
    mine, other = Signer([NEW], "mine"), Signer([NEW], "other")

    assert not other.accepts(mine.sign(b"m"), b"m")


def test_key_may_be_text_or_bytes() -> None:
    """A text is the same key as its bytes."""
    assert Signer([NEW.encode()], "tests").accepts(Signer([NEW], "tests").sign(b"m"), b"m")


@pytest.mark.parametrize(
    ("keys", "error", "what"),
    [
        ("a single key, not a list", TypeError, r"a str; it takes a list: \[SECRET_KEY"),
        (None, TypeError, "a NoneType; it takes a list"),
        ([], ValueError, "none; it takes one or more"),
        ([7], TypeError, "a int; it takes text or bytes"),
        (["x" * (SHORTEST_KEY - 1)], ValueError, "15 bytes; it takes 16 or more"),
    ],
)
def test_bad_keys_are_refused(keys: object, error: type[Exception], what: str) -> None:
    """What is no list of keys, or has one that could be guessed, is refused, and no key is shown."""
    with pytest.raises(error, match=what) as caught:
        Signer(keys, "tests")  # type: ignore[arg-type] # what it is about

    assert "xxx" not in str(caught.value)


def test_shortest_key() -> None:
    """Sixteen bytes are enough."""
    assert Signer(["x" * SHORTEST_KEY], "tests").sign(b"")
