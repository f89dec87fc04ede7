"""`CachedFunction`: descriptor binding, equality, pickling and introspection shared by all cached functions."""

import sys
from collections.abc import Callable
from functools import partial, update_wrapper
from inspect import Signature
from pickle import PicklingError
from typing import Any, Final, Generic, NoReturn, ParamSpec, TypeVar, cast

from asgiref.sync import sync_to_async

from cachedeco.functions.spec import FunctionSpec
from cachedeco.invalidation.delivery import invalidate
from cachedeco.keys.signatures import forward_signature
from cachedeco.runtime import modes
from cachedeco.runtime.statistics import Stats, statistics

P = ParamSpec("P")
U = TypeVar("U")  # the plain function's return type

Args = tuple[Any, ...]
Kwargs = dict[str, Any]

# Attributes of an instance, beside those that it copies from the function that it wraps.
_OWN_ATTRIBUTES: Final = frozenset({"_spec", "_bound_args", "_binding", "_bulk"})


class _Signature:
    """The signature of a cached function without the arguments that it is bound to: `__wrapped__` includes `self`."""

    def __get__(self, instance: "CachedFunction[Any, Any] | None", owner: type) -> Signature:
        """Return the signature of the plain function, bound to the same."""
        if instance is None:
            raise AttributeError("__signature__")  # noqa: EM101 -- inspect then finds the signature of the class itself
        return forward_signature(instance.uncached)


class CachedFunction(Generic[P, U]):
    """
    A cached function: binding, equality, pickling, and the verbs for all calls at once.

    An attribute look-up on an instance (or on a class, for a classmethod) binds it as a method, verbs included.
    """

    __signature__ = _Signature()
    _decorator = "cached_query"  # for repr() and errors

    def __init__(self, spec: FunctionSpec, bound_args: tuple[object, ...]) -> None:
        """Wrap the function of the spec; *bound_args* come before the arguments of each call."""
        _refuse_collisions(type(self), spec)
        # First, since a function that wraps another cached function has copied the attributes of that one.
        update_wrapper(cast("Any", self), spec.source.function)
        self._spec = spec
        self._bound_args = bound_args
        self._binding = spec.source.binding

    # --- verbs for all calls at once ---

    def invalidate_all(self) -> None:
        """Invalidate every call of the function: one command for any number of them. Otherwise as `invalidate()`."""
        if modes.current_mode() != "off":
            invalidate(self._spec.options["using"], self._spec.function_token())

    async def ainvalidate_all(self) -> None:
        """Do as `invalidate_all()`, from async code."""
        await sync_to_async(self.invalidate_all)()

    def stats(self) -> Stats:
        """Return the counters of the function, of all its calls in this process."""
        return statistics(self._spec.name)

    @property
    def uncached(self) -> Callable[P, U]:
        """The plain function, bound as this is."""
        function = self._spec.source.function
        return partial(function, *self._bound_args) if self._bound_args else function

    # --- binding, equality, pickling ---

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        """Bind to the instance; a decorated classmethod is bound to the class."""
        if self._binding == "instance":
            if instance is None:
                return self
            if instance is owner:  # a classmethod above, until Python 3.12, binds to the class
                self._refuse_classmethod_above()
            return self._bind(instance)
        return self if self._binding == "none" else self._bind(owner)

    def _bind(self, first: object) -> Any:
        bound = object.__new__(type(self))
        attributes = bound.__dict__ = self.__dict__.copy()  # quicker than to set them one by one
        attributes["_bound_args"] = (*self._bound_args, first)
        attributes["_binding"] = "none"
        return bound

    def _check_order(self, args: Args) -> None:
        """
        Refuse `@classmethod` above the decorator. Checked by misses and verbs; a hit has no time for it.

        Since Python 3.13 a classmethod does not bind the object that it wraps: it calls it with the class as an
        argument, and verbs are not bound to the class. A decorator can't see that it is wrapped later.

        Raises:
            TypeError: There is a classmethod above.
        """
        if self._binding != "instance" or "." not in self._spec.source.function.__qualname__:
            return
        owner = args[0] if args and isinstance(args[0], type) else _class_of(self._spec.source.function)
        if owner is not None and _is_in_classmethod(owner, self._spec):
            self._refuse_classmethod_above()

    def _refuse_classmethod_above(self) -> NoReturn:
        msg = (
            f"{self._spec.name}() is under @classmethod, so its verbs would not know the class. "
            f"Swap the two: @{self._decorator} above @classmethod."
        )
        raise TypeError(msg)

    def __repr__(self) -> str:
        """Show the name, and the object that it is bound to."""
        bound = f" of {self._bound_args[0]!r}" if self._bound_args else ""
        return f"<{self._decorator} {self._spec.name}{bound}>"

    def __eq__(self, other: object) -> bool:
        """Compare as bound methods do: the same function, bound to the same object."""
        if not isinstance(other, CachedFunction):
            return NotImplemented
        ours, theirs = self._bound_args, other._bound_args
        same_args = len(ours) == len(theirs) and all(a is b for a, b in zip(ours, theirs, strict=True))
        return self._spec is other._spec and same_args

    def __hash__(self) -> int:
        """Hash by function and by the object that it is bound to."""
        return hash((self._spec, *map(id, self._bound_args)))

    def __reduce__(self) -> tuple[Any, ...] | str:
        """Pickle by name, as functions and methods are."""
        if self._spec.source.bound_args:
            msg = (
                f"{self!r} can't be pickled: it decorates a partial or a bound method, which can't be imported by name."
            )
            raise PicklingError(msg)
        if self._bound_args:
            return getattr, (self._bound_args[0], self._spec.source.function.__name__)
        return self._spec.source.function.__qualname__


def is_under_classmethod(spec: FunctionSpec) -> bool:
    """Tell whether a cached function is wrapped in a classmethod by the class that defines it."""
    owner = _class_of(spec.source.function)
    return owner is not None and _is_in_classmethod(owner, spec)


def _class_of(function: Callable[..., Any]) -> type | None:
    """Return the class that defines a function; None if its qualified name does not lead to a class."""
    owner: Any = sys.modules.get(function.__module__)
    for name in function.__qualname__.split(".")[:-1]:
        owner = getattr(owner, name, None)
    return owner if isinstance(owner, type) else None


def _is_in_classmethod(owner: type, spec: FunctionSpec) -> bool:
    wrapped = [item.__func__ for base in owner.__mro__ for item in vars(base).values() if isinstance(item, classmethod)]
    return any(isinstance(item, CachedFunction) and item._spec is spec for item in wrapped)  # noqa: SLF001 -- ours


def _refuse_collisions(kind: type, spec: FunctionSpec) -> None:
    """
    Refuse a function with an attribute that has the name of a verb: one of the two would be lost.

    Raises:
        TypeError: There is one.
    """
    attributes = vars(spec.source.function)
    # functools.wraps() has copied them from a cached function, and ours replace them.
    copied = _OWN_ATTRIBUTES if isinstance(attributes.get("_spec"), FunctionSpec) else frozenset()
    for name, value in attributes.items():
        if not name.startswith("__") and (hasattr(kind, name) or name in _OWN_ATTRIBUTES) and name not in copied:
            msg = (
                f"{spec.name}() has an attribute {name!r} already, {value!r:.80}, which {kind.__name__}.{name} "
                "would hide. Put the decorator that sets it above ours, or rename or delete the attribute."
            )
            raise TypeError(msg)
