"""`Load`: calls of one function that have no fresh entry, and that one call of the function computes."""

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from math import inf
from typing import Any, Final, NamedTuple

from cachedeco.loading.found import Found
from cachedeco.loading.policy import CachePolicy
from cachedeco.storage.entries import Stamp, new_tuple
from cachedeco.tracking import collector
from cachedeco.tracking.collector import Use

# Alias, the entry's whole key, and the call's own tokens: empty if one is absent, None if there is no stamp to have.
FlightName = tuple[str, str, Stamp | None]

# What a miss has that was not served yet: no value of a function.
NO_VALUE: Final = object()


class Prepared(NamedTuple):
    """A computed value, serialized, and whether the policy stores it."""

    serialized: bytes | None = None  #: of which followers load copies of their own; None if that is not possible
    timeout: float | None = None
    problem: str = ""  #: why it is not stored
    error: Exception | None = None
    models: bytes = b""  #: the models among the values, and their fields
    is_error: bool = False  #: whether the value is an exception that the function raised


NOT_PREPARED: Final = Prepared()


class FlightResult(NamedTuple):
    """The result of a leader's computation for one id, for its followers."""

    stamp: Stamp | None = None  #: the call's own tokens as read before the computation; None if they could not be read
    nested_tokens: Mapping[str, bytes] = {}  #: the tokens of nested calls, by name
    serialized: bytes | None = None  #: the value; None if it can't be serialized, and so not be shared
    seconds: float = 0.0
    error: Exception | None = None  #: what the function raised
    computed_with: AbstractSet[str] = frozenset()  #: the keys of all ids that the function was called with
    is_cacheable: bool = True  #: False if a nested call bypassed the cache
    ends: float = inf  #: when the value ends, its stale window counted: seconds since the epoch
    problem: str = ""  #: why a computation that has used the value can't be stored


Results = Mapping[str, FlightResult]  # by the entry's key; a key without one must be looked up again


class Miss:
    """One call of a load, and what its steps have found and made for it. No other caller has it."""

    __slots__ = (
        "data",
        "found",
        "id",
        "is_refused",
        "is_unchanged",
        "is_unstamped",
        "key",
        "name",
        "prepared",
        "result",
        "stamp",
        "timeout",
        "tokens",
        "value",
    )

    name: FlightName  #: of the flight that it leads or follows

    def __init__(self, each: Hashable, found: Found, *, is_unstamped: bool = False) -> None:
        """Begin with what a look-up has found."""
        self.id = each  #: of any kind if the function takes no ids
        self.is_unstamped = is_unstamped  #: whether its entry gets no stamp, and so is not stored
        self.stamp: Stamp | None = None  #: the call's own tokens, from before the computation; None: nothing is stored
        self.value: Any = NO_VALUE  #: what the caller gets
        self.prepared = NOT_PREPARED
        self.result: FlightResult | None = None  #: for followers; None after an interrupt
        self.data: bytes | None = None  #: the new entry, encoded; None if it is not stored
        self.timeout = 0.0  #: of the new entry in the cache, which is longer than its own
        self.is_refused = False  #: whether its value is why it is not stored
        self.is_unchanged = False  #: whether the value of the new entry is that of the entry which it replaces
        self.look_at(found)

    def look_at(self, found: Found) -> None:
        """Go on with what a later look-up has found."""
        self.found = found
        self.key = found.key
        self.tokens = found.tokens


def misses_of(calls: Mapping[Any, Found], unstamped: Collection[Hashable] = ()) -> list[Miss]:
    """Return the misses of calls, by id, in the caller's order; *unstamped* are the ids whose entries get no stamp."""
    return [Miss(each, found, is_unstamped=each in unstamped) for each, found in calls.items()]


class Load(NamedTuple):
    """Calls of one function that have no fresh entry, and that one call of the function computes."""

    policy: CachePolicy
    misses: Sequence[Miss]  #: in the caller's order; one if the function takes no ids
    takes_ids: bool = False
    call_of: Callable[[list[Any]], Any] | None = None  #: makes the `Call` of some ids, to repeat it elsewhere
    arguments: Sequence[object] = ()  #: of the call, in any nesting: rows among them were read before

    @property
    def ids(self) -> list[Any]:
        """The ids of the calls."""
        return [miss.id for miss in self.misses]

    @property
    def found(self) -> list[Found]:
        """What was found for the calls."""
        return [miss.found for miss in self.misses]

    @property
    def values(self) -> dict[Hashable, Any]:
        """What the caller gets, by id."""
        return {miss.id: miss.value for miss in self.misses}

    @property
    def unserved(self) -> "Load":
        """The load of those that have no value yet: this one, if none has."""
        left = [miss for miss in self.misses if miss.value is NO_VALUE]
        return self if len(left) == len(self.misses) else self.with_misses(left)

    @property
    def results(self) -> Results:
        """The results for followers, by the entry's key; none after an interrupt."""
        return {miss.key: miss.result for miss in self.misses if miss.result is not None}

    def with_misses(self, misses: Iterable[Miss]) -> "Load":
        """Return the load of other misses."""
        return new_tuple(Load, (self.policy, list(misses), *self[2:]))  # faster than _replace()


def propagate_dependencies(policy: CachePolicy, found: Found, result: FlightResult) -> None:
    """Record in the enclosing computation what a result depends on, or why it has nothing to depend on."""
    if collector.innermost.get() is None:  # nearly always
        return
    if result.stamp is None or result.problem:
        collector.mark_uncacheable(result.problem or collector.BYPASSED)
        return
    # Of a token that was read twice, the older one: an invalidation between the two may not be in the value.
    tokens = {**result.nested_tokens, **dict(zip(found.keys[1:], result.stamp, strict=True))}
    use = Use(policy.function, found.variation, result.ends)
    collector.record_dependency(policy.store.alias, [*found.keys, *result.nested_tokens], tokens, use)
