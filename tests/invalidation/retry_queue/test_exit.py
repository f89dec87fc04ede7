"""What is owed at the end of the process is delivered, or told to be lost."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.dispatch import Signal

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


SETTINGS = """
import django
from django.conf import settings
location = "127.0.0.1:{port}"
backend = "django.core.cache.backends.memcached.PyMemcacheCache"
caches = {{"default": {{"BACKEND": backend, "LOCATION": location}}}}
settings.configure(CACHES=caches, CACHEDECO={{"LOG_ARGUMENTS": True}})
django.setup()
from cachedeco import Namespace
"""


CHILD = (
    SETTINGS
    + """
from multiprocessing import get_context
def invalidate():
    Namespace("numbers").invalidate()
if __name__ == "__main__":
    {before}
    child = get_context("{method}").Process(target=invalidate)
    child.start()
    child.join()
    print(child.exitcode)
"""
)


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_child_of_multiprocessing_tells_what_is_lost(method: str, tmp_path: Path) -> None:
    """It ends without what `atexit` has, but for one that is spawned; the last attempt is made, or told to be lost."""
    program = tmp_path / "program.py"
    program.write_text(CHILD.format(port=free_port(), method=method, before="pass"))

    done = run(str(program))

    assert ("0\n", 0) == (done.stdout, done.returncode)
    assert 1 == done.stderr.count("Invalidation of ':1:cd:n:numbers' in cache 'default' was never acknowledged")


def test_child_of_a_process_that_owes_invalidations_tells_of_its_own(tmp_path: Path) -> None:
    """It begins with what its parent owes, and makes a last attempt all the same."""
    program = tmp_path / "program.py"
    program.write_text(CHILD.format(port=free_port(), method="fork", before='Namespace("owed").invalidate()'))

    done = run(str(program))

    assert ("0\n", 0) == (done.stdout, done.returncode)
    assert 1 == done.stderr.count("Invalidation of ':1:cd:n:numbers' in cache 'default' was never acknowledged")


def test_last_attempt_is_asked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Multiprocessing is asked once in each process, however many outages there are, as is Celery's pool."""
    retry_queue._deliver_when_child_ends.cache_clear()
    signals = ModuleType("celery.signals")
    signals.worker_process_shutdown = Signal()  # type: ignore[attr-defined] # which Celery's is a copy of
    monkeypatch.setitem(sys.modules, "celery.signals", signals)
    monkeypatch.setattr(retry_queue, "parent_process", lambda: "the parent")
    asked: list[object] = []
    monkeypatch.setattr("multiprocessing.util.Finalize", lambda _, callback, **__: asked.append(callback))
    lose(lambda: double.invalidate(4))
    lose(lambda: double.invalidate(5))

    with faulty(after=lambda: None):
        signals.worker_process_shutdown.send(None, pid=1, exitcode=0)

    assert ([], [retry_queue.deliver_at_exit]) == (queue(), asked)


def test_process_that_ends_tells_what_is_lost() -> None:
    """A process that could not deliver an invalidation says so before it is gone."""
    done = run("-c", SETTINGS.format(port=free_port()) + 'Namespace("numbers").invalidate()')

    assert 0 == done.returncode
    assert "Invalidation of ':1:cd:n:numbers' in cache 'default' was never acknowledged" in done.stderr
