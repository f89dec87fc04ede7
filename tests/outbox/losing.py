"""To lose invalidations, and to look at what is sent for them."""

from collections.abc import Callable

from cachedeco import Namespace
from cachedeco.storage import breaker
from tests.outbox.sites import ALIAS
from tests.support.backends import Commands
from tests.support.faults import faulty

HEARTBEAT = ":h:"


def lose(*acts: Callable[[], object]) -> None:
    """Do something while no cache can be reached, and end: the journal of a process that goes on would deliver it."""
    with faulty(unreachable=True):
        for act in acts:
            act()
    breaker.reset()


def namespaces(*numbers: int) -> list[Callable[[], object]]:
    """Return what invalidates some namespaces."""
    return [lambda number=number: Namespace("n", number).invalidate(using=ALIAS) for number in numbers]  # type: ignore[misc]


def tokens_sent(commands: Commands) -> list[int]:
    """Return how many tokens each command has written, without the heartbeats."""
    sent = [[key for key in each.keys if HEARTBEAT not in key] for each in commands if each.name == "set_many"]
    return [len(keys) for keys in sent if keys]
