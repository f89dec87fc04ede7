"""Where the signature of an entry lies is told by what is signed, and by nothing that somebody else can write."""

from typing import Any

import pytest
from django.core.cache import cache
from pytest_django import Settings

from cachedeco import cached_query
from cachedeco.formats import FormatName
from cachedeco.signing import SIGNATURE_BYTES, bound

KEY = "a key of the tests, long enough"
# What a visitor has uploaded, say. Its last bytes, as many as a signature has, are a pickle; where an entry were to end
# before them, "~~~~~~~~" would be when it is due: never.
CODE = b"cos\ngetpid\n)R."
UPLOAD = b"~" * 64 + CODE.ljust(SIGNATURE_BYTES, b"x")


@pytest.mark.parametrize("form", ["pickle", "json"])
def test_signature_moved_into_the_value_is_a_miss(form: FormatName, settings: Settings) -> None:
    """What lies under the name of a token may have any length, and does not tell where the signature is."""
    settings.CACHEDECO = {"SIGNING_KEYS": [KEY]}
    value: Any = UPLOAD if form == "pickle" else UPLOAD.decode()

    @cached_query(timeout=None, format=form, ignore=("value",))
    def upload() -> Any:  # noqa: ANN401 -- as just said
        return value

    upload()
    [entry, own, *others] = upload._recipe.located((), {})[1]  # noqa: SLF001 -- the tokens too
    sealed, token = cache.get(entry), cache.get(own)
    stamp = sealed.index(token + b"".join([cache.get(key) for key in others]))
    head, signature, tail = sealed[: stamp - SIGNATURE_BYTES], sealed[stamp - SIGNATURE_BYTES : stamp], sealed[stamp:]
    cut = head.index(CODE[:3]) - 8
    cache.set(own, head[cut:] + token)
    cache.set(entry, head[:cut] + signature + head[cut:] + tail)

    found = upload()

    assert value == found


def test_places_and_what_lies_there_do_not_run_together() -> None:
    """The end of a place is not the beginning of what lies there."""
    assert bound(b"a", b"bc") != bound(b"ab", b"c")
