"""A truth, cached functions over it, and ways to meddle with their commands: for the tests of races."""

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

import pytest

from cachedeco import Namespace, cached_query
from tests.support.backends import Command, Recording, outside_commands
from tests.support.threads import Gate, started


class Source:
    """The truth, and a gate behind it."""

    def __init__(self) -> None:
        """Say "old"."""
        self.value = "old"
        self.gate = Gate()
        self.read_count = 0

    def read(self) -> str:
        """Read the truth, and stop at the gate before saying it."""
        value = self.value
        self.read_count += 1
        self.gate.wait_to_pass()
        return value


class Reader(Protocol):
    """What the tests use of a cached function."""

    def __call__(self, number: int) -> str:
        """Return the value."""

    invalidate: Callable[[int], None]
    invalidate_all: Callable[[], None]
    refresh: Callable[[int], str]
    peek: Callable[[int], Any]
    key_for: Callable[[int], str]


def sync_reader(source: Source) -> Reader:
    """Return a cached function over a source."""

    @cached_query(ignore=("source",), namespace="race:{number}", timeout=300)
    def read(number: int) -> str:  # noqa: ARG001 -- only the key tells it
        return source.read()

    return read


class AsyncReader:
    """A cached async function over a source, each call in a loop of its own."""

    def __init__(self, source: Source) -> None:
        """Decorate."""

        @cached_query(ignore=("source",), namespace="race:{number}", timeout=300)
        async def read(number: int) -> str:  # noqa: ARG001 -- as above
            await asyncio.sleep(0)
            return source.read()

        self.plain: Any = read  #: with sync verbs, which need no loop
        self._read = read

    def __call__(self, number: int) -> str:
        """Await a call."""
        return asyncio.run(self._read(number))

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """Return a verb that awaits its twin."""

        def verb(*args: object) -> Any:
            return asyncio.run(getattr(self._read, f"a{name}")(*args))

        return verb


READERS: dict[str, Callable[[Source], Reader]] = {"sync": sync_reader, "async": AsyncReader}

WAYS: dict[str, Callable[[Reader], None]] = {
    "invalidate": lambda read: read.invalidate(1),
    "invalidate_all": lambda read: read.invalidate_all(),
    "namespace": lambda _: Namespace("race", 1).invalidate(),
    "parent namespace": lambda _: Namespace("race").invalidate(),
}
EVERY_WAY = pytest.mark.parametrize("invalidate", WAYS.values(), ids=WAYS)


def tokens_of(read: Reader) -> list[str]:
    """Return the keys of all that a call depends on, as they reached the cache."""
    keys: list[str] = []

    def note(_self: Recording, command: Command, run: Callable[[], Any]) -> Any:
        keys.extend(command.keys)
        return run()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Recording, "carry_out", note)
        read.peek(1)
    return keys[1:]


def slow_reader_meets_writer(source: Source, read: Any, invalidate: Callable[[Any], None]) -> tuple[str, str]:
    """Return what a reader got that began before a write, and what the next one got."""
    source.gate.shut()
    with started(lambda: read(1)) as slow:
        source.gate.wait_reached()
        source.value = "new"
        invalidate(read)
        source.gate.open()
    return slow.result(), read(1)


def interfering(at: int, do: Callable[[], object], *, after: bool) -> Callable[..., Any]:
    """Return a `carry_out` that does something else before or after the command of that number, counting from 0."""
    count = iter(range(10**6))

    def carry_out(_self: Recording, _command: Command, run: Callable[[], Any]) -> Any:
        now = next(count) == at
        if now and not after:
            outside_commands(do)
        result = run()
        if now and after:
            outside_commands(do)
        return result

    return carry_out


# --- fixtures, for the conftest.py of the packages that want them ---


@pytest.fixture
def source() -> Source:
    """Give a truth that is "old"."""
    return Source()


@pytest.fixture(params=READERS.values(), ids=READERS)
def read(request: pytest.FixtureRequest, source: Source) -> Reader:
    """Give a cached function over the source, sync and async: each call in a loop of its own."""
    reader: Reader = request.param(source)
    return reader
