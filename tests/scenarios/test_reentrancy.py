"""A signal's handler, or a finalizer, that uses the cache in the middle of a call in the same thread."""

from pathlib import Path
from typing import Final

from tests.support.programs import output_of
from tests.support.selection import of_length
from tests.support.servers import Memcached
from tests.support.threads import PROGRAM_SECONDS

# Every so many points; a prime, so that a loop over three lines is met at each of them.
STEP: Final = of_length(usual=13, soak=1)
ROOT = Path(__file__).parent.parent.parent

PROGRAM = """
import faulthandler, sys
from contextvars import Context
from itertools import count
import django
from django.conf import settings
location, step, seconds = sys.argv[1:]
faulthandler.dump_traceback_later(float(seconds), exit=True)  # a thread that waits for itself never ends
settings.configure(
    # One in whose operations Django holds no lock: LocMemCache has one that is not reentrant.
    CACHES={"default": {"BACKEND": "cachedeco.backends.memcached.MemcachedCache", "LOCATION": location}},
    CACHEDECO={"DEPENDS_ON": []},
    INSTALLED_APPS=["cachedeco"],
)
django.setup()
from cachedeco import add_hook, cached_query, cached_query_many, gather, remembered, remove_hook, statistics
from cachedeco.runtime import background
from tests.support.interrupts import Attempt

fresh, points, step, is_inside = count(1000), count(), int(step), False

@cached_query(namespace="n:{n}", timeout=60)
def single(n):
    return n

@cached_query
def outer(n):
    return single(n)

@cached_query_many(over="ids", timeout=60)
def many(ids):
    return {n: n for n in ids}

def hook(event):
    pass

def use_cache():
    n = next(fresh)
    assert outer(n) == single(n) == n
    assert many([n, 1]) == {n: n, 1: 1}
    single.invalidate(n)
    background.submit(int)
    add_hook(hook)
    remove_hook(hook)
    assert statistics()

def handle(frame, event, argument):
    global is_inside
    if not is_inside and Attempt.is_point(frame, event, argument) and not next(points) % step:
        is_inside = True
        Context().run(use_cache)  # or the computation around it would depend on what the handler calls
        is_inside = False

use_cache()
sys.setprofile(handle)
assert [single(1), single(1), outer(1), many([1, 2])] == [1, 1, 1, {1: 1, 2: 2}]
assert gather(single.call(2), many.call([3])) == (2, {3: 3})
single.invalidate(1)
many.invalidate([1])
assert (single.refresh(1), single.call(1).peek()) == (1, 1)
single.call(1).set(1)
with remembered():
    assert single(1) == single(1)
background.submit(int)
add_hook(hook)
remove_hook(hook)
assert statistics()
sys.setprofile(None)
print(next(points))
"""


def test_handler_that_uses_the_cache_does_not_wait_for_its_own_thread(memcached_server: Memcached) -> None:
    """
    At each point of any verb: the process would hang for ever.

    The defect: who counted an event, or looked for a flight, held a lock that was not reentrant.
    """
    output = output_of("-c", PROGRAM, memcached_server.location, str(STEP), str(PROGRAM_SECONDS / 2))

    assert int(output) > 1500, "few points"
