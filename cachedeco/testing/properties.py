"""Properties that users check on their own cached functions: Hypothesis looks for the calls that break them."""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from django.db import connections, transaction
from django.test import TestCase

from cachedeco.cached import CachedQuery
from cachedeco.conf import bypass, mode
from cachedeco.testing.assertions import call_from_sync, capture_events, name_of, refuse_in_task, shown
from cachedeco.testing.isolation import fresh_scope, isolated
from cachedeco.testing.values import difference

if TYPE_CHECKING:
    from hypothesis import settings as Settings  # noqa: N812 -- a class
    from hypothesis.strategies import DrawFn, SearchStrategy

# So many different calls come in one history at most: few, so that each comes again, after a write.
POOL: Final = 3
LONGEST_REPR: Final = 500


class Call(NamedTuple):
    """The arguments of one call."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]


def call(*args: object, **kwargs: object) -> Call:
    """Return the arguments of one call, for strategies with keyword arguments: `st.builds(call, clubs, page=pages)`."""
    return Call(args, kwargs)


def check_key(
    function: CachedQuery[..., Any, Any], calls: "SearchStrategy[Any]", *, settings: "Settings | None" = None
) -> None:
    """
    Look for two calls that share a key and give different values: the key forgets something.

    ::

        check_key(classes_on_page, st.tuples(st.sampled_from(clubs), st.integers(1, 3)))

    The plain function is computed, with the cache bypassed. Rows are compared with their fields, QuerySets as lists of
    rows; what is raised is compared by its class.

    Args:
        function: The function, async or not, bound or not.

        calls: A strategy of calls: tuples of positional arguments, what `call()` returns, or anything else for the
            only argument.

        settings: Hypothesis's. Default: the project's profile, and the same calls in each run.

    Raises:
        AssertionError: There are two such calls; they are the simplest that could be found.
    """
    __tracebackhide__ = True
    from hypothesis import strategies as st  # noqa: PLC0415 -- optional: only these checks need it

    name = name_of(function)
    refuse_in_task(function)

    plain = _plain(function)

    def clash(sample: Sequence[object]) -> str:
        groups: dict[str, list[Call]] = {}
        for each in map(_call_of, sample):
            groups.setdefault(function.key_for(*each.args, **each.kwargs), []).append(each)
        for key, (first, *others) in groups.items():
            value = _outcome(plain, first) if others else None
            for other in others:
                theirs = _outcome(plain, other)
                found = _difference(value, theirs)
                if found is not None:
                    return (
                        f"Two calls of {name} share the key {key} and give different values:\n"
                        f"1. {_told(function, first, value)}\n2. {_told(function, other, theirs)}{_where(found)}"
                    )
        return ""

    _raise_simplest(st.lists(calls, min_size=2), clash, settings)


def check_transparent(
    function: CachedQuery[..., Any, Any],
    calls: "SearchStrategy[Any]",
    *,
    mutate: "SearchStrategy[Callable[[], object]]",
    settings: "Settings | None" = None,
) -> None:
    """
    Look for a history of calls and writes after which the cached function differs from the plain one.

    ::

        check_transparent(club_classes, st.sampled_from(clubs), mutate=st.sampled_from([add_class, rename_class]))

    So a forgotten invalidation is found. Each history begins with empty caches, in the mode "on", in transactions that
    are rolled back at its end. Inside them things are as in a `TestCase`: invalidations go out at once, and what waits
    for a commit is called after each write. Objects in memory are not rolled back: let writes fetch their rows.

    Args:
        function: The function, async or not, bound or not.

        calls: A strategy of calls, as for `check_key()`.

        mutate: A strategy of callables without arguments, async or not, that write: functions, partials.

        settings: Hypothesis's. Default: the project's profile, and the same histories in each run.

    Raises:
        AssertionError: There is such a history; it is the shortest that could be found. Or no call was ever served
            from the cache, so that nothing was learned.
    """
    __tracebackhide__ = True
    name = name_of(function)
    refuse_in_task(function)

    plain = _plain(function)

    def fault(history: Sequence[_Step]) -> str:
        fresh_scope()
        with mode("on"), _rolled_back() as databases:
            told: list[str] = []
            for write, each in history:
                if write is not None:
                    told.append(_shown_write(write))
                    _write(write, databases)
                    continue
                values = _outcome(function, each), _outcome(plain, each)
                found = _difference(*values)
                if found is not None:
                    told.append(f"{_told(function, each, values[0])}, and the plain function {_cut(values[1])}")
                    steps = "".join(f"\n{number}. {line}" for number, line in enumerate(told, 1))
                    return f"{name} differs from the plain function:{steps}{_where(found)}"
                told.append(_told(function, each, values[0]))
        return ""

    with isolated(), capture_events(function) as events:
        _raise_simplest(_histories(calls, mutate), fault, settings)
    if not any(event.kind == "hit" for event in events):
        reasons = sorted({f"{event.kind}: {event.reason}" for event in events if event.reason}) or ["all were misses"]
        msg = f"No call of {name} was ever served from the cache, so nothing was learned: {'; '.join(reasons)}."
        raise AssertionError(msg)


# --- what Hypothesis is asked for ---


class _Step(NamedTuple):
    """One step of a history: a write, or a call where there is none."""

    write: Callable[[], object] | None
    call: Call


def _histories(
    calls: "SearchStrategy[Any]", mutate: "SearchStrategy[Callable[[], object]]"
) -> "SearchStrategy[list[_Step]]":
    from hypothesis import strategies as st  # noqa: PLC0415 -- optional: only these checks need it

    @st.composite
    def histories(draw: "DrawFn") -> list[_Step]:
        pool = draw(st.lists(calls.map(_call_of), min_size=1, max_size=POOL))
        ask = st.sampled_from(pool).map(lambda each: _Step(None, each))
        write = mutate.map(lambda each: _Step(each, call()))
        return draw(st.lists(st.one_of(ask, write), min_size=1))

    return histories()


def _raise_simplest(strategy: "SearchStrategy[Any]", fault: Callable[[Any], str], settings: "Settings | None") -> None:
    """Raise the fault of the simplest example that has one."""
    __tracebackhide__ = True
    import hypothesis  # noqa: PLC0415 -- optional: only these checks need it
    from hypothesis.errors import NoSuchExample  # noqa: PLC0415 -- as above

    chosen = settings or hypothesis.settings(derandomize=True, database=None, deadline=None)
    faults: list[str] = []

    def has_fault(example: object) -> bool:
        found = fault(example)
        faults.extend([found] if found else [])
        return bool(found)

    try:
        hypothesis.find(strategy, has_fault, settings=chosen)
    except NoSuchExample:
        return
    # Hypothesis runs the simplest once more, last.
    raise AssertionError(faults[-1])


def _call_of(drawn: object) -> Call:
    if isinstance(drawn, Call):
        return drawn
    return Call(drawn if isinstance(drawn, tuple) else (drawn,), {})


# --- running it ---


class _Raised(NamedTuple):
    """What a call raised."""

    error: Exception


def _plain(function: CachedQuery[..., Any, Any]) -> Callable[..., Any]:
    """Return the function without its cache, and without those of the cached functions that it calls."""
    return bypass()(function.uncached)


def _outcome(function: Callable[..., Any], each: Call) -> object:
    try:
        return call_from_sync(function, each.args, each.kwargs)
    except Exception as error:  # noqa: BLE001 -- both sides may raise, if they raise the same
        return _Raised(error)


def _difference(one: object, other: object) -> str | None:
    if isinstance(one, _Raised) and isinstance(other, _Raised):
        return None if type(one.error) is type(other.error) else ""
    return difference(one, other)


@contextmanager
def _rolled_back() -> Generator[list[str]]:
    """Open a transaction on each database that may be used here, marked as TestCase's are; roll all back at the end."""
    with ExitStack() as stack:
        yield [alias for alias in connections if _begun(alias, stack)]


def _begun(alias: str, stack: ExitStack) -> bool:
    try:
        connections[alias].ensure_connection()
        atomic: Any = transaction.atomic(using=alias)
        atomic._from_testcase = True  # noqa: SLF001 -- as TestCase does it
        stack.enter_context(atomic)
    except (AssertionError, RuntimeError):
        return False  # Django's, and pytest-django's, way to say that the test may not use it: so nothing can change
    stack.callback(partial(transaction.set_rollback, rollback=True, using=alias))
    return True


def _write(write: Callable[[], object], databases: Sequence[str]) -> None:
    with ExitStack() as stack:
        for alias in databases:
            stack.enter_context(TestCase.captureOnCommitCallbacks(using=alias, execute=True))
        call_from_sync(write, (), {})


# --- telling it ---


def _shown_write(write: object) -> str:
    if isinstance(write, partial):
        return shown(write.func, write.args, write.keywords)
    return f"{getattr(write, '__name__', repr(write))}()"


def _told(function: Callable[..., Any], each: Call, outcome: object) -> str:
    return f"{shown(function, each.args, each.kwargs)} {_cut(outcome)}"


def _where(found: str) -> str:
    return f"\nThey differ in {found}." if found else ""


def _cut(outcome: object) -> str:
    text = f"raises {outcome.error!r}" if isinstance(outcome, _Raised) else f"gives {outcome!r}"
    return text if len(text) <= LONGEST_REPR else f"{text[:LONGEST_REPR]}..."
