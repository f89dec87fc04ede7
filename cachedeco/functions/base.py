"""`CachedFunction`: descriptor binding, equality, pickling and introspection shared by all cached functions."""

import sys
from collections.abc import Callable
from functools import partial, update_wrapper
from inspect import Signature, signature
from pickle import PicklingError
from typing import Any, Final, Generic, NoReturn, ParamSpec, TypeVar, cast

from asgiref.sync import sync_to_async

from cachedeco.functions.spec import FunctionSpec
from cachedeco.invalidation.delivery import invalidate
from cachedeco.runtime import modes
from cachedeco.runtime.statistics import Stats, statistics

P = ParamSpec("P")
U = TypeVar("U")  # what the plain function returns

Args = tuple[Any, ...]
Kwargs = dict[str, Any]

# What an instance keeps, beside the attributes of the function that it wraps.
_OWN: Final = frozenset({"_spec", "_head", "_binding", "_bulk"})


class _Signature:
    """What a cached function takes as it is bound: `__wrapped__` would tell of the `self` that it has already."""

    def __get__(self, instance: "CachedFunction[Any, Any] | None", owner: type) -> Signature:
        """Return the signature of the plain function, bound alike."""
        if instance is None:
            raise AttributeError("__signature__")  # noqa: EM101 -- of the class, inspect is to find it itself
        return signature(instance.uncached)


class CachedFunction(Generic[P, U]):
    """
    What all cached functions share: binding, equality, pickling, and the verbs that take no call.

    Reached through an instance (or a class, for a classmethod), it is bound to it as a method is, verbs included.
    """

    __signature__ = _Signature()
    _decorator = "cached_query"  # as its name stands in repr()

    def __init__(self, spec: FunctionSpec, head: tuple[object, ...]) -> None:
        """Wrap the recipe's function; *head* is what its calls are bound to."""
        _refuse_collisions(type(self), spec)
        # First: where the function wraps another cached function, it brings that one's attributes along.
        update_wrapper(cast("Any", self), spec.source.function)
        self._spec = spec
        self._head = head
        self._binding = spec.source.binding

    # --- verbs that take no call ---

    def invalidate_all(self) -> None:
        """Invalidate every call of the function: one command for any number of them. Otherwise as `invalidate()`."""
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
        if self._binding == "instance":
            if instance is None:
                return self
            if instance is owner:  # a classmethod above, until Python 3.12: it binds what it wraps to the class
                self._refuse_classmethod_above()
            return self._bound(instance)
        return self if self._binding == "none" else self._bound(owner)

    def _bound(self, first: object) -> Any:
        bound = object.__new__(type(self))
        vars(bound).update(vars(self), _head=(*self._head, first), _binding="none")
        return bound

    def _check_order(self, args: Args) -> None:
        """
        Refuse to be called by a classmethod: on a miss and by verbs, as a hit has no time for it.

        Since Python 3.13 a classmethod does not bind what it wraps: it calls us with the class as an argument, and
        verbs that are reached through it know of no class. No version of Python tells us when one is put above us.

        Raises:
            TypeError: There is a classmethod above.
        """
        if self._binding != "instance" or "." not in self._spec.source.function.__qualname__:
            return
        owner = args[0] if args and isinstance(args[0], type) else _class_of(self._spec.source.function)
        if owner is not None and _has_in_classmethod(owner, self._spec):
            self._refuse_classmethod_above()

    def _refuse_classmethod_above(self) -> NoReturn:
        msg = (
            f"{self._spec.name}() stands under @classmethod, and its verbs would not know the class. "
            f"Turn the two round: @{self._decorator} above @classmethod."
        )
        raise TypeError(msg)

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


def is_under_classmethod(spec: FunctionSpec) -> bool:
    """Tell whether the class in whose body a cached function stands has a classmethod above it."""
    owner = _class_of(spec.source.function)
    return owner is not None and _has_in_classmethod(owner, spec)


def _class_of(function: Callable[..., Any]) -> type | None:
    """Return the class in whose body a function was defined, where its qualified name leads there."""
    found: Any = sys.modules.get(function.__module__)
    for name in function.__qualname__.split(".")[:-1]:
        found = getattr(found, name, None)
    return found if isinstance(found, type) else None


def _has_in_classmethod(owner: type, spec: FunctionSpec) -> bool:
    held = [each.__func__ for base in owner.__mro__ for each in vars(base).values() if isinstance(each, classmethod)]
    return any(isinstance(each, CachedFunction) and each._spec is spec for each in held)  # noqa: SLF001 -- ours


def _refuse_collisions(kind: type, spec: FunctionSpec) -> None:
    """
    Refuse a function with an attribute that a cached function has a verb for: one of the two would be lost.

    Raises:
        TypeError: There is one.
    """
    found = vars(spec.source.function)
    # functools.wraps() has copied them from a cached function, and ours replace them.
    copied = _OWN if isinstance(found.get("_spec"), FunctionSpec) else frozenset()
    for name in found:
        if not name.startswith("__") and (hasattr(kind, name) or name in _OWN) and name not in copied:
            msg = (
                f"{spec.name}() has an attribute {name!r} already, {found[name]!r:.80}, which {kind.__name__}.{name} "
                "would hide. Put the decorator that sets it above ours, or rename or delete the attribute."
            )
            raise TypeError(msg)
