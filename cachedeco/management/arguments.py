"""
Arguments of a call, as they are typed in a shell.

`name=value` is a keyword argument. A value is a row if it is written `app_label.Model:pk`; else JSON or a Python
literal if it is one (`7`, `true`, `null`, `[1, 2]`, `None`, `(1, 2)`), and a text if it is none. Annotations are not
evaluated. Where the name of one says text, the value stays a text: of `slug: str` the argument `7` is "7". Where it
says date, datetime, time, Decimal or UUID, the text is made one; where it says int, float or bool, a text is refused.
"""

import ast
import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from inspect import Parameter, Signature
from typing import Any, Final, NoReturn
from uuid import UUID

from django.apps import apps
from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.db.models import Model

from cachedeco.functions.base import CachedFunction
from cachedeco.functions.discovery import UnknownFunctionError, find_function
from cachedeco.functions.spec import RAISED_BY_KEYS
from cachedeco.invalidation.rows import model_of
from cachedeco.keys.signatures import text_signature
from cachedeco.management.subcommands import failure, misunderstanding
from cachedeco.runtime.reprs import repr_of, shorten, shorten_error

ParsedArguments = tuple[list[Any], dict[str, Any]]

_ROW: Final = re.compile(r"([A-Za-z_]\w*\.[A-Za-z_]\w*):(.+)", re.DOTALL)
_KEYWORD: Final = re.compile(r"([^\W\d]\w*)=(.*)", re.DOTALL)
# `X | None` and `Optional[X]` are X.
_OPTIONAL: Final = re.compile(r"^(?:typing\.)?Optional\[(.+)\]$|\s*\|\s*None$|^None\s*\|\s*")
_LITERALS: Final = frozenset({"None", "True", "False"})
_NO_VALUES: Final = frozenset({"null", "None"})
# What makes a value of a text, by the last part of the annotation's name.
_BY_NAME: Final[Mapping[str, Callable[[str], object]]] = {
    "date": date.fromisoformat,
    "datetime": datetime.fromisoformat,
    "time": time.fromisoformat,
    "Decimal": Decimal,
    "UUID": UUID,
}

# What no bare text stands for: that of a number is one, and in quotes it is meant.
_NO_TEXTS: Final = frozenset({"int", "float", "bool"})
_MISFIT: Final = "{} is no {}, as its parameter is annotated."

HELP: Final = (
    "An argument: JSON (7, true, [1, 2]) or else text, a row as app_label.Model:pk, a keyword argument as name=value."
)


def function_of(path: str) -> CachedFunction[..., Any]:
    """
    Return a cached function by its dotted path.

    Raises:
        CommandError: There is none.
    """
    try:
        return find_function(path)
    except UnknownFunctionError as error:
        msg = f"{error} manage.py cachedeco list shows those that are known."
        raise misunderstanding(msg) from None


def is_meant(name: str, beginnings: Sequence[str]) -> bool:
    """Tell whether a dotted name begins as one of some does, at a dot; each does if there are none."""
    return not beginnings or any(name == each or name.startswith(f"{each}.") for each in beginnings)


def model_named(name: str) -> type[Model]:
    """
    Return a model by its name, "app_label.Model".

    Raises:
        CommandError: There is none.
    """
    try:
        return model_of(name)
    except TypeError as error:
        raise misunderstanding(str(error)) from None


def parse_arguments(function: CachedFunction[..., Any], texts: Sequence[str], *, leading: int = 0) -> ParsedArguments:
    """
    Return the arguments of a call, as they are typed; those that a method is bound to are left out.

    So many *leading* positional arguments will stand before these.

    Raises:
        CommandError: The function does not take them, or a row is not there.
    """
    signature = text_signature(function.uncached)
    parameters = signature.parameters
    positional: list[Any] = []
    named: dict[str, Any] = {}
    free = [each for each in parameters.values() if each.kind <= Parameter.POSITIONAL_OR_KEYWORD]
    for text in texts:
        keyword = _KEYWORD.fullmatch(text)
        if keyword is not None and _takes(signature, keyword[1]):
            named[keyword[1]] = parse_value(keyword[2], _annotation(parameters.get(keyword[1])))
        else:
            place = leading + len(positional)
            parameter = free[place] if place < len(free) else None
            positional.append(parse_value(text, _annotation(parameter)))
    try:
        signature.bind(*[None] * leading, *positional, **named)
    except TypeError as error:
        shown = ", ".join(parameters) or "no arguments"
        msg = f"{function._spec.name}(): {error}; it takes {shown}."
        raise misunderstanding(msg) from None
    return positional, named


def call_of(function: CachedFunction[..., Any], texts: Sequence[str]) -> Any:
    """
    Return a call as an object, of arguments as they are typed.

    Raises:
        CommandError: The function does not take them, or they can't be in a key.
    """
    return checked_call(function, parse_arguments(function, texts))


def checked_call(function: CachedFunction[..., Any], arguments: ParsedArguments) -> Any:
    """
    Return a call as an object, whose keys can be made.

    Raises:
        CommandError: The arguments can't be in a key, or there are no ids.
    """
    callable_: Any = function
    call = callable_.call(*arguments[0], **arguments[1])
    try:
        tokens = call._own_tokens()  # noqa: SLF001 -- ours
    except (TypeError, *RAISED_BY_KEYS) as error:
        msg = f"{error} A row is written app_label.Model:pk."
        raise misunderstanding(msg) from None
    except Exception as error:  # of the settings, or of a backend: no fault of the arguments
        raise failure(shorten_error(error)) from error
    if not tokens:
        spec = function._spec
        msg = f"{spec.name}() got no {spec.over}, and has an entry for each: give one or more, such as [7]."
        raise misunderstanding(msg)
    return call


def _takes(signature: Signature, name: str) -> bool:
    """Tell whether a function takes a keyword argument."""
    parameter = signature.parameters.get(name)
    if parameter is not None and parameter.kind in {Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY}:
        return True
    return any(each.kind is Parameter.VAR_KEYWORD for each in signature.parameters.values())


def _annotation(parameter: Parameter | None) -> str:
    """Return the name that a parameter is annotated with, without its module and `| None`; empty for all else."""
    annotation = Parameter.empty if parameter is None else parameter.annotation
    if annotation is Parameter.empty:
        return ""
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    if not isinstance(annotation, str | type):  # a union, which was evaluated when the function was defined
        text = str(annotation)
    text = _OPTIONAL.sub(lambda found: found[1] or "", text.strip("'\"")).strip()
    return text.rpartition(".")[2]


def parse_value(text: str, annotation: str = "") -> Any:
    """
    Return the value of one argument.

    Raises:
        CommandError: It is written as a row, and there is none; or the annotation names a type that refuses it.
    """
    if annotation == "str":
        return None if text in _NO_VALUES else _unquote(text)
    row = _ROW.fullmatch(text)
    if row is not None and row[1].partition(".")[0] in apps.app_configs:
        return find_row(model_named(row[1]), row[2])
    make = _BY_NAME.get(annotation)
    if make is not None and text not in _NO_VALUES:
        try:
            return make(text)
        except (ValueError, ArithmeticError):
            raise misunderstanding(_MISFIT.format(repr_of(text), annotation)) from None
    value = _literal(text)
    if annotation in _NO_TEXTS and value == text:
        raise misunderstanding(_MISFIT.format(repr_of(text), annotation))
    return value


def _unquote(text: str) -> str:
    """Return a text without the quotes of JSON, if it has them."""
    value = _literal(text) if text[:1] == '"' else text
    return value if isinstance(value, str) else text


def _literal(text: str) -> Any:
    """Return what JSON or Python makes of a text; itself if it is neither."""
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        pass
    # Not each literal: 1_000 may be a slug.
    if text not in _LITERALS and text[:1] not in {"(", "[", "{", "'", '"'} and text[:2] not in {"b'", 'b"'}:
        return text
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text


def _refuse(constant: str) -> NoReturn:
    """Refuse NaN and Infinity, which Python's JSON takes, and which are texts."""
    raise ValueError(constant)


def find_row(model: type[Model], key: str) -> Model:
    """
    Return a row by the text of its primary key, of one with several fields a JSON list.

    Raises:
        CommandError: There is none.
    """
    name = model._meta.label
    value = _literal(key) if key[:1] == "[" else key
    try:
        return model._base_manager.get(pk=tuple(value) if isinstance(value, list) else value)
    except ObjectDoesNotExist:
        msg = f"There is no {name} with the primary key {shorten(key)}."
    except (ValueError, TypeError, ValidationError):
        msg = f"{shorten(key)} is no primary key of {name}."
    raise misunderstanding(msg)
