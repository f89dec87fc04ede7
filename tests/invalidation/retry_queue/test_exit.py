"""What is owed at the end of the process is delivered, or told to be lost."""

from typing import Any

import pytest

from cachedeco import Event, listening
from cachedeco.invalidation import retry_queue
from tests.storage.failing.calls import double, lose
from tests.storage.failing.clocks import queue
from tests.support.backends import Commands
from tests.support.faults import faulty
from tests.support.programs import run
from tests.support.servers import free_port

pytestmark = pytest.mark.usefixtures("faulty_backend", "clock")


@pytest.mark.parametrize(
    ("fault", "kind"), [({"after": lambda: None}, "invalidated"), ({"raises": OSError}, "invalidation_lost")]
)
def test_last_attempt_is_made_at_the_exit(fault: dict[str, Any], kind: str) -> None:
    """What is owed when the process ends is delivered, pause or not, or told to be lost."""
    lose(lambda: double.invalidate(4))
    with faulty(raises=TimeoutError):
        double(4)
    seen: list[Event] = []

    with faulty(**fault), listening(seen.append):
        retry_queue.deliver_at_exit()

    assert ([kind], []) == (
        [event.kind for event in seen if event.kind in {"invalidated", "invalidation_lost"}],
        queue(),
    )


def test_exit_that_owes_nothing_sends_nothing(commands: Commands) -> None:
    """A cache that failed and is owed nothing is not waited for once more."""
    with faulty(raises=TimeoutError):
        for _ in range(3):
            double(4)
    commands.clear()

    retry_queue.deliver_at_exit()

    assert [] == commands.names


SCRIPT = """
import django
from django.conf import settings
location = "127.0.0.1:{port}"
backend = "django.core.cache.backends.memcached.PyMemcacheCache"
caches = {{"default": {{"BACKEND": backend, "LOCATION": location}}}}
settings.configure(CACHES=caches, CACHEDECO={{"LOG_ARGUMENTS": True}})
django.setup()
from cachedeco import Namespace
Namespace("numbers").invalidate()
"""


def test_process_that_ends_tells_what_is_lost() -> None:
    """A process that could not deliver an invalidation says so before it is gone."""
    done = run("-c", SCRIPT.format(port=free_port()))

    assert 0 == done.returncode
    assert "Invalidation of ':1:cd:n:numbers' in cache 'default' was never acknowledged" in done.stderr
