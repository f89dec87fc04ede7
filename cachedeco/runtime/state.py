"""What a forked child has to do before it goes on: the threads of its parent are not there, nor is who held a lock."""

import os
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

F = TypeVar("F", bound=Callable[[], object])


def in_each_child(begin_anew: F) -> F:
    """Call a function in each forked child, before anything else of ours; on Windows nothing forks."""
    with suppress(AttributeError):  # on Windows
        os.register_at_fork(after_in_child=begin_anew)
    return begin_anew
