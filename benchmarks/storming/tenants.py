"""
One process of the storm of tenants: threads, tasks and a main thread whose work signals interrupt.

    python -m benchmarks.storming.tenants '{...}'       # a `Course` as JSON; prints a `Tally` as JSON

The rows of all tenants are numbers in memory that the processes share, each written by one thread alone: the version
of a row, and the version whose invalidation was acknowledged. A read is *stale* if its version is older than the one
acknowledged before it began, and *foreign* if it is another row's, or another tenant's.
"""

import asyncio
import faulthandler
import json
import logging
import mmap
import os
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import asdict, dataclass, fields
from importlib import import_module
from pathlib import Path
from random import Random
from threading import Lock, Thread, current_thread, local, main_thread
from time import monotonic, sleep
from traceback import extract_tb
from typing import Any, Final, Literal, NamedTuple, Self, get_args

from django.conf import settings

Backend = Literal["ours", "our-redis", "memcached", "redis", "locmem"]
BACKENDS: Final[tuple[Backend, ...]] = get_args(Backend)
BACKEND_CLASSES: Final = {
    "ours": "cachedeco.backends.memcached.MemcachedCache",
    "our-redis": "cachedeco.backends.redis.RedisCache",
    "memcached": "django.core.cache.backends.memcached.PyMemcacheCache",
    "redis": "django.core.cache.backends.redis.RedisCache",
    "locmem": "django.core.cache.backends.locmem.LocMemCache",
}
# Longer than any storm: what is old stays old until it is invalidated.
TIMEOUT_SECONDS: Final = 3600
PATIENCE_SECONDS: Final = 30.0
OURS: Final = Path(__file__).parents[2] / "cachedeco"
SHARE: Final = 0.5  # of the calls under signals that a signal may interrupt
TENANTS: Final = ("north", "south", "west")
ROWS: Final = 8
# Of the writes that invalidate a namespace, one in so many takes the one above all rows.
WHOLE_NAMESPACE: Final = 8
WORD_BYTES: Final = 8
# What a test of the storm itself replaces cachedeco by: it serves old values, and shares flights between tenants.
CONTROL: Final = "control"


class Expired(Exception):  # noqa: N818 -- raised by a handler, as a deadline of the user's is
    """Raised by a signal's handler; derived from Exception, which a careless `except` swallows."""


class Stopped(BaseException):
    """Raised by a signal's handler, as KeyboardInterrupt and gevent's Timeout are."""


@dataclass(frozen=True, kw_only=True)
class Course:
    """What one process is told."""

    contender: str
    backend: str
    location: str
    board: str  #: path of the memory that all processes share
    process: int
    processes: int
    threads: int  #: that read without interruptions
    tasks: int  #: of one loop that read, and are cancelled at times
    reads: int  #: of the main thread and of each thread
    computation: float = 0.0005  #: seconds between the read of a row and its return
    signals: float = 0.003  #: seconds between two signals
    is_up: bool = True  #: the server answers, and takes what it is sent
    seed: int = 0

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the course that the parent process has written."""
        return cls(**json.loads(text))


@dataclass
class Tally:
    """What the readers of one process, or of all, have met."""

    reads: int = 0  #: values that were compared
    writes: int = 0
    computed: int = 0
    stale: int = 0
    foreign: int = 0
    raised: int = 0  #: exceptions that were neither a signal's nor a cancellation
    signals: int = 0  #: exceptions that the handler has raised
    swallowed: int = 0  #: of these, those that never reached the caller
    elsewhere: int = 0  #: of these, those that a client or Python's library has swallowed in code of its own
    unraisable: int = 0  #: of these, those that Python can't raise: inside a `__del__`, or a callback of weakref
    cancelled: int = 0
    stuck: int = 0  #: values that are old when all is over
    waited: int = 0  #: pauses of callers that waited for a lease when all was over
    failed: int = 0  #: commands that a server that is up has failed, as the log says
    left: str = ""  #: state that nothing has cleaned up
    example: str = ""  #: of what went wrong

    def give_example(self, text: str) -> None:
        """Keep the first example of each kind."""
        if text.partition(" ")[0] not in self.example:
            self.example = f"{self.example}; {text}".removeprefix("; ")

    def add(self, other: "Tally") -> None:
        """Add what another thread or process has counted."""
        for field in fields(self):
            mine, theirs = getattr(self, field.name), getattr(other, field.name)
            setattr(self, field.name, (mine or theirs) if isinstance(mine, str) else mine + theirs)


class Value(NamedTuple):
    """What is cached."""

    tenant: str
    row: int
    version: int


# A tenant is a thread's own, as a connection's schema is, or a task's.
_of_thread = local()
_of_task = ContextVar("tenant", default="nobody")


def current_tenant() -> str:
    """Return whose turn it is."""
    return getattr(_of_thread, "tenant", None) or _of_task.get()


def key_of_tenant(key: str, prefix: str, version: int) -> str:
    """Return the key as the server gets it: KEY_FUNCTION of the storm."""
    return f"{prefix}:{version}:{current_tenant()}:{key}"


@contextmanager
def acting_for(tenant: str) -> Iterator[None]:
    """Have this thread act for a tenant."""
    _of_thread.tenant = tenant
    try:
        yield
    finally:
        _of_thread.tenant = None


class Board:
    """The rows: versions, and acknowledged versions, by tenant and row."""

    def __init__(self, path: str) -> None:
        """Open the memory."""
        with Path(path).open("r+b") as file:
            words = memoryview(mmap.mmap(file.fileno(), 0)).cast("q")
        size = len(TENANTS) * ROWS
        self.versions, self.acknowledged = words[:size], words[size : 2 * size]
        self._ended = words[2 * size :]

    @classmethod
    def create(cls, path: str, processes: int) -> None:
        """Make the memory."""
        Path(path).write_bytes(bytes((2 * len(TENANTS) * ROWS + processes) * WORD_BYTES))

    def end(self, process: int) -> None:
        """Tell that a process has made all its reads and writes."""
        self._ended[process] = 1

    @property
    def is_over(self) -> bool:
        """Whether all processes have."""
        return all(self._ended)


def place(tenant: str, row: int) -> int:
    """Return where a row stands on the board."""
    return TENANTS.index(tenant) * ROWS + row


class Source:
    """The functions whose values are cached."""

    def __init__(self, course: Course, board: Board) -> None:
        """Count the computations."""
        self._seconds, self._board = course.computation, board
        self.computed = 0

    def read(self, row: int) -> Value:
        """Read a row of the current tenant, and hold the value for a while."""
        self.computed += 1
        tenant = current_tenant()
        value = Value(tenant, row, self._board.versions[place(tenant, row)])
        sleep(self._seconds)
        return value

    async def aread(self, row: int) -> Value:
        """Do so in a task."""
        self.computed += 1
        tenant = current_tenant()
        value = Value(tenant, row, self._board.versions[place(tenant, row)])
        await asyncio.sleep(self._seconds)
        return value


class Cachedeco:
    """Ours: a function, one that calls it, one over many rows, and async ones."""

    def __init__(self, source: Source) -> None:
        """Decorate."""
        from cachedeco import Namespace, cached_query, cached_query_many

        def read(row: int) -> Value:
            return source.read(row)

        def page(row: int) -> list[Value]:
            return [self.read(row), source.read(row)]

        def many(ids: list[int]) -> dict[int, Value]:
            return {row: source.read(row) for row in ids}

        async def aread(row: int) -> Value:
            return await source.aread(row)

        async def apage(row: int) -> list[Value]:
            return [await self.aread(row), await source.aread(row)]

        async def amany(ids: list[int]) -> dict[int, Value]:
            return {row: await source.aread(row) for row in ids}

        single: dict[str, Any] = {"namespace": "row:{row}", "timeout": TIMEOUT_SECONDS, "ignore": ("source",)}
        nested = {**single, "ignore": ("source", "self")}
        bulk: dict[str, Any] = {**single, "namespace": "row:{each}", "over": "ids"}
        self.read: Any = cached_query(name="storm.read", **single)(read)
        self.page: Any = cached_query(name="storm.page", **nested)(page)
        self.many: Any = cached_query_many(name="storm.many", **bulk)(many)
        self.aread: Any = cached_query(name="storm.aread", **single)(aread)
        self.apage: Any = cached_query(name="storm.apage", **nested)(apage)
        self.amany: Any = cached_query_many(name="storm.amany", **bulk)(amany)
        self._namespace: Any = Namespace

    def invalidate(self, row: int, turn: int) -> None:
        """Invalidate a row by its calls, by its namespace, or by the one above."""
        if turn % 3 == 0:
            for function in (self.read, self.page, self.aread, self.apage):
                function.invalidate(row)
            self.many.invalidate([row])
            self.amany.invalidate([row])
        elif turn % (3 * WHOLE_NAMESPACE) == 1:
            self._namespace("row").invalidate()
        else:
            self._namespace("row", row).invalidate()


class Control:
    """As it is usually written: get, compute, set; delete; computations are shared by the key before the prefix."""

    def __init__(self, source: Source) -> None:
        """Keep the computations under way."""
        from django.core.cache import cache

        self._cache, self._source = cache, source
        self._flights: dict[int, Future[Value]] = {}
        self._lock = Lock()

    def read(self, row: int) -> Value:
        """Read."""
        found: Any = self._cache.get(f"control:{row}")
        if found is not None:
            return Value(*found)
        with self._lock:
            flight, leads = self._flights.get(row), False
            if flight is None:
                flight = self._flights[row] = Future()
                leads = True
        if not leads:
            return flight.result(PATIENCE_SECONDS)
        try:
            value = self._source.read(row)
            self._cache.set(f"control:{row}", value, TIMEOUT_SECONDS)
            flight.set_result(value)
        finally:
            del self._flights[row]
            flight.cancel()
        return value

    def page(self, row: int) -> list[Value]:
        """Read."""
        return [self.read(row)]

    def many(self, ids: list[int]) -> dict[int, Value]:
        """Read."""
        return {row: self.read(row) for row in ids}

    def invalidate(self, row: int, _turn: int) -> None:
        """Delete."""
        self._cache.delete(f"control:{row}")


class Reader:
    """One thread, or one task, that compares what it reads."""

    def __init__(self, course: Course, board: Board, cached: Any, number: int) -> None:
        """Read in an order of its own."""
        self.tally = Tally()
        self._board, self._cached = board, cached
        self._random = Random(f"{course.seed} {course.process} {number}")

    def choose(self) -> tuple[str, list[int], str]:
        """Return for which tenant, what and by which function is read next."""
        rows = self._random.sample(range(ROWS), 3)
        how = self._random.choice(("read", "page", "many"))
        return self._random.choice(TENANTS), rows if how == "many" else rows[:1], how

    def read(self, *, guarded: Callable[[Callable[[], Any]], Any] = lambda call: call()) -> None:
        """Read something, and compare it."""
        tenant, rows, how = self.choose()
        function = getattr(self._cached, how)
        argument = rows if how == "many" else rows[0]
        with acting_for(tenant), self._comparing(tenant, rows) as found:
            found.append(guarded(lambda: function(argument)))

    async def aread(self) -> None:
        """Read something from a task, and compare it."""
        tenant, rows, how = self.choose()
        _of_task.set(tenant)
        function = getattr(self._cached, f"a{how}")
        with self._comparing(tenant, rows) as found:
            found.append(await function(rows if how == "many" else rows[0]))

    @contextmanager
    def _comparing(self, tenant: str, rows: list[int]) -> Iterator[list[Any]]:
        floors = {row: self._board.acknowledged[place(tenant, row)] for row in rows}
        found: list[Any] = []
        try:
            yield found
        except Exception as error:
            if isinstance(error, Expired) and current_thread() is main_thread():
                raise  # in any other thread it is another's
            self.tally.raised += 1
            self.tally.give_example(f"raised {error!r} in {extract_tb(error.__traceback__)[-1]}")
            return
        for row, value in pairs(rows, found[0]):
            self.compare(value, tenant, row, floors[row])

    def compare(self, value: Value, tenant: str, row: int, floor: int) -> None:
        """Count what is another's, or old."""
        self.tally.reads += 1
        if value[:2] != (tenant, row):
            self.tally.foreign += 1
        elif value[2] < floor:
            self.tally.stale += 1
        else:
            return
        self.tally.give_example(f"read {value} of {tenant} {row} at {floor}")


def pairs(rows: list[int], found: Any) -> list[tuple[int, Value]]:
    """Return each value that was read, with the row that was asked for."""
    if isinstance(found, dict):
        return [(row, found.get(row, Value("missing", row, 0))) for row in rows]
    return [(rows[0], each) for each in (found if isinstance(found, list) else [found])]


class Signals:
    """A timer of the main thread, whose handler raises in the middle of all that runs."""

    def __init__(self, course: Course, tally: Tally) -> None:
        """Raise nothing yet."""
        self._course, self._tally, self._is_armed = course, tally, False
        self._random = Random(course.seed)
        self._raised: BaseException | None = None
        self._tell_unraisable = sys.unraisablehook

    def __enter__(self) -> Self:
        """Begin."""
        sys.unraisablehook = self._note_unraisable
        signal.signal(signal.SIGALRM, self._handle)
        signal.setitimer(signal.ITIMER_REAL, self._course.signals, self._course.signals)
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        signal.setitimer(signal.ITIMER_REAL, 0)
        sys.unraisablehook = self._tell_unraisable

    def guard(self, call: Callable[[], Any]) -> Any:
        """Call something that a signal may interrupt, once."""
        # Half of the calls are left alone: on a busy machine each call might meet a signal, and none would end.
        self._raised, self._is_armed = None, self._random.random() < SHARE
        try:
            found = call()
        finally:
            self._is_armed = False
        # From here on no handler raises: the exception was raised inside, and was swallowed.
        if self._raised is not None:
            self._count_swallowed(self._raised)
        return found

    def _count_swallowed(self, error: BaseException) -> None:
        # Its traceback begins with the function that has caught it; it has none where a function of C has dropped it.
        for path, line, name, _ in extract_tb(error.__traceback__, 1):
            if Path(path).is_relative_to(OURS):
                self._tally.swallowed += 1
                self._tally.give_example(f"swallowed in {path}:{line}, {name}()")
                return
        self._tally.elsewhere += 1

    def _note_unraisable(self, unraisable: "sys.UnraisableHookArgs") -> None:
        if unraisable.exc_value is not None and unraisable.exc_value is self._raised:
            self._tally.unraisable += 1
            self._raised = None
        else:
            self._tell_unraisable(unraisable)

    def _handle(self, *_: object) -> None:
        if self._is_armed:
            self._is_armed = False
            self._tally.signals += 1
            self._raised = self._random.choice((Expired, Stopped))("a signal")
            raise self._raised


class Failures(logging.Handler):
    """What the log says of commands that have failed; nothing else is known of them, as the cache breaks no call."""

    def __init__(self) -> None:
        """Begin with none."""
        super().__init__()
        self.tally = Tally()

    def handle(self, record: logging.LogRecord) -> bool:
        """Count a failure: no invalidation that a signal has interrupted, and none of its breaker."""
        if getattr(record, "cache_event", "error") == "error":
            self.tally.failed += 1
            self.tally.give_example(f"failed {record.getMessage()}")
        return True


class Writer:
    """A writer of rows that no other one writes."""

    def __init__(self, course: Course, board: Board, cached: Any, rows: list[int], number: int) -> None:
        """Write in an order of its own."""
        self.tally = Tally()
        self._board, self._cached, self._rows = board, cached, rows
        self._random = Random(f"{course.seed} {course.process} {number} writes")

    def write(self, *, guarded: Callable[[Callable[[], Any]], Any] = lambda call: call()) -> None:
        """Write a row, invalidate it, and acknowledge."""
        tenant, row = self._random.choice(TENANTS), self._random.choice(self._rows)
        number = place(tenant, row)
        version = self._board.versions[number] = self._board.versions[number] + 1
        self.tally.writes += 1
        with acting_for(tenant):
            guarded(lambda: self._cached.invalidate(row, version))
        self._board.acknowledged[number] = version


class Storm:
    """One process of it."""

    def __init__(self, course: Course) -> None:
        """Set Django up."""
        configure(course)
        failures = Failures()
        logging.getLogger("cachedeco").addHandler(failures)
        self._course, self._board = course, Board(course.board)
        self._source = Source(course, self._board)
        self._cached: Any = (Control if course.contender == CONTROL else Cachedeco)(self._source)
        self._is_over = False
        self._tallies = [failures.tally] if course.is_up else []

    def run(self) -> Tally:
        """Read and write until all is done; return what was met."""
        mine = [row for row in range(ROWS) if row % self._course.processes == self._course.process]
        # The main thread writes the first of them, the writing thread the others.
        threads = [Thread(target=self._read, args=(number,)) for number in range(self._course.threads)]
        writing = [Thread(target=self._write, args=(mine[1:],))]
        if self._course.tasks and self._course.contender != CONTROL:
            threads.append(Thread(target=lambda: asyncio.run(self._read_in_tasks())))
        self._warm_up()
        for each in (*threads, *writing):
            each.start()
        self._read_under_signals(mine[:1])
        for each in threads:
            each.join()
        self._is_over = True
        writing[0].join()
        end_pauses()
        self._reader(-2).read()  # an interrupted invalidation is delivered before the next command
        self._board.end(self._course.process)
        while not self._board.is_over:  # before that another process may invalidate
            sleep(0.01)
        total = Tally()
        for tally in (*self._tallies, self._aftermath()):
            total.add(tally)
        total.computed = self._source.computed
        return total

    def _reader(self, number: int) -> Reader:
        reader = Reader(self._course, self._board, self._cached, number)
        self._tallies.append(reader.tally)
        return reader

    def _writer(self, rows: list[int], number: int) -> Writer:
        writer = Writer(self._course, self._board, self._cached, rows, number)
        self._tallies.append(writer.tally)
        return writer

    def _read(self, number: int) -> None:
        reader = self._reader(number)
        while reader.tally.reads < self._course.reads:
            reader.read()

    def _write(self, rows: list[int]) -> None:
        writer = self._writer(rows, 0)
        while not self._is_over:
            writer.write()
            sleep(0.005)

    def _warm_up(self) -> None:
        """Import all that is imported late: what a signal interrupts there, Python leaves locked."""
        with acting_for(TENANTS[0]):
            self._cached.page(0)
            self._cached.many([0])
            self._cached.invalidate(0, 0)

    def _read_under_signals(self, rows: list[int]) -> None:
        reader, writer = self._reader(-1), self._writer(rows, -1)
        with Signals(self._course, reader.tally) as signals:
            turn = 0
            while reader.tally.reads < self._course.reads:
                turn += 1
                with suppress(Expired, Stopped):
                    if turn % 16:
                        reader.read(guarded=signals.guard)
                    else:
                        writer.write(guarded=signals.guard)

    async def _read_in_tasks(self) -> None:
        random, readers = Random(self._course.seed), [self._reader(100 + n) for n in range(self._course.tasks)]
        tally = Tally()
        self._tallies.append(tally)
        while sum(each.tally.reads for each in readers) < self._course.reads:
            tasks = [asyncio.create_task(each.aread()) for each in readers]
            # At any await, and of a task that is about to be cancelled again.
            for _ in range(2):
                for _ in range(random.randrange(20)):
                    await asyncio.sleep(0)
                random.choice(tasks).cancel()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            tally.cancelled += sum(isinstance(each, asyncio.CancelledError) for each in outcomes)
            for error in outcomes:
                if error is not None and not isinstance(error, asyncio.CancelledError):
                    tally.raised += 1
                    tally.give_example(f"raised {error!r}")

    def _aftermath(self) -> Tally:
        """Read each row of each tenant once more, and look for what was left behind."""
        tally, pauses = Tally(), [0]
        tally.left = "" if self._course.contender == CONTROL else left_behind(is_up=self._course.is_up)
        if self._course.process:  # one of them looks, as two at a time would wait for each other
            return tally
        with counted_pauses(pauses):
            for tenant in TENANTS:
                for row in range(ROWS):
                    number = place(tenant, row)
                    with acting_for(tenant):
                        found = [*pairs([row], self._cached.page(row)), *pairs([row], self._cached.many([row]))]
                    tally.stuck += sum(value[2] < self._board.acknowledged[number] for _, value in found)
        tally.waited = pauses[0]
        return tally


@contextmanager
def counted_pauses(pauses: list[int]) -> Iterator[None]:
    """Count the pauses of callers that wait for the lease of another process."""
    effects: Any = import_module("cachedeco.loading.effects")
    pause = effects.sleep

    def count(seconds: float) -> None:
        pauses[0] += 1
        pause(seconds)

    effects.sleep = count
    try:
        yield
    finally:
        effects.sleep = pause


def end_pauses() -> None:
    """Have the next command probe: a breaker that a real timeout has opened closes, and none is left."""
    for breaker in list(import_module("cachedeco.storage.breaker").breakers.values()):
        breaker.end_pause()


# What is empty when no caller computes, invalidates or waits: of the list of state in tests/house/state.py.
EMPTY_AT_REST: Final = (
    ("loading.flights", "_flights"),
    ("invalidation.commits", "waiting"),
    ("storage.breaker", "breakers"),
    ("runtime.background", "_tasks"),
)


def left_behind(*, is_up: bool) -> str:
    """Return the names of what is not as it was before the storm."""
    left = []
    for module, name in EMPTY_AT_REST:
        held = getattr(import_module(f"cachedeco.{module}"), name)
        if held and name == "breakers":
            left += [f"{module}.{name}: {state_of(each)}" for each in held.values() if is_up]
        elif held:
            left.append(f"{module}.{name}: {list(held)[:3]!r}")
    collector, modes = import_module("cachedeco.tracking.collector"), import_module("cachedeco.runtime.modes")
    if collector.innermost.get() is not None:
        left.append("a computation that has not ended")
    if modes.current_mode() != "on":
        left.append(f"mode {modes.current_mode()}")
    return "; ".join(left)


def state_of(breaker: Any) -> str:
    """Describe a circuit breaker that is left: what keeps it open, if it is."""
    state = "closed" if breaker.retry_at is None else f"open until {breaker.retry_at - monotonic():+.1f} s from now"
    probe = ", which a probe has begun to close" if breaker.probing else ""
    return f"{breaker.alias!r} is {state}{probe}, after {breaker.failures} failures; {len(breaker.queue)} owed"


def configure(course: Course) -> None:
    """Set Django up in this process."""
    import django

    options: dict[str, Any] = {
        "redis": {"socket_connect_timeout": PATIENCE_SECONDS, "socket_timeout": PATIENCE_SECONDS, "retry": None},
        "our-redis": {"socket_connect_timeout": PATIENCE_SECONDS, "socket_timeout": PATIENCE_SECONDS},
        "locmem": {"MAX_ENTRIES": 100_000},
    }.get(course.backend, {"connect_timeout": PATIENCE_SECONDS, "timeout": PATIENCE_SECONDS})
    settings.configure(
        CACHES={
            "default": {
                "BACKEND": BACKEND_CLASSES[course.backend],
                "LOCATION": course.location,
                "KEY_FUNCTION": f"{__spec__.name}.key_of_tenant" if __spec__ else "",
                "KEY_PREFIX": course.contender,
                "OPTIONS": options,
            }
        },
        INSTALLED_APPS=["cachedeco"],
        LOGGING={"version": 1, "loggers": {"cachedeco": {"level": "WARNING"}}},
        SECRET_KEY="only for the storm",  # noqa: S106 -- it protects nothing
        USE_TZ=True,
    )
    # KEY_FUNCTION is to see the threads of this very module, which runs as __main__.
    sys.modules[f"{__spec__.name}" if __spec__ else __name__] = sys.modules[__name__]
    django.setup()


if __name__ == "__main__":
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    print(json.dumps(asdict(Storm(Course.from_json(sys.argv[1])).run())))
    sys.stdout.flush()
    os._exit(0)
