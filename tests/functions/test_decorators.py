"""What can be decorated, how it is reached then, and what is refused."""

import asyncio
import copy
import functools
import inspect
import pickle
from collections.abc import AsyncIterator, Callable, Iterator
from types import MethodType, SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from asgiref.sync import async_to_sync, iscoroutinefunction, markcoroutinefunction
from django.contrib import admin
from django.template import Context, Engine
from django.views.decorators.csrf import csrf_exempt

from cachedeco import MISSING, CachedQuery, bypass, cached_query
from cachedeco.runtime.validation import UNSET
from tests.support.backends import Commands
from tests.support.sides import ASYNC, SYNC, Side, both
from tests.support.stored import stored


@cached_query
def top(number: int) -> int:
    """Return the number, doubled."""
    return 2 * number


@cached_query
async def atop(number: int) -> int:
    """Return the number, doubled."""
    return 2 * number


def generator() -> Iterator[int]:
    """Give one number."""
    yield 1


async def async_generator() -> AsyncIterator[int]:
    """Give one number."""
    yield 1


def add(one: int, other: int) -> int:
    """Return the sum."""
    return one + other


@both
@pytest.mark.parametrize("options", [None, {}, {"timeout": 60}], ids=["bare", "empty", "options"])
def test_decorator_in_any_form_caches(side: Side, options: dict[str, Any] | None) -> None:
    """Without parentheses, with empty ones and with options, a function is computed once for each call."""
    computed = []

    def double(number: int) -> int:
        computed.append(number)
        return 2 * number

    made = side.of(double)
    ignore = {"ignore": ("computed",)}
    cached = cached_query(**ignore, **(options or {}))(made) if options is not None else side.cached(**ignore)(double)

    assert ([8, 8, 10], [4, 5]) == ([side.call(cached, n) for n in (4, 4, 5)], computed)


def test_decorated_function_looks_like_the_function() -> None:
    """Name, docstring, signature, module and annotations are the function's: tools and people see through."""
    assert ("top", "Return the number, doubled.", __name__) == (top.__name__, top.__doc__, top.__module__)  # type: ignore[attr-defined]
    assert "(number: int) -> int" == str(inspect.signature(top))
    assert f"<cached_query {__name__}.top>" == repr(top)


def test_decorated_function_keeps_the_functions_attributes() -> None:
    """What others have noted on the function, as Django's admin does, is found on it still."""

    def shown(number: int) -> int:
        return number

    shown.short_description = "as shown"  # type: ignore[attr-defined]

    cached: Any = cached_query(shown)

    assert "as shown" == cached.short_description


@pytest.mark.parametrize("name", ["invalidate", "akey_for", "call", "stats", "uncached", "_bind", "_spec"])
@pytest.mark.parametrize("side", [SYNC, ASYNC], ids=["sync", "async"])
def test_attribute_that_a_cached_function_has_itself_is_refused(side: Side, name: str) -> None:
    """A function that another library has given an `invalidate` would lose it, or we ours: neither in silence."""

    def answer() -> int:
        raise NotImplementedError

    function = side.of(answer)
    setattr(function, name, "of another library")

    with pytest.raises(
        TypeError, match=f"answer.. has an attribute '{name}' already, 'of another library',.* above ours"
    ):
        cached_query(function)


def test_attributes_that_django_sets_are_carried() -> None:
    """Views, admin and templates find what they look for, set under ours or above it, on bound methods too."""

    class Clubs:
        @cached_query(ignore=("self",))
        def clear(self) -> str:
            return "cleared"

        clear.alters_data = True  # type: ignore[attr-defined]

        @admin.display(description="Above", boolean=True)
        @cached_query(ignore=("self",))
        @admin.display(ordering="under")
        def shown(self) -> str:
            raise NotImplementedError

    @csrf_exempt
    @cached_query(ignore=("request",))
    @csrf_exempt
    def view(request: object) -> str:
        raise NotImplementedError

    shown: Any = Clubs().shown
    template = Engine().from_string("{{ clubs.clear }}")

    assert "" == template.render(Context({"clubs": Clubs()}))
    assert ("Above", True, "under") == (shown.short_description, shown.boolean, shown.admin_order_field)
    assert (True, True) == (view.csrf_exempt, view.__wrapped__.csrf_exempt)  # type: ignore[attr-defined]


def test_attribute_set_afterwards_replaces_the_verb_as_asked() -> None:
    """A test can put a double in the place of a verb, and take it away again."""

    @cached_query
    def answer() -> int:
        return 1

    with mock.patch.object(answer, "invalidate") as double:
        answer.invalidate()

    double.assert_called_once_with()
    assert isinstance(answer.invalidate, MethodType)


@pytest.mark.parametrize(("function", "is_async"), [(top, False), (atop, True)], ids=["sync", "async"])
def test_decorated_function_tells_whether_it_is_async(function: Callable[..., object], *, is_async: bool) -> None:
    """Django and asgiref ask a function whether to await it, and are told."""
    assert is_async == iscoroutinefunction(function)


@pytest.mark.parametrize("side", [SYNC, ASYNC], ids=["sync", "async"])
def test_plain_function_is_reachable(side: Side, commands: Commands) -> None:
    """`uncached` and `__wrapped__` are the function as it was: no cache is asked."""

    @side.cached()
    def double(number: int) -> int:
        return 2 * number

    commands.clear()

    found = [side.call(double.uncached, 4), side.call(double.__wrapped__, 4)]  # type: ignore[attr-defined]

    assert ([8, 8], []) == (found, commands)


def test_function_decorated_inside_another_is_one_function() -> None:
    """Decorated at each call of the outer one, it finds what its forerunner has stored."""
    computed = []

    def view(number: int) -> int:
        @cached_query(ignore=("computed",))
        def double(number: int) -> int:
            computed.append(number)
            return 2 * number

        return double(number)

    assert ([8, 8, 10], [4, 5]) == ([view(4), view(4), view(5)], computed)


@pytest.mark.parametrize("wrapped", [False, True], ids=["plain", "wrapped"])
def test_two_functions_of_one_name_in_one_function_are_refused(*, wrapped: bool) -> None:
    """Two branches that decorate under one name would serve each other's values."""

    def wrap(function: Callable[[], int]) -> Callable[[], int]:
        if not wrapped:
            return function

        @functools.wraps(function)
        def inside() -> int:
            return function()

        return inside

    def chosen(*, first: bool) -> CachedQuery[..., Any]:
        if first:

            def answer() -> int:
                return 1

        else:

            def answer() -> int:
                return 2

        return cached_query(wrap(answer))

    chosen(first=True)

    with pytest.raises(TypeError, match=r"' is taken by .*: two functions would share entries.* Choose another"):
        chosen(first=False)


def test_lambda_needs_a_name() -> None:
    """A lambda without a name is refused, and one with a name is cached."""
    with pytest.raises(TypeError, match=r"A lambda has no name of its own .*: say name=, or write a def"):
        cached_query(lambda number: 2 * number)

    double = cached_query(name=f"{__name__}.doubled")(lambda number: 2 * number)

    assert (8, 8) == (double(4), double.peek(4))


@pytest.mark.parametrize(
    "function",
    [generator, async_generator],
    ids=["generator", "async generator"],
)
def test_generator_function_is_refused(function: Callable[..., object]) -> None:
    """A generator function is refused when it is decorated, with what to do."""
    with pytest.raises(TypeError, match=r"is a generator: its values can be used only once. Return a list."):
        cached_query(function)


@pytest.mark.parametrize(
    "given",
    ["text", True, None, UNSET, len, int, SimpleNamespace(), property(add), functools.lru_cache(add), top],
    ids=["text", "bool", "none", "unset", "builtin", "class", "object", "property", "lru_cache", "cached"],
)
def test_what_is_no_function_is_refused(given: Any) -> None:
    """What can't be decorated, and is no timeout, is refused at once, and shown, with what is accepted."""
    with pytest.raises(
        TypeError,
        match=r"can't decorate .*; it takes a function|argument is a timeout, .* or the function; give all",
    ):
        cached_query(given)


def test_partial_supplies_the_first_arguments() -> None:
    """A partial is the function with its first arguments given, for the key too."""
    from_four = cached_query(functools.partial(functools.partial(add, 4)))

    found = from_four(5)

    assert (9, 9, MISSING) == (found, from_four.peek(other=5), from_four.peek(6))


def test_partial_with_keywords_is_refused() -> None:
    """A keyword argument set by a partial could be set again by the call: refused, with what to do."""
    with pytest.raises(TypeError, match="sets keyword arguments; decorate the function itself"):
        cached_query(functools.partial(add, other=4))


def test_bound_method_is_cached_for_its_object() -> None:
    """A method taken from an object is cached with that object, on every verb."""

    class Adder:
        def __init__(self, first: int) -> None:
            self.first = first

        def __cache_key__(self) -> int:
            return self.first

        def plus(self, number: int) -> int:
            return self.first + number

    plus = cached_query(Adder(4).plus)

    found = plus(5)

    assert (9, 9, MISSING, 9) == (found, plus.peek(number=5), plus.peek(6), plus.uncached(5))


@both
def test_marked_wrapper_of_an_async_function_is_awaited(side: Side) -> None:
    """A `def` that is marked as a coroutine function, as Django's method_decorator makes it, is an async function."""

    async def double(number: int) -> int:
        return 2 * number

    @functools.wraps(double)
    def marked(number: int) -> Any:
        return double(number)

    markcoroutinefunction(marked)
    cached = cached_query(marked)

    assert [8, 8] == [async_to_sync(cached)(4), side.call(atop, 4) if side.is_async else cached.peek(4)]


def test_async_function_runs_in_the_loop_of_its_caller() -> None:
    """An async function is awaited in the caller's task, and many tasks can wait for many calls."""

    @cached_query
    async def double(number: int) -> tuple[int, bool]:
        await asyncio.sleep(0)
        return 2 * number, asyncio.current_task() is not None

    async def work() -> list[tuple[int, bool]]:
        return await asyncio.gather(*(double(n) for n in (4, 5, 6)))

    found = asyncio.run(work())

    assert [(8, True), (10, True), (12, True)] == found


@pytest.mark.parametrize("name", ["on", "bypass"])
def test_mode_around_an_async_function_is_in_force_while_it_runs(name: str) -> None:
    """`@bypass()` above a cached async function holds for its call and not only for the making of its coroutine."""
    computed = []

    @cached_query(ignore=("computed",))
    async def answer() -> int:
        computed.append(1)
        return 1

    called = bypass()(answer) if name == "bypass" else answer

    found = [async_to_sync(called)(), async_to_sync(called)()]

    assert ([1, 1], 2 if name == "bypass" else 1) == (found, len(computed))


@both
@pytest.mark.parametrize("raised", [ValueError, LookupError, KeyboardInterrupt, SystemExit, asyncio.CancelledError])
def test_exception_of_the_function_is_raised_and_not_cached(side: Side, raised: type[BaseException]) -> None:
    """What the function raises reaches the caller each time, exceptions that are not `Exception` too."""
    computed = []

    @side.cached(ignore=("computed", "raised"))
    def answer() -> int:
        computed.append(1)
        raise raised

    for _ in range(2):
        with pytest.raises(raised):
            side.call(answer)

    assert (2, MISSING) == (len(computed), side.call(answer.peek))


def test_stop_iteration_of_the_function_is_raised() -> None:
    """StopIteration, by which generators end, ends nothing of ours: it is the function's exception."""

    @cached_query
    def first() -> int:
        return next(iter([]))

    with pytest.raises(StopIteration):
        first()


@both
def test_exception_of_the_function_has_no_other_behind_it(side: Side) -> None:
    """The traceback that a developer reads begins with the function's own fault."""

    @side.cached()
    def answer() -> int:
        msg = "own"
        raise ValueError(msg)

    with pytest.raises(ValueError, match="own") as caught:
        side.call(answer)

    assert (None, None) == (caught.value.__context__, caught.value.__cause__)


def test_wrong_arguments_raise_the_functions_own_error() -> None:
    """A call that the function does not take is a TypeError that names the function, as without a cache."""
    with pytest.raises(TypeError, match=r"top\(\) missing 1 required positional argument: 'number'"):
        top()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"top\(\) got an unexpected keyword argument 'other'"):
        top(1, other=2)  # type: ignore[call-arg]


def test_wrong_arguments_of_a_method_raise_an_error_that_names_its_class() -> None:
    """As Python's own does; a chosen name is for keys, and no error about a call has it."""

    class Club:
        """A class with a method of each kind of name."""

        @cached_query
        @classmethod
        def total(cls, number: int) -> int:
            return number

        @cached_query(name="tests.decorators.chosen")
        @staticmethod
        def most(number: int) -> int:
            return number

    for method in (Club.total, Club.most):
        with pytest.raises(TypeError, match=rf"<locals>\.Club\.{method.__name__}\(\) missing 1 required positional"):
            method()  # type: ignore[call-arg]


@pytest.mark.parametrize("function", [top, atop], ids=["sync", "async"])
def test_decorated_function_is_pickled_by_name(function: CachedQuery[..., Any]) -> None:
    """It can be sent to another process, as functions can, and copied."""
    again = pickle.loads(pickle.dumps(function))  # noqa: S301

    assert (True, True, True) == (again is function, copy.copy(function) is function, copy.deepcopy(function) == again)


def test_entry_can_be_found_by_its_key() -> None:
    """What `key_for` returns is the key as the server gets it."""
    before = stored().get(top.key_for(4))

    top(4)

    assert (None, True) == (before, stored().get(top.key_for(number=4)) is not None)


def test_decoration_asks_for_one_signature(monkeypatch: pytest.MonkeyPatch) -> None:
    """That takes longer than all else at a decoration: it is done once for the function, and for no default."""
    asked: list[object] = []
    signature = inspect.signature
    monkeypatch.setattr(inspect, "signature", lambda each, **how: asked.append(each) or signature(each, **how))

    def rows(number: int) -> int:
        return 2 * number

    cached_query(timeout=60, key="{number}", namespace="number:{number}", depends_on=[])(rows)

    assert [rows] == asked
