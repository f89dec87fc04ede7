"""
Refuse values that no entry may hold: what belongs to one visitor, is good for one use, or does its work at each hit.

They are known by the dotted names of their classes, subclasses included, so that nothing is imported to find them.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, NamedTuple

# What `{% csrf_token %}` renders, as text in a pickle or in JSON.
_CSRF_NAME: Final = b"csrfmiddlewaretoken"
_CSRF_FIELD: Final = re.compile(rb'csrfmiddlewaretoken\\?" value=\\?"[0-9A-Za-z]{64}')

VIEWS: Final = (
    "Views are not for this decorator: let a function return the data, decorate that, and call it in the view; or "
    "cache the whole response with Django's cache_page()."
)


def _always(_: object) -> bool:
    return True


def _has_query(value: Any) -> bool:
    """Tell whether a page, or its paginator, has a QuerySet behind it."""
    return _is_query(getattr(getattr(value, "paginator", value), "object_list", None))


def _shows_query(table: Any) -> bool:
    return _is_query(table.data.data)


def _is_query(rows: object) -> bool:
    return any(path_of(base).startswith("django.db.models.query.") for base in type(rows).__mro__)


class ValueOrigin(NamedTuple):
    """Who has given a value, for errors."""

    function: str
    is_given: bool = False  #: by the caller, to `set()`; else the function has returned it

    @property
    def subject(self) -> str:
        """The beginning of a sentence about the value."""
        return f"set() of {self.function}() was given" if self.is_given else f"{self.function}() returned"

    @property
    def give(self) -> str:
        """The verb for another value in its place."""
        return "pass" if self.is_given else "return"


class Refusal(NamedTuple):
    """Why values of a class are refused, and what to return instead."""

    why: str  #: what follows "which"; "{give}" stands for the verb
    applies: Callable[[Any], bool] = _always


_PAGE: Final = Refusal(
    "has a QuerySet behind it, and all its rows would be stored; {give} list(page.object_list), and the numbers that "
    "are needed beside it.",
    _has_query,
)
RESPONSE: Final = Refusal(
    f"has cookies and headers for one visitor, and a hit would give them to the next one. {VIEWS}"
)
REQUEST: Final = Refusal("belongs to one visitor, and a hit would give it to the next one; {give} the data alone.")
VIEW: Final = Refusal("holds the request of one visitor; {give} the data alone, from a function outside the class.")
_OF_ONE_VISITOR: Final = Refusal(REQUEST.why)
_GENERATOR: Final = Refusal("can be used only once; {give} a list.")
_REFUSALS: Final = {
    "django.http.response.HttpResponseBase": RESPONSE,
    "django.http.request.HttpRequest": REQUEST,
    "rest_framework.request.Request": REQUEST,
    "django.http.request.HttpHeaders": _OF_ONE_VISITOR,
    "django.contrib.sessions.backends.base.SessionBase": _OF_ONE_VISITOR,
    "graphql.type.definition.GraphQLResolveInfo": _OF_ONE_VISITOR,  # its context is the request
    "strawberry.types.info.Info": _OF_ONE_VISITOR,  # has one
    "http.cookies.BaseCookie": _OF_ONE_VISITOR,
    "http.cookies.Morsel": _OF_ONE_VISITOR,
    "django.template.context.BaseContext": _OF_ONE_VISITOR,
    "django.views.generic.base.View": VIEW,
    **{f"django.core.paginator.{name}": _PAGE for name in ("Page", "AsyncPage", "Paginator", "AsyncPaginator")},
    "django_filters.filterset.BaseFilterSet": Refusal("would query again at each hit; {give} its qs."),
    "django_tables2.tables.Table": Refusal(
        "has a QuerySet behind it, and all its rows would be stored; {give} the rows of one page, and make the table "
        "of them.",
        _shows_query,
    ),
    "rest_framework.serializers.BaseSerializer": Refusal("would serialize anew at each hit; {give} its data."),
    "django.db.models.query.RawQuerySet": Refusal("would query again at each hit; {give} list(...) of it."),
    "django.db.models.manager.BaseManager": Refusal("would query again at each hit; {give} its all()."),
    "django.db.backends.utils.CursorWrapper": Refusal("can be used only once; {give} its rows: cursor.fetchall()."),
    "builtins.generator": _GENERATOR,
    "builtins.async_generator": _GENERATOR,
    "builtins.coroutine": Refusal("can be used only once; {give} what it awaits."),
}


class RefusedValueError(TypeError):
    """A part of a value must not be stored: a fault of the function that returned it."""

    def __init__(self, part: object, why: str) -> None:
        """Keep the class of the part, and why it is refused."""
        self.part = _with_article(type(part))
        self.why = why
        super().__init__(f"{self.part}, which {why.format(give='return')}")

    def explain(self, origin: ValueOrigin, value: object) -> TypeError:
        """Return the error for who has given the value."""
        whole, why = _with_article(type(value)), self.why.format(give=origin.give)
        return TypeError(f"{origin.subject} {whole} with {self.part} in it, which {why}")


def refuse_value(origin: ValueOrigin, value: object) -> None:
    """
    Refuse a value for its class alone: `refuse_part()` is for what is in it.

    Raises:
        TypeError: It must not be stored.
    """
    refusal = _refusal_of(value)
    if refusal is not None:
        msg = f"{origin.subject} {_with_article(type(value))}, which {refusal.why.format(give=origin.give)}"
        raise TypeError(msg)


def refuse_part(part: object) -> None:
    """
    Refuse a part of a value.

    Raises:
        RefusedValueError: It must not be stored.
    """
    refusal = _refusal_of(part)
    if refusal is not None:
        raise RefusedValueError(part, refusal.why)


def has_csrf_token(data: bytes) -> bool:
    """
    Tell whether a serialized value has a rendered CSRF token in it: the next visitor's form would be rejected.

    That is no `TypeError`: a text of a visitor may look so.
    """
    return _CSRF_NAME in data and _CSRF_FIELD.search(data) is not None


def is_view(cls: type) -> bool:
    """Tell whether a class is one of Django's class-based views, or of Django REST framework's."""
    return _refusal_for(cls) is VIEW


def is_request(cls: type) -> bool:
    """Tell whether objects of a class are requests."""
    return _refusal_for(cls) is REQUEST


def is_response(cls: type) -> bool:
    """Tell whether objects of a class are responses."""
    return _refusal_for(cls) is RESPONSE


def belongs_to_visitor(cls: type) -> bool:
    """Tell whether objects of a class are of one visitor: views, requests, responses, sessions, cookies."""
    return _refusal_for(cls) in (VIEW, REQUEST, RESPONSE, _OF_ONE_VISITOR)


def _refusal_of(value: object) -> Refusal | None:
    refusal = _refusal_for(type(value))  # and not isinstance(): a lazy object names the class of what is in it
    return refusal if refusal is not None and refusal.applies(value) else None


def _refusal_for(cls: type) -> Refusal | None:
    try:
        return _known_refusal(cls)
    except TypeError:  # its metaclass compares classes, and has no hash for them
        return _find_refusal(cls)


def _find_refusal(cls: type) -> Refusal | None:
    return next((_REFUSALS[name] for base in cls.__mro__ if (name := path_of(base)) in _REFUSALS), None)


# Bounded, so that classes made at run time are collected in the end.
_known_refusal = lru_cache(maxsize=1024)(_find_refusal)

# Private modules, by which classes call themselves in some versions of Python.
_PUBLIC_MODULES: Final = {"pathlib._local": "pathlib", "zoneinfo._zoneinfo": "zoneinfo"}


def path_of(cls: type) -> str:
    """Return the dotted name of a class, the same in each version of Python."""
    module = cls.__module__
    return f"{_PUBLIC_MODULES.get(module, module)}.{cls.__qualname__}"


def _with_article(cls: type) -> str:
    name = cls.__name__
    return f"{'an' if name[:1] in {*'AEIOUaeiou'} or name.startswith('Http') else 'a'} {name}"
