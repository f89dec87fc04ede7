"""The bad network: what it does to a message, seen from both its sides."""

import socket
import socketserver
from collections.abc import Iterator
from contextlib import suppress
from threading import Event, Thread

import pytest

from benchmarks.storming.proxy import Proxy, Trouble
from tests.support.servers import HOST
from tests.support.threads import PATIENCE_SECONDS

# Seconds: far more than loopback takes, and only a test that fails waits so long.
REQUEST = b"what is the version?"
ANSWER = b"the version is seven"


class Server(socketserver.ThreadingTCPServer):
    """Gives one answer to every message, and keeps what it has received."""

    def __init__(self) -> None:
        """Begin to listen."""
        super().__init__((HOST, 0), Handler)
        self.received: list[bytes] = []
        self.asked = Event()


class Handler(socketserver.BaseRequestHandler):
    """One connection of the server."""

    server: Server

    def handle(self) -> None:
        """Answer until the other side has enough."""
        while message := self.request.recv(1000):
            self.server.received.append(message)
            self.server.asked.set()
            # The server may have gone, which is what some tests are about.
            with suppress(OSError):
                self.request.sendall(ANSWER)


@pytest.fixture
def server() -> Iterator[Server]:
    """Give a server on loopback."""
    with Server() as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    """Give a proxy before the server, without trouble so far."""
    with Proxy(server.server_address[1]) as proxy:
        yield proxy


def ask(proxy: Proxy) -> tuple[bytes, bool]:
    """Send the request on a connection of its own; return what arrives, and whether the proxy has ended it."""
    answer = b""
    with socket.create_connection((HOST, proxy.port), PATIENCE_SECONDS) as connection:
        connection.sendall(REQUEST)
        while len(answer) < len(ANSWER):
            try:
                message = connection.recv(1000)
            except ConnectionResetError:
                message = b""
            if not message:
                return answer, True
            answer += message
        return answer, False


def test_message_without_trouble_arrives(proxy: Proxy, server: Server) -> None:
    """Request and answer arrive as they are."""
    answer = ask(proxy)

    assert (ANSWER, False) == answer
    assert ([REQUEST], 0) == (server.received, proxy.met)


def test_request_dropped_never_reaches_the_server(proxy: Proxy, server: Server) -> None:
    """A dropped request is not carried out, and its client sees the connection end."""
    proxy.trouble = Trouble(drop=1)

    answer = ask(proxy)

    assert (b"", True) == answer
    assert ([], 1) == (server.received, proxy.met)


def test_answer_lost_was_carried_out(proxy: Proxy, server: Server) -> None:
    """A request whose answer is lost has reached the server, and its client sees the connection end."""
    proxy.trouble = Trouble(lose=1)

    answer = ask(proxy)

    assert (b"", True) == answer
    assert ([REQUEST], 1) == (server.received, proxy.met)


def test_answer_cut_ends_in_the_middle(proxy: Proxy) -> None:
    """Of an answer that is cut the first half arrives, and then the connection ends."""
    proxy.trouble = Trouble(cut=1)

    answer = ask(proxy)

    assert (ANSWER[: len(ANSWER) // 2], True) == answer


def test_answer_garbled_is_noise(proxy: Proxy) -> None:
    """In place of a garbled answer something else arrives, of its length."""
    proxy.trouble = Trouble(garble=1)

    noise, _ = ask(proxy)

    assert (len(ANSWER), True) == (len(noise), noise != ANSWER)


def test_connection_of_a_garbled_answer_ends(proxy: Proxy) -> None:
    """Nothing that a client could take for the rest of an answer follows the noise."""
    proxy.trouble = Trouble(garble=1)

    with socket.create_connection((HOST, proxy.port), PATIENCE_SECONDS) as connection:
        connection.sendall(REQUEST)
        noise = connection.recv(1000, socket.MSG_WAITALL)

    assert len(ANSWER) == len(noise)


def test_message_delayed_arrives(proxy: Proxy) -> None:
    """A delay changes nothing of request and answer."""
    proxy.trouble = Trouble(delay=1, seconds=0.01)

    answer = ask(proxy)

    assert (ANSWER, False) == answer
    assert 2 == proxy.met


def test_request_delayed_arrives_though_no_client_waits(proxy: Proxy, server: Server) -> None:
    """A request whose client has gone meanwhile is carried out all the same: late, as on a real network."""
    proxy.trouble = Trouble(delay=1, seconds=0.05)

    with socket.create_connection((HOST, proxy.port), PATIENCE_SECONDS) as connection:
        connection.sendall(REQUEST)

    assert server.asked.wait(PATIENCE_SECONDS)


@pytest.mark.parametrize("trouble", [Trouble(drop=1), Trouble(lose=1), Trouble(cut=1), Trouble(garble=1)], ids=repr)
def test_network_healed_passes_on_again(trouble: Trouble, proxy: Proxy) -> None:
    """Without trouble a new connection is as if there never had been any."""
    proxy.trouble = trouble
    ask(proxy)

    proxy.trouble = Trouble()

    assert (ANSWER, False) == ask(proxy)


@pytest.mark.parametrize(("seed", "same"), [(7, True), (8, False)])
def test_seed_decides_what_happens(server: Server, seed: int, same: bool) -> None:
    """The same messages in the same order meet with the same under one seed, and with something else under another."""
    trouble = Trouble(drop=0.2, lose=0.2, cut=0.2, garble=0.2)

    def answers(seed: int) -> list[tuple[bytes, bool]]:
        with Proxy(server.server_address[1], seed=seed) as proxy:
            proxy.trouble = trouble
            return [ask(proxy) for _ in range(20)]

    first, second = answers(7), answers(seed)

    assert same == (first == second)


def test_server_that_is_gone_is_a_connection_that_ends(proxy: Proxy, server: Server) -> None:
    """Where no server listens behind the proxy, its client sees the connection end, and does not wait."""
    server.socket.close()

    answer = ask(proxy)

    assert (b"", True) == answer


def test_proxy_that_ends_closes_its_connections(server: Server) -> None:
    """A client that is connected when the proxy ends is told."""
    with Proxy(server.server_address[1]) as proxy:
        connection = socket.create_connection((HOST, proxy.port), PATIENCE_SECONDS)
        connection.sendall(REQUEST)
        connection.recv(len(ANSWER), socket.MSG_WAITALL)

    with connection:
        assert b"" == connection.recv(1)
