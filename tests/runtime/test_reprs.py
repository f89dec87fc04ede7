"""What messages show of a value: short, without secrets, and without running any code of the user's."""

import dataclasses
import datetime as dt
import decimal
import enum
import functools
import reprlib
import uuid
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any, NamedTuple

import pytest
from django.db.models import Q
from django.test import override_settings
from django.utils.functional import SimpleLazyObject
from django.utils.translation import gettext_lazy
from django.views.debug import SafeExceptionReporterFilter
from hypothesis import given, settings
from hypothesis import strategies as st

from cachedeco import Namespace, cached_query, cached_query_many, mode, rows
from cachedeco.keys.encoders import encode
from cachedeco.keys.signatures import parameters_of
from cachedeco.runtime.conf import PARSERS
from cachedeco.runtime.reprs import (
    HIDDEN,
    LONGEST,
    format_arguments,
    hide_secrets,
    is_secret,
    mask_credentials,
    repr_of,
    shorten_error,
)
from tests.models import Club, UuidThing
from tests.support.cases import in_one_test
from tests.support.selection import of_length

MARKER = "hunter2"
SECRET_NAMES = ["password", "passwd", "pwd", "api_key", "token", "csrf_token", "Authorization", "session_id", "Cookie"]


class Telling:
    """A class that tells all."""

    def __init__(self, password: str = MARKER) -> None:
        """Keep the secret."""
        self.password = password

    def __repr__(self) -> str:
        """Return a page, with the secret in it."""
        return f"<Telling password={self.password} {'x' * 2_000}>"

    __str__ = __repr__


@dataclasses.dataclass
class Login:
    """A class with a repr by Python, which calls those of its fields."""

    password: str = MARKER


class Endless(list[int]):
    """A list that never ends."""

    def __iter__(self) -> Iterator[int]:
        """Yield for ever."""
        while True:
            yield 1

    def __repr__(self) -> str:
        """Never end."""
        return ", ".join(map(str, self))


class Raising:
    """A class that can't even be shown, or asked for its class."""

    def __repr__(self) -> str:
        """Raise."""
        raise LookupError

    @property  # type: ignore[misc]
    def __class__(self) -> type:  # type: ignore[override]
        """Raise."""
        raise LookupError


class Status(enum.Enum):
    """An enum with a value that no message needs."""

    OPEN = MARKER


class Zone(dt.tzinfo):
    """A zone that can't be shown."""

    __repr__ = Raising.__repr__


def unlucky() -> object:
    """Raise, where a lazy object fetches its row."""
    raise LookupError


HOSTILE: dict[str, Callable[[], Any]] = {
    "repr with a secret": Telling,
    "dataclass": Login,
    "list that never ends": Endless,
    "repr that raises": Raising,
    "QuerySet": Club.objects.all,
    "rows of a search": lambda: Club.objects.filter(name=MARKER),
    "raw query": lambda: Club.objects.raw("SELECT 1", [MARKER]),
    "condition": lambda: Q(name=MARKER),
    "lazy row": lambda: SimpleLazyObject(unlucky),
    "row": lambda: Club(pk=7, name=MARKER),
    "partial": lambda: functools.partial(print, MARKER),
    "bound method": lambda: Telling().__repr__,
    "exception": lambda: ValueError(MARKER),
    "enum member": lambda: Status.OPEN,
    "zone": lambda: dt.datetime(2026, 1, 1, tzinfo=Zone()),
    "Counter": lambda: Counter([Club(pk=7, name=MARKER)]),  # its keys may be named one by one: a row says its own
    "class": lambda: Telling,
}


WRAPS = [lambda value: value, lambda value: [value], lambda value: {1: (value, 2)}]


@in_one_test(product(HOSTILE.values(), WRAPS))
def test_code_of_the_user_is_not_run(make: Callable[[], Any], wrap: Callable[[Any], Any]) -> None:
    """A message has the name of a class alone, and runs no code of it and no query: here is no database."""
    shown = repr_of(wrap(make()))

    assert (True, False) == (len(shown) <= LONGEST, MARKER in shown)


@in_one_test(
    [
        (None, "None"),
        (True, "True"),
        (7, "7"),
        (-1.5, "-1.5"),
        ("a'b", '"a\'b"'),
        ("a\nb\x00", r"'a\nb\x00'"),
        (b"\xff", r"b'\xff'"),
        (10**5000, "<int of 16610 bits>"),
        ("x" * 101, f"'{'x' * 100}'..."),
        ((), "()"),
        ((1,), "(1,)"),
        ([1, "a"], "[1, 'a']"),
        ({1}, "{1}"),
        (frozenset({1}), "frozenset({1})"),
        (deque([1]), "deque([1])"),
        ({"a": None}, "{'a': None}"),
        (OrderedDict(a=1), "OrderedDict({'a': 1})"),
        ([1] * 1000, "[1, 1, 1, 1, 1, 1, ...]"),
        ([[[[[1]]]]], "[[[[[...]]]]]"),
        (dt.date(2026, 11, 22), "datetime.date(2026, 11, 22)"),
        (dt.datetime(2026, 11, 22, tzinfo=dt.UTC), repr(dt.datetime(2026, 11, 22, tzinfo=dt.UTC))),
        (decimal.Decimal("1.0"), "Decimal('1.0')"),
        (uuid.UUID(int=7), "UUID('00000000-0000-0000-0000-000000000007')"),
        (Status.OPEN, "Status.OPEN"),
        (Club(pk=7, name="North"), "<Club pk=7>"),
        (Club(name="North"), "<Club pk=None>"),
        (Club, "<class 'tests.models.Club'>"),
        (len, "<built-in function len>"),
        (unlucky, f"<function {__name__}.unlucky>"),
        (object(), "<object object>"),
        (Telling(), f"<{__name__}.Telling object>"),
        (gettext_lazy("a"), "<django.utils.functional.lazy.<locals>.__proxy__ object>"),
        (["password", MARKER], f"['password', {HIDDEN}]"),
        ("host=db password=hunter2 x", f"'host=db password={HIDDEN}"),
        (b'{"token": "hunter2"}', f'b\'{{"token":{HIDDEN}'),
    ]
)
def test_value_is_shown(value: object, shown: str) -> None:
    """A plain value is shown as in Python; a row by its primary key; all else by its class."""
    assert shown == repr_of(value)


def test_row_whose_primary_key_is_secret_is_shown_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows of some models are named by a secret, as those of sessions are."""
    monkeypatch.setattr(Club._meta.pk, "name", "session_key")

    assert f"<Club pk={HIDDEN}>" == repr_of(Club(pk=7))


def test_row_that_can_not_be_asked_for_its_primary_key_has_its_class() -> None:
    """A message never fails: a row may not even know its primary key."""

    class Keyless(UuidThing):
        class Meta:
            app_label = "tests"
            proxy = True

        @property
        def pk(self) -> Any:
            raise LookupError

        @pk.setter
        def pk(self, value: Any) -> None:
            """Take any."""

    assert "Keyless object>" in repr_of(Keyless())


AUTHORS = ["author_token", "authorization", "authentication", "auth", "api_keyword", "passengers_password"]


@in_one_test([*SECRET_NAMES, "user.password", "HTTP_COOKIE", "credentials", "signature", "SECRET", *AUTHORS])
def test_name_that_sounds_secret_hides_its_value(name: str) -> None:
    """By the names that Django hides, and some more, however they are written."""
    assert (True, HIDDEN, f"a: 1, {name}={HIDDEN}") == (
        is_secret(name),
        repr_of(MARKER, name),
        hide_secrets(f"a: 1, {name}={MARKER} b=2"),
    )


@in_one_test(
    [
        "",
        "club",
        "page",
        "number",
        "city",
        "author",
        "co_authors",
        "bookAuthor",
        "keyword",
        "passenger",
        "capital",
        "AuthenticationError",
    ]
)
def test_name_that_does_not_sound_secret_hides_nothing(name: str) -> None:
    """What is plainly no secret is shown."""
    assert (False, "'a'", f"{name}=a") == (is_secret(name), repr_of("a", name), hide_secrets(f"{name}=a"))


class OwnFilter(SafeExceptionReporterFilter):
    """A filter of a project's own."""

    hidden_settings = __import__("re").compile("iban|author")


@pytest.mark.parametrize(
    ("path", "expected"), [(f"{__name__}.OwnFilter", [True, True, False]), ("no.such.filter", [False, False, True])]
)
def test_names_are_those_of_the_filter_of_the_project(path: str, expected: list[bool]) -> None:
    """What a project hides in Django's error reports is hidden here; a filter that can't be imported breaks nothing."""
    from django.views import debug

    debug.get_default_exception_reporter_filter.cache_clear()
    try:
        with override_settings(DEFAULT_EXCEPTION_REPORTER_FILTER=path):
            found = [is_secret("iban"), is_secret("author"), is_secret("api")]
    finally:
        debug.get_default_exception_reporter_filter.cache_clear()

    assert expected == found


def test_arguments_are_shown_by_their_parameters() -> None:
    """An argument is hidden by the name of its parameter, wherever it stands; one without a name is shown."""

    def log_in(user: str, password: str, /, *tokens: str, pin: int = 0, **more: str) -> None: ...

    shown = format_arguments(parameters_of(log_in), ("ann", MARKER, MARKER, MARKER), {"pin": 7, "api_key": MARKER})

    assert f"'ann', {HIDDEN}, {HIDDEN}, {HIDDEN}, pin=7, api_key={HIDDEN}" == shown
    assert "1, {}" == format_arguments((), (1, {}), {})


# --- no message of any refusal shows a secret, or more than 200 characters of a value ---


@cached_query
def by_token(token: object) -> object:
    """Take what is secret."""
    return token


@cached_query(namespace="user:{token}")
def in_namespace(token: object) -> object:
    """Name a namespace by what is secret."""
    return token


@cached_query_many(over="tokens")
def by_tokens(tokens: object) -> dict[object, object]:
    """Take many secrets."""
    return {tokens: None}


def plain(number: int) -> int:
    """Be decorated."""
    return number


def given_nowhere(value: object) -> object:
    """Decorate the value itself."""
    return cached_query()(value)  # type: ignore[call-overload]


def shown_as_calls(value: object) -> object:
    """Show calls, and what is bound, instead of raising."""
    calls = [by_token.call(value), by_token.call(token=value), in_namespace.call(value), by_tokens.call(value)]
    bound = cached_query(name="tests.reprs.bound")(by_token.uncached.__get__(value)) if value is not None else None
    raise TypeError(repr([*calls, bound, Namespace("token", MARKER)]))


REFUSALS: dict[str, Callable[[Any], object]] = {
    "argument": by_token,
    "argument inside": lambda value: by_token([value]),
    "argument of a namespace": in_namespace,
    "key": by_token.key_for,
    "invalidation": by_token.invalidate,
    "ids": by_tokens,
    "ids of a verb": by_tokens.invalidate,
    "encode": encode,
    "namespace": Namespace,
    "mode": mode,
    "rows()": lambda value: rows(value, club=value),
    "the model of rows()": lambda value: cached_query(depends_on=[rows(value, pk="{number}")])(plain),
    "decorated": given_nowhere,
    "positional": lambda value: cached_query(value)(plain),
    "over": lambda value: cached_query_many(over=value)(plain),
    "shown": shown_as_calls,
    **{
        f"{option}=": functools.partial(lambda option, value: cached_query(**{option: value})(plain), option)
        for option in [
            "timeout",
            "key",
            "ignore",
            "vary",
            "namespace",
            "depends_on",
            "cache",
            "using",
            "version",
            "name",
            "stale_while_revalidate",
            "stale_if_error",
            "early",
            "jitter",
            "wait",
            "nested",
            "serializer",
            "audit",
            "cache_if",
            "cache_exceptions",
        ]
    },
    **{
        f"depends_on=[{n}]": functools.partial(lambda n, value: cached_query(depends_on=n(value))(plain), n)
        for n in (list, tuple)
    },
    # Python shows the path of a module that it can't import.
    **{f"CACHEDECO[{name}]": parse for name, parse in PARSERS.items() if name != "VARY"},
}


class Hostile(NamedTuple):
    """Stands for a value that Hypothesis must not show."""

    name: str


def with_hostile(value: Any) -> Any:
    """Return a value with what stands for others replaced by these."""
    if isinstance(value, Hostile):
        return HOSTILE[value.name]()
    if isinstance(value, dict):
        return {key: with_hostile(item) for key, item in value.items()}
    return type(value)(map(with_hostile, value)) if isinstance(value, list | tuple) else value


SECRETS = st.sampled_from([MARKER, f"{MARKER} {'y' * 300}", Hostile("repr with a secret"), Hostile("dataclass")])
LONG = st.sampled_from(["x" * 2_000, b"x" * 2_000, "x\n" * 1_000, ["x" * 2_000], {1: "x" * 2_000}])
VALUES = st.recursive(
    st.one_of(
        LONG,
        st.sampled_from([Hostile(name) for name in HOSTILE if name not in {"class", "list that never ends"}]),
        st.sampled_from([1.5, None]),
        st.dictionaries(st.sampled_from(SECRET_NAMES), SECRETS, min_size=1),
        st.builds("{}={}".format, st.sampled_from(SECRET_NAMES), st.just(MARKER)),
        st.tuples(st.sampled_from(SECRET_NAMES), SECRETS),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.integers(), inner, max_size=3), st.tuples(inner)
    ),
    max_leaves=4,
)


@settings(max_examples=of_length(15, soak=500), deadline=None)
@given(value=VALUES)
def test_no_refusal_shows_a_secret_or_a_page(value: Any) -> None:
    """In each refusal there is no secret that a name tells, no more than 200 characters of the value."""
    given_value = with_hostile(value)
    for name, refuse in REFUSALS.items():
        try:
            refuse(given_value)
        except Exception as error:  # noqa: BLE001 -- to fetch ids may raise anything
            message = str(error)
            is_argument = not name.startswith("CACHEDECO")  # settings are checked one by one, without the names above
            assert (name, False, False) == (
                name,
                is_argument and MARKER in message,
                "x" * 201 in message or r"x\n" * 67 in message,
            )


class Mute(Exception):  # noqa: N818 -- what a project may have
    """An exception that can't be told."""

    def __str__(self) -> str:
        """Fail."""
        raise RuntimeError


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (ValueError("no"), "ValueError: no"),
        (ValueError(), "ValueError"),
        (ValueError("first\n\tsecond\r\n"), "ValueError: first second"),
        (ValueError(f"password={MARKER}"), "ValueError: password=***"),
        (ValueError(f"at redis://:{MARKER}@host:1/0 now"), "ValueError: at redis://***@host:1/0 now"),
        (ValueError("x" * 100_000), f"ValueError: {'x' * (LONGEST - 3)}..."),
        (Mute(), "Mute"),
        (KeyError("a"), "KeyError: 'a'"),
    ],
    ids=["text", "no text", "lines", "secret", "URL", "long", "can't be told", "key"],
)
def test_exception_is_shown_in_a_line(error: Exception, shown: str) -> None:
    """Any text that a class of the project gives is short, in one line, and without secrets."""
    assert shown == shorten_error(error)


def test_repr_is_no_standard_one() -> None:
    """Python's own way to shorten a repr calls that of each class, and so shows its secret."""
    assert MARKER in reprlib.repr([Login()])


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("10.0.0.1:11211", "10.0.0.1:11211"),
        ("redis://10.0.0.1:6379/0", "redis://10.0.0.1:6379/0"),
        ("redis://ann:hunter2@10.0.0.1:6379/0", "redis://***@10.0.0.1:6379/0"),
        ("rediss://:hun/ter@2@10.0.0.1/0", "rediss://***@10.0.0.1/0"),
        ("redis://h/0?password=hunter2&db=3", "redis://h/0?password=***&db=3"),
        ("redis://h/0?pass%77ord=hunter2", "redis://h/0?pass%77ord=***"),
        ("unix:///run/redis.sock?db=0", "unix:///run/redis.sock?db=0"),
        ("redis://a:hunter2@h1/0, redis://b:hunter2@h2/0", "redis://***@h1/0, redis://***@h2/0"),
        ("/var/tmp/cache", "/var/tmp/cache"),  # noqa: S108 -- a text
        # Each in one pass: in steps that grow with the square these would take a minute.
        *((mark * 200_000, mark * 200_000) for mark in ("://", "?")),
    ],
    ids=lambda text: text[:60],
)
def test_location_has_no_password(location: str, expected: str) -> None:
    """Neither before a host nor as a parameter."""
    assert expected == mask_credentials(location)


def test_error_has_no_value() -> None:
    """A Redis that does not know a command repeats what the command was to store."""
    error = OSError(f"unknown command 'SET', with args beginning with: 'key' '{MARKER}' 'EX' ")

    assert "OSError: unknown command 'SET'" == shorten_error(error)


def test_error_has_no_password() -> None:
    """Of a client that says the URL which it can't use."""
    long = f"redis://:{'hunter2' * 40}@h/0"

    assert ["OSError: can't reach redis://***@h/0", "OSError: redis://***@h/0", "OSError"] == [
        shorten_error(OSError(text)) for text in ("can't reach redis://:hunter2@h/0", long, "")
    ]
