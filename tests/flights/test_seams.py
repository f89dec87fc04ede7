"""Where flights of one kind meet those of another: of calls without a stamp, and of many ids."""

from cachedeco import flights
from cachedeco.computing import ABANDONED, Call
from cachedeco.flights import Name, board, board_each
from tests.sources import Source, sync_reader

NAME: Name = ("default", "key", (b"token",))


def test_flight_without_a_stamp_tells_its_callers_though_the_next_is_there() -> None:
    """Those who wait for a flight are told when it lands, and the next flight goes on."""
    terms, keys = sync_reader(Source())._admitted((1,), {})  # type: ignore[attr-defined] # noqa: SLF001 -- what it makes
    call = Call(terms, keys, None)
    first, _ = board(call, None)
    first.depart()
    second, leads = board(call, None)

    first.land(ABANDONED)

    assert (True, True, False) == (leads, first.future.done(), second.future.done())
    assert {second.name: second} == flights._flights  # noqa: SLF001 -- who comes now finds the second
    second.land(ABANDONED)


def test_fleet_leaves_flights_of_others_where_they_are() -> None:
    """A fleet that finds another one's flight under its new name does not land it."""
    others, _ = board_each([NAME])
    fleet, _ = board_each([("default", "key", ())])
    fleet.rename([NAME])

    fleet.land()

    assert (others.flights, False) == (flights._flights, others.future.done())  # noqa: SLF001 -- who finds it
    others.land()


def test_fleet_of_a_parent_is_not_landed_in_a_child() -> None:
    """A child that goes on as the leader that its parent is touches no lock that another thread may have held."""
    fleet, _ = board_each([NAME])
    flights._begin_anew()  # noqa: SLF001 -- what a fork does

    fleet.land()

    assert not fleet.future.done()
