"""Two functions, or two classes, to which Python gives one name: they have two keys, or the second is refused."""

import functools
import gc
import importlib
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest

from cachedeco import cached_query
from cachedeco.keys.encoders import encode
from cachedeco.keys.receivers import kind_of
from tests.models import Club


def served_or_refused(*calls: Callable[[], object]) -> list[object]:
    """Return what each call gives; "refused" where it, or the decorator in it, raises TypeError."""
    values: list[object] = []
    for call in calls:
        try:
            values.append(call())
        except TypeError:
            values.append("refused")
    return values


def total(number: int) -> int:
    """Be wrapped."""
    return number


def negative(function: Callable[[int], int]) -> Callable[[int], int]:
    """Change what a function returns."""

    @functools.wraps(function)
    def wrapper(number: int) -> int:
        return -function(number)

    return wrapper


def test_function_with_and_without_a_decorator_under_the_cache_are_two() -> None:
    """A wrapper has the name of what it wraps, and returns something else: it does not get the other's entries."""
    assert [5, -5] == [cached_query(total)(5), cached_query(negative(total))(5)]


def repository(model: str) -> Any:
    """Make a class, as generic views and factories of forms do."""
    made_for = model

    class Repository:
        model = made_for

        @cached_query
        @classmethod
        def everything(cls) -> str:
            return f"every {cls.model}"

    return Repository


def test_classes_made_by_one_function_are_two() -> None:
    """Classes made at two calls of a function have one name: they must not share the entries of a class method."""
    first, second = served_or_refused(
        lambda: repository("club").everything(), lambda: repository("member").everything()
    )

    assert first in ("every club", "refused")
    assert second in ("every member", "refused")


def times(number: int) -> Callable[[Callable[[int], int]], Callable[[int], int]]:
    """Make a decorator that has an argument."""

    def decorator(function: Callable[[int], int]) -> Callable[[int], int]:
        @functools.wraps(function)
        def wrapper(each: int) -> int:
            return number * function(each)

        return wrapper

    return decorator


def sub_total(number: int) -> int:
    """Be wrapped, too."""
    return number


def test_two_wrappings_of_one_function_need_two_names() -> None:
    """`@times(2)` and `@times(3)` around one function share a name: the second is refused until it has its own."""
    twice = cached_query(times(2)(sub_total))

    with pytest.raises(
        TypeError,
        match=r"sub_total@tests.functions.test_naming.times.<locals>.* is taken by another wrapper .* Choose another",
    ):
        cached_query(times(3)(sub_total))

    thrice = cached_query(name="tests.naming.thrice")(times(3)(sub_total))
    assert [2, 3] == [twice(1), thrice(1)]


def test_wrapping_that_is_gone_keeps_its_name() -> None:
    """Entries outlive the function that stored them: the second wrapping is refused however late it comes."""

    def part(number: int) -> int:
        return number

    cached_query(times(2)(part))
    gc.collect()

    with pytest.raises(TypeError, match="another wrapper of the same function"):
        cached_query(times(3)(part))


def test_second_wrapper_by_a_decorator_without_arguments_is_refused() -> None:
    """Two wrappers are two functions, also where their decorator has no arguments."""

    def part(number: int) -> int:
        return number

    assert -1 == cached_query(negative(part))(1)

    with pytest.raises(TypeError, match=r"another wrapper of the same function.* Choose another, with name="):
        cached_query(negative(part))


def test_refused_wrapper_leaves_the_first_one_its_name() -> None:
    """A refusal changes nothing: the first wrapper may be decorated again, and the second is refused again."""

    def part(number: int) -> int:
        return number

    first, second = times(2)(part), times(3)(part)
    cached_query(first)

    for _ in range(2):
        with pytest.raises(TypeError, match="another wrapper of the same function"):
            cached_query(second)
        assert 2 == cached_query(first)(1)


def test_function_and_its_wrappers_have_names_of_their_own() -> None:
    """One wrapper, two wrappers around each other, and the function itself have three names."""

    def part(number: int) -> int:
        return number

    once = negative(part)

    assert [1, -1, 1] == [cached_query(each)(1) for each in (part, once, negative(once))]


def test_two_decorators_of_one_name_are_two() -> None:
    """Wrappers are told apart by the modules of their decorators too, and by their codes."""
    other: dict[str, Any] = {"__name__": "other", "wraps": functools.wraps}
    source = inspect.getsource(negative).replace("functools.", "").replace("-function", "10 * function")
    exec(f"from __future__ import annotations\n{source}", other)  # noqa: S102 -- another module, and then the same
    cached_query(negative(part_total))

    assert 50 == cached_query(other["negative"](part_total))(5)
    other["__name__"] = __name__
    with pytest.raises(TypeError, match="another wrapper of the same function"):
        cached_query(other["negative"](part_total))


def part_total(number: int) -> int:
    """Be wrapped, as well."""
    return number


def test_chosen_name_lets_a_function_be_wrapped_again() -> None:
    """A view may wrap a function at each call, where it has chosen a name; another decorator is still another one."""
    again = [cached_query(name="tests.naming.again")(times(2)(sub_total)) for _ in range(2)]
    other = cached_query(name="tests.naming.again")(negative(sub_total))

    assert [2, 2, -1] == [again[0](1), again[1].peek(1), other(1)]


def test_wrapping_decorated_twice_is_one() -> None:
    """The same function, or the same wrapper, may be decorated again: both serve the same entries."""
    wrapping = negative(uneven)

    found = [cached_query(each)(1) for each in (uneven, wrapping)]

    assert [1, -1] == found == [cached_query(timeout=60)(each).peek(1) for each in (uneven, wrapping)]


def uneven(number: int) -> int:
    """Be decorated twice."""
    return number


def make(*, negated: bool) -> Any:
    """Decorate a function inside another one, under a decorator or none."""

    def part(number: int) -> int:
        return number

    return cached_query(negative(part) if negated else part)


def test_function_inside_another_is_decorated_anew_at_each_call() -> None:
    """A new function of the same lines has the same entries; under another decorator it has its own."""
    assert [1, -1, 1, -1] == [make(negated=each)(1) for each in (False, True, False, True)]
    assert -1 == make(negated=True).peek(1)


def multiplied(number: int) -> Any:
    """Decorate a function inside another one, with a decorator between that is given a variable."""

    @cached_query(vary=lambda: number)
    @times(number)
    def part(each: int) -> int:
        return each

    return part


def test_variable_that_a_decorator_is_given_can_be_named_in_vary() -> None:
    """What is given to a decorator inside another function is in the key where vary says so."""
    assert [2, 3, 2] == [multiplied(number)(1) for number in (2, 3, 2)]


class Factor(NamedTuple):
    """What no weak reference leads to."""

    number: int

    def __call__(self, number: int) -> int:
        """Multiply."""
        return self.number * number


def test_wrapping_of_what_is_no_function_is_decorated() -> None:
    """Where the innermost object takes no weak reference, the wrapper stands for itself."""
    instance: Any = Factor(3)

    assert 6 == cached_query(times(2)(instance))(1)


MODULE = """
from functools import wraps

from cachedeco import cached_query


def shout(function):
    @wraps(function)
    def inside(name):
        return function(name) + "!"

    return inside


@cached_query
@shout
def greet(name):
    return f"Hello {name}"


def make(other=False):
    if other:
        @cached_query
        @shout
        def inner(name):
            raise NotImplementedError
    else:
        @cached_query
        @shout
        def inner(name):
            return f"Bye {name}"

    return inner
"""


def test_reloaded_module_decorates_its_functions_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """importlib.reload() works where a line has moved; two functions of one name in what was loaded are refused."""
    path = tmp_path / "reloaded_names.py"
    path.write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    module: Any = importlib.import_module("reloaded_names")
    found = [module.greet("Ann"), module.make()("Ann")]
    make = module.make

    path.write_text("# moved\n" + MODULE)
    importlib.invalidate_caches()
    again: Any = importlib.reload(module)

    assert ["Hello Ann!", "Bye Ann!"] == found == [again.greet.peek("Ann"), again.make().peek("Ann")]
    assert "Bye Ann!" == make().peek("Ann")  # imported by another module before
    with pytest.raises(TypeError, match=r"is taken by make.<locals>.inner in reloaded_names"):
        again.make(other=True)
    monkeypatch.delitem(sys.modules, "reloaded_names")


TYPED = """
from cachedeco import cached_query


@cached_query
def top(number):
    return number


class Shop:
    def make(self, other=False):
        if other:
            @cached_query
            def inner(number):
                raise NotImplementedError
        else:
            @cached_query
            def inner(number):
                return number
        return inner
"""


@pytest.mark.parametrize(
    ("module", "first", "second"),
    [
        ("__main__", "<stdin>", "<stdin>"),
        ("__main__", "<python-input-3>", "<python-input-4>"),
        ("__main__", "/tmp/ipykernel_1/1.py", "/tmp/ipykernel_1/2.py"),  # noqa: S108 -- no file
        ("__console__", "<console>", "<console>"),
        (None, "<console>", "<console>"),
        ("executed", "plugins/shop.py", "plugins/shop.py"),
    ],
)
def test_function_that_is_typed_again_has_its_name(module: str | None, first: str, second: str) -> None:
    """In a shell, in a notebook and by exec(), the same function on another line; two at once are still refused."""
    names: dict[str, Any] = {} if module is None else {"__name__": module}
    exec(compile(TYPED, first, "exec"), names)  # noqa: S102 -- as a shell does
    make = names["Shop"]().make
    found = [names["top"](1), make()(2)]

    exec(compile(f"\n\n{TYPED}", second, "exec"), names)  # noqa: S102 -- as a shell does
    again = names["Shop"]().make

    assert [1, 2] == found == [names["top"].peek(1), again().peek(2)]
    assert 2 == make().peek(2)
    with pytest.raises(TypeError, match=r"is taken by Shop.make.<locals>.inner"):
        again(other=True)


def test_function_that_replaces_another_in_its_module_has_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in Python, where the later of two functions of one name in a module is called: in a doctest, for example."""
    module = ModuleType("tests.naming.replaced")
    monkeypatch.setitem(sys.modules, module.__name__, module)

    for file in ("page.md", "<doctest page.md[2]>"):
        exec(compile(TYPED, file, "exec"), vars(module))  # noqa: S102 -- as doctest does

    assert 1 == module.top(1)


def test_function_of_another_file_with_the_same_name_is_refused() -> None:
    """Two files that are executed as one module are two, as are two functions of one module that no shell has typed."""
    for number, file in enumerate(("plugins/north.py", "plugins/south.py")):
        names: dict[str, Any] = {"__name__": "tests.naming.plugins"}
        source = compile("\n" * number + TYPED, file, "exec")
        if number:
            with pytest.raises(TypeError, match=r"is taken by top in tests.naming.plugins"):
                exec(source, names)  # noqa: S102 -- as a loader of plugins does
            continue
        exec(source, names)  # noqa: S102 -- as a loader of plugins does
        names["Shop"]().make()


IMPORTING = """
from tests.functions.test_naming import imported, negative

from cachedeco import cached_query

total = cached_query({})(negative(imported))
"""


def imported(number: int) -> int:
    """Be wrapped in a module that is reloaded."""
    return number


def test_reloaded_module_names_its_wrapper_of_an_imported_function(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reloaded module wraps an imported function a second time: it needs a name, under which entries are shared."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    path = tmp_path / "reloaded_imports.py"
    path.write_text(IMPORTING.format(""))
    module: Any = importlib.import_module("reloaded_imports")
    with pytest.raises(TypeError, match="another wrapper of the same function"):
        importlib.reload(module)

    path.write_text(IMPORTING.format("name='tests.naming.imported'"))
    importlib.invalidate_caches()
    named: Any = importlib.reload(module)

    assert -5 == named.total(5) == importlib.reload(named).total.peek(5)
    monkeypatch.delitem(sys.modules, "reloaded_imports")


def test_function_without_a_name_of_its_own_is_refused() -> None:
    """There may be many functions called "_" in one module: they would answer for each other."""

    def _(number: int) -> int:
        return number

    with pytest.raises(TypeError, match="name="):
        cached_query(_)

    assert 1 == cached_query(name="tests.collisions.underscore")(_)(1)


class Money(NamedTuple("Money", [("amount", int)])):  # noqa: SLOT002 -- as it is often written
    """A named tuple with an attribute that is no field."""

    currency = "eur"


@dataclass
class Basket(list[int]):
    """A dataclass with items besides its fields."""

    owner: str


def test_value_with_more_than_its_fields_is_refused() -> None:
    """What a class adds to a named tuple, or a dataclass inherits from a list, would be missing from the key."""
    dollars = Money(1)
    dollars.currency = "usd"

    for value in (dollars, Basket("Ann")):
        with pytest.raises(TypeError, match="register"):
            encode(value)

    assert encode(Money(1)).endswith("Money(amount=1)")


class Shape:
    """What others derive from."""

    def __init__(self, pk: int) -> None:
        """Remember which it is."""
        self.pk = pk

    @cached_query(key="{self.pk}")
    def describe(self) -> str:
        """Tell what it is."""
        return f"{type(self).__name__} {self.pk}"

    @cached_query(key="{cls.__name__}")
    @classmethod
    def kind(cls) -> str:
        """Tell what they are."""
        return cls.__qualname__


class Square(Shape):
    """One of them."""


def test_template_of_an_inherited_method_tells_the_class_too() -> None:
    """A key such as "{self.pk}" in a base class, an abstract model say, is not shared by what derives from it."""
    found = [Shape(1).describe(), Square(1).describe(), Square(1).describe.peek()]

    assert ["Shape 1", "Square 1", "Square 1"] == found
    assert ["Shape", "Square"] == [Shape.kind(), Square.kind()]


def test_template_of_a_models_method_has_one_text_for_its_proxies() -> None:
    """A row is its concrete model's, though a proxy has fetched it."""

    class Visitor(Club):
        class Meta:
            proxy = True
            app_label = "tests"

    assert kind_of(Club(pk=1)) == kind_of(Visitor(pk=1)) == kind_of(Visitor) == "tests.Club"
