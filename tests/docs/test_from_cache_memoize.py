"""The page for users of django-cache-memoize: what it says of both libraries holds for both, row by row."""

import asyncio
import gc
import inspect
import re
import warnings
from collections.abc import Callable
from itertools import count
from threading import Thread
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from cache_memoize import cache_memoize
from django.core.cache import cache, caches
from django.core.cache.backends.base import DEFAULT_TIMEOUT
from django.db import transaction
from django.utils.translation import get_language, override

from cachedeco import Event, cached_query, listening
from cachedeco.testing import isolated
from tests.conftest import UseCaches
from tests.docs.test_pages import DOCS, IN_QUOTES, tables_under
from tests.models import Club, ClubClass

PAGE = DOCS / "migrating" / "cache-memoize.md"

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("_auto_by_default")]

_names = count()


class Compared:
    """One function under both decorators, with these parameters, and how often each has computed."""

    def __init__(
        self, function: Callable[..., Any] | None = None, *, theirs: dict[str, Any] | None = None, **ours: Any
    ) -> None:
        """Decorate a function, or one that returns its first argument, with a timeout that no test reaches."""
        self.computed = {"theirs": 0, "ours": 0}
        name = f"compared.{next(_names)}"
        self.theirs = cache_memoize(**{"timeout": 300, "prefix": name, **(theirs or {})})(
            self._counting("theirs", function)
        )
        self.ours = cached_query(**{"timeout": 300, "name": name, "ignore": ("run",), **ours})(
            self._counting("ours", function)
        )

    def _counting(self, side: str, function: Callable[..., Any] | None) -> Callable[..., Any]:
        def run(x: Any) -> Any:
            self.computed[side] += 1
            return x if function is None else function(x)

        def counted(x: Any = None, y: Any = 2) -> Any:  # noqa: ARG001 -- it is part of the key
            return run(x)

        return counted

    def counts(self, *calls: Callable[[Any], object]) -> tuple[int, int]:
        """Make calls of both; return how often theirs and ours have computed."""
        for call in calls:
            call(self.theirs)
            call(self.ours)
        return self.computed["theirs"], self.computed["ours"]


# --- parameters ---


def timeout() -> None:
    """Take it positionally in both; without it the alias's own, and with None neither entry ends by itself."""
    forever = Compared(theirs={"timeout": None}, timeout=None)

    assert DEFAULT_TIMEOUT == inspect.signature(cache_memoize).parameters["timeout"].default
    assert callable(cache_memoize(300)) is callable(cached_query(300))
    assert (1, 1) == forever.counts(lambda f: f(1), lambda f: f(1))


def prefix() -> None:
    """Take it for the name in both: two functions of one prefix share entries there, and are refused here."""
    one, other = (cache_memoize(300, prefix="prefixed")(function) for function in (len, list))

    assert one.get_cache_key("a") == other.get_cache_key("a")
    first = cached_query(300, name="prefixed")(lambda x: x)
    assert "prefixed(x=1" in first.key_for(1)
    with pytest.raises(TypeError, match="The name 'prefixed' is taken"):
        cached_query(300, name="prefixed")(lambda y: y)


def extra() -> None:
    """Count a callable or a constant in the key in both; one `invalidate()` of ours reaches all variants."""
    spoken = Compared(theirs={"extra": lambda _: get_language()}, vary=get_language)

    def in_two_languages(f: Any) -> None:
        for language in ("en", "nl"):
            with override(language):
                f(1)

    assert (2, 2) == spoken.counts(in_two_languages)
    for f in (spoken.theirs, spoken.ours):
        with override("en"):
            f.invalidate(1)
    assert (3, 4) == spoken.counts(in_two_languages)

    first, second = (
        Compared(theirs={"prefix": "versioned", "extra": {"version": number}}, version=number) for number in (1, 2)
    )
    assert first.theirs.get_cache_key(1) != second.theirs.get_cache_key(1)
    assert first.ours.key_for(1).split(".")[1:] != second.ours.key_for(1).split(".")[1:]


def args_rewrite() -> None:
    """Tell calls apart by what it gives in both; theirs does not get keyword arguments."""
    user, same = SimpleNamespace(email="a@example.org"), SimpleNamespace(email="a@example.org")
    rewritten = Compared(theirs={"args_rewrite": lambda *users: [each.email for each in users]}, key="{x.email}:{y}")

    assert (1, 1) == rewritten.counts(lambda f: f(user), lambda f: f(same))
    assert (2, 1) == rewritten.counts(lambda f: f(x=user))


def hit_callable() -> None:
    """Give it the arguments there; a hook gets the event."""
    seen: list[Any] = []
    told = Compared(theirs={"hit_callable": lambda *args: seen.append(args)})
    with listening(lambda event: seen.append(event.kind)):
        told.counts(lambda f: f(7), lambda f: f(7))

    assert [(7,), "hit"] == [each for each in seen if each in {(7,), "hit"}]
    assert 1 == told.ours.stats().hits


def miss_callable() -> None:
    """Call it after the computation, as the event `computed` is; `miss` comes before."""
    seen: list[Any] = []
    told = Compared(lambda _: seen.append("in the function"), theirs={"miss_callable": lambda *args: seen.append(args)})
    told.theirs(7)
    with listening(lambda event: seen.append(event.kind)):
        told.ours(7)

    told_of_the_call = [each for each in seen if each != "advice"]  # on what it reads
    assert ["in the function", (7,), "miss", "in the function", "computed"] == told_of_the_call[:5]


def key_generator_callable() -> None:
    """Take it for the whole key there, of every function that gives the same; here it is a part of it."""
    keyed = Compared(
        theirs={"key_generator_callable": lambda x: x.strip()}, key=lambda x: x.strip(), ignore=("run", "y")
    )

    assert (1, 1) == keyed.counts(lambda f: f(" a"), lambda f: f("a "))
    assert "a" == keyed.theirs.get_cache_key(" a")
    assert ":cd:e:" in keyed.ours.key_for("a")


def store_result() -> None:
    """Return True from the second call on there, and what the function returns here, None."""
    ran = Compared(lambda _: None, theirs={"store_result": False})

    assert [None, True] == [ran.theirs(1), ran.theirs(1)]
    assert [None, None] == [ran.ours(1), ran.ours(1)]
    assert {"theirs": 1, "ours": 1} == ran.computed


def cache_exceptions() -> None:
    """Raise it again without a computation in both."""

    def fail(x: object) -> None:
        raise LookupError(x)

    failing = Compared(fail, theirs={"cache_exceptions": (LookupError,)}, cache_exceptions={LookupError: 60})
    for f in (failing.theirs, failing.theirs, failing.ours, failing.ours):
        with pytest.raises(LookupError, match="7"):
            f(7)

    assert {"theirs": 1, "ours": 1} == failing.computed


def cache_alias() -> None:
    """Store in the cache that is named in both."""
    aliased = Compared(theirs={"cache_alias": "second"}, cache="second")
    events: list[Event] = []
    with listening(events.append):
        aliased.counts(lambda f: f(1))

    assert [None, 1] == [caches[alias].get(aliased.theirs.get_cache_key(1)) for alias in ("default", "second")]
    assert ["second"] == [event.cache for event in events if event.kind == "stored"]


def refresh() -> None:
    """Compute and store in both."""
    both = Compared()

    assert (2, 1) == both.counts(lambda f: f(1), lambda f: f is both.theirs and f(1, _refresh=True))
    assert (2, 2) == both.counts(lambda f: f is both.ours and f.refresh(1))
    assert (2, 2) == both.counts(lambda f: f(1))


def invalidate() -> None:
    """Compute again in both; theirs needs the form of the call."""
    assert (2, 2) == Compared().counts(lambda f: f(1), lambda f: f.invalidate(1), lambda f: f(1))
    assert (1, 2) == Compared().counts(lambda f: f(1), lambda f: f.invalidate(x=1), lambda f: f(1))


def get_cache_key() -> None:
    """Name the key in both."""
    both = Compared()
    both.counts(lambda f: f(1))

    assert 1 == cache.get(both.theirs.get_cache_key(1))
    assert isinstance(both.ours.key_for(1), str)


PARAMETERS: dict[str, Callable[[], None]] = {
    "timeout": timeout,
    "prefix": prefix,
    "extra": extra,
    "args_rewrite": args_rewrite,
    "hit_callable": hit_callable,
    "miss_callable": miss_callable,
    "key_generator_callable": key_generator_callable,
    "store_result": store_result,
    "cache_exceptions": cache_exceptions,
    "cache_alias": cache_alias,
    "f(x, _refresh=True)": refresh,
    "f.invalidate(x)": invalidate,
    "f.get_cache_key(x)": get_cache_key,
}


@pytest.mark.parametrize("parameter", PARAMETERS)
def test_counterpart_of_a_parameter_does_the_same(parameter: str, use_caches: UseCaches, settings: Any) -> None:
    """What the table says of a parameter of theirs, and of ours in its place, is so."""
    use_caches(default="locmem", second="locmem")
    settings.CACHEDECO = {"ALIASES": ["default", "second"]}

    with isolated():
        PARAMETERS[parameter]()


def test_table_has_every_parameter() -> None:
    """The table has the parameters of the real decorator, in their order, then its attributes; each is tried above."""
    [table] = tables_under(PAGE, "Parameters")
    rows = [IN_QUOTES.findall(theirs)[0] for theirs, _ in table]

    assert list(PARAMETERS) == rows
    assert list(inspect.signature(cache_memoize).parameters) == rows[:10]


def test_each_of_their_parameters_is_answered() -> None:
    """One that stays where it was is an error that names what it is here, but for those of our own."""
    for name in {*inspect.signature(cache_memoize).parameters} - {"timeout", "cache_exceptions"}:
        with pytest.raises(TypeError, match=f"no option '{name}'; here it is "):
            cached_query(**{name: None})  # type: ignore[call-overload]


# --- what changes ---


def saved_row() -> tuple[object, object]:
    """Read a number of classes, save one, read again."""
    club = Club.objects.create(name="North")
    both = Compared(lambda club_id: ClubClass.objects.filter(club=club_id).count())
    both.counts(lambda f: f(club.pk))
    ClubClass.objects.create(club=club, name="Judo", start_time="2026-01-01T10:00Z")
    return both.theirs(club.pk), both.ours(club.pk)


def invalidated_meanwhile() -> tuple[object, object]:
    """Invalidate while the call computes."""
    prices = [10, 10]

    def read(_: int) -> int:
        price = prices.pop()
        for f in (both.theirs, both.ours):
            f.invalidate(1)
        return price

    both = Compared(read)
    prices[:] = [20, 10]
    both.theirs(1)
    theirs = both.theirs(1)
    prices[:] = [20, 10]
    both.ours(1)
    return theirs, both.ours(1)


def rolled_back() -> tuple[object, object]:
    """Invalidate in a transaction that is rolled back; count computations."""
    both = Compared()

    def invalidate_in_vain(f: Any) -> None:
        with transaction.atomic():
            f.invalidate(1)
            transaction.set_rollback(True)

    return both.counts(lambda f: f(1), invalidate_in_vain, lambda f: f(1))


def several_threads() -> tuple[object, object]:
    """Call again from another thread while the first call computes; count computations."""
    others: list[Thread] = []

    def call_again(x: int) -> int:
        if not others:
            others.append(Thread(target=both.theirs, args=(x,)))
            others[0].start()
            others[0].join()
        elif both.computed["ours"] == 1 and len(others) == 1:
            others.append(Thread(target=both.ours, args=(x,)))
            others[1].start()
        return x

    both = Compared(call_again)
    both.theirs(1)
    both.ours(1)
    others[1].join()
    return both.computed["theirs"], both.computed["ours"]


def str_of_rows() -> tuple[object, object]:
    """Call with two rows of one name; count computations."""
    north, other = (Club.objects.create(name="North") for _ in range(2))
    both = Compared()
    assert str(north) == str(other)
    return both.counts(lambda f: f(north), lambda f: f(other))


def raised_by(call: Callable[[], object]) -> str:
    """Return the class of what a call raises."""
    try:
        call()
    except Exception as error:  # noqa: BLE001 -- its class is the result
        return type(error).__name__
    return ""


def left_out() -> tuple[object, object]:
    """Leave a parameter out of the key, and call twice, with other values of it; count computations."""
    both = Compared(theirs={"args_rewrite": lambda x, _y: (x,)})
    for y in (1, 2):
        both.theirs(1, y)
    ignoring = Compared(ignore=("run", "y"))
    for y in (1, 2):
        ignoring.ours(1, y)
    forgetting = raised_by(lambda: Compared(key=lambda x: x))
    return both.computed["theirs"], (ignoring.computed["ours"], forgetting)


def other_object() -> tuple[object, object]:
    """Call with an object whose `str()` says nothing of it."""
    both = Compared()
    return raised_by(lambda: both.theirs(object)), raised_by(lambda: both.ours(object()))


def coroutines() -> tuple[object, object]:
    """Await two calls."""

    async def number(x: int) -> int:
        return x

    async def twice(f: Any) -> int:
        return int(await f(1)) + int(await f(1))

    def result_of(f: Any) -> object:
        try:
            return asyncio.run(twice(f))
        except TypeError:
            return "raises"

    with warnings.catch_warnings():
        # The other library drops a coroutine: here, and not in the next test.
        warnings.simplefilter("ignore", RuntimeWarning)
        theirs = result_of(cache_memoize(300)(number))
        gc.collect()
    return theirs, result_of(cached_query(300, name="memoized.number")(number))


def server_down() -> tuple[object, object]:
    """Call where no server listens."""
    both = Compared(theirs={"cache_alias": "down"}, cache="down")
    return raised_by(lambda: both.theirs(1)) and "raises", both.ours(1)


def returned_exception() -> tuple[object, object]:
    """Let the function return an exception."""
    both = Compared(LookupError)
    return raised_by(lambda: both.theirs(1)), raised_by(lambda: both.ours(1))


CHANGES: dict[str, tuple[Callable[[], tuple[object, object]], tuple[object, object]]] = {
    "a row is saved that the function has read": (saved_row, (0, 1)),
    "`f.invalidate(1)` while `f(1)` computes": (invalidated_meanwhile, (10, 20)),
    "`f.invalidate(1)` in a transaction that is rolled back": (rolled_back, (2, 1)),
    "several threads miss": (several_threads, (2, 1)),
    '`f(1)` and `f("1")`': (lambda: Compared().counts(lambda f: f(1), lambda f: f("1")), (1, 2)),
    "`f(1)` and `f(x=1)`": (lambda: Compared().counts(lambda f: f(1), lambda f: f(x=1)), (2, 1)),
    "`f(1)` and `f(1, 2)`, where 2 is the default": (
        lambda: Compared().counts(lambda f: f(1), lambda f: f(1, 2)),
        (2, 1),
    ),
    "two rows with the same `str()`": (str_of_rows, (1, 2)),
    "`args_rewrite` leaves a parameter out": (left_out, (1, (1, "TypeError"))),
    "an argument that is any other object": (other_object, ("", "TypeError")),
    "`async def`": (coroutines, ("raises", 2)),
    "the cache server does not answer": (server_down, ("raises", 1)),
    "the function returns an exception": (returned_exception, ("LookupError", "")),
}


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")  # where theirs can't store it
@pytest.mark.parametrize("change", CHANGES)
def test_difference_is_as_the_page_says(change: str, use_caches: UseCaches, settings: Any) -> None:
    """What the page says that changes, differs between the two libraries."""
    use_caches(default="locmem")
    settings.CACHES = {
        **settings.CACHES,
        "down": {
            "BACKEND": "django.core.cache.backends.memcached.PyMemcacheCache",
            "LOCATION": "127.0.0.1:9",
            "OPTIONS": {"connect_timeout": 0.5, "timeout": 0.5},
        },
    }
    settings.CACHEDECO = {"ALIASES": ["default", "down"]}
    look, expected = CHANGES[change]

    with isolated():
        assert expected == look()


def test_table_has_every_difference() -> None:
    """Each row of the table of differences is tried above."""
    [table] = tables_under(PAGE, "What changes")

    assert list(CHANGES) == [row for row, _, _ in table]


def test_before_and_after_give_the_same() -> None:
    """The old side of each example runs on the real library, and gives what the new side gives."""
    club = Club.objects.create(name="North")
    ClubClass.objects.create(club=club, name="Judo", start_time="2026-01-01T10:00Z")
    user = SimpleNamespace(email="a@example.org")
    calls: dict[str, tuple[Any, ...]] = {
        "names_of_classes": (club.pk,),
        "menu": (club,),
        "summary": (club,),
        "agenda": (user, 1),
        "search": (" Judo",),
        "remind": ("a@example.org",),
        "rate": ("EUR",),
    }

    def outcome(side: ModuleType, name: str) -> str:
        try:
            return repr(getattr(side, name)(*calls[name]))
        except LookupError as error:
            return repr(error)

    with isolated():
        before, after = sides = [side_of(dropped) for dropped in "+-"]
        first, second = ([[outcome(side, name) for name in calls] for side in sides] for _ in range(2))

    assert first[0] == first[1] == second[1]
    assert ["True"] == [told for told, earlier in zip(second[0], first[0], strict=True) if told != earlier]
    assert ["a@example.org"] == before.reminded == after.reminded


def test_method_is_invalidated_on_both_sides() -> None:
    """The old side names the instance, the new one is bound to it; both compute the price again."""
    prices: list[int] = []

    with isolated():
        for side in [side_of(dropped) for dropped in "+-"]:
            tariff = side.Tariff("nl")
            prices.append(tariff.price(4))
            side.weeks_price["nl"] = 11
            side.change_price(tariff)
            prices.append(tariff.price(4))

    assert [40, 44] * 2 == prices


def side_of(dropped: str) -> ModuleType:
    """Return one side of the examples as a module, of the name that the test of pages gives it: names are taken."""
    side = ModuleType("docs_cache_memoize")
    vars(side).update(cache_memoize=cache_memoize, cached_query=cached_query, get_language=get_language)
    vars(side).update(ClubClass=ClubClass, reminded=[])
    for source in re.findall(r"^```diff\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL):
        kept = [line[1:] for line in source.splitlines() if not line.startswith(dropped)]
        exec(compile("\n".join(kept), PAGE, "exec"), vars(side))  # noqa: S102 -- our own documentation
    return side
