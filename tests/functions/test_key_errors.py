"""With `KEY_ERRORS` set to "bypass", a call without a key bypasses the cache; an invalidation still raises."""

from typing import Any

import pytest
from django.test import override_settings

from cachedeco import MISSING, Event, Namespace, bypass, cached_query, cached_query_many, listening, mode
from cachedeco.runtime.events import NO_KEY
from tests.models import Club
from tests.support.sides import Side, both
from tests.support.stored import stored

BYPASS = override_settings(CACHEDECO={"KEY_ERRORS": "bypass"})


class Plain:
    """What no key can hold."""

    slug = "north"


def failing(club: object) -> object:
    """Make a key of a text alone."""
    return club.upper()  # type: ignore[attr-defined]


def shown(club: object) -> str:
    """Be decorated."""
    return "x" if club else ""


class Interrupted(BaseException):
    """What is no failure of a key."""


OPTIONS: dict[str, tuple[dict[str, Any], Any]] = {
    "argument": ({}, Plain()),
    "inside a list": ({}, [Plain()]),
    "unsaved row": ({}, Club(name="North")),
    "attribute of a template": ({"key": "{club.pkk}"}, Plain()),
    "None in a template": ({"key": "{club.pk}"}, None),
    "part of a namespace": ({"key": "{club.slug}", "namespace": "club:{club.pk}"}, Plain()),
    "key": ({"key": failing}, 7),
    "vary": ({"key": "{club.slug}", "vary": failing}, Plain()),
    "namespace": ({"key": "{club.slug}", "namespace": failing}, Plain()),
    "namespace of nothing": ({"key": "{club.slug}", "namespace": lambda club: club}, Plain()),
}


@both
@pytest.mark.parametrize(("options", "club"), OPTIONS.values(), ids=OPTIONS)
def test_call_without_a_key_is_computed_and_stores_nothing(side: Side, options: dict[str, Any], club: Any) -> None:
    """By default it raises; with the setting the plain function is called, with an error that names it, each time."""
    seen: list[Event] = []

    @side.cached(**options)
    def name(club: object) -> str:
        return f"{club}"

    with pytest.raises((TypeError, AttributeError)):
        side.call(name, club)
    with BYPASS, listening(seen.append):
        found = side.call(name, club), side.call(name, club), side.call(name.peek, club), side.call(name.call(club))

    assert ((f"{club}", f"{club}", MISSING, f"{club}"), []) == (found, list(stored()._cache))
    errors = [event for event in seen if event.kind == "error"]
    assert {(name._spec.name, "default", True)} == {
        (event.function, event.cache, event.reason.startswith(NO_KEY)) for event in errors
    }
    assert (4, 3, 3) == (
        len(errors),
        sum(event.kind == "bypassed" for event in seen),
        sum(event.kind == "computed" for event in seen),
    )


@both
@pytest.mark.parametrize(("options", "club"), OPTIONS.values(), ids=OPTIONS)
def test_verb_that_changes_what_is_stored_still_raises(side: Side, options: dict[str, Any], club: Any) -> None:
    """A lost invalidation is never silent, and neither is a key that is asked for; refresh() returns the value."""
    seen: list[Event] = []

    @side.cached(**options)
    def name(club: object) -> str:
        return f"{club}"

    with BYPASS:
        with listening(seen.append):
            found = side.call(name.refresh, club)
        verbs = [name.key_for] if "namespace" in options or "vary" in options else [name.invalidate, name.key_for]
        for verb in verbs:
            with pytest.raises((TypeError, AttributeError)):
                side.call(verb, club)

    assert f"{club}" == found
    assert "error" in [event.kind for event in seen]


@both
def test_many_ids_bypass_together(side: Side) -> None:
    """One id without a key sends the whole call past the cache; what is stored of the others stays."""
    asked: list[list[Any]] = []

    @side.many(over="ids", key="{each.pk}", ignore=("asked",))
    def names(ids: list[Any]) -> dict[Any, str]:
        asked.append(ids)
        return {each: "new" if len(asked) > 1 else "old" for each in ids}

    good, bad = Club(pk=1), Plain()
    side.call(names, [good])
    with pytest.raises(AttributeError):
        side.call(names, [good, bad])
    with BYPASS:
        found = side.call(names, [good, bad]), side.call(names, [good]), side.call(names.peek, [good, bad])
        with pytest.raises(AttributeError):
            side.call(names.invalidate, [good, bad])

    assert ([good, bad], 2) == (asked[-1], len(asked))
    assert ({good: "new", bad: "new"}, {good: "old"}, {}) == found


@both
def test_refresh_of_many_invalidates_the_ids_that_have_keys(side: Side) -> None:
    """The new values can't be stored, so that the old ones must not be served; the id without a key is an event."""
    seen: list[Event] = []

    @side.many(over="ids", key="{each.pk}", ignore=("seen",))
    def names(ids: list[Any]) -> dict[Any, int]:
        return dict.fromkeys(ids, len(seen))

    good, bad = Club(pk=1), Plain()
    side.call(names, [good])
    with BYPASS, listening(seen.append):
        side.call(names.refresh, [good, bad])
        found = side.call(names.peek, [good])

    assert ({}, 2) == (found, sum(event.reason.startswith(NO_KEY) for event in seen))
    with BYPASS, mode("off"):
        assert {good: len(seen)} == side.call(names.refresh, [good])


@both
def test_outer_call_is_not_stored_with_what_bypassed(side: Side) -> None:
    """What a nested call without a key depends on is not known: the outer value is returned, with the reason."""
    seen: list[Event] = []
    kind = cached_query(name="tests.key_errors.inner", key="{club.pkk}")(shown)

    @side.cached(ignore=("kind",))
    def page(number: int) -> object:
        return kind(Plain()), number

    with BYPASS, listening(seen.append):
        found = side.call(page, 1), side.call(page.peek, 1)

    assert ((("x", 1), MISSING), 1) == (found, sum(event.kind == "unstored" for event in seen))


class Shop:
    """A class that no key can hold."""

    @cached_query
    def total(self, number: int = 2) -> int:
        """Return the double."""
        return 2 * number

    @cached_query_many(over="ids")
    def totals(self, ids: list[int]) -> dict[int, int]:
        """Return the doubles."""
        return {each: 2 * each for each in ids}


def test_method_of_what_no_key_can_hold_bypasses() -> None:
    """The object that a method is bound to is an argument like the others."""
    with BYPASS:
        assert (4, {1: 2}, MISSING) == (Shop().total(), Shop().totals([1]), Shop().total.peek())
        with pytest.raises(TypeError, match="Shop"):
            Shop().total.invalidate()


def test_arguments_that_the_function_does_not_take_are_no_matter_of_keys() -> None:
    """The TypeError of a wrong call is Python's own, without an event."""
    seen: list[Event] = []
    shop = Shop()

    with BYPASS, listening(seen.append):
        with pytest.raises(TypeError, match="missing 1 required positional argument"):
            Shop.total()  # type: ignore[call-arg]
        with pytest.raises(TypeError, match="unexpected keyword argument"):
            shop.total(page=2)  # type: ignore[call-arg]

    assert [] == seen


def test_settings_at_fault_raise_as_ever() -> None:
    """A wrong alias concerns each call, and is no argument's fault."""
    aside = cached_query(name="tests.key_errors.aside", cache="slow")(shown)

    with BYPASS, pytest.raises(Exception, match="not in CACHES"):
        aside(1)


def test_interrupt_passes() -> None:
    """What interrupts a thread is no failure of a key."""

    def interrupt(club: object) -> object:
        raise Interrupted(club)

    interrupted = cached_query(name="tests.key_errors.interrupted", key=interrupt)(shown)

    with BYPASS, pytest.raises(Interrupted):
        interrupted(1)


def test_call_that_bypasses_anyway_asks_for_no_key() -> None:
    """While the cache is bypassed or off, no key is made; a refresh invalidates, or says that it can't."""
    seen: list[Event] = []
    name = cached_query(name="tests.key_errors.past", key="{club.pkk}")(shown)

    with BYPASS, listening(seen.append):
        with bypass():
            found = name(1), name.refresh(1)
        with mode("off"):
            found += name(1), name.refresh(1)

    assert (("x",) * 4, 1) == (found, sum(event.kind == "error" for event in seen))
    with bypass(), pytest.raises(AttributeError):
        name.refresh(1)


def test_hit_of_another_call_is_no_other() -> None:
    """Calls with a key are served and invalidated as without the setting."""
    name = cached_query(name="tests.key_errors.hit", namespace="club:{club.slug}", key="{club.slug}")(shown)

    with BYPASS:
        before = name(Plain()), name.peek(Plain())
        Namespace("club", "north").invalidate()

        assert (("x", "x"), MISSING) == (before, name.peek(Plain()))
