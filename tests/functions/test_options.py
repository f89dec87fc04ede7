"""Each option of the decorator does what it says, and is refused where it can't be meant."""

import inspect
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import caches
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import get_language, override

from cachedeco import MISSING, Event, Namespace, cached_query, cached_query_many, listening, rows
from cachedeco.functions.options import OPTIONS, complete
from tests.conftest import UseCaches
from tests.models import Club
from tests.support.backends import Commands
from tests.support.cases import in_one_test
from tests.support.sides import Side, both
from tests.support.stored import bare, stored


async def awaited(number: int) -> int:
    """Be awaited."""
    return number


def generated(number: int) -> Iterator[int]:
    """Yield."""
    yield number


class Awaited:
    """An object whose call is awaited."""

    __call__ = awaited


@both
@pytest.mark.parametrize(
    ("key", "same", "other"),
    [
        ("{club.pk}", True, False),
        (lambda club: club.pk, True, False),
        (lambda *, club, page: (club.pk, page), True, False),
        (None, True, False),
    ],
    ids=["template", "callable", "keywords", "default"],
)
def test_key_tells_calls_apart(side: Side, key: Any, *, same: bool, other: bool) -> None:
    """A template, a callable and the default tell two clubs apart, and one club from itself never."""

    class Row:
        def __init__(self, pk: int) -> None:
            self.pk = pk

        def __cache_key__(self) -> int:
            return self.pk

    @side.cached(key=key, ignore=() if key is None else ("page",))
    def name(club: Row, page: int = 1) -> str:
        return f"{club.pk} {page}"

    side.call(name, Row(7))

    found = [MISSING is not side.call(name.peek, Row(pk)) for pk in (7, 8)]

    assert [same, other] == found


@both
def test_ignored_parameter_is_not_in_the_key(side: Side) -> None:
    """Calls that differ in an ignored parameter share an entry, and an invalidation."""

    @side.cached(ignore=("request",))
    def page(request: object, number: int) -> int:
        return number if request else 0

    side.call(page, object(), 1)
    found = side.call(page.peek, lambda: None, 1)

    side.call(page.invalidate, None, 1)

    assert (1, MISSING) == (found, side.call(page.peek, object(), 1))


@both
def test_vary_keeps_variants_apart_and_one_invalidation_reaches_all(side: Side) -> None:
    """Each language has its entry; to invalidate the call once ends them all."""

    @side.cached(vary=get_language)
    def greet(name: str) -> str:
        return f"{get_language()} {name}"

    def in_each(work: Callable[..., object]) -> list[object]:
        found = []
        for language in ("de", "en"):
            with override(language):
                found.append(side.call(work, "Ann"))
        return found

    before = in_each(greet), in_each(greet.peek)

    side.call(greet.invalidate, "Ann")

    assert ((["de Ann", "en Ann"], ["de Ann", "en Ann"]), [MISSING] * 2) == (before, in_each(greet.peek))


def test_vary_takes_several_that_read_parameters() -> None:
    """A sequence of callables, each of nothing or of some of the parameters."""
    site = {"id": 1}

    @cached_query(vary=[lambda: site["id"], lambda name: name[0]], ignore=("name", "site"))
    def greet(name: str) -> str:
        return f"{name} {site['id']}"

    found = greet("Ann"), greet("Amy"), greet("Bob")
    site["id"] = 2

    assert (("Ann 1", "Ann 1", "Bob 1"), "Ann 2") == (found, greet("Ann"))


@both
@pytest.mark.parametrize(
    "namespace",
    [
        "club:{club}",
        Namespace("club"),
        lambda club: Namespace("club", club),
        lambda club: [Namespace("other"), Namespace("club", club)],
        ["other", "club:{club}"],
    ],
    ids=["template", "Namespace", "callable", "several by callable", "sequence"],
)
def test_namespace_in_any_form_invalidates(side: Side, namespace: Any) -> None:
    """However a namespace is given, invalidating it ends the entry."""

    @side.cached(namespace=namespace)
    def name(club: int) -> str:
        return f"club {club}"

    side.call(name, 7)
    side.call(Namespace("another").invalidate)
    before = side.call(name.peek, 7)

    side.call(Namespace("club").invalidate)

    assert ("club 7", MISSING) == (before, side.call(name.peek, 7))


@both
def test_cache_chooses_the_alias(side: Side, use_caches: UseCaches, settings: Any, commands: Commands) -> None:
    """Entries and tokens go to the alias that was asked for, and an invalidation too."""
    use_caches(default="locmem", slow="locmem")
    settings.CACHEDECO = {"ALIASES": ["default", "slow"]}

    @side.cached(cache="slow")
    def answer() -> int:
        return 1

    side.call(answer)
    side.call(answer.invalidate)

    assert ({"slow"}, True) == ({each.alias for each in commands}, answer.key_for() in stored("slow"))


def test_cache_is_the_first_of_the_setting_by_default(use_caches: UseCaches, settings: Any, commands: Commands) -> None:
    """Without `cache=`, the first alias of `ALIASES` is used, which may have any name."""
    use_caches(default="locmem", slow="locmem")
    settings.CACHEDECO = {"ALIASES": ["slow", "default"]}

    @cached_query
    def answer() -> int:
        return 1

    answer()

    assert {"slow"} == {each.alias for each in commands}


def test_alias_that_is_not_in_caches_is_a_fault_of_the_setting(settings: Any) -> None:
    """A function that names no cache is not said to: the error names what does."""
    settings.CACHEDECO = {"ALIASES": ["fast"]}

    @cached_query(name="tests.options.fast")
    def answer() -> int:
        return 1

    with pytest.raises(
        ImproperlyConfigured, match=r"^CACHEDECO\['ALIASES'\] names 'fast', which is not in CACHES\. CAC"
    ):
        answer()


def test_cache_that_invalidations_would_not_reach_is_refused(use_caches: UseCaches) -> None:
    """An alias that the setting does not name is an error at the first call, with what to do."""
    use_caches(default="locmem", slow="locmem")

    @cached_query(cache="slow")
    def answer() -> int:
        return 1

    with pytest.raises(
        ImproperlyConfigured, match=r"cache='slow', which is not in CACHEDECO\['ALIASES'\].*Add the alias"
    ):
        answer()


@both
@pytest.mark.parametrize(("one", "other"), [(1, 2), (1, "1"), (None, 1), ("a", "b"), (None, "")], ids=repr)
def test_version_hides_entries_of_another(side: Side, one: Any, other: Any) -> None:
    """What was stored under another version is not seen, and is seen again under its own."""

    def answer() -> int:
        return 1

    old, new = side.cached(version=one)(answer), side.cached(version=other)(answer)
    side.call(old)

    found = side.call(new.peek), side.call(old.peek)

    assert (MISSING, 1) == found


def test_name_stands_for_module_and_qualified_name() -> None:
    """A name makes keys and statistics independent of where the function lives."""

    @cached_query(name="tests.options.named")
    def answer() -> int:
        return 1

    answer()

    assert ("cd:e:tests.options.named(|)", "<cached_query tests.options.named>") == (
        bare(answer.key_for()),
        repr(answer),
    )


@both
@pytest.mark.parametrize(("value", "is_stored"), [(None, False), (0, False), (1, True)])
def test_cache_if_decides_by_the_value(side: Side, value: object, *, is_stored: bool) -> None:
    """Stored only where true; the caller has the value in any case, and an event says why it was not stored."""
    seen: list[Event] = []

    @side.cached(cache_if=lambda found: found, ignore=("value",))
    def answer() -> object:
        return value

    with listening(seen.append):
        found = side.call(answer)

    assert (value, is_stored) == (found, MISSING is not side.call(answer.peek))
    assert ("stored", "") if is_stored else ("unstored", "cache_if says no") == (seen[-1].kind, seen[-1].reason)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cache": 7}, "cache=7 for .* it takes an alias of CACHES, or None"),
        ({"cache": caches["default"]}, "cache=<.* object> for .* it takes an alias of CACHES, or None"),
        ({"using": None}, "using=None for .* it takes an alias of DATABASES"),
        ({"version": 1.5}, "version=1.5 for .* it takes an int, text or None"),
        ({"version": True}, "version=True for "),
        ({"cache_if": True}, "cache_if=True for .* it takes a callable of the value"),
        ({"ignore": "number"}, r"ignore='number' for .* is a text; it takes a sequence of names: \('number',\)"),
        ({"ignore": "number, other"}, r"'number, other' for .* of names: \('number', 'other'\)\.$"),
        ({"ignore": "*"}, r"ignore='\*' for .* is a text; it takes a sequence of names\.$"),
        ({"ignore": ("nothing",)}, "ignore= names 'nothing', which .* does not have; it has number"),
        ({"name": ""}, "name='' for .* it takes a text without"),
        ({"name": "a(b"}, r"name='a\(b' for "),
        ({"name": 7}, "name=7 for "),
        ({"vary": 7}, "vary= has 7 for .* it takes a callable"),
        ({"vary": "os.getpid"}, "vary= has 'os.getpid' .* Import what it names: a dotted path is for the setting VARY"),
        ({"vary": lambda nothing: nothing}, "vary= of .* asks for 'nothing'"),
        ({"namespace": 7}, "namespace= has 7 for "),
        ({"namespace": [7]}, "namespace= has 7 for "),
        ({"key": 7}, "key= has 7 for "),
        ({"key": "constant"}, "takes 'number', which its key never looks at"),
        ({"stale_while_revalidate": None}, r"stale_while_revalidate for .* is None; it takes seconds or a timedelta\."),
        ({"stale_while_revalidate": "60"}, r"stale_while_revalidate for .* is '60'; it takes seconds or a timedelta\."),
        ({"stale_while_revalidate": True}, "stale_while_revalidate for .* is True"),
        ({"stale_if_error": None}, "stale_if_error for .* is None; it takes seconds or a timedelta"),
        ({"wait": None}, "wait for .* is None; it takes seconds or a timedelta"),
        ({"wait": []}, "wait for "),
        ({"jitter": None}, r"jitter for .* is None; it takes a fraction, 0 or more and less than 1, such as 0\.1"),
        ({"jitter": "0.1"}, "jitter for .* is '0.1'"),
        ({"jitter": True}, "jitter for .* is True"),
        ({"early": None}, "early for .* is None; it takes XFetch's beta: 0 for never, 1 to begin with"),
        ({"early": True}, "early for .* is True"),
        ({"nested": None}, "nested for .* is None; it takes True or False"),
        ({"nested": 1}, "nested for .* is 1"),
        ({"audit": None}, "audit for .* is None; it takes True or False"),
        ({"timeout": "60"}, r"timeout for .* is '60'; it takes seconds or a timedelta, None for no limit, or"),
        ({"timeout": True}, "timeout for .* is True; it takes seconds"),
        ({"timeout": lambda: 5}, "timeout for .* takes nothing; it is called with the value alone"),
        (
            {"timeout": lambda value, club: value or club},
            "timeout for .* takes value, club; it is called with the value alone",
        ),
        ({"timeout": awaited}, "timeout for .* is async: .*; it takes a def that returns its result"),
        (
            {"cache_if": lambda value, arguments: value or arguments},
            "cache_if for .* takes value, arguments; it is called with the",
        ),
        ({"cache_if": awaited}, "cache_if for .* is async"),
        ({"cache_if": generated}, "cache_if for .* is a generator function"),
        ({"cache_if": Awaited()}, "cache_if for .* is async"),
        ({"key": awaited}, "key= of .* is async"),
        ({"vary": [awaited]}, "vary= of .* is async"),
        ({"namespace": awaited}, "namespace= of .* is async"),
        ({"key": ("number",)}, r"key= has \('number',\) for .*; it takes a template, '{club.pk}', or a callable\."),
        ({"key": Club}, "key= has <class .*Club'> for .* callable; a model goes into depends_on="),
        ({"namespace": Club}, "namespace= has <class .*Club'> for .*; a model goes into depends_on="),
        ({"ignore": 7}, r"ignore=7 for .*; it takes a sequence of names: \('request',\)"),
        ({"ignore": None}, "ignore=None for .*; it takes a sequence of names: .*, or \\(\\) for none"),
        ({"ignore": (name for name in ("number",))}, "ignore=<generator object> for .*; it takes a sequence of names"),
        ({"using": ["default"]}, r"using=\['default'\] for .*; it takes an alias of DATABASES"),
        ({"cache_exceptions": {ValueError(): 5}}, "names <ValueError object>, which is no class; it takes classes"),
        ({"cache_exceptions": {(ValueError, KeyError): 5}}, "which is no class; it takes classes: {Http404: 60}"),
        ({"cache_exceptions": {int: 60}}, "names int, which is no subclass of Exception"),
        ({"cache_exceptions": [ValueError]}, "it takes a mapping of exceptions to timeouts: {Http404: 60}"),
        ({"cache_exceptions": {ValueError: str}}, "the timeout of ValueError in .*; it takes seconds"),
        ({"depends_on": Club}, r"depends_on=Club for .*; it takes a list: depends_on=\[Club\]"),
        ({"depends_on": {Club}}, r"depends_on=\{<class .*>} for .*; it takes a list: depends_on=\[Club\]"),
        ({"depends_on": "tests.Club"}, r"it takes a list: depends_on=\['tests\.Club'\]"),
        ({"depends_on": rows(Club, pk="{number}")}, r"a list: depends_on=\[rows\(Club, pk='{number}'\)\]"),
        ({"depends_on": None}, r"depends_on=None for .*; it takes a list of models, .* \(\) is none of them\."),
        (
            {"depends_on": [Club.objects.all()]},
            "<django.db.models.query.QuerySet object> is no model; it takes a model",
        ),
        ({"depends_on": [(Club, "pk")]}, r"\(.*, 'pk'\) is no model; it takes a model"),
        ({"nonsense": 1}, "cached_query\\(\\) has no option 'nonsense'; it takes timeout, key"),
    ],
    ids=lambda value: next(iter(value.items()))[0] if isinstance(value, dict) else "",
)
@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.covering(1)
def test_option_of_a_wrong_type_is_refused(options: dict[str, Any], message: str, *, nested: bool) -> None:
    """A fault in an option is an error when the function is decorated: it says what was given and what to give."""

    def double(number: int) -> int:
        return 2 * number

    with pytest.raises(TypeError, match=message):
        cached_query(**options)(double if nested else outside)


@in_one_test(
    [
        ({"stale_while_revalidate": -1}, r"stale_while_revalidate for .* is -1; it takes 0 or more seconds\."),
        ({"stale_while_revalidate": float("inf")}, "stale_while_revalidate for .* is inf"),
        ({"stale_while_revalidate": timedelta(seconds=-1)}, "stale_while_revalidate for "),
        ({"stale_if_error": -0.1}, "stale_if_error for .* is -0.1"),
        ({"stale_if_error": float("nan")}, "stale_if_error for .* is nan"),
        ({"wait": -1}, r"wait for .* is -1; it takes 0 or more seconds\."),
        ({"wait": float("inf")}, "wait for .* is inf"),
        ({"jitter": -0.1}, "jitter for .* is -0.1; it takes a fraction, 0 or more and less than 1"),
        ({"jitter": 1}, "jitter for .* is 1"),
        ({"jitter": float("nan")}, "jitter for .* is nan"),
        ({"early": -1}, "early for .* is -1; it takes XFetch"),
        ({"early": float("nan")}, "early for .* is nan"),
        ({"early": float("inf")}, "early for .* is inf"),
        ({"early": 10**400}, "early for .* is <int of 1329 bits>"),
    ]
)
def test_number_out_of_bounds_is_refused(options: dict[str, Any], message: str) -> None:
    """A number that can't be meant is an error when the function is decorated: it says what the bounds are."""
    with pytest.raises(ValueError, match=message):
        cached_query(**options)(outside)


@pytest.mark.parametrize(
    "options",
    [
        {"stale_while_revalidate": 0, "stale_if_error": 0, "wait": 0, "jitter": 0, "early": 0},
        {
            "stale_while_revalidate": timedelta(days=1),
            "stale_if_error": 0.5,
            "wait": timedelta(seconds=1),
            "jitter": 0.99,
            "early": 1.5,
        },
        {"nested": False},
    ],
    ids=["least", "usual", "not nested"],
)
def test_number_within_bounds_is_taken(options: dict[str, Any]) -> None:
    """What is within bounds, in each form, is taken, and does not keep a value from being served."""
    double = cached_query(name="tests.options.double", **options)(lambda number: 2 * number)

    assert (4, 4) == (double(2), double.peek(2))


@pytest.mark.parametrize("template", ["{number", "{number!r}", "{number:03}", "{}", "{0}", "{number[0]}"])
@pytest.mark.parametrize("option", ["key", "namespace"])
def test_template_that_is_malformed_is_refused(option: str, template: str) -> None:
    """A template has plain fields: anything else is an error when the function is decorated."""
    with pytest.raises(ValueError, match=f"{option}="):
        cached_query(**{option: template})(outside)


def test_callable_without_a_signature_is_taken() -> None:
    """What is written in C does not tell its parameters: it is tried when it is called."""
    double = cached_query(name="tests.options.unsigned", cache_if=min)(lambda number: [2 * number])

    assert ([4], MISSING) == (double(2), double.peek(3))


def test_database_that_is_not_there_is_refused_at_the_first_call() -> None:
    """The error names the function, the option and the databases; a system check finds it before."""
    double = cached_query(using="replica")(outside)

    with pytest.raises(
        ImproperlyConfigured, match=r"outside\(\) has using='replica', .* It takes one of default, other"
    ):
        double(2)


@pytest.mark.parametrize("timeout", [60, 60.0, timedelta(minutes=1)])
def test_timeout_may_be_positional(timeout: float | timedelta) -> None:
    """A number of seconds or a timedelta in the first place is the timeout, as in Django's `cache_page(900)`."""

    @cached_query(timeout, name=f"{__name__}.positional.{type(timeout).__name__}")
    def double(number: int) -> int:
        return 2 * number

    assert 60 == double._spec.resolve().policy.timeout(None)


def test_two_timeouts_are_refused() -> None:
    """A timeout by position and another by name is an error that shows both."""
    with pytest.raises(TypeError, match=r"cached_query\(60, timeout=30\) has two timeouts; give one"):
        cached_query(60, timeout=30)


def test_misspelt_option_is_refused_with_the_nearest_name() -> None:
    """An unknown option is an error at decoration, for both decorators, that says what was meant."""
    with pytest.raises(TypeError, match=r"cached_query\(\) has no option 'tiemout'; did you mean 'timeout'\?"):
        cached_query(tiemout=3)  # type: ignore[call-overload]
    with pytest.raises(
        TypeError, match=r"cached_query_many\(\) has no option 'namespaces'; did you mean 'namespace'\?"
    ):
        cached_query_many(over="ids", namespaces=3)  # type: ignore[call-arg]


@in_one_test(
    [
        ("prefix", "name="),
        ("extra", "vary= for a callable, and version= for a constant"),
        ("args_rewrite", "key="),
        ("hit_callable", r"add_hook\(\)"),
        ("miss_callable", r"add_hook\(\)"),
        ("key_generator_callable", "key="),
        ("store_result", "a function that returns None"),
        ("cache_alias", "cache="),
        ("lock", "always so: .* wait=0 switches that off"),
        ("keep_fresh", "always so: "),
        ("unless", r"bypass\(\) around the call"),
        ("cache_none", "cache_if="),
        ("key_builder", "key="),
        ("over", r"an option of cached_query_many\(\) alone"),
        ("swr", "stale_while_revalidate="),
        ("lease", "wait="),
        ("cache_key", "key="),
        ("lock_timeout", "wait="),
        ("maxsize", "a limit of the cache itself"),
    ]
)
def test_option_of_another_library_is_answered_with_what_the_migration_page_says(name: str, ours: str) -> None:
    """Each option of django-cache-memoize and cacheops that we lack, also where it is always so here."""
    with pytest.raises(TypeError, match=rf"cached_query\(\) has no option '{name}'; here it is {ours}"):
        cached_query(**{name: 1})  # type: ignore[call-overload]


def test_beginning_of_an_option_is_answered_with_those_that_begin_so() -> None:
    """A name that is too short to look like the option, but is its first word, is not answered with all of them."""
    meant = r"has no option 'stale'; did you mean 'stale_while_revalidate' or 'stale_if_error'\?"
    with pytest.raises(TypeError, match=meant):
        cached_query(stale=5)  # type: ignore[call-overload]


def test_option_is_stated_once() -> None:
    """Each option has its type, its default and its check in one line, and an entry in the docstring."""
    documented = re.findall(r"^ {4}(\w+): ", cached_query.__doc__ or "", re.MULTILINE)

    assert [*OPTIONS] == [name for name in documented if name in OPTIONS]
    assert list(OPTIONS) == list(inspect.signature(cached_query).parameters)[1:]


def test_default_of_each_option_passes_its_check() -> None:
    """A default that is not given is not checked at each decoration: this checks it once."""
    for name, option in OPTIONS.items():
        option.check("rows", name, option.default)

    assert {*OPTIONS} == {*complete({}, "cached_query")}


def outside(number: int) -> int:
    """Return the double."""
    return 2 * number


def test_signature_shows_that_the_first_argument_may_be_left_out() -> None:
    """`help()` and editors show the positional argument with an ellipsis, as in a stub."""
    assert str(inspect.signature(cached_query)).startswith("(first=..., /, *, timeout: ")
