"""A server that answers as a test says, by a clock that only the test moves."""

from collections.abc import Callable

from cachedeco.backends.memcached_errors import MemcachedError
from cachedeco.backends.memcached_pool import MemcachedConnection, MemcachedPool
from cachedeco.backends.server import Server

GONE = ConnectionRefusedError("nobody there")
HANGS = TimeoutError("timed out")

Clock = Callable[[float], None]


class Asked:
    """A server whose answers are a test's, and how often it was asked."""

    def __init__(self) -> None:
        """Begin well."""
        self.times = 0
        self.trouble: BaseException | None = None
        self.server = Server("there:1", MemcachedPool(("there", 1), {}, 1, 0))

    def run(self, *, writes: bool = False) -> str:
        """Ask it; return its answer, or what is raised instead."""
        try:
            return self.server.run("get", self._answer, writes=writes)
        except MemcachedError as error:
            return type(error).__name__

    def _answer(self, _connection: MemcachedConnection) -> str:
        self.times += 1
        if self.trouble is not None:
            raise self.trouble
        return "answer"
