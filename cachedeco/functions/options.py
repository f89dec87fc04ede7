"""Options of the decorators: the type, default, check and documentation of each, stated once."""

import re
from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter, Signature, cleandoc
from textwrap import dedent, indent
from types import MappingProxyType, NoneType
from typing import Annotated, Any, Final, NamedTuple, TypedDict, get_args, get_type_hints

from django.db import DEFAULT_DB_ALIAS

from cachedeco.keys.compiler import KeyOption, NamespaceOption
from cachedeco.keys.dependencies import DependsOn
from cachedeco.runtime.reprs import describe, repr_of
from cachedeco.runtime.validation import (
    UNSET,
    Seconds,
    Unset,
    beta_of,
    check_arguments,
    check_returns,
    flag_of,
    fraction_of,
    remedy_for,
    seconds_of,
    span_of,
)
from cachedeco.storage.serializers import SerializerOption, check_serializer

Timeout = Seconds | None | Callable[[Any], Seconds | None]


def always(_value: object) -> bool:
    """Store every value."""
    return True


# --- checks: each takes the function's name, the option's name and the value ---


def _check_kind(*kinds: type, taken: str) -> Callable[[str, str, Any], None]:
    def check(function: str, option: str, value: object) -> None:
        if not isinstance(value, kinds) or isinstance(value, bool):
            msg = f"{option}={repr_of(value)} for {function}(); it takes {taken}."
            raise TypeError(msg)

    return check


def _check_by(parse: Callable[..., object]) -> Callable[[str, str, Any], None]:
    def check(function: str, option: str, value: object) -> None:
        if value is not UNSET:
            parse(value, what=f"{option} for {function}()")

    return check


def _check_names(function: str, option: str, value: object) -> None:
    if isinstance(value, str):
        names = re.findall(r"[^\W\d]\w*", value)
        example = f": {repr_of((*names,))}" if names else ""
        msg = f"{option}={repr_of(value)} for {function}() is a text; it takes a sequence of names{example}."
        raise TypeError(msg)
    if not isinstance(value, list | tuple | set | frozenset):
        none = ", or () for none" if value is None else ""
        msg = f"{option}={repr_of(value)} for {function}(); it takes a sequence of names: ('request',){none}."
        raise TypeError(msg)


def _check_timeout(function: str, option: str, value: Any) -> None:
    if callable(value):
        _check_predicate(function, option, value)
    elif value is not UNSET and seconds_of(value, what=f"{option} for {function}()", or_callable=True) == 0:
        msg = (
            f"timeout=0 for {function}() would store nothing; use bypass(), or a callable that gives 0 for some values."
        )
        raise ValueError(msg)


def _check_exceptions(function: str, option: str, value: Any) -> None:
    if not isinstance(value, Mapping):
        taken = "a mapping of exceptions to timeouts: {Http404: 60}"
        msg = f"{option}={repr_of(value)} for {function}(); it takes {taken}."
        raise TypeError(msg)
    for kind, timeout in value.items():
        if not isinstance(kind, type):
            given = describe(kind) if isinstance(kind, BaseException) else repr_of(kind)
            msg = f"{option}= for {function}() names {given}, which is no class; it takes classes: {{Http404: 60}}."
            raise TypeError(msg)
        if not issubclass(kind, Exception):
            msg = f"{option}= for {function}() names {kind.__name__}, which is no subclass of Exception."
            raise TypeError(msg)
        if seconds_of(timeout, what=f"the timeout of {kind.__name__} in {option} for {function}()") == 0:
            msg = (
                f"{option}= for {function}() gives {kind.__name__} the timeout 0, which stores nothing; leave it out, "
                "and each class above it."
            )
            raise ValueError(msg)


def _check_predicate(function: str, option: str, value: object) -> None:
    if not callable(value):
        msg = f"{option}={repr_of(value)} for {function}(); it takes a callable of the value."
        raise TypeError(msg)
    what = f"{option} for {function}()"
    check_returns(value, what=what)
    check_arguments(value, None, what=what, advice="it is called with the value alone")


def _leave_to_keys(_function: str, _option: str, _value: object) -> None:
    """Accept every value: the keys check this option, since they know the parameters of the function."""


class Option(NamedTuple):
    """Default and check of one option."""

    default: Any
    check: Callable[[str, str, Any], None]


# Type checkers read the types; the decorators read the defaults and checks.
class CacheOptions(TypedDict, total=False):
    """
    The options of both decorators: annotate `**options: Unpack[CacheOptions]` in a decorator of your own.

    A new option is one line below, one entry here, and a row in docs/reference/options.md.

    Args:
        timeout: How long an entry is fresh: seconds, a timedelta, None (until it is invalidated, for 30 days
            at most), or a callable of the value that gives one of these (0: don't store). Default: the
            setting `TIMEOUT`, else the alias's own. In `cached_query` a number or a timedelta may be
            positional; all else is a keyword.

        key: Distinguishes calls. None: every argument. A template, "{club.pk}:{page}". A callable that
            takes some of the parameters by name, and gives any value that can be in a key.

        ignore: Names of parameters, and of variables of the enclosing function, that do not change the
            value.

        vary: Other data that the value depends on: a callable of no or some of the parameters, or several.
            One `invalidate()` reaches all variants.

        namespace: Namespaces that invalidate the entry together with others: a `Namespace`, a template,
            "club:{club.pk}", a callable that gives a Namespace or several, or a sequence of these.

        depends_on: What invalidates the entry when it is written: AUTO for the tables that the function reads;
            models, each a class or "app_label.Model"; rows(ClubClass, club="{club.pk}") for the rows with
            this value alone. Default: the setting `DEPENDS_ON`.

        cache: Alias of the cache, one of the setting `ALIASES`. Default: the first of them.

        using: Alias of the database whose transaction invalidations wait for. They go out once more at the commits of
            other databases whose transactions are open in the thread.

        version: Change it when the meaning of the value changes: entries of another version are not seen.

        name: Stable name for keys and statistics. Default: module and qualified name. Required for a
            lambda.

        stale_while_revalidate: RFC 5861; the setting `REFRESH` says whether the caller, a thread or a task
            refreshes. Seconds, or a timedelta, past the timeout in which the old value may be served
            meanwhile. An invalidated value is never served.

        stale_if_error: RFC 5861. Seconds, or a timedelta, past the timeout in which the old value may be
            served if the computation raises. An invalidated value is never served.

        early: XFetch's beta: how eagerly an entry is refreshed before its timeout. 0 is never, 1 the usual.

        jitter: Fraction by which each entry's timeout may be shortened at random. Default: the setting
            `JITTER`.

        wait: Longest that a caller waits for another one's computation, in seconds or as a timedelta,
            before it computes itself. With 0 a miss takes no lease. Default: the setting `WAIT`.

        nested: Whether the entry depends on the cached calls inside its computation: an invalidation of one
            of them is then a miss here too.

        serializer: How values are stored: "pickle" takes nearly everything; "json" takes plain data only,
            and reading it runs no code; or an object with `name`, `dumps()` to bytes and `loads()`. A
            changed format is a changed name.

        audit: Whether hits may be audited, as the setting `AUDIT` says. False if the value changes by
            itself.

        cache_if: Callable of the value: store only if true. Default: always.

        cache_exceptions: Exceptions to store, by class, and for how long: {Http404: 60}. Seconds, a
            timedelta, or None, as of timeout. A hit raises a copy. Such an exception is a result: it replaces an
            older value, and has no stale window. The serializer must be able to store it.
    """

    timeout: Annotated[Timeout | Unset, Option(UNSET, _check_timeout)]
    key: Annotated[KeyOption, Option(None, _leave_to_keys)]
    ignore: Annotated[Sequence[str], Option((), _check_names)]
    vary: Annotated[Callable[..., object] | Sequence[Callable[..., object]], Option((), _leave_to_keys)]
    namespace: Annotated[NamespaceOption | Sequence[NamespaceOption] | None, Option(None, _leave_to_keys)]
    depends_on: Annotated[Sequence[DependsOn] | Unset, Option(UNSET, _leave_to_keys)]
    cache: Annotated[str | None, Option(None, _check_kind(str, NoneType, taken="an alias of CACHES, or None"))]
    using: Annotated[str, Option(DEFAULT_DB_ALIAS, _check_kind(str, taken="an alias of DATABASES"))]
    version: Annotated[int | str | None, Option(None, _check_kind(int, str, NoneType, taken="an int, text or None"))]
    name: Annotated[str | None, Option(None, _leave_to_keys)]
    stale_while_revalidate: Annotated[Seconds, Option(0, _check_by(span_of))]
    stale_if_error: Annotated[Seconds, Option(0, _check_by(span_of))]
    early: Annotated[float, Option(0, _check_by(beta_of))]
    jitter: Annotated[float | Unset, Option(UNSET, _check_by(fraction_of))]
    wait: Annotated[Seconds | Unset, Option(UNSET, _check_by(span_of))]
    nested: Annotated[bool, Option(default=True, check=_check_by(flag_of))]
    serializer: Annotated[SerializerOption, Option("pickle", check_serializer)]
    audit: Annotated[bool, Option(default=True, check=_check_by(flag_of))]
    cache_if: Annotated[Callable[[Any], object], Option(always, _check_predicate)]
    cache_exceptions: Annotated[
        Mapping[type[Exception], Seconds | None], Option(MappingProxyType({}), _check_exceptions)
    ]


# What the options are called elsewhere: by django-cache-memoize, cacheops, dogpile.cache, cashews, cachetools, by
# aiocache, Flask-Caching and functools, and by servers that know stale-while-revalidate.
_ELSEWHERE: Final = {
    **dict.fromkeys(
        ("ttl", "expire", "expires", "expiration_time", "cache_timeout", "max_age", "seconds", "lifetime"), "timeout="
    ),
    **dict.fromkeys(("swr", "stale_ttl", "stale_timeout", "soft_ttl", "grace"), "stale_while_revalidate="),
    **dict.fromkeys(("beta", "xfetch"), "early="),
    **dict.fromkeys(("args_rewrite", "key_generator_callable", "key_func", "function_key_generator"), "key="),
    **dict.fromkeys(("key_builder", "make_cache_key", "cache_key", "key_template"), "key="),
    **dict.fromkeys(("args_to_ignore", "noself"), "ignore="),
    **dict.fromkeys(("prefix", "key_prefix"), "name="),
    "over": "an option of cached_query_many() alone",
    "vary_on": "vary=",
    "extra": "vary= for a callable, and version= for a constant",
    **dict.fromkeys(("tag", "tags", "group"), "namespace="),
    **dict.fromkeys(("models", "model", "dependencies", "tables"), "depends_on="),
    **dict.fromkeys(("alias", "cache_alias", "backend", "cache_name"), "cache="),
    **dict.fromkeys(("condition", "should_cache_fn", "skip_cache_func", "response_filter"), "cache_if="),
    **dict.fromkeys(("cache_none", "skip_none"), "cache_if=, as lambda value: value is not None"),
    "unless": "bypass() around the call, or cache_if= by the value",
    "forced_update": "refresh(), with the arguments of the call",
    "typed": "always so: 1 and 1.0 are two calls",
    "store_result": "a function that returns None, which is a value like any other",
    "lock": "always so: one caller computes, and wait=0 switches that off",
    "keep_fresh": "always so: what is invalidated while it is computed is never served",
    **dict.fromkeys(("timeout_lock", "lock_timeout", "wait_timeout", "lease"), "wait="),
    **dict.fromkeys(("database", "db"), "using="),
    "maxsize": "a limit of the cache itself, in CACHES or on its server",
    **dict.fromkeys(("hit_callable", "miss_callable", "on_hit", "on_miss"), "add_hook(), for all functions"),
}

_TYPES: Final = get_type_hints(CacheOptions, include_extras=True)
OPTIONS: Final[Mapping[str, Option]] = {name: get_args(hint)[1] for name, hint in _TYPES.items()}
_DEFAULTS: Final[Mapping[str, Any]] = {name: option.default for name, option in OPTIONS.items()}


def complete(options: Mapping[str, Any], decorator: str) -> dict[str, Any]:
    """
    Return the options with their defaults.

    Raises:
        TypeError: An option is unknown.
    """
    for name in options:
        if name not in OPTIONS:
            remedy = f"here it is {_ELSEWHERE[name]}." if name in _ELSEWHERE else remedy_for(name, OPTIONS)
            msg = f"{decorator}() has no option {repr_of(name)}; {remedy}"
            raise TypeError(msg)
    return {**_DEFAULTS, **options}


def check(options: Mapping[str, Any], function: str) -> None:
    """
    Check each option by itself, at decoration; a default is right.

    Raises:
        TypeError: An option is of a wrong type.
        ValueError: One is out of bounds.
    """
    for name, value in options.items():
        if value is not _DEFAULTS[name]:
            OPTIONS[name].check(function, name, value)
    if options.get("serializer") == "json" and options.get("cache_exceptions"):
        msg = (
            f"serializer='json' for {function}() keeps plain data only, and cache_exceptions= stores exceptions; leave "
            "one of the two out."
        )
        raise ValueError(msg)


def signature_of(*first: Parameter) -> Signature:
    """Return the signature that `help()` and editors show: these parameters, then each option with its default."""
    options = [
        Parameter(name, Parameter.KEYWORD_ONLY, default=OPTIONS[name].default, annotation=get_args(hint)[0])
        for name, hint in _TYPES.items()
    ]
    return Signature([*first, *options])


def add_option_docs(docstring: str) -> str:
    """Return a docstring with `{options}` replaced by the entries of all options."""
    entries = cleandoc(CacheOptions.__doc__ or "").partition("Args:\n")[2]
    # Python 3.13 removes the indentation from docstrings; earlier versions keep it.
    return cleandoc(docstring).replace("    {options}", indent(dedent(entries), " " * 4))


def as_tuple(option: object) -> tuple[Any, ...]:
    """Return an option that takes one or a sequence as a tuple."""
    if option is None:
        return ()
    return tuple(option) if isinstance(option, list | tuple) else (option,)
