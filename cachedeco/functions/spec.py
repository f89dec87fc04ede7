"""`FunctionSpec`: what the decorator was given for one function, and the keys of its calls."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Final
from weakref import WeakSet

from cachedeco.functions.options import as_tuple
from cachedeco.functions.resolving import ResolvedSpec, resolve
from cachedeco.functions.source import Source
from cachedeco.invalidation.delivery import Invalidation
from cachedeco.invalidation.identities import PartTypeError
from cachedeco.keys.compiler import KeyPlan, token_of_function
from cachedeco.keys.refusals import KeyTypeError
from cachedeco.keys.signatures import advice_on_call
from cachedeco.keys.unsaved import UnsavedRowError
from cachedeco.loading.found import VariedKeys
from cachedeco.loading.policy import CachePolicy
from cachedeco.runtime import conf
from cachedeco.storage import shared_statistics

Arguments = tuple[Sequence[Any], dict[str, Any]]  # of a call: positional, and by name

# What KeyPlan.explain() says in words without arguments.
EXPLAINED: Final = (KeyTypeError, PartTypeError, UnsavedRowError)
# What may be raised where a key is made of a call.
RAISED_BY_KEYS: Final = (*EXPLAINED, AttributeError, RecursionError, ValueError)


class FunctionSpec:
    """
    Everything known about one decorated function: checked at decoration, resolved at the first call.

    Raises:
        TypeError, ValueError: As `cached_query` says.
    """

    def __init__(self, source: Source, name: str, plan: KeyPlan, options: Mapping[str, Any]) -> None:
        """Register the function."""
        self.source = source
        self.name = name
        self.options = options
        # Whether a call returns the same value until an invalidation: an auditor can only compare such values.
        self.is_auditable = options["audit"] and options["nested"]
        self._plan = plan
        self._vary: tuple[Callable[..., object], ...] = as_tuple(options["vary"])
        self._resolved: ResolvedSpec | None = None
        #: the types that arguments have had in keys, by label, with DEBUG
        self.kinds_in_keys: defaultdict[str, set[str]] = defaultdict(set)
        self.kinds_in_key = plan.kinds_in_key
        self.dependencies = plan.dependencies
        self.over = plan.keyed.over  #: the parameter that takes many ids; None for a function of one call
        first = next(iter(plan.keyed.signature.parameters), "")
        #: the first parameter of a method whose key ignores the object; empty for others
        self.ignored_instance = first if plan.keyed.is_method and first in options["ignore"] else ""
        _alive.add(self)

    def accepts(self, args: Sequence[object], kwargs: dict[str, object]) -> bool:
        """Tell whether the function can be called with these arguments, of many ids with one."""
        try:
            self._plan.keyed.signature.bind(*args, **kwargs)
        except TypeError:
            return False
        return True

    def resolve_call(self, args: Sequence[object], kwargs: dict[str, object]) -> tuple[CachePolicy, list[str]]:
        """Return the policy in force, and the keys of a call: its entry's, its own token's, the other tokens'."""
        resolved = self._resolved
        if resolved is None or resolved.settings is not conf.in_force:
            resolved = self.resolve()
        try:
            keys = resolved.compiled_keys.keys(*args, **kwargs)
            policy = resolved.policy
            if not self._vary:
                keys = resolved.keyspace.finish(keys)
                return policy, keys if policy.tables is None else policy.tables.complete(keys)
            count = len(keys) - len(self._vary)
            variation = tuple(zip(self._vary, keys[count:], strict=True))
            keys = resolved.keyspace.finish(keys[:count])
            return policy, VariedKeys(keys if policy.tables is None else policy.tables.complete(keys), variation)
        except RAISED_BY_KEYS as error:
            self._explain(error, args, kwargs)
            raise
        except TypeError as error:
            if "_refresh" not in kwargs or self.accepts(args, kwargs):
                raise
            msg = f"{error}; to compute anew and store, call its refresh() with the same arguments."
            raise TypeError(msg) from None

    def resolve_on_loop(self) -> ResolvedSpec | None:
        """Return the spec under the settings in force if the keys of calls can be made on an event loop; else None."""
        resolved = self._resolved
        if resolved is None or resolved.settings is not conf.in_force or resolved.asks_thread:
            return None
        tables = resolved.policy.tables
        return resolved if tables is None or tables.is_loaded else None

    def resolve_calls(self, calls: Iterable[Arguments]) -> tuple[CachePolicy, list[list[str]]]:
        """Return the policy in force, and the keys of each of several calls, as `resolve_call()` does for one."""
        resolved = self.resolve()
        if self._vary:
            return resolved.policy, [self.resolve_call(*call)[1] for call in calls]
        keys_of, several = resolved.compiled_keys.keys, []
        args: Sequence[object] = ()
        kwargs: dict[str, object] = {}
        try:
            for args, kwargs in calls:
                several.append(keys_of(*args, **kwargs))
        except RAISED_BY_KEYS as error:
            self._explain(error, args, kwargs)
            raise
        several = resolved.keyspace.finish_each(several)
        tables = resolved.policy.tables
        return resolved.policy, several if tables is None else [tables.complete(keys) for keys in several]

    def _explain(self, error: Exception, args: Sequence[object], kwargs: dict[str, object]) -> None:
        """Raise an error that names the function and the argument, if the key is to blame."""
        explained = self._plan.explain(error, args, kwargs)
        if explained is not error:
            raise explained from (error if isinstance(error, AttributeError | ValueError) else None)

    def arguments_of(
        self, args: Sequence[object], kwargs: dict[str, object], calls: Iterable[Arguments] | None = None
    ) -> Sequence[object]:
        """
        Return what a computation is given: rows among it were read before. The rows in its keys are among it, too.

        *calls* are the arguments of each key, of a function over many ids.
        """
        if self.resolve().policy.tables is None:
            return args, kwargs
        return args, kwargs, *self.objects_in_keys([(args, kwargs)] if calls is None else calls)

    def objects_in_keys(self, calls: Iterable[Arguments]) -> Iterator[object]:
        """Yield what the templates of keys pass through: `request.user` of "{request.user.pk}"."""
        return chain.from_iterable(self._plan.objects_in_key(*each) for each in calls)

    def own_token(self, args: Sequence[object], kwargs: dict[str, object]) -> Invalidation:
        """Return the invalidation of one call, of all its variants: *vary* is not evaluated."""
        resolved = self.resolve()
        try:
            own = resolved.compiled_keys.own(*args, **kwargs)
        except RAISED_BY_KEYS as error:
            self._explain(error, args, kwargs)
            raise
        except TypeError as error:
            if self.accepts(args, kwargs):
                raise
            usual = "invalidate() takes the arguments of the call, and invalidate_all() ends all calls"
            msg = f"{error}; {advice_on_call(kwargs, usual)}."
            raise TypeError(msg) from None
        [key] = resolved.keyspace.finish([own])
        return Invalidation(resolved.policy.store, key, resolved.policy.lifetime)

    def function_token(self) -> Invalidation:
        """Return the invalidation of all calls."""
        resolved = self.resolve()
        keyspace = resolved.keyspace
        key = keyspace.whole_key(token_of_function(resolved.settings.KEY_PREFIX, self._plan.keyed.key_name))
        return Invalidation(resolved.policy.store, key)

    def resolve(self) -> ResolvedSpec:
        """Return the spec under the settings in force: the same object until the settings change."""
        settings = conf.settings()
        resolved = self._resolved
        if resolved is None or resolved.settings is not settings:
            resolved = self._resolved = resolve(self._plan, self.options, settings)
            shared_statistics.begin(settings)
        return resolved


# Weak: a function that is decorated again at each call of an outer one must not be kept alive.
_alive: WeakSet[FunctionSpec] = WeakSet()


def all_specs() -> list[FunctionSpec]:
    """Return the specs of all decorated functions that are alive, sorted by name."""
    return sorted(_alive, key=lambda spec: spec.name)
