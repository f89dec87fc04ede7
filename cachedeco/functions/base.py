"""`CachedFunction`: descriptor binding, equality, pickling and introspection shared by all cached functions."""

import sys
from collections.abc import Callable
from functools import partial, update_wrapper
from inspect import Signature
from pickle import PicklingError
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, NoReturn, ParamSpec, TypeVar, cast

from django.db.models import Model

from cachedeco.functions.spec import FunctionSpec
from cachedeco.functions.views import refuse_ignored_view
from cachedeco.invalidation.delivery import invalidate
from cachedeco.keys.refusals import refuse_function
from cachedeco.keys.signatures import advise_on_arguments, bare_signature, forward_signature
from cachedeco.runtime import modes
from cachedeco.runtime.frames import from_async
from cachedeco.runtime.reprs import repr_of
from cachedeco.runtime.statistics import Stats, stats_of
from cachedeco.runtime.templates import alters_data
from cachedeco.storage.refusals import is_view

P = ParamSpec("P")
U = TypeVar("U")  # the plain function's return type

Args = tuple[Any, ...]
Kwargs = dict[str, Any]

# Attributes of an instance, beside those that it copies from the function that it wraps.
_OWN_ATTRIBUTES: Final = frozenset({"_spec", "_bound_args", "_binding", "_bulk"})

# What `inspect` and frameworks read from a function, and `functools.update_wrapper()` does not copy; on Python 3.14 it
# does not copy `__annotations__` either.
_OF_FUNCTION: Final = frozenset(
    {"__annotations__", "__builtins__", "__closure__", "__code__", "__defaults__", "__globals__", "__kwdefaults__"}
)
_OF_METHOD: Final = frozenset({"__func__", "__self__"})


# What the verbs are called elsewhere: by functools.lru_cache(), by Django's caches, by other decorators.
_VERBS: Final = {
    "set": "call(*arguments).set(value)",
    **dict.fromkeys(("get", "cached", "exists"), "peek()"),
    **dict.fromkeys(("delete", "expire", "remove", "invalidate_cache", "delete_cache"), "invalidate()"),
    **dict.fromkeys(("clear", "cache_clear", "delete_all", "flush", "invalidate_many"), "invalidate_all()"),
    **dict.fromkeys(("update", "recompute", "warm", "force"), "refresh()"),
    **dict.fromkeys(("cache_info", "cache_parameters", "statistics"), "stats()"),
    **dict.fromkeys(("key", "cache_key", "get_cache_key", "make_cache_key"), "key_for(), or keys_for() for many ids"),
    "key_for": "keys_for(), since it is over many ids",
    "keys_for": "key_for(), since it is not over many ids",
    **dict.fromkeys(("original", "func", "fn", "function"), "uncached"),
    # The twins of Django's.
    "aset": "call(*arguments).aset(value)",
    "aget": "apeek()",
    "adelete": "ainvalidate()",
    "aclear": "ainvalidate_all()",
}
# What the key of a call is called by functions, and elsewhere.
_KEYS: Final = frozenset({"key", "keys", "key_for", "keys_for", "cache_key", "get_cache_key", "make_cache_key"})
_OF_ALL_CALLS: Final = "it is of all calls: invalidate() and ainvalidate() are of one"


def refuse_attribute(owner: object, name: str, functions: type | None) -> NoReturn:
    """
    Raise that a cached function, or a call, has no attribute of a name, and say what it has.

    *functions* is the class of the call's function.
    """
    verb = _VERBS.get(name, f"{name}()")
    bare, remedy = verb.partition("(")[0], ""
    if functions is not None and name in _KEYS:
        remedy = "; it has key()" if hasattr(type(owner), "key") else "; it has keys()"
    elif functions is not None and not hasattr(type(owner), bare):
        remedy = f"; its function has {verb}" if hasattr(functions, bare) else ""
    elif name in _VERBS:
        remedy = f"; it has {verb}"
    msg = f"{type(owner).__name__!r} object has no attribute {name!r}{remedy}"
    raise AttributeError(msg, name=name, obj=owner)


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

    To `isinstance()`, and so to `inspect` and to frameworks, it is what it decorates: a function, and once bound a
    method.
    """

    __signature__ = _Signature()
    _decorator = "cached_query"  # for repr() and errors

    _spec: FunctionSpec
    _bound_args: tuple[object, ...]  #: come before the arguments of each call
    _binding: "Literal['instance', 'class', 'none'] | CachedFunction[..., Any]"  #: of a method: the function

    def __init__(self, function: "CachedFunction[..., Any]", instance: object) -> None:
        """Bind a cached function to an instance, as `types.MethodType` does: `weakref.WeakMethod` makes methods so."""
        self.__dict__ = function._bind(instance).__dict__  # noqa: SLF001 -- another of ours

    # --- verbs for all calls at once ---

    @alters_data
    @advise_on_arguments(_OF_ALL_CALLS)
    def invalidate_all(self) -> None:
        """Invalidate every call of the function: one command for any number of them. Otherwise as `invalidate()`."""
        if modes.current_mode() != "off":
            invalidate(self._spec.options["using"], self._spec.function_token())

    ainvalidate_all = advise_on_arguments(_OF_ALL_CALLS)(from_async(invalidate_all))

    def stats(self) -> Stats:
        """Return the counters of the function, of all its calls in this process."""
        return stats_of(self._spec.name)

    @property
    def uncached(self) -> Callable[P, U]:
        """The plain function, bound as this is."""
        function = self._spec.source.function
        return partial(function, *self._bound_args) if self._bound_args else function

    # --- what a function or a method has ---

    if not TYPE_CHECKING:  # to a type checker `__getattr__` means that there is an attribute of any name

        @property
        def __class__(self) -> type:
            """The type that `isinstance()` sees beside ours."""
            if self._spec.source.bound_args:  # decorates a partial or a bound method, which no name leads to
                return type(self)
            return FunctionType if isinstance(self._binding, str) else MethodType

        def __getattr__(self, name: str) -> Any:
            """Return what only a method has, or only a function, such as `__code__`."""
            if name in _OF_METHOD and not isinstance(self._binding, str):
                return self._bound_args[0] if name == "__self__" else self._binding
            if name in _OF_FUNCTION:
                return getattr(self._spec.source.function, name)
            refuse_attribute(self, name, None)

    def __dir__(self) -> list[str]:
        """List the verbs beside what a function has: `object.__dir__()` asks for `__class__`."""
        return sorted({*super().__dir__(), *dir(type(self))})

    def __cache_key__(self) -> NoReturn:
        """Refuse to be an argument in a key, as functions do."""
        refuse_function(self, shown=repr(self))

    def __set_name__(self, owner: type, name: str) -> None:
        """Put a staticmethod or classmethod around ours, if it decorates one: code that reads classes looks for it."""
        if self._binding == "class":
            type.__setattr__(owner, name, _CachedClassMethod(cast("Any", self)))
        elif self._binding == "none" and not self._bound_args:
            type.__setattr__(owner, name, staticmethod(cast("Any", self)))

    # --- binding, equality, pickling ---

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        """Bind to the instance; a decorated classmethod is bound to the class."""
        if self._binding == "instance":
            if instance is None:
                return self
            if instance is owner:  # a classmethod above, until Python 3.12, binds to the class
                self._refuse_classmethod_above()
            return self._bind(instance)
        return self._bind(owner) if self._binding == "class" else self

    def _bind(self, first: object) -> Any:
        bound = object.__new__(type(self))
        attributes = bound.__dict__ = self.__dict__.copy()  # quicker than to set them one by one
        attributes["_bound_args"] = (*self._bound_args, first)
        attributes["_binding"] = self
        return bound

    def _check_bound(self, args: Args, kwargs: Kwargs) -> None:
        """
        Refuse the object that a verb is bound to as its first argument: `club.total.invalidate(club)`.

        As an argument that the method can do without: then `club.total.invalidate()` is meant, as nearly always.

        Raises:
            TypeError: It is given.
        """
        bound = self._bound_args[len(self._spec.source.bound_args) :]
        if not (bound and args and (args[0] is bound[0] or (isinstance(args[0], Model) and args[0] == bound[0]))):
            return
        function = self._spec.source.function
        parameters = bare_signature(function)
        try:
            parameters.bind(*self._bound_args, *args[1:], **kwargs)
        except TypeError:  # a required argument, as that of club.distance_to(club)
            return
        parameter = list(parameters.parameters.values())[len(self._bound_args)]
        takes_name = parameter.kind is parameter.POSITIONAL_OR_KEYWORD
        own = f"by name: {parameter.name}=" if takes_name else f"twice to {function.__qualname__}(), of the class"
        msg = (
            f"{self._spec.name}() is bound to {repr_of(bound[0])} already, which is its first argument here, too: "
            f"leave it out. If it is an argument of its own, give it {own}."
        )
        raise TypeError(msg)

    def _check_order(self, args: Args) -> None:
        """
        Refuse `@classmethod` above the decorator, and an ignored view. Checked by misses and verbs; not by a hit.

        Since Python 3.13 a classmethod does not bind the object that it wraps: it calls it with the class as an
        argument, and verbs are not bound to the class. A decorator can't see that it is wrapped later.

        Raises:
            TypeError: There is a classmethod above; or the key ignores the object, and this is a view.
        """
        if self._spec.ignored_instance and (arguments := self._bound_args + args):
            refuse_ignored_view(self._spec.name, self._spec.ignored_instance, arguments[0])
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
        bound = f" of {repr_of(self._bound_args[0])}" if self._bound_args else ""
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


class WithoutRefresh:
    """What an async function and a call of one have in the place of `refresh()`."""

    _spec: FunctionSpec

    if not TYPE_CHECKING:  # hidden from type checkers, so that they report a call of it

        @alters_data
        def refresh(self, /, *_args: object, **_kwargs: object) -> None:
            """Raise: only `arefresh()` can await the function."""
            msg = f"{self._spec.name}() is async, and refresh() would have to await it: use arefresh()."
            raise TypeError(msg)


F = TypeVar("F", bound=CachedFunction[..., Any])


def wrap_function(kind: type[F], spec: FunctionSpec) -> F:
    """Return the cached function of a spec, of one of the kinds."""
    _refuse_collisions(kind, spec)
    cached = object.__new__(kind)
    # First, since a function that wraps another cached function has copied the attributes of that one.
    update_wrapper(cast("Any", cached), spec.source.function)
    cached.__dict__ |= {"_spec": spec, "_bound_args": spec.source.bound_args, "_binding": spec.source.binding}
    return cached


class _CachedClassMethod(classmethod):  # type: ignore[type-arg] # of no function type
    """A classmethod that binds a cached function with its verbs: since Python 3.13 `classmethod` itself does not."""

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        """Bind to the class."""
        return cast("Any", self.__func__)._bind(owner or type(instance))  # noqa: SLF001 -- ours


def is_under_classmethod(spec: FunctionSpec) -> bool:
    """Tell whether a cached function is wrapped in a classmethod by the class that defines it."""
    owner = _class_of(spec.source.function)
    return owner is not None and _is_in_classmethod(owner, spec)


def find_view_of(spec: FunctionSpec) -> type | None:
    """Return a view that has a cached method which ignores it: the class that defines the method, or one below."""
    owner = _class_of(spec.source.function) if spec.ignored_instance else None
    # A module that was imported anew has other classes of these names.
    if owner is None or not any(_is_of(spec, each) for each in vars(owner).values()):
        return None
    classes = [owner]
    for cls in classes:
        classes += type.__subclasses__(cls)
    return next(filter(is_view, classes), None)


def _is_of(spec: FunctionSpec, attribute: object) -> bool:
    kind: type = type(attribute)  # and not isinstance(), which would work out a lazy object
    return issubclass(kind, CachedFunction) and cast("Any", attribute)._spec is spec


def _class_of(function: Callable[..., Any]) -> type | None:
    """Return the class that defines a function; None if its qualified name does not lead to a class."""
    owner: Any = sys.modules.get(function.__module__)
    for name in function.__qualname__.split(".")[:-1]:
        owner = getattr(owner, name, None)
    return owner if isinstance(owner, type) else None


def _is_in_classmethod(owner: type, spec: FunctionSpec) -> bool:
    return any(
        isinstance(item.__func__, CachedFunction) and item.__func__._spec is spec
        for base in owner.__mro__
        for item in vars(base).values()
        if isinstance(item, classmethod) and not isinstance(item, _CachedClassMethod)
    )


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
                f"{spec.name}() has an attribute {name!r} already, {repr_of(value)}, which {kind.__name__}.{name} "
                "would hide. Put the decorator that sets it above ours, or rename or delete the attribute."
            )
            raise TypeError(msg)
