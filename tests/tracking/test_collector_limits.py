"""What does not depend on the calls inside, and when: options, verbs, transactions, lost tokens."""

import pytest
from django.db import transaction

from cachedeco import MISSING, Namespace, bypass, cached_query
from cachedeco.tracking import nested_names
from tests.loading.single_flight.callers import heard, reasons
from tests.support.backends import Commands
from tests.support.clubs import Undone
from tests.support.sides import SYNC, Side, both
from tests.support.stored import stored
from tests.support.threads import started
from tests.tracking.floors import Floors, around

OLD = ("top middle old", [])
NEW = ("top middle new", ["top", "middle", "bottom"])


# --- what opts out ---


@both
def test_not_nested_call_depends_on_itself_alone(side: Side) -> None:
    """With `nested=False` an entry stays what it is, and is stored though a call inside went past the cache."""
    floors = Floors(side, top={"nested": False})
    floors.call()

    floors.change()
    side.call(floors.bottom.invalidate)

    assert OLD == floors.call()
    assert ("middle new", ["middle", "bottom"]) == floors.call("middle")


@both
def test_plain_function_inside_notes_nothing_of_its_own(side: Side) -> None:
    """Of `uncached` only what it calls counts."""
    floors = Floors(side)
    outer = around(side, "outer", floors.middle.uncached)

    side.call(outer)
    floors.change()
    side.call(floors.middle.invalidate)
    assert "middle old" == side.call(outer)

    side.call(floors.bottom.invalidate)
    assert "middle new" == side.call(outer)


@both
def test_call_that_went_past_the_cache_keeps_those_around_it_out(side: Side) -> None:
    """An inner call that nothing can invalidate makes an outer value that nothing could: it is not stored."""
    floors = Floors(side)

    outer = around(side, "outer", floors.middle, how=bypass)
    outermost = around(side, "outermost", outer)

    with heard() as told:
        side.call(outermost)

    assert (MISSING, MISSING) == (side.call(outer.peek), side.call(outermost.peek))
    assert ["a cached call inside it went past the cache"] * 2 == reasons(told, "unstored")


# --- verbs ---


@both
def test_refreshed_value_depends_on_the_inner_calls(side: Side) -> None:
    """What `refresh()` stores is as what a call stores."""
    floors = Floors(side)
    side.call(floors.top.refresh)
    assert OLD == floors.call()

    floors.change()
    side.call(floors.bottom.invalidate)

    assert NEW == floors.call()


@both
def test_put_value_depends_on_itself_alone(side: Side) -> None:
    """What the value of another maker depends on is unknown: only the call itself invalidates it."""
    floors = Floors(side)
    floors.call()
    side.call(floors.top.call().set, "set")

    side.call(floors.bottom.invalidate)
    assert ("set", []) == floors.call()

    side.call(floors.top.invalidate)
    assert "top middle old" == floors.call()[0]


# --- transactions ---


@pytest.mark.django_db(transaction=True)
def test_inner_call_invalidated_in_a_transaction_that_commits() -> None:
    """Inside, the outer call computes and stores nothing; after the commit, everybody's does."""
    floors = Floors(SYNC)
    floors.call()
    floors.change()

    with transaction.atomic():
        floors.bottom.invalidate()
        assert NEW == floors.call()
        nested_names.forget()
        assert NEW == floors.call()
        with started(floors.top) as elsewhere:
            assert "top middle old" == elsewhere.result()

    assert NEW == floors.call()
    assert ("top middle new", []) == floors.call()


@pytest.mark.django_db(transaction=True)
def test_inner_call_invalidated_in_a_transaction_that_rolls_back() -> None:
    """After a rollback nothing has happened."""
    floors = Floors(SYNC)
    floors.call()

    with pytest.raises(Undone), transaction.atomic():  # noqa: PT012 -- both happen inside
        floors.bottom.invalidate()
        floors.call()
        raise Undone

    assert OLD == floors.call()


@pytest.mark.django_db
def test_inner_call_invalidated_inside_the_block_of_a_testcase() -> None:
    """That block is no transaction to wait for."""
    floors = Floors(SYNC)
    floors.call()
    floors.change()

    floors.bottom.invalidate()

    assert NEW == floors.call()
    assert ("top middle new", []) == floors.call()


@pytest.mark.django_db(transaction=True)
def test_inner_call_whose_transaction_is_too_old_keeps_the_outer_one_out() -> None:
    """An inner value that may be older than its stamp is not stored, nor what was made of it."""
    floors = Floors(SYNC)

    @cached_query(ignore=("floors",))
    def outer() -> str:
        with transaction.atomic():
            return str(floors.bottom())

    outer()

    assert MISSING is outer.peek()


# --- keys ---


def test_keys_that_need_digests() -> None:
    """Names that memcached does not take are asked for as they are stored."""
    floors = Floors(SYNC)

    @cached_query(ignore=("floors",), namespace="ü {text}")
    def inner(text: str) -> str:  # noqa: ARG001 -- only the key tells it
        return floors.value

    @cached_query(ignore=("inner",))
    def outer(text: str) -> str:
        return f"outer {inner(text)}"

    text = "long and ü " * 50
    outer(text)
    nested_names.forget()
    assert "outer old" == outer(text)
    floors.change()
    Namespace(f"ü {text}").invalidate()

    assert "outer new" == outer(text)


def test_evicted_inner_token_is_a_miss(commands: Commands) -> None:
    """A token that is not there any more proves nothing, whichever it is."""
    floors = Floors(SYNC)
    floors.call()
    commands.clear()
    floors.call()
    [command] = commands
    tokens = command.keys[1:]
    assert len(tokens) == len(set(tokens))

    for token in tokens:
        floors.call()
        stored().delete(token)

        assert "top" in floors.call()[1], token


@both
def test_refresh_that_goes_past_the_cache_invalidates_what_is_around(side: Side) -> None:
    """A refreshed value that is not stored leaves no old one, nor what was made of it; one that raises changes none."""
    floors = Floors(side)
    floors.call()

    with bypass():
        side.call(floors.middle.refresh)

    assert "top" in floors.call()[1]

    @side.cached()
    def failing() -> None:
        raise Undone

    with bypass(), pytest.raises(Undone):
        side.call(failing.refresh)
