"""What is raised where a memcached server could not be asked: by what happened, naming server and operation."""

from socket import gaierror
from typing import Final

from pymemcache.exceptions import MemcacheServerError, MemcacheUnexpectedCloseError, MemcacheUnknownError

# What comes out of a connection that broke, or on which something else came than an answer: a ValueError where a line
# can't be taken apart, a LookupError where the value of a key came that nobody has asked for.
_BROKEN: Final = (OSError, MemcacheUnexpectedCloseError, MemcacheUnknownError, ValueError, LookupError)
# Both have waited: for an answer, and for the server of names.
_WAITED: Final = (TimeoutError, gaierror)


class MemcachedError(OSError):
    """
    A memcached server could not be asked; nobody knows whether a write was carried out.

    The fault of server or network, and none of the caller's. What the server has answered and refused is none of
    these: it is what the method returns, or one of pymemcache's `MemcacheServerError` and `MemcacheClientError`.
    """

    server: str = ""  #: as `LOCATION` names it, with its port
    operation: str = ""  #: `"set"`, `"delete_many"` ...


class MemcachedConnectionError(MemcachedError, ConnectionError):
    """Nobody is there, or the connection broke: it took no time to find that out."""


class MemcachedTimeoutError(MemcachedError, TimeoutError):
    """Somebody was waited for, in vain."""


def is_failure(error: Exception, *, writes: bool) -> bool:
    """
    Tell whether a command failed, rather than being refused by the server, or wrong from the beginning.

    A refusal to read counts as failure: a proxy says so of the server behind it. A key that UTF-8 has no bytes for is
    the caller's, and anybody who may name a key could take the server away from all others with it.
    """
    if isinstance(error, UnicodeEncodeError):
        return False
    if isinstance(error, MemcacheServerError) and not isinstance(error, MemcacheUnexpectedCloseError):
        return not writes
    return isinstance(error, (*_BROKEN, MemcacheServerError))


def waited(error: Exception) -> bool:
    """Tell whether a failure took time: a server that hangs, and not one that is gone."""
    return isinstance(error, _WAITED)


def described(error: Exception) -> str:
    """
    Return what happened, as operating system, TLS or server have it.

    What came instead of an answer is left out, as keys may be in it: those of sessions are as good as passwords.
    """
    name = type(error).__name__
    has_text = isinstance(error, OSError | MemcacheServerError) and str(error)
    return f"{name}: {error}" if has_text else name


def failure(server: str, operation: str, reason: str, *, waits: bool) -> MemcachedError:
    """Return what to raise for a failed command, for what `described()` and `waited()` say of the failure."""
    kind = MemcachedTimeoutError if waits else MemcachedConnectionError
    failed = kind(
        f"{operation} failed, as memcached server {server} is out of reach ({reason}). Start it,"
        " or mend the way to it; where lost writes do no harm, say ignore_exc=True in OPTIONS, and they are logged."
    )
    failed.server, failed.operation = server, operation
    return failed
