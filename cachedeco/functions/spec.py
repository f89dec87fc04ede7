"""What one function's decorator was told, and what that comes to under the settings in force."""

import inspect
import types
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, Final, Literal, NamedTuple, Self
from weakref import WeakSet

from django.core.exceptions import ImproperlyConfigured

from cachedeco.functions.naming import key_name_of, name_of
from cachedeco.functions.options import Options
from cachedeco.invalidation.delivery import Invalidation
from cachedeco.keys.compiler import KeyOption, KeyPlan, Locators, token_of_function
from cachedeco.keys.dependencies import DependsOn, dependencies_of
from cachedeco.keys.encoders import KeyTypeError
from cachedeco.keys.expressions import Subject, free_variables
from cachedeco.loading.policy import Terms
from cachedeco.runtime import conf
from cachedeco.runtime.validation import UNSET, seconds_of, span_of
from cachedeco.storage.cache_keys import fit
from cachedeco.storage.entries import Shelf
from cachedeco.storage.serializers import ABSENT, format_of
from cachedeco.storage.store import Store

# A call's own token outlives its entries, or it would take them along. It is minted with a life of this many timeouts,
# so that one entry in four at most ends early, and the server is rid of it soon after the last entry.
TOKEN_TIMEOUTS: Final = 4
SHORTEST_LIFETIME: Final = 60.0
# With a callable, the timeout is not known when the token is minted: so long lives the token, and the longest entry.
LIFETIME_WHEN_UNKNOWN: Final = timedelta(days=30).total_seconds()


class Ready(NamedTuple):
    """A recipe under the settings in force."""

    settings: conf.Settings
    terms: Terms
    locators: Locators
    room: int


class Source(NamedTuple):
    """What was decorated: the function within, and how it is reached."""

    function: Callable[..., Any]
    binding: Literal["instance", "class", "none"]
    head: tuple[object, ...] = ()  #: arguments that a partial, or a bound method, has supplied

    @classmethod
    def of(cls, given: object) -> Self:
        """
        Find the function.

        Raises:
            TypeError: It is none that can be cached.
        """
        binding: Literal["instance", "class", "none"] = "instance"
        if isinstance(given, classmethod | staticmethod):
            binding = "class" if isinstance(given, classmethod) else "none"
            given = given.__func__
        head: tuple[object, ...] = ()
        while isinstance(given, partial | types.MethodType):
            if isinstance(given, partial) and given.keywords:
                msg = f"{given!r} sets keyword arguments; decorate the function itself, or a def that calls it."
                raise TypeError(msg)
            given, head = (
                (given.func, (*given.args, *head))
                if isinstance(given, partial)
                else (given.__func__, (given.__self__, *head))
            )
        if not isinstance(given, types.FunctionType):
            msg = f"cached_query can't decorate {given!r}; it takes a function or method."
            raise TypeError(msg)
        if inspect.isgeneratorfunction(given) or inspect.isasyncgenfunction(given):
            msg = f"{given.__qualname__}() is a generator: its values can be used only once. Return a list."
            raise TypeError(msg)
        return cls(given, "none" if head else binding, head)


class Recipe:
    """
    All that is known of one decorated function: checked at decoration, made ready at the first call.

    Raises:
        TypeError, ValueError: As `cached_query` says.
    """

    def __init__(self, source: Source, name: str, plan: KeyPlan, options: Options) -> None:
        """Enter the function in the registry."""
        self.source = source
        self.name = name
        self.options = options
        # Whether only an invalidation lets a call give another value.
        self.is_certain = options.audit and options.nested
        self._plan = plan
        self._ready: Ready | None = None
        self.dependencies = plan.dependencies
        for each in self.dependencies:
            each.watch()
        _alive.add(self)

    def located(self, args: Sequence[object], kwargs: dict[str, object]) -> tuple[Terms, list[str]]:
        """Return the terms in force, and the keys of a call: the entry's, its own token's, the other tokens'."""
        ready = self.ready()
        try:
            return ready.terms, fit(ready.locators.keys(*args, **kwargs), ready.room)
        except KeyTypeError as error:
            raise self._plan.explain(error, args, kwargs) from None

    def located_each(
        self, calls: Iterable[tuple[Sequence[object], dict[str, object]]]
    ) -> tuple[Terms, list[list[str]]]:
        """Return the terms in force, and for each of several calls what `located()` does."""
        return self.ready().terms, [self.located(*call)[1] for call in calls]

    def own_token(self, args: Sequence[object], kwargs: dict[str, object]) -> Invalidation:
        """Return what invalidates one call. Nothing that the call varies on is asked for."""
        ready = self.ready()
        try:
            own = ready.locators.own(*args, **kwargs)
        except KeyTypeError as error:
            raise self._plan.explain(error, args, kwargs) from None
        [key] = fit([own], ready.room)
        return Invalidation(ready.terms.store, key, ready.terms.lifetime)

    def function_token(self) -> Invalidation:
        """Return what invalidates every call."""
        ready = self.ready()
        [key] = fit([token_of_function(ready.settings.KEY_PREFIX, self._plan.subject.key_name)], ready.room)
        return Invalidation(ready.terms.store, key)

    def ready(self) -> Ready:
        """Return what the settings in force make of the options, worked out once for each change of them."""
        settings = conf.settings()
        ready = self._ready
        if ready is None or ready.settings is not settings:
            ready = self._ready = self._made_ready(settings)
        return ready

    def _made_ready(self, settings: conf.Settings) -> Ready:
        options = self.options
        alias = settings.CACHES[0] if options.cache is None else options.cache
        if alias not in settings.CACHES:
            msg = (
                f"{self.name}() uses cache={alias!r}, which is not in CACHEDECO['CACHES'] = {list(settings.CACHES)!r}: "
                "an invalidation of a namespace would not reach it. Add the alias there."
            )
            raise ImproperlyConfigured(msg)
        store = Store(alias, self.name)
        timeout, lifetime = self._timeouts(settings, store)
        terms = Terms(
            function=self.name,
            store=store,
            shelf=Shelf(store, format_of(options.format, settings.SIGNING_KEYS)),
            using=options.using,
            timeout=timeout,
            cache_if=options.cache_if,
            lifetime=lifetime,
            stale=span_of(options.stale, what="stale"),
            stale_on_error=span_of(options.stale_on_error, what="stale_on_error"),
            early=options.early,
            jitter=settings.JITTER if options.jitter is UNSET else options.jitter,
            wait=settings.WAIT if options.wait is UNSET else span_of(options.wait, what="wait"),
            nested=options.nested,
            refresh=settings.REFRESH,
            audit=settings.AUDIT if options.audit else 0.0,
        )
        locators = self._plan.compiled(settings.KEY_PREFIX, options.version, settings.VARY)
        return Ready(settings, terms, locators, store.room())

    def _timeouts(self, settings: conf.Settings, store: Store) -> tuple[Callable[[Any], float | None], float | None]:
        """Return what gives the timeout of a value, and the lifetime of a call's own token."""
        given = self.options.timeout
        chosen = settings.TIMEOUT if given is UNSET or callable(given) else given
        seconds = store.default_timeout() if chosen is UNSET else seconds_of(chosen)
        if callable(given):
            return lambda value: seconds if value is ABSENT else seconds_of(given(value)), LIFETIME_WHEN_UNKNOWN
        if seconds is None:
            return lambda _: None, None
        grace = max(span_of(each, what="stale") for each in (self.options.stale, self.options.stale_on_error))
        return lambda _: seconds, max(SHORTEST_LIFETIME, TOKEN_TIMEOUTS * (seconds + grace))


# Weak: a function decorated again at each call of the one around it must not stay.
_alive: WeakSet[Recipe] = WeakSet()


def recipes() -> list[Recipe]:
    """Return the recipes of all decorated functions that are alive, by name."""
    return sorted(_alive, key=lambda recipe: recipe.name)


# --- from what the decorator was given ---


def recipe_for(  # noqa: PLR0913 -- the decorator's own
    given: object,
    options: Options,
    *,
    key: KeyOption,
    ignore: Sequence[str],
    vary: object,
    namespace: object,
    depends_on: Sequence[DependsOn],
    name: str | None,
) -> Recipe:
    """Check what the decorator was given, and return the recipe."""
    source = Source.of(given)
    name = name_of(source.function, name)
    options.check(name)
    if isinstance(ignore, str):
        msg = f"ignore={ignore!r} for {name}() is a text; it takes a sequence of names: ({ignore!r},)."
        raise TypeError(msg)
    key_name = key_name_of(source.function, name)
    signature, free = inspect.signature(source.function), free_variables(source.function)
    subject = Subject(name, key_name, signature, free, is_method=_is_method(source))
    spaces = (*_several(namespace), *dependencies_of(subject, depends_on))
    plan = KeyPlan(subject, key, tuple(ignore), _several(vary), spaces)
    return Recipe(source, name, plan, options)


def _is_method(source: Source) -> bool:
    body = source.function.__qualname__.rpartition(".")[0]
    return source.binding != "none" and bool(body) and not body.endswith("<locals>")


def _several(option: object) -> tuple[object, ...]:
    """Return an option that takes one or a sequence as a tuple."""
    if option is None:
        return ()
    return tuple(option) if isinstance(option, list | tuple) else (option,)
