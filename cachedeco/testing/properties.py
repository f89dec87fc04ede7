"""Property checks for users' cached functions: Hypothesis searches for calls that violate them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from cachedeco.functions.single import AnyCachedQuery
from cachedeco.runtime.reprs import repr_of
from cachedeco.testing.assertions import capture_events, name_of, refuse_in_task, refuse_many
from cachedeco.testing.histories import Histories, HistoryStep, logged_once
from cachedeco.testing.isolation import isolated
from cachedeco.testing.outcomes import Arguments, difference_of, format_place, format_result, outcome_of, plain_twin

if TYPE_CHECKING:
    from hypothesis import settings as Settings  # noqa: N812 -- a class
    from hypothesis.strategies import DrawFn, SearchStrategy

    Writes: TypeAlias = SearchStrategy[Callable[[], object]] | Callable[[], object] | Sequence[Callable[[], object]]

# Different calls in one history, at most: few, so that a call is repeated after a write.
POOL: Final = 3


def call(*args: object, **kwargs: object) -> Arguments:
    """Return the arguments of one call, for strategies with keyword arguments: `st.builds(call, clubs, page=pages)`."""
    return Arguments(args, kwargs)


def check_key(
    function: AnyCachedQuery[..., Any],
    calls: "SearchStrategy[Any]",
    *,
    independent: bool = True,
    settings: "Settings | None" = None,
) -> None:
    """
    Search for two calls that share a key and give different values: the key lacks something.

    ::

        check_key(classes_on_page, st.tuples(st.sampled_from(clubs), st.integers(1, 3)))

    The plain function is called, with the cache bypassed. Rows are compared field by field, QuerySets as lists of rows,
    errors by class.

    Args:
        function: The function, async or not, bound or not.

        calls: A strategy of calls: tuples of positional arguments, what `call()` returns, or anything else for the
            only argument.

        independent: Also try calls with some arguments of one drawn call and some of another: a strategy of many
            values hardly ever draws two calls with the same key. Pass False if an argument depends on another one, as a
            club on its class: then only the drawn calls are tried.

        settings: Hypothesis's. Default: the project's profile, and the same calls in each run. No example has a
            deadline.

    Raises:
        AssertionError: There are two such calls; the message has the simplest that were found.
    """
    __tracebackhide__ = True
    from hypothesis import strategies as st

    name_of(function)
    refuse_many(function, "check_key()")
    refuse_in_task(function)
    _refuse_no_strategy(calls)

    plain = plain_twin(function)

    def clash(sample: Sequence[Arguments]) -> str:
        return _find_clash(function, plain, [*sample, *(_between(*sample[:2]) if independent else ())])

    fault = _simplest_fault(st.lists(calls.map(_call_of), min_size=2), clash, settings)
    if fault:
        raise AssertionError(fault)


def _find_clash(function: AnyCachedQuery[..., Any], plain: Callable[..., Any], calls: Iterable[Arguments]) -> str:
    """Return, for the text of a failure, two calls that share a key and give different values; empty if none do."""
    groups: dict[str, list[Arguments]] = {}
    for each in calls:
        groups.setdefault(function.key_for(*each.args, **each.kwargs), []).append(each)
    for key, (first, *others) in groups.items():
        value = outcome_of(plain, first) if others else None
        for other in others:
            theirs = outcome_of(plain, other)
            found = difference_of(value, theirs)
            if found is not None:
                return (
                    f"Two calls of {name_of(function)} share the key {key} and give different values:\n"
                    f"1. {format_result(function, first, value)}\n"
                    f"2. {format_result(function, other, theirs)}{format_place(found)}"
                )
    return ""


def check_transparent(
    function: AnyCachedQuery[..., Any],
    calls: "SearchStrategy[Any]",
    *,
    mutate: "Writes",
    settings: "Settings | None" = None,
) -> None:
    """
    Search for a history of calls and writes after which the cached function differs from the plain one.

    ::

        check_transparent(club_classes, st.sampled_from(clubs), mutate=[add_class, rename_class])

    This finds missing invalidations. Each history begins with empty caches, in the mode "on", in transactions that are
    rolled back at its end. They behave as in a `TestCase`: invalidations are sent at once, and on_commit callbacks run
    after each write. Objects in memory are not rolled back: let writes fetch their rows.

    Args:
        function: The function, async or not, bound or not.

        calls: A strategy of calls, as for `check_key()`.

        mutate: A callable without arguments, async or not, that writes; a list or tuple of some; or a strategy of
            them, such as partials.

        settings: Hypothesis's. Default: the project's profile, and the same histories in each run. No history has a
            deadline.

    Raises:
        AssertionError: There is such a history; the message has the shortest that was found. Or no call was ever served
            from the cache, so that nothing was learned.

        Exception: The error of a write; its last note is the history so far.
    """
    __tracebackhide__ = True
    refuse_in_task(function)
    _refuse_no_strategy(calls)
    histories = Histories(function)
    with logged_once(), isolated(), capture_events(function) as events:
        fault = _simplest_fault(_histories_of(calls, _strategy_of(mutate)), histories.fault, settings)
    if histories.broken is not None:
        histories.broken.add_note(fault)
        raise histories.broken
    if fault:
        raise AssertionError(fault)
    if not any(event.kind == "hit" for event in events):
        histories.raise_nothing_learned(events)


# --- strategies ---


def _refuse_no_strategy(calls: object) -> None:
    """
    Refuse calls that are no strategy.

    Raises:
        TypeError: They are none.
    """
    from hypothesis import strategies as st

    if not isinstance(calls, st.SearchStrategy):
        msg = f"calls is {repr_of(calls)}; it takes a strategy of Hypothesis's: st.sampled_from([...]), st.integers()."
        raise TypeError(msg)


def _strategy_of(writes: "Writes") -> "SearchStrategy[Callable[[], object]]":
    from hypothesis import strategies as st

    if isinstance(writes, st.SearchStrategy):
        return writes
    if isinstance(writes, list | tuple):
        return st.sampled_from(writes)
    if callable(writes):
        return st.just(writes)
    msg = f"mutate takes a callable without arguments, a list of them or a strategy of them, not {repr_of(writes)}."
    raise TypeError(msg)


def _histories_of(
    calls: "SearchStrategy[Any]", writes: "SearchStrategy[Callable[[], object]]"
) -> "SearchStrategy[list[HistoryStep]]":
    from hypothesis import strategies as st

    @st.composite
    def histories(draw: "DrawFn") -> list[HistoryStep]:
        pool = draw(st.lists(calls.map(_call_of), min_size=1, max_size=POOL))
        calls_of_pool = st.sampled_from(pool).map(lambda each: HistoryStep(None, each))
        write = writes.map(lambda each: HistoryStep(each, call()))
        return draw(st.lists(st.one_of(calls_of_pool, write), min_size=1))

    return histories()


def _simplest_fault(strategy: "SearchStrategy[Any]", fault: Callable[[Any], str], settings: "Settings | None") -> str:
    """Return the fault of the simplest example with a fault; empty if there is none."""
    import hypothesis
    from hypothesis.errors import NoSuchExample

    chosen = settings or hypothesis.settings(derandomize=True, database=None)
    # No deadline: an example takes the time of its queries and rollbacks.
    chosen = hypothesis.settings(chosen, deadline=None)
    faults: list[str] = []

    def has_fault(example: object) -> bool:
        found = fault(example)
        faults.extend([found] if found else [])
        return bool(found)

    try:
        hypothesis.find(strategy, has_fault, settings=chosen)
    except NoSuchExample:
        return ""
    return faults[-1]  # Hypothesis runs the simplest example again at the end


def _call_of(drawn: object) -> Arguments:
    if isinstance(drawn, Arguments):
        return drawn
    return Arguments(drawn if isinstance(drawn, tuple) else (drawn,), {})


def _between(one: Arguments, other: Arguments) -> Iterator[Arguments]:
    """
    Yield the calls between two calls of the same shape, replacing one argument at a time.

    If the value depends on something that the key lacks, the value changes at one of these steps, and the key does not.
    """
    if len(one.args) != len(other.args) or one.kwargs.keys() != other.kwargs.keys():
        return
    values = [*one.args, *one.kwargs.values()]
    theirs = [*other.args, *(other.kwargs[name] for name in one.kwargs)]
    positions = [position for position, value in enumerate(values) if value is not theirs[position]]
    for position in positions[:-1]:  # the last step is the other call itself
        values[position] = theirs[position]
        yield Arguments(tuple(values[: len(one.args)]), dict(zip(one.kwargs, values[len(one.args) :], strict=True)))
