"""
Interrupts: exceptions that belong to the thread that they interrupt, and are no result of the code that ran there.

Such an exception passes all that catches what a cache, a value or a function of the user's may raise: it is no failure
of the cache, and followers of a single flight do not share it. `KeyboardInterrupt` and its like are known by their
class. The handler of a signal may raise anything, as Celery's `SoftTimeLimitExceeded` and RQ's `JobTimeoutException`
are: it is known by the handler's frame in the traceback. An exception that another thread has set, by
`PyThreadState_SetAsyncExc`, leaves no frame, and is taken for one of the code that it interrupts.
"""

import signal
from functools import partial
from types import CodeType


def is_interrupt(error: BaseException) -> bool:
    """Tell whether an exception is no `Exception`, or was raised by the handler of a signal."""
    if not isinstance(error, Exception):
        return True
    ran, trace = set[CodeType](), error.__traceback__
    while trace is not None:
        ran.add(trace.tb_frame.f_code)
        trace = trace.tb_next
    return any(_code_of(signal.getsignal(each)) in ran for each in signal.valid_signals())


#: Exceptions that a step on an event loop raises if the thread of Django's connections has to do it; else none.
Reraised = type[Exception] | tuple[()]


def pass_interrupt(error: Exception, reraised: Reraised = ()) -> None:
    """Raise an exception again if it was raised by the handler of a signal, or if it is one of *reraised*."""
    try:
        if isinstance(error, reraised) or is_interrupt(error):
            raise error
    finally:
        del error  # or it and this frame, which it names, would be a reference cycle: flows in it would not be closed


def _code_of(handler: object) -> CodeType | None:
    """Return the code of a handler: of a function, a method, a partial, or an object that can be called."""
    while isinstance(handler, partial):
        handler = handler.func
    for function in (handler, getattr(handler, "__func__", None), vars(type(handler)).get("__call__")):
        code = getattr(function, "__code__", None)
        if isinstance(code, CodeType):
            return code
    return None  # the default, or a function of C
