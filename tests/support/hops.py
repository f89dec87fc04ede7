"""Changes of threads: what async code does in the thread of Django's connections."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from asgiref.sync import SyncToAsync


@contextmanager
def hops() -> Iterator[list[None]]:
    """Give a list with an item for each change of threads by `sync_to_async` while the block runs."""
    counted: list[None] = []
    handler = SyncToAsync.thread_handler

    def handle(*args: Any, **kwargs: Any) -> Any:
        counted.append(None)
        return handler(*args, **kwargs)

    with patch.object(SyncToAsync, "thread_handler", handle):
        yield counted
