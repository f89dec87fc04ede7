"""How a cached function is reached: bound as methods are, compared, pickled, and told of."""

from collections.abc import Callable
from functools import partial, update_wrapper
from inspect import Signature, signature
from pickle import PicklingError
from typing import Any, Generic, ParamSpec, Self, TypeVar, cast

from asgiref.sync import sync_to_async

from cachedeco.functions.spec import FunctionSpec
from cachedeco.invalidation.delivery import invalidate
from cachedeco.runtime import modes
from cachedeco.runtime.statistics import Stats, statistics

P = ParamSpec("P")
U = TypeVar("U")  # what the plain function returns

Args = tuple[Any, ...]
Kwargs = dict[str, Any]


class _Signature:
    """What a cached function takes as it is bound: `__wrapped__` would tell of the `self` that it has already."""

    def __get__(self, instance: "CachedFunction[Any, Any] | None", owner: type) -> Signature:
        """Return the signature of the plain function, bound alike."""
        if instance is None:
            raise AttributeError("__signature__")  # noqa: EM101 -- of the class, inspect is to find it itself
        return signature(instance.uncached)


class CachedFunction(Generic[P, U]):
    """
    A cached function, whatever a call of it does.

    Reached through an instance (or a class, for a classmethod), it is bound to it as a method is, verbs included.
    """

    __signature__ = _Signature()
    _decorator = "cached_query"  # as its name stands in repr()

    def __init__(self, spec: FunctionSpec, head: tuple[object, ...]) -> None:
        """Wrap the recipe's function; *head* is what its calls are bound to."""
        # First: where the function wraps another cached function, it brings that one's attributes along.
        update_wrapper(cast("Any", self), spec.source.function)
        for verb in [name for name in vars(self) if not name.startswith("_") and hasattr(type(self), name)]:
            del vars(self)[verb]  # another library's: on us it is ours
        self._spec = spec
        self._head = head
        self._binding = spec.source.binding

    # --- verbs that take no call ---

    def invalidate_all(self) -> None:
        """Invalidate every call of the function: one command, whatever their number. Otherwise as `invalidate()`."""
        if modes.current_mode() != "off":
            invalidate(self._spec.options["using"], self._spec.function_token())

    async def ainvalidate_all(self) -> None:
        """Do as `invalidate_all()`, from async code."""
        await sync_to_async(self.invalidate_all)()

    def stats(self) -> Stats:
        """Return what has happened to the function, all its calls together, in this process."""
        return statistics(self._spec.name)

    @property
    def uncached(self) -> Callable[P, U]:
        """The plain function, bound as this is."""
        function = self._spec.source.function
        return partial(function, *self._head) if self._head else function

    # --- how it is reached ---

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        """Bind to the instance, or to the class where a classmethod is decorated."""
        if self._binding == "none" or (self._binding == "instance" and instance is None):
            return self
        return self._bound(owner if self._binding == "class" else instance)

    def _for_class(self) -> Self:
        """Return the same function as a classmethod is: it is bound to the class, not to an instance."""
        twin = object.__new__(type(self))
        vars(twin).update(vars(self), _binding="class")
        return twin

    def _bound(self, first: object) -> Self:
        bound = object.__new__(type(self))
        vars(bound).update(vars(self), _head=(*self._head, first), _binding="none")
        return bound

    def __repr__(self) -> str:
        """Show the name, and what it is bound to."""
        bound = f" of {self._head[0]!r}" if self._head else ""
        return f"<{self._decorator} {self._spec.name}{bound}>"

    def __eq__(self, other: object) -> bool:
        """Compare as bound methods do: one function, bound to the same."""
        if not isinstance(other, CachedFunction):
            return NotImplemented
        same = len(self._head) == len(other._head) and all(a is b for a, b in zip(self._head, other._head, strict=True))
        return self._spec is other._spec and same

    def __hash__(self) -> int:
        """Hash by function and what it is bound to."""
        return hash((self._spec, *map(id, self._head)))

    def __reduce__(self) -> tuple[Any, ...] | str:
        """Pickle by name, as functions and methods are."""
        if self._spec.source.head:
            msg = f"{self!r} can't be pickled: it is made of a partial or a bound method, which no name leads to."
            raise PicklingError(msg)
        if self._head:
            return getattr, (self._head[0], self._spec.source.function.__name__)
        return self._spec.source.function.__qualname__
