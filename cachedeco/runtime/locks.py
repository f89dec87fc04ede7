"""
`RLock`: a reentrant lock that no interrupt leaves taken, on any version of Python.

The handler of a signal runs when a call of a C function has ended. On Python 3.14 `with` makes such a call to take a
lock: what the handler raises then comes before the block, and the lock stays taken for ever
(https://github.com/python/cpython/issues/148874). On 3.13 `with` is one step, and on 3.15 no handler runs there.
"""

import sys
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _thread import RLock as _PythonsLock
else:
    _PythonsLock = type(threading.RLock())  # or what gevent has put in its place


class LockOfPython314(_PythonsLock):  # type: ignore[misc] # final for type checkers alone
    """A reentrant lock that is taken by the look-up of an attribute, behind which no handler runs."""

    _taken: Any = property(_PythonsLock.acquire)

    def __enter__(self) -> Any:  # type: ignore[override] # `with` gives no arguments
        """Take the lock."""
        return self._taken


RLock = LockOfPython314 if (3, 14) <= sys.version_info < (3, 15) else threading.RLock
