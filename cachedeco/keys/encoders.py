"""
Encoders: turn a value into unambiguous text, by the table of types that can be in a cache key.

The end of each text is unambiguous, so texts put side by side can't be read in two ways::

    7   -1.5   True   None          bare words
    5'hello   4b00ff                length, quote or b, that many characters
    (1,2)   [1,2]   {5'a=1}         tuple, list, dict
    datetime.date(10'2026-11-22)    others: the name of the type, its identity in parentheses
    clubs.Club:7                    a saved row: the label of its concrete model and its primary key
    clubs.Club:7!read:other;        one of another database than the default one
    clubs.Club:7!read:default:...;  one with values beside its fields, as annotate() gives them
"""

import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import ipaddress
import pathlib
import re
import sys
import types
import uuid
import zoneinfo
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import lru_cache, partial
from traceback import walk_tb
from typing import Any, Final, TypeVar

from django.db.models import Manager, Model, Q, QuerySet
from django.db.models.expressions import Combinable
from django.utils.datastructures import MultiValueDict
from django.utils.functional import LazyObject, Promise, empty
from django.utils.safestring import SafeString

from cachedeco.invalidation import identities
from cachedeco.keys.places import IN_MEMORY, holds_place, is_place
from cachedeco.keys.refusals import KeyTypeError, refusal_of, refuse, refuse_expression, refuse_function, refuse_query
from cachedeco.keys.saved_rows import cached_properties, encode_anonymous, encode_held, encode_row
from cachedeco.keys.signatures import parameters_of
from cachedeco.keys.special_fields import IDENTITIES
from cachedeco.runtime.reprs import repr_of
from cachedeco.runtime.validation import check_arguments, check_returns
from cachedeco.storage.refusals import path_of

# A value that is nested so deeply is to blame where the stack ends; else its caller is.
DEEP: Final = 20

# The beginnings of the texts of builtins; those of all other types begin with a name.
_BEGINNINGS: Final = (
    ("None", re.compile("None")),
    ("bool", re.compile("True|False")),
    ("int", re.compile(r"-?\d+")),
    ("str", re.compile(r"\d+'.*", re.DOTALL)),
    ("bytes", re.compile(r"\d+b.*", re.DOTALL)),
    ("float", re.compile(r"-?[\d.]+(e[-+]?\d+)?|-?inf|nan")),
    ("tuple", re.compile(r"\(.*", re.DOTALL)),
    ("list", re.compile(r"\[.*", re.DOTALL)),
    ("dict", re.compile(r"\{.*", re.DOTALL)),
)
_NAME: Final = re.compile(r"[^(:]*")
# In a frozen test a date of code written in C, as of a database's client, is Python's, and all others are freezegun's.
_FREEZEGUN: Final = {
    "freezegun.api.FakeDate": "datetime.date",
    "freezegun.api.FakeDatetime": "datetime.datetime",
}

T = TypeVar("T")
Encoder = Callable[[Any], str]


class _Table(dict[type, Encoder]):
    """Encoders by exact type: a subclass may add data that the encoder of its base would ignore."""

    def __missing__(self, cls: type) -> Encoder:
        """Look for the encoder by other rules, and store nothing: a class made at run time must not be kept alive."""
        return _encoder_for(cls)


_encoders = _Table()
# Encoders that users registered: for the class and its subclasses.
_registered: dict[type, Encoder] = {}


def encode(value: object) -> str:
    """
    Return text that no other value has, the same in every process.

    Raises:
        KeyTypeError: No text can identify the value.
    """
    return _encoders[type(value)](value)


def kind_of_text(text: str) -> str:
    """Return the type of a value, for advice, by its encoded text; of a row, the label of its model."""
    named = _NAME.match(text)
    return next((kind for kind, pattern in _BEGINNINGS if pattern.fullmatch(text)), named[0] if named else "")


def is_deep(error: RecursionError) -> bool:
    """Tell whether the stack has ended in a value that contains itself, or values in values many times over."""
    codes = [frame.f_code for frame, _ in walk_tb(error.__traceback__)]
    own = encode.__code__, encode_held.__code__
    return sum(code in own or code.co_name == "__cache_key__" for code in codes) > DEEP


def encodes(*classes: type) -> Callable[[Encoder], Encoder]:
    """Register an encoder for values of exactly these types."""

    def register(encoder: Encoder) -> Encoder:
        for cls in classes:
            _encoders[cls] = encoder
        return encoder

    return register


def register_key_type(cls: type[T], identity: Callable[[T], object]) -> None:
    """
    Let instances of a class, and of its subclasses, be in cache keys.

    ::

        register_key_type(Money, lambda money: (money.amount, money.currency))

    Call it where the class is defined, or in `AppConfig.ready()`. A class of your own can have a method
    `__cache_key__(self)` instead, which returns the identity.

    Args:
        cls: The class.

        identity: Returns what distinguishes two instances: any value that can be in a key itself.

    Raises:
        TypeError: The first is no class, or `object`; or the second can't be called with an instance, or is async, or a
            generator function.
    """
    if cls is object:
        msg = "register_key_type() takes a class, and not object, which is the base of all others."
        raise TypeError(msg)
    if not isinstance(cls, type) or not callable(identity):
        msg = f"register_key_type() takes a class and a callable, not {repr_of(cls)} and {repr_of(identity)}."
        raise TypeError(msg)
    what = "the callable of register_key_type()"
    check_returns(identity, what=what)
    check_arguments(identity, None, what=what, advice="it is called with the value")
    _encoders.pop(cls, None)
    _registered[cls] = lambda value: _encode_by_identity(value, identity(value))
    _encoder_for.cache_clear()


def _encode_by_identity(value: object, identity: object) -> str:
    """Return the text of an object whose class, or whose user, says what distinguishes it."""
    text = encode(identity)
    if is_place(identity, value) or holds_place(text, [value]):
        raise KeyTypeError(value, IN_MEMORY)
    return f"{path_of(type(value))}({text})"


# Bounded, so that classes made at run time are collected in the end.
@lru_cache(maxsize=1024)
def _encoder_for(cls: type) -> Encoder:  # noqa: PLR0911 -- one return for each rule, in their order
    """Find the encoder of a class: its own method, what users registered, its kind, the table."""
    if callable(getattr(cls, "__cache_key__", None)):
        return lambda value: _encode_by_identity(value, value.__cache_key__())
    for base in cls.__mro__:
        if base in _registered:
            return _registered[base]
    for kind, encoder in _KINDS.items():
        if issubclass(cls, kind):
            return encoder
    if path_of(cls) in _BY_PATH:
        return _BY_PATH[path_of(cls)]
    if refusal := refusal_of(cls):
        return refusal
    # Not inherited: a subclass of a dataclass may add data that is no field, and a dataclass that is a list has items.
    if "__dataclass_fields__" in vars(cls) and _encoders.keys().isdisjoint(cls.__mro__):
        return _encode_dataclass
    if issubclass(cls, tuple) and hasattr(cls, "_fields"):
        return _encode_namedtuple
    return _encoders.get(cls, refuse)


# --- exact types that most keys are made of ---

encodes(int)(int.__repr__)
encodes(bool, types.NoneType, types.EllipsisType, float)(repr)


@encodes(str)
def _encode_str(value: str) -> str:
    return f"{len(value)}'{value}"


@encodes(bytes, bytearray)
def _encode_bytes(value: bytes | bytearray) -> str:
    tag = "" if type(value) is bytes else "bytearray:"
    return f"{tag}{2 * len(value)}b{value.hex()}"


def _encode_all(values: Iterable[object]) -> str:
    return ",".join([encode(value) for value in values])


@encodes(tuple)
def _encode_tuple(value: tuple[object, ...]) -> str:
    return f"({_encode_all(value)})"


@encodes(list)
def _encode_list(value: list[object]) -> str:
    return f"[{_encode_all(value)}]"


@encodes(dict)
def _encode_dict(value: dict[object, object]) -> str:
    pairs = sorted((encode(key), encode(item)) for key, item in value.items())
    return "{" + ",".join([f"{key}={item}" for key, item in pairs]) + "}"


@encodes(set, frozenset)
def _encode_set(value: set[object] | frozenset[object]) -> str:
    return f"{type(value).__name__}({','.join(sorted(map(encode, value)))})"


# --- types of the standard library and of Django: the name of the type around its identity ---


def _encoder_by(identity: Callable[[Any], object]) -> Encoder:
    return lambda value: f"{path_of(type(value))}({encode(identity(value))})"


def _encodes_by(identity: Callable[[Any], object], *classes: type) -> None:
    encodes(*classes)(_encoder_by(identity))


_encodes_by(str, uuid.UUID, decimal.Decimal, fractions.Fraction, complex)
_encodes_by(str, ipaddress.IPv4Address, ipaddress.IPv4Interface, ipaddress.IPv4Network)
_encodes_by(str, ipaddress.IPv6Address, ipaddress.IPv6Interface, ipaddress.IPv6Network)
_encodes_by(str.__str__, SafeString)
_encodes_by(str, pathlib.PurePosixPath, pathlib.PureWindowsPath, pathlib.PosixPath, pathlib.WindowsPath)
_encodes_by(lambda delta: (delta.days, delta.seconds, delta.microseconds), dt.timedelta)
_encodes_by(lambda span: (span.start, span.stop, span.step), range, slice)
_encodes_by(lambda items: list(items) if items.maxlen is None else (list(items), items.maxlen), deque)
_encodes_by(lambda ordered: list(ordered.items()), OrderedDict)  # equal only in the same order, unlike a dict
_encodes_by(dict, types.MappingProxyType)
_encodes_by(lambda mapping: (mapping.default_factory, dict(mapping)), defaultdict)
_encodes_by(lambda values: dict(values.lists()), MultiValueDict)


def _path_of_moment(value: object) -> str:
    """Return the name of a type of moments: freezegun's are what they stand for."""
    path = path_of(type(value))
    return _FREEZEGUN.get(path, path)


@encodes(dt.date)
def _encode_date(value: dt.date) -> str:
    return f"{_path_of_moment(value)}({encode(str(value))})"


@encodes(dt.datetime, dt.time)
def _encode_datetime(value: dt.datetime | dt.time) -> str:
    # Two zones with the same offset today are two zones; `fold` distinguishes the repeated hour in autumn.
    zone = "" if value.tzinfo is None else f"{path_of(type(value.tzinfo))} {_zone_name(value.tzinfo)}"
    return f"{_path_of_moment(value)}({encode((value.isoformat(), value.fold, zone))})"


def _zone_name(zone: dt.tzinfo) -> str:
    nameless = type(zone).__str__ is object.__str__ and type(zone).__repr__ is object.__repr__
    if nameless or (isinstance(zone, zoneinfo.ZoneInfo) and zone.key is None):  # read from a file, without a key
        raise KeyTypeError(zone, "pass datetimes whose zone is a zoneinfo.ZoneInfo or datetime.timezone")
    return str(zone)


def _encode_lazy_object(value: Any) -> str:
    if value._wrapped is empty:  # noqa: SLF001 -- as every subclass of LazyObject in Django does
        value._setup()  # noqa: SLF001
    return encode(value._wrapped)  # noqa: SLF001


def _encode_promise(lazy: Promise) -> str:
    try:
        return encode(identities.evaluate(lazy))
    except identities.UnknownNumberError as error:
        raise KeyTypeError(lazy, error.advice, shown="a lazy text") from None


def found_by_name(value: Any) -> object:
    """Return what the module and the name of a class, function or sentinel lead to; None if that is nothing."""
    found: Any = sys.modules.get(value.__module__)
    for attribute in getattr(value, "__qualname__", value.__name__).split("."):
        found = getattr(found, attribute, None)
    return found


def _encode_class(cls: type) -> str:
    if found_by_name(cls) is cls or cls.__module__ == "builtins":
        return f"class:{path_of(cls)}()"
    if issubclass(cls, Model):
        return f"class:{cls._meta.label}:"
    # A function, as modelform_factory(), may make several classes of one name: bases, attributes, and what an instance
    # is made of distinguish them, as the fields that namedtuple() and make_dataclass() are given.
    held = {
        name: value
        for name, value in vars(cls).items()
        if not name.startswith("_")
        and (isinstance(value, type) or not (callable(value) or hasattr(type(value), "__get__")))
    }
    # Those of `EnumMeta.__call__()` are others in each version of Python.
    names = [each.name for each in parameters_of(cls)] if type(cls).__call__ is type.__call__ else []
    try:
        return f"class:{path_of(cls)}({encode((cls.__bases__, held, names))})"
    except KeyTypeError:
        advice = "its name does not lead to it, as a function has made it: pass what it is made of, or pass key="
        raise KeyTypeError(cls, advice, shown=f"the class {path_of(cls)}") from None


def _encode_sentinel(sentinel: Any) -> str:
    found: Any = found_by_name(sentinel)
    if found is not sentinel:
        raise KeyTypeError(sentinel, "its name does not lead to it: assign it to that name in its module, or pass key=")
    return f"{path_of(type(sentinel))}({encode((sentinel.__module__, sentinel.__name__))})"


def _encode_enum(member: enum.Enum) -> str:
    value = identities.plain_value(member)
    if value is not member:
        return encode(value)
    name = member.name if member.name is not None else member.value  # a combination of flags may have no name
    text = encode(name)
    if found_by_name(type(member)) is not type(member):  # a function, as Enum() itself, may make several of one name
        with suppress(KeyTypeError):
            text += f"={encode(member.value)}"
    return f"{path_of(type(member))}({text})"


def _encode_dataclass(value: Any) -> str:
    names, cls = [field.name for field in dataclasses.fields(value)], value.__class__
    if _takes_more(cls):
        # Python keeps in the last one what stood in the brackets of `Page[Club](...)`.
        beside = {*names, *cached_properties(cls), "__orig_class__"}
        names += sorted(getattr(value, "__dict__", {}).keys() - beside)
    pairs = [f"{name}={encode(getattr(value, name))}" for name in names]
    return f"{path_of(cls)}({','.join(pairs)})"


@lru_cache(maxsize=1024)
def _takes_more(cls: type) -> bool:
    """Tell whether a dataclass is made of more than its fields: an `InitVar`, or an argument of its own `__init__`."""
    names = {field.name for field in dataclasses.fields(cls)}
    return not names.issuperset([each.name for each in parameters_of(cls)])


def _encode_namedtuple(value: Any) -> str:
    if getattr(value, "__dict__", None):
        return refuse(value)
    # With their names: namedtuple() may make two classes of one name.
    pairs = [f"{name}={encode(item)}" for name, item in zip(value._fields, value, strict=True)]
    return f"{path_of(type(value))}({','.join(pairs)})"


# Encoders for a class and its subclasses, tried in this order.
_KINDS: dict[type | tuple[type, ...], Encoder] = {
    Model: partial(encode_row, encode),
    LazyObject: _encode_lazy_object,
    Promise: _encode_promise,
    enum.Enum: _encode_enum,
    type: _encode_class,
    zoneinfo.ZoneInfo: lambda zone: f"{path_of(type(zone))}({encode(_zone_name(zone))})",
    dt.timezone: lambda zone: f"{path_of(type(zone))}({encode(repr(zone))})",
    (QuerySet, Manager): refuse_query,
    (Q, Combinable): refuse_expression,
    (types.FunctionType, types.BuiltinFunctionType, types.MethodType, partial): refuse_function,
}

# By name: classes that can't be imported before the apps are ready, that may not be installed, or that only later
# versions of Python have.
_BY_PATH: dict[str, Encoder] = {
    "builtins.frozendict": _encoder_by(dict),
    "builtins.sentinel": _encode_sentinel,
    "django.contrib.auth.models.AnonymousUser": partial(encode_anonymous, encode),
    "django.http.request.QueryDict": _encoders[MultiValueDict],
    "freezegun.api.FakeDate": _encode_date,
    "freezegun.api.FakeDatetime": _encode_datetime,
    **{path: _encoder_by(identity) for path, identity in IDENTITIES.items()},
}
