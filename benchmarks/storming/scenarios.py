"""What befalls the servers and the processes, by name."""

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.storming.eviction import evict_some
from benchmarks.storming.field import Field
from benchmarks.storming.proxy import Trouble

Episode = Callable[[Field], None]

# What a bad network does to one message in so many; a delay is longer than the client waits, at times.
BAD_NETWORK = Trouble(drop=0.05, lose=0.05, cut=0.05, garble=0.05, delay=0.05, seconds=0.3)


def fair_weather(field: Field) -> None:
    """Let nothing happen."""
    field.wait(0.2)


def eviction(field: Field) -> None:
    """Drop some keys, whichever."""
    evict_some(field.plan.backend, field.server.port, field.random)
    field.wait(0.01)


def restart(field: Field) -> None:
    """Kill the server, and start it empty."""
    field.server.kill()
    field.wait(field.random.uniform(0.0, 0.2))
    field.server.start()
    field.wait(field.random.uniform(0.2, 0.6))


def freeze(field: Field) -> None:
    """Keep the server from answering for a while."""
    field.server.pause()
    field.wait(field.random.uniform(0.3, 1.5))
    field.server.resume()


def bad_network(field: Field) -> None:
    """Put trouble between the clients and the server."""
    field.network.trouble = BAD_NETWORK
    field.wait(1.5)
    field.network.trouble = Trouble()
    field.wait(BAD_NETWORK.seconds)  # until the last that was delayed has arrived


def kills(field: Field) -> None:
    """Kill writers between their commit and the invalidation."""
    before = sum(field.board.killed)
    field.board.kills = True
    field.wait(1.0)
    while sum(field.board.killed) == before:  # a busy machine takes longer
        field.wait(0.1)
    field.board.kills = False


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One kind of storm."""

    episode: Episode  #: over and over, until the storm is over; it heals what it has done
    loses: bool = False  #: an invalidation can be lost
    isolation: int = 2  #: psycopg's number of it: READ COMMITTED
    atomic_reads: bool = False
    switches_mode: bool = False
    hangs: bool = False  #: a server may not answer: nothing for clients that can't be told to give up
    through_proxy: bool = False


SCENARIOS = {
    "plain": Scenario(episode=fair_weather),
    "eviction": Scenario(episode=eviction),
    "restart": Scenario(episode=restart),
    "freeze": Scenario(episode=freeze, loses=True, hangs=True),
    "proxy": Scenario(episode=bad_network, loses=True, hangs=True, through_proxy=True),
    "killed": Scenario(episode=kills, loses=True),
    "repeatable-read": Scenario(episode=fair_weather, isolation=3, atomic_reads=True),
    "mode-switch": Scenario(episode=fair_weather, switches_mode=True),
}
