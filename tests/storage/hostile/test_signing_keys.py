"""The setting SIGNING_KEYS: what it takes, what is never shown of it, and what signing asks of a cache."""

import pytest
from django.core.exceptions import ImproperlyConfigured
from pytest_django import Settings

from cachedeco import cached_query
from cachedeco.runtime.conf import Settings as Parsed
from cachedeco.storage.serializers import SerializerName
from cachedeco.testing import capture_events
from tests.conftest import CacheConfig, UseCaches

KEY = "a key of the tests, long enough"
lost: list[str] = []


def key_of_tenant(key: str, prefix: str, version: int) -> str:
    """Make keys, until the tenant is lost."""
    if lost:
        msg = "no tenant"
        raise LookupError(msg)
    return f"{prefix}:{version}:{key}"


@pytest.mark.parametrize("value", [None, "", b"", 0, False, {}, [""], ["", KEY]], ids=repr)
def test_nothing_that_was_forgotten_turns_signatures_off(value: object) -> None:
    """An environment variable that is not set, say, is a fault and not a decision."""
    with pytest.raises(ImproperlyConfigured, match="SIGNING_KEYS"):
        Parsed.parse({"SIGNING_KEYS": value})


@pytest.mark.parametrize("value", [[], ()], ids=repr)
def test_no_keys_are_no_signatures(value: object) -> None:
    """To sign nothing can be said."""
    assert () == Parsed.parse({"SIGNING_KEYS": value}).SIGNING_KEYS


def test_fault_in_the_settings_shows_no_key() -> None:
    """The comma that makes a tuple of the dict is a common slip, and the error goes to a log."""
    with pytest.raises(ImproperlyConfigured, match="it takes a dict") as caught:
        Parsed.parse(({"SIGNING_KEYS": [KEY]},))

    assert KEY not in str(caught.value)


def test_settings_show_no_key() -> None:
    """Nor does what is made of them."""
    assert KEY not in repr(Parsed.parse({"SIGNING_KEYS": [KEY]}))


@pytest.mark.parametrize("form", ["pickle", "json"])
@pytest.mark.parametrize("before", [[], [KEY]], ids=["begin", "stop"])
def test_to_begin_or_to_stop_is_a_miss(before: list[str], form: SerializerName, settings: Settings) -> None:
    """What was stored before is of another format: no event says that it was forged."""

    @cached_query(serializer=form)
    def answer() -> list[int]:
        return [42]

    settings.CACHEDECO = {"SIGNING_KEYS": before}
    answer()
    settings.CACHEDECO = {"SIGNING_KEYS": [] if before else [KEY]}

    with capture_events(answer) as events:
        found = [answer(), answer()]

    assert [[42], [42]] == found
    assert ["miss", "computed", "stored", "hit"] == [each.kind for each in events]


@pytest.mark.parametrize("keys", [[], [KEY]], ids=["unsigned", "signed"])
def test_key_function_that_fails_breaks_no_call(
    keys: list[str], use_caches: UseCaches, cache_config: CacheConfig, settings: Settings
) -> None:
    """The whole key is worked out once: that the site can't tell it later changes nothing."""
    use_caches(default=cache_config("locmem", KEY_FUNCTION=key_of_tenant))
    settings.CACHEDECO = {"SIGNING_KEYS": keys}
    lost.clear()

    @cached_query
    def answer() -> int:
        lost.append("the tenant")
        return 42

    with capture_events(answer) as events:
        found = answer()

    lost.clear()
    assert (42, set()) == (found, {type(each.error).__name__ for each in events if each.kind == "error"})
