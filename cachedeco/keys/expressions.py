"""
Key templates and callables: turn them into Python source over the parameters of a function.

They are checked against the signature, so that a template or callable that asks for an unknown parameter is an error
at decoration.
"""

import dataclasses
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from inspect import Parameter, Signature
from keyword import iskeyword
from string import Formatter
from types import CellType, CodeType
from typing import Any, Final, NamedTuple, Self

from django.db.models import Model

from cachedeco.invalidation.namespaces import field_part
from cachedeco.keys.encoders import encode
from cachedeco.keys.field_values import is_text_as_read, value_as_read
from cachedeco.keys.imports import text_of_import
from cachedeco.keys.places import AT_PLACE
from cachedeco.keys.receivers import class_mark_of, kind_of, proxy_mark_of
from cachedeco.keys.signatures import parameters_of
from cachedeco.keys.unsaved import call_paths, call_text, path_text
from cachedeco.runtime.reprs import repr_of
from cachedeco.runtime.validation import check_returns

# What each option takes, in errors.
_TAKEN: Final = {
    "key": "a template, '{club.pk}', or a callable",
    "namespace": "a Namespace, a template, 'club:{club.pk}', a callable, or a list of these",
    "vary": "a callable, or a list of callables",
}

# The name of one id in the templates and callables of a bulk function.
ONE_ID: Final = "each"

NONE: Final[frozenset[str]] = frozenset()  # free variables of nearly all functions: Python makes a new one each time


class Expression(NamedTuple):
    """An expression over the arguments of a call."""

    label: str  #: for error messages
    source: str  #: Python, over the function's parameters and `KeyedFunction.all_values()`
    reads: tuple[str, ...]  #: the parameters and free variables that it reads
    given: tuple[str, ...] = ()  #: the parameters that it gives to a callable
    option: str = ""  #: the option that it comes from, as it is written, for error messages
    is_folded: bool = False  #: whether its text has no capital letters: "None" is not seen in it

    @property
    def path(self) -> list[str]:
        """The parameter and attributes of a template's field; empty for a callable."""
        return [] if "(" in self.source else self.source.split(".")


# A template: literal text, and the field behind it, if there is one.
Pieces = Sequence[tuple[str, Expression | None]]


@dataclasses.dataclass(eq=False, repr=False)
class KeyedFunction:
    """The function that keys are made for: its name, its parameters, and the values that generated source refers to."""

    name: str
    qualname: str  #: its name in Python's errors about the arguments of a call
    key_name: str  #: its name in keys
    signature: Signature  #: that of a bulk function takes one id, `each`, in the place of many
    free: frozenset[str]  #: its free variables
    is_method: bool
    takes_class: bool  #: whether it is a classmethod
    over: str | None  #: the parameter of many ids, if it is a bulk function
    imports: Mapping[str, CellType]  #: the cells of those that hold what can be imported
    functions: frozenset[str]  #: those that hold a function
    values: dict[str, Any] = dataclasses.field(default_factory=dict)  #: what generated source refers to, by name
    private_prefix: str = "__"  #: of names in generated source: no parameter begins with it

    def __post_init__(self) -> None:
        """Find a prefix that is free."""
        names = " ".join(["", *self.signature.parameters])
        while f" {self.private_prefix}" in names:
            self.private_prefix += "_"

    def copy(self) -> Self:
        """Return a copy with values of its own: source that is made for it adds to no others."""
        return dataclasses.replace(self, values=dict(self.values))

    def all_values(self) -> dict[str, Any]:
        """Return all that generated source refers to, by name: the function's own, and what is the same for all."""
        return {**_values_under(self.private_prefix), **self.values}

    def describe_parameters(self) -> str:
        """Describe the parameters and free variables, for an error message."""
        names = ", ".join([*self.signature.parameters, *sorted(self.free)])
        one_id = "" if self.over in {None, ONE_ID} else f", where {ONE_ID!r} is one id of {self.over!r}"
        return f"it has {names}{one_id}" if names else "it has no parameters"

    def encode_source(self, expression: Expression) -> str:
        """Return the encoded expression for the inside of an f-string."""
        return self._text_source(expression, "encode")

    def part_source(self, expression: Expression) -> str:
        """Return the expression as a part of a namespace, for the inside of an f-string."""
        return self._text_source(expression, "part")

    def _text_source(self, expression: Expression, tool: str) -> str:
        """
        Return the source of the text. An int is its own text; most keys are made of int and str.

        Others, what is false, and texts with "None" in them, are made by `path_text()` and `call_text()`, which refuse
        rows without a primary key. Text in a field of a row is as a query gives it.
        """
        source, private = expression.source, self.private_prefix
        first, *attributes = expression.path or [""]
        if first and not attributes:
            return f"{{{source} if {source}.__class__ is int else {private}{tool}({source})}}"
        value, kind, tool = f"{private}value", f"{private}class", f"{private}{tool}"
        given = ", ".join(expression.given)
        if expression.is_folded:
            return f"{{{private}call_text({tool}, {source}, lambda {given}: {source}, {given})}}"
        is_plain = f"{kind} is str and {value} and {private}none not in {value}"
        if first:
            holder, last = f"{private}holder", attributes[-1]
            name = self.add_value(last)  # a literal would have quotes, which may end the f-string, before Python 3.12
            source = f"({holder} := {source.removesuffix(f'.{last}')}).{last}"
            as_read = f"{private}value_as_read({holder}, {name}, {value})"
            looked = f"{private}path_text({tool}, {as_read}, {first}, *{self.add_value(attributes)})"
            is_plain += f" and {private}is_text_as_read({holder}, {name})"
        else:
            looked = f"{private}call_text({tool}, {value}, lambda {given}: {source}, {given})"
            is_plain += f" and {private}place not in {value}"
        return (
            f"{{{value} if ({kind} := ({value} := {source}).__class__) is int and {value} else "
            f"{tool}({value}) if {is_plain} else {looked}}}"
        )

    def paths_source(self, expression: Expression, start: str, table_start: str) -> str:
        """Return the source of the keys of the tokens of what a callable of *namespace* gives."""
        given, source = ", ".join(expression.given), expression.source
        return f"{self.private_prefix}paths({start}, {table_start}, {source}, lambda {given}: {source}, {given})"

    def add_value(self, value: object) -> str:
        """Return a name that stands for a value in generated source."""
        name = f"{self.private_prefix}{len(self.values)}"
        self.values[name] = value
        return name

    def call_source(self, function: object, option: str) -> Expression:
        """Return the expression that calls a function of the user's with the parameters that it names."""
        if not callable(function) or (isinstance(function, type) and issubclass(function, Model)):
            hint = "; a model goes into depends_on=" if callable(function) else ""
            if option == "vary" and isinstance(function, str):
                hint = ". Import what it names: a dotted path is for the setting VARY"
            msg = f"{option}= has {repr_of(function)} for {self.name}(); it takes {_TAKEN[option]}{hint}."
            raise TypeError(msg)
        check_returns(function, what=f"{option}= of {self.name}()")
        positional, named, free_names = self._arguments(function, option)
        alias = self.add_value(function)
        source = f"{alias}({', '.join([*positional, *(f'{name}={name}' for name in named)])})"
        given = (*positional, *named)
        return Expression(f"what {option}= gave", source, (*given, *free_names), given)

    def _arguments(self, function: Callable[..., object], option: str) -> tuple[list[str], list[str], list[str]]:
        own = self.signature.parameters
        positional: list[str] = []
        named: list[str] = []
        # Only free variables of the decorated function: one with the name of a parameter does not read the parameter.
        free_names = [*free_variables(function) & self.free]
        unfilled = False
        parameters = parameters_of(function)
        names = {each.kind: each.name for each in parameters}
        rest = names.get(Parameter.VAR_POSITIONAL, "_") if Parameter.VAR_KEYWORD in names else "_"
        if option == "key" and not rest.startswith("_"):  # *_ says that it is not looked at
            # As other libraries call it. What it made of the first would be one key for all calls.
            why = "which would stay empty, since each parameter is given by its name: let it take those that count"
            msg = f"key= of {self.name}() asks for *{rest}, {why}; {self.describe_parameters()}."
            raise TypeError(msg)
        for parameter in parameters:
            name, by_position = parameter.name, parameter.kind is Parameter.POSITIONAL_ONLY
            is_all_ids = name == self.over != ONE_ID  # with a default too
            if parameter.kind is Parameter.VAR_POSITIONAL:
                continue
            if parameter.kind is Parameter.VAR_KEYWORD:
                named += [own_name for own_name in own if own_name not in {*positional, *named}]
            elif name in own and not (by_position and unfilled):
                (positional if by_position else named).append(name)
            elif name not in own and parameter.default is not Parameter.empty and not is_all_ids:
                free_names.append(name)  # lambda page=page: the default stands for a free variable
                unfilled = unfilled or by_position  # a later positional argument would take its place
            else:
                why = "by position, behind a default of its own" if name in own else "which that does not take"
                msg = f"{option}= of {self.name}() asks for {name!r}, {why}; {self.describe_parameters()}."
                raise TypeError(msg)
        return positional, named, free_names


@lru_cache
def _values_under(private_prefix: str) -> Mapping[str, Any]:
    """Return what all generated source refers to, by the names that it has there."""
    values = {
        "encode": encode,
        "part": field_part,
        "paths": call_paths,
        "kind": kind_of,
        "proxy": proxy_mark_of,
        "class_mark": class_mark_of,
        "imported": text_of_import,
        "path_text": path_text,
        "is_text_as_read": is_text_as_read,
        "value_as_read": value_as_read,
        "call_text": call_text,
        "none": "None",
        "place": AT_PLACE,
    }
    return {f"{private_prefix}{name}": value for name, value in values.items()}


def parse_template(keyed: KeyedFunction, template: str, option: str) -> Pieces:
    """Parse a template, `club:{club.pk}`, into pairs of literal text and field."""
    pieces = _parse(template, option)
    for _, field in pieces:
        if field is not None and field.reads[0] not in keyed.signature.parameters:
            takes = f"takes no {field.reads[0]!r}; {keyed.describe_parameters()}"
            msg = f"{option}= has the field {{{field.label}}}, but {keyed.name}() {takes}."
            raise TypeError(msg)
    return pieces


# By text: many functions have the same one.
@lru_cache(maxsize=1024)
def _parse(template: str, option: str) -> Pieces:
    try:
        pieces = list(Formatter().parse(template))
    except ValueError as error:
        msg = f"{option}={repr_of(template)} is no template: {error}."
        raise ValueError(msg) from error
    parsed: list[tuple[str, Expression | None]] = []
    for literal, path, spec, conversion in pieces:
        if spec or conversion:
            given = f"{option}={repr_of(template)}"
            msg = f"{given} formats a field; it takes plain fields, {{club.pk}}: a key has the type too."
            raise ValueError(msg)
        parsed.append((literal, None if path is None else _field_of(path, option, template)))
    return tuple(parsed)


def _field_of(path: str, option: str, template: str) -> Expression:
    """Return the expression of a template's field, `club.pk`."""
    names = path.split(".")
    if not all(name.isidentifier() and not iskeyword(name) for name in names):
        msg = f"{option}= has the field {{{path}}}; it takes a parameter's name, with attributes: {{club.pk}}."
        first = re.match(r"\w+", path)
        if first and option in _TAKEN and ("[" in path or "(" in path):
            msg = f"{msg[:-1]}; let a callable read items, and call: {option}=lambda {first[0]}: ..."
        raise ValueError(msg)
    return Expression(path, path, (names[0],), option=f"{option}={template!r}")


def free_variables(function: Callable[..., object]) -> frozenset[str]:
    """Return the free variables of a function; not those of decorators around it."""
    innermost = inspect.unwrap(function)
    code = getattr(innermost, "__code__", None)
    if not isinstance(code, CodeType) or not code.co_freevars:
        return NONE
    # The function itself, if it is recursive, and the class of super() never change. A method can't call itself by a
    # free variable: one with its name belongs to the function around the class.
    itself = {code.co_name} if code.co_qualname.endswith(f"<locals>.{code.co_name}") else set()
    return frozenset(code.co_freevars) - {*itself, "__class__"}
