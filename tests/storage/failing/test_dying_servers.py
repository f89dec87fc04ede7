"""Real servers that die, hang and come back in the middle, behind the clients that Django has for them."""

import logging

import pytest

from cachedeco import MISSING, Namespace
from tests.storage.failing.clients import CLIENTS, returning
from tests.support.servers import Server
from tests.support.sides import Side, both

clients = pytest.mark.parametrize("client", CLIENTS)


@both
@clients
def test_call_after_the_server_died_returns_the_value(side: Side, server: Server) -> None:
    """Nothing is raised, and the value is right, at the first call after the death and at all that follow."""

    @side.cached(namespace="numbers:{number}")
    def double(number: int) -> int:
        return 2 * number

    side.call(double, 4)

    server.kill()

    assert [8, 8, 8, 10] == [side.call(double, number) for number in (4, 4, 4, 5)]


@both
@clients
def test_call_whose_server_dies_while_it_computes_returns_the_value(side: Side, server: Server) -> None:
    """A value that can't be stored any more reaches its caller."""

    @side.cached(ignore=("server",))
    def answer() -> int:
        server.kill()
        return 1

    found = side.call(answer)

    assert 1 == found


@both
@clients
def test_every_verb_after_the_server_died_returns(side: Side, server: Server) -> None:
    """No verb raises for want of a server."""

    @side.cached()
    def answer() -> int:
        return 1

    side.call(answer)
    server.kill()

    answers = [
        side.call(answer.peek),
        side.call(answer.call().set, 2),
        side.call(answer.refresh),
        side.call(answer.invalidate),
        side.call(answer.invalidate_all),
        side.call(Namespace("numbers").invalidate),
    ]

    assert [MISSING, None, 1, None, None, None] == answers


@pytest.mark.covering(2)
@both
@clients
@pytest.mark.parametrize("calls", [0, 5])
def test_invalidation_after_the_server_died_is_logged_as_an_error(
    side: Side, server: Server, calls: int, caplog: pytest.LogCaptureFixture
) -> None:
    """It is known to be lost also in the time in which HashClient answers for the dead server by itself."""

    @side.cached()
    def answer() -> int:
        return 1

    side.call(answer)
    server.kill()
    for _ in range(calls):
        side.call(answer)

    side.call(answer.invalidate)

    assert ["answer"] == [
        record.getMessage().partition("<locals>.")[2].partition("#")[0].partition("@")[0]
        for record in caplog.records
        if record.levelno == logging.ERROR
    ]


@both
@clients
def test_invalidation_of_a_server_that_hangs_is_logged_as_an_error(
    side: Side, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """A server that takes the command and does not answer has acknowledged nothing."""

    @side.cached()
    def answer() -> int:
        return 1

    side.call(answer)
    server.pause()

    side.call(answer.invalidate)

    assert 1 == [record.levelno for record in caplog.records].count(logging.ERROR)


@both
@returning
def test_call_after_the_server_came_back_is_stored_again(side: Side, server: Server) -> None:
    """An empty server in the place of the dead one is used as soon as the client asks it."""

    @side.cached()
    def answer() -> int:
        return 1

    side.call(answer)
    server.kill()
    side.call(answer)
    server.restart()
    side.call(answer)
    side.call(answer)

    found = side.call(answer.peek)

    assert 1 == found


@both
@returning
def test_call_after_an_unseen_restart_is_computed(side: Side, server: Server) -> None:
    """Connections that a restart has cut are opened again within the calls that meet them, and nothing is raised."""

    @side.cached()
    def answer() -> int:
        return 1

    side.call(answer)
    server.restart()

    answers = [side.call(answer) for _ in range(3)]

    assert ([1, 1, 1], 1) == (answers, side.call(answer.peek))
