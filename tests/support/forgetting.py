"""Whether an exception goes when its caller lets it go, and with it what its frames hold."""

import gc
import weakref
from collections.abc import Callable

import pytest


class Local:
    """What a variable holds."""


def is_forgotten(call: Callable[[], object], kind: type[BaseException]) -> bool:
    """Tell whether what a call raises is gone at once, and not when Python next looks for reference cycles."""

    def forgotten() -> weakref.ref[Local]:
        local = Local()  # of a frame that the exception leads to: few classes of exceptions can be referred to weakly
        with pytest.raises(kind):
            call()
        return weakref.ref(local)

    gc.disable()
    try:
        return forgotten()() is None
    finally:
        gc.enable()
