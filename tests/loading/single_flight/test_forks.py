"""A forked child does not wait for threads that only its parent has."""

import pytest

from cachedeco.runtime import state
from cachedeco.tracking import nested_names
from tests.loading.leases.elsewhere import take_apart
from tests.loading.single_flight.callers import Boarding
from tests.support.programs import output_of
from tests.support.sources import Source, sync_reader
from tests.support.threads import started

PROGRAM = """
import asyncio, os, signal, threading, warnings
import django
django.setup()
from django.core.cache import caches
from cachedeco import cached_query
from cachedeco.loading import flights
from cachedeco.runtime import background
from cachedeco.tracking import nested_names

warnings.simplefilter("ignore")  # Python warns of forks in a process with threads: that is what is tested
in_computation, go_on = threading.Event(), threading.Event()
parent = os.getpid()

@cached_query
def inner():
    return "inner"

@cached_query(wait=1000)
def value():
    if os.getpid() == parent:
        in_computation.set()
        go_on.wait(600)
    return f"value {inner()}"

@cached_query
async def later(number):
    return number

def forked(work):
    child = os.fork()
    if child == 0:
        signal.alarm(120)  # a child that is stuck is killed
        try:
            os._exit(work())
        finally:
            os._exit(99)
    return os.waitpid(child, 0)[1]

def in_child():
    done = threading.Event()
    assert value() == "value inner"
    assert not flights._flights
    assert all([background.submit(done.set) for _ in range(background.LONGEST_QUEUE)])
    assert done.wait(60)
    assert 2 == asyncio.run(later(2))
    return 0

def in_child_of_leader():
    return 0 if not flights._flights and nested_names._lock.acquire(blocking=False) else 1

asyncio.run(later(1))  # it begins asgiref's thread for sync code
leader = threading.Thread(target=value)
leader.start()
in_computation.wait(60)
while background.submit(lambda: go_on.wait(600)):
    pass
# The lease is its parent's too, and is another matter.
for key in [key for key in caches["default"]._cache if "@" in key]:
    caches["default"]._cache.pop(key)
held = threading.Event()

def hold():
    with flights._lock, nested_names._lock:
        held.set()
        go_on.wait(600)

holder = threading.Thread(target=hold)
holder.start()
held.wait(60)
print(forked(in_child))
go_on.set()
holder.join()
leader.join()

@cached_query
def leading():
    return forked(in_child_of_leader), os.getpid() == parent

print(leading())

@cached_query
def returning():
    # The child goes on as the leader that its parent is, and lands a flight that it does not have.
    return os.fork()

child = returning()
if child == 0:
    os._exit(0)
print(os.waitpid(child, 0)[1])
"""


def test_child_of_a_process_with_flights_computes() -> None:
    """Flights, locks and places that other threads of the parent hold keep no caller waiting in a child."""
    output = output_of("-c", PROGRAM, environment={"DJANGO_SETTINGS_MODULE": "tests.settings"})

    assert ["0", "(0, True)", "0"] == output.splitlines()


def test_child_forgets_flights(source: Source, boarding: Boarding, monkeypatch: pytest.MonkeyPatch) -> None:
    """A leader in the child of what a thread of the parent leads computes, and lands only what is its own."""
    take_apart(monkeypatch, lambda _lease: True)  # the parent's is another matter
    read = sync_reader(source)
    source.gate.shut()
    with started(lambda: read(1)) as leader:
        source.gate.wait_reached()

        state.reset_in_child()
        assert "old" == read(1)
        source.gate.open()

    assert (2, "old") == (boarding.leaders, leader.result())


def test_child_has_a_lock_of_its_own() -> None:
    """A child whose parent's other thread was remembering when it forked is not left waiting for that thread."""
    with nested_names._lock:
        state.reset_in_child()
        nested_names.remember("function", "key", ["name"])

    assert ("name",) == nested_names.known_names("function")
