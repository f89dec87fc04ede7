"""What one decorator was told of the values of its function, checked."""

from collections.abc import Callable
from dataclasses import dataclass
from sys import float_info
from typing import Any

from cachedeco.runtime.validation import UNSET, Seconds, Unset, fraction_of, seconds_of, span_of
from cachedeco.storage.serializers import SERIALIZERS, SerializerName

Timeout = Seconds | Callable[[Any], Seconds]


def always(_value: object) -> bool:
    """Store every value."""
    return True


@dataclass(frozen=True, kw_only=True)
class Options:
    """What one decorator was told of the values; what it was told of the keys is in a `KeyPlan`."""

    timeout: Timeout | Unset
    cache: str | None
    using: str
    version: int | str | None
    cache_if: Callable[[Any], object]
    stale: Seconds
    stale_on_error: Seconds
    early: float
    jitter: float | Unset
    wait: Seconds | Unset
    nested: bool
    audit: bool
    format: SerializerName

    def check(self, name: str) -> None:
        """
        Check what can be checked at decoration.

        Raises:
            TypeError: An option is of a wrong type.
            ValueError: One is out of bounds.
        """
        self._check_kinds(name)
        self._check_timeout(name)
        span_of(self.stale, what=f"stale for {name}()")
        span_of(self.stale_on_error, what=f"stale_on_error for {name}()")
        if self.wait is not UNSET:
            span_of(self.wait, what=f"wait for {name}()")
        if self.jitter is not UNSET:
            fraction_of(self.jitter, what=f"jitter for {name}()")
        self._check_early(name)

    def _check_kinds(self, name: str) -> None:
        for option, value, kinds in (
            ("cache", self.cache, (str, type(None))),
            ("using", self.using, (str,)),
            ("version", self.version, (int, str, type(None))),
        ):
            if not isinstance(value, kinds) or isinstance(value, bool):
                msg = f"{option}={value!r} for {name}(); it takes {' or '.join(kind.__name__ for kind in kinds)}."
                raise TypeError(msg)
        for option, flag in (("nested", self.nested), ("audit", self.audit)):
            if not isinstance(flag, bool):
                msg = f"{option}={flag!r} for {name}(); it takes True or False."
                raise TypeError(msg)
        if not callable(self.cache_if):
            msg = f"cache_if={self.cache_if!r} for {name}(); it takes a callable of the value."
            raise TypeError(msg)
        if not isinstance(self.format, str) or self.format not in SERIALIZERS:
            msg = f"format={self.format!r} for {name}(); it takes {' or '.join(map(repr, SERIALIZERS))}."
            raise ValueError(msg)

    def _check_timeout(self, name: str) -> None:
        if self.timeout is not UNSET and not callable(self.timeout) and seconds_of(self.timeout) == 0:
            msg = (
                f"timeout=0 for {name}() would store nothing; use bypass(), or a callable that gives 0 for some values."
            )
            raise ValueError(msg)

    def _check_early(self, name: str) -> None:
        if isinstance(self.early, bool) or not isinstance(self.early, int | float):
            msg = f"early={self.early!r} for {name}(); it takes XFetch's beta: 0 for never, 1 to begin with."
            raise TypeError(msg)
        if not 0 <= self.early <= float_info.max:
            msg = f"early={self.early!r} for {name}(); it takes 0 or more."
            raise ValueError(msg)
