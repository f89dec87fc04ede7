"""
What can be worked out from the arguments of a call: source text over the parameters of a function.

Checked against the signature as it is written, so that a template or a callable that asks for what is not there is an
error at decoration.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator
from inspect import Parameter, Signature
from keyword import iskeyword
from string import Formatter
from types import CodeType
from typing import Any, Final, NamedTuple

from cachedeco.invalidation.namespaces import part_of, paths_of
from cachedeco.keys.encoders import encode, kind_of

# What one id of a function over many is called in its templates and callables.
ONE_ID: Final = "each"


class Expression(NamedTuple):
    """Something that is worked out from the arguments of a call."""

    label: str  #: for error messages
    source: str  #: Python, over the function's parameters and `Subject.values`
    reads: frozenset[str]  #: the parameters and free variables that it looks at


class Subject:
    """The function that keys are made for: its name, its parameters, and the values that its sources refer to."""

    def __init__(  # noqa: PLR0913 -- all that a key can be made of
        self,
        name: str,
        key_name: str,
        signature: Signature,
        free: Iterable[str],
        *,
        is_method: bool,
        over: str | None = None,
    ) -> None:
        """Begin with the values that every source uses; *over* names the parameter of many ids, here `each`."""
        self.over = over
        self.is_method = is_method
        self.name = name
        self.key_name = key_name
        self.signature = signature
        self.free = frozenset(free)
        self.mark = "__"  # how our own names begin in the sources, and no parameter's does
        while any(name.startswith(self.mark) for name in signature.parameters):
            self.mark += "_"
        tools = {"encode": encode, "part": part_of, "paths": paths_of, "kind": kind_of}
        self.values: dict[str, Any] = {f"{self.mark}{name}": tool for name, tool in tools.items()}

    def has(self) -> str:
        """Say what there is, for an error message."""
        names = ", ".join([*self.signature.parameters, *sorted(self.free)])
        one_id = "" if self.over in {None, ONE_ID} else f", where {ONE_ID!r} is one id of {self.over!r}"
        return f"it has {names}{one_id}" if names else "it has no parameters"

    def attribute(self, path: str, option: str) -> Expression:
        """Read a template's field, `club.pk`."""
        root, *attributes = path.split(".")
        if not all(part.isidentifier() and not iskeyword(part) for part in (root, *attributes)):
            msg = f"{option}= has the field {{{path}}}; it takes a parameter's name, with attributes: {{club.pk}}."
            raise ValueError(msg)
        if root not in self.signature.parameters:
            msg = f"{option}= has the field {{{path}}}, but {self.name}() takes no {root!r}; {self.has()}."
            raise TypeError(msg)
        return Expression(path, path, frozenset({root}))

    def encoded(self, expression: Expression) -> str:
        """Return what stands for the text of an expression inside an f-string."""
        return f"{{{self.mark}encode({expression.source})}}"

    def call(self, function: object, option: str) -> Expression:
        """Call a function of the user's with those of the parameters that it names."""
        if not callable(function):
            msg = f"{option}= has {function!r} for {self.name}(); it takes a callable there."
            raise TypeError(msg)
        positional, named, spoken = self._arguments(function, option)
        alias = f"{self.mark}{option}{len(self.values)}"
        self.values[alias] = function
        source = f"{alias}({', '.join([*positional, *(f'{name}={name}' for name in named)])})"
        return Expression(f"what {option}= gave", source, frozenset({*positional, *named, *spoken}))

    def _arguments(self, function: Callable[..., object], option: str) -> tuple[list[str], list[str], list[str]]:
        own = self.signature.parameters
        positional: list[str] = []
        named: list[str] = []
        # Of the function's own free variables only: a parameter that has the name of one is not looked at by this.
        spoken = [*free_variables(function) & self.free]
        unfilled = False
        for parameter in parameters_of(function):
            name, by_position = parameter.name, parameter.kind is Parameter.POSITIONAL_ONLY
            is_all_ids = name == self.over != ONE_ID  # with a default too
            if parameter.kind is Parameter.VAR_KEYWORD:
                named += [each for each in own if each not in {*positional, *named}]
            elif name in own and not (by_position and unfilled):
                (positional if by_position else named).append(name)
            elif name not in own and parameter.default is not Parameter.empty and not is_all_ids:
                spoken.append(name)  # lambda page=page: the idiom by which a default speaks for a free variable
                unfilled = unfilled or by_position  # what comes after it by position would take its place
            elif parameter.kind is not Parameter.VAR_POSITIONAL:
                why = "by position, behind a default of its own" if name in own else "which that does not take"
                msg = f"{option}= of {self.name}() asks for {name!r}, {why}; {self.has()}."
                raise TypeError(msg)
        return positional, named, spoken


def pieces_of(subject: Subject, template: str, option: str) -> Iterator[tuple[str, Expression | None]]:
    """Parse `club:{club.pk}` into pairs of text and field."""
    try:
        pieces = list(Formatter().parse(template))
    except ValueError as error:
        msg = f"{option}={template!r} is no template: {error}."
        raise ValueError(msg) from error
    for literal, path, spec, conversion in pieces:
        if spec or conversion:
            msg = f"{option}={template!r} formats a field; it takes plain fields, {{club.pk}}: values are told by type."
            raise ValueError(msg)
        yield literal, None if path is None else subject.attribute(path, option)


def free_variables(function: Callable[..., object]) -> frozenset[str]:
    """Return the names that a function takes from the function around it; what decorators around it use is theirs."""
    innermost = inspect.unwrap(function)
    code = getattr(innermost, "__code__", None)
    if not isinstance(code, CodeType):
        return frozenset()
    # A function that calls itself, or super(), reads nothing that could change. A method can't call itself so: that
    # name is a variable of the function around the class.
    itself = {code.co_name} if code.co_qualname.endswith(f"<locals>.{code.co_name}") else set()
    return frozenset(code.co_freevars) - {*itself, "__class__"}


def parameters_of(function: Callable[..., object]) -> Iterable[Parameter]:
    """Return what a function takes; nothing where it does not say."""
    try:
        return inspect.signature(function).parameters.values()
    except ValueError:  # written in C, and silent about what it takes
        return ()
