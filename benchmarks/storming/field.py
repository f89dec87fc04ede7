"""What an episode of bad weather acts on."""

from dataclasses import dataclass
from random import Random
from time import monotonic, sleep

from benchmarks.storming.board import Board
from benchmarks.storming.crew import LONGEST_START_SECONDS, Crew
from benchmarks.storming.plan import Plan
from benchmarks.storming.processes import StormError
from benchmarks.storming.proxy import Proxy
from tests.support.servers import Memcached, Redis


@dataclass
class Field:
    """The server, the network, the processes, and when all is over."""

    plan: Plan
    board: Board
    server: Memcached | Redis
    proxy: Proxy | None
    crew: Crew
    random: Random
    deadline: float  #: of time.monotonic()
    reads: int | None  #: how many are enough

    @property
    def network(self) -> Proxy:
        """The proxy, in a scenario that has one."""
        assert self.proxy is not None  # noqa: S101 -- for the type checker
        return self.proxy

    def is_over(self) -> bool:
        """Whether there were reads enough, or the time is up; on a busy machine, not before everybody has begun."""
        if self.reads is not None and self.board.reads() >= self.reads:
            return True
        if monotonic() > self.deadline + LONGEST_START_SECONDS:
            msg = "Somebody reads, or writes, nothing at all."
            raise StormError(msg)
        return monotonic() > self.deadline and self.board.has_begun()

    def wait(self, seconds: float) -> None:
        """Let some time pass, and look after the processes meanwhile."""
        until = monotonic() + seconds
        while (left := until - monotonic()) > 0:
            self.crew.look_after()
            sleep(min(left, 0.02))
