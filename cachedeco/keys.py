"""
A signature, compiled once, into: call -> key.

For each decorated function two functions are written that have its very signature, so that Python itself puts the
arguments in their places, at its own speed: one returns the keys of a call, the other the key of its own token.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from inspect import Parameter, Signature
from itertools import accumulate
from keyword import iskeyword
from string import Formatter
from types import CodeType
from typing import Any, NamedTuple

from cachedeco.encoders import KeyTypeError, encode
from cachedeco.namespaces import Namespace, part_of

KeyOption = str | Callable[..., object] | None
NamespaceOption = Namespace | str | Callable[..., object]

# No value's text goes on with one of these where another's ends.
ENDS = (",", ":", ";", "|", "/", " ")


class Locators(NamedTuple):
    """The compiled functions; both take what the decorated function takes."""

    keys: Callable[..., list[str]]  #: the entry's key, then those of its tokens, the call's own first
    own: Callable[..., str]  #: the key of the call's own token


class Expression(NamedTuple):
    """Something that is worked out from the arguments of a call."""

    label: str  #: for error messages
    source: str  #: Python, over the function's parameters and `Subject.values`
    reads: frozenset[str]  #: the parameters and free variables that it looks at


class Subject:
    """The function that keys are made for: its name, its parameters, and the values that its sources refer to."""

    def __init__(self, name: str, key_name: str, signature: Signature, free: Iterable[str]) -> None:
        """Begin with the values that every source uses."""
        self.name = name
        self.key_name = key_name
        self.signature = signature
        self.free = frozenset(free)
        self.ours = "__"  # how our names begin in the source, and no parameter's does
        while any(name.startswith(self.ours) for name in signature.parameters):
            self.ours += "_"
        tools = {"encode": encode, "part": part_of, "paths": paths_of}
        self.values: dict[str, Any] = {f"{self.ours}{name}": tool for name, tool in tools.items()}

    def has(self) -> str:
        """Say what there is, for an error message."""
        names = ", ".join([*self.signature.parameters, *sorted(self.free)])
        return f"it has {names}" if names else "it has no parameters"

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
        return f"{{{self.ours}encode({expression.source})}}"

    def call(self, function: object, option: str) -> Expression:
        """Call a function of the user's with those of the parameters that it names."""
        if not callable(function):
            msg = f"{option}= has {function!r} for {self.name}(); it takes a callable there."
            raise TypeError(msg)
        positional, named, spoken = self._arguments(function, option)
        alias = f"{self.ours}{option}{len(self.values)}"
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
        for parameter in _parameters(function):
            name, by_position = parameter.name, parameter.kind is Parameter.POSITIONAL_ONLY
            if parameter.kind is Parameter.VAR_KEYWORD:
                named += [each for each in own if each not in {*positional, *named}]
            elif name in own and not (by_position and unfilled):
                (positional if by_position else named).append(name)
            elif name not in own and parameter.default is not Parameter.empty:
                spoken.append(name)  # lambda page=page: the idiom by which a default speaks for a free variable
                unfilled = unfilled or by_position  # what comes after it by position would take its place
            elif parameter.kind is not Parameter.VAR_POSITIONAL:
                why = "by position, behind a default of its own" if name in own else "which that does not take"
                msg = f"{option}= of {self.name}() asks for {name!r}, {why}; {self.has()}."
                raise TypeError(msg)
        return positional, named, spoken


class KeyPlan:
    """
    What tells one call of a function from another.

    Args:
        subject: The function.

        key, ignore, vary, namespace: As `cached_query` takes them, as sequences.

    Raises:
        TypeError: A parameter or a free variable is not accounted for, or a name is not the function's.
        ValueError: A template is malformed.
    """

    def __init__(
        self,
        subject: Subject,
        key: KeyOption,
        ignore: Sequence[str],
        vary: Sequence[object],
        namespace: Sequence[object],
    ) -> None:
        """Write the expressions, and refuse what can't be right."""
        self.subject = subject
        self.expressions: list[Expression] = []  # what the call's own text is made of
        self.call = self._call_source(key, ignore)
        self.vary = [subject.call(each, "vary") for each in vary]
        self.paths: list[str] = []  # insides of f-strings, one for each token
        self.dynamic: list[Expression] = []  # callables that give namespaces
        for each in namespace:
            self._add_namespace(each)
        seen = {*ignore}.union(*(each.reads for each in (*self.expressions, *self.vary)))
        _check_accounted(subject, ignore, seen)

    def _call_source(self, key: KeyOption, ignore: Sequence[str]) -> str:
        """Return the inside of an f-string that tells the call, names included: `club=...,page=...`."""
        subject = self.subject
        pieces: list[tuple[str, Expression | None]]
        if isinstance(key, str):
            pieces = list(_template(subject, key, "key"))
        elif key is None:
            names = [name for name in subject.signature.parameters if name not in ignore]
            fields = [Expression(name, name, frozenset({name})) for name in names]
            pieces = [("," if n else "", each) for n, each in enumerate(fields)]
        else:
            call = subject.call(key, "key")
            self.expressions.append(call)
            return subject.encoded(call)
        self.expressions += [field for _, field in pieces if field]
        inside, ended = "", True
        for literal, field in pieces:
            # A digit or a quote here could be read as more of the value before it.
            inside += ("" if ended or literal.startswith(ENDS) else ",") + _braced(literal)
            inside += f"{field.source}={subject.encoded(field)}" if field else ""
            ended = field is None
        return inside

    def _add_namespace(self, namespace: object) -> None:
        if isinstance(namespace, Namespace):
            parts = namespace.path.split(":")
        elif isinstance(namespace, str):
            parts = self._template_parts(namespace)
        else:
            self.dynamic.append(self.subject.call(namespace, "namespace"))
            return
        self.paths += [path for path in accumulate(parts, "{}:{}".format) if path not in self.paths]

    def _template_parts(self, template: str) -> list[str]:
        """Split a template's own text at ":" into parts; a field is never split."""
        inside = ""
        for literal, field in _template(self.subject, template, "namespace"):
            # Quoted piece by piece, which gives the same as quoting the whole: the path that Namespace() makes.
            inside += ":".join([_braced(part_of(part)) if part else "" for part in literal.split(":")])
            inside += f"{{{self.subject.ours}part({field.source})}}" if field else ""
        parts = inside.split(":")
        if not all(parts):
            msg = f"namespace={template!r} has an empty part; write it as 'club:{{club.pk}}'."
            raise ValueError(msg)
        return parts

    def compiled(self, prefix: str, version: str | int | None, vary: Sequence[Callable[[], object]]) -> Locators:
        """Return the functions for the settings in force: their key prefix, and what they vary on besides."""
        # With values of its own: the next settings must find the plan as it was, and so must another thread.
        subject = Subject(self.subject.name, self.subject.key_name, self.subject.signature, self.subject.free)
        subject.values |= self.subject.values
        ours = subject.ours
        varied = ",".join(map(subject.encoded, (*self.vary, *(subject.call(each, "vary") for each in vary))))
        versioned = "" if version is None else "|" + _braced(encode(version))
        start, name = _braced(prefix), _braced(subject.key_name)
        own = _fstring(f"{start}:t:{name}({{{ours}call}})")
        keys = [
            _fstring(f"{start}:e:{name}({{{ours}call}}|{varied}{versioned})"),
            own,
            repr(token_of_function(prefix, subject.key_name)),
            *(_fstring(f"{start}:n:{path}") for path in self.paths),
            *(f"*{ours}paths({prefix!r}, {each.source})" for each in self.dynamic),
        ]
        body = f"{_plain(subject.signature)}:\n {ours}call = {_fstring(self.call)}\n return "
        return _made(subject, f"def __keys{body}[{', '.join(keys)}]\ndef __own{body}{own}\n")

    def explain(self, error: KeyTypeError, args: Sequence[object], kwargs: dict[str, object]) -> TypeError:
        """Return an error that says which argument could not be in the key."""
        bound = self.subject.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        for each in (*self.expressions, *self.vary):
            try:
                encode(eval(each.source, self.subject.values, bound.arguments))  # noqa: S307 -- source of our own
            except KeyTypeError as found:
                what = f"{found.what} ({each.label} of {self.subject.name}())"
                return TypeError(f"Can't encode {what} in a cache key; {found.advice}.")
        return error


def _made(subject: Subject, source: str) -> Locators:
    """Run the source, and give its functions the defaults and the name of ours: errors are then the same."""
    functions: dict[str, Any] = {}  # apart from what they refer to, or a closure in there would live in a cycle
    exec(_code(source), subject.values, functions)  # noqa: S102 -- from names that Python has parsed
    made = Locators(functions["__keys"], functions["__own"])
    parameters = subject.signature.parameters.values()
    for function in made:
        function.__defaults__ = tuple(
            each.default for each in parameters if _has_default(each) and each.kind is not Parameter.KEYWORD_ONLY
        )
        function.__kwdefaults__ = {
            each.name: each.default for each in parameters if _has_default(each) and each.kind is Parameter.KEYWORD_ONLY
        }
        function.__qualname__ = subject.name.rpartition(".")[2]
    return made


def token_of_function(prefix: str, name: str) -> str:
    """Return the key of the token that all entries of a function depend on."""
    return f"{prefix}:f:{name}()"


def paths_of(prefix: str, given: object) -> list[str]:
    """Return the keys of the tokens of the namespaces that a callable gave."""
    spaces = [given] if isinstance(given, Namespace) else given
    if isinstance(spaces, Iterable) and not isinstance(spaces, str):
        found = list(spaces)
        if all(isinstance(each, Namespace) for each in found):
            # Sorted: a set has another order in each process, and the stamp keeps the order of the tokens.
            return sorted({name for each in found for name in each.token_names(prefix)})
    msg = f"the callable of namespace= gave {given!r}; it must give a Namespace, or several: Namespace('club', 7)."
    raise TypeError(msg)


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


def _check_accounted(subject: Subject, ignore: Sequence[str], seen: set[str]) -> None:
    parameters = subject.signature.parameters
    for name in ignore:
        if name not in parameters and name not in subject.free:
            msg = f"ignore= names {name!r}, which {subject.name}() does not have; {subject.has()}."
            raise TypeError(msg)
    for name in parameters:
        if name not in seen:
            msg = (
                f"{subject.name}() takes {name!r}, which its key never looks at: two calls that differ in it would "
                f"share one entry. Put it into key=, or say ignore=({name!r},) if it does not change the value."
            )
            raise TypeError(msg)
    for name in sorted(subject.free - seen):
        msg = (
            f"{subject.name}() reads {name!r} from the function around it, and its key does not tell. Make it a "
            f"parameter, or say vary=lambda: {name}, or ignore=({name!r},) if it does not change the value."
        )
        raise TypeError(msg)


def _template(subject: Subject, template: str, option: str) -> Iterator[tuple[str, Expression | None]]:
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


def _parameters(function: Callable[..., object]) -> Iterable[Parameter]:
    try:
        return inspect.signature(function).parameters.values()
    except ValueError:  # written in C, and silent about what it takes
        return ()


def _has_default(parameter: Parameter) -> bool:
    return parameter.default is not Parameter.empty


def _plain(signature: Signature) -> Signature:
    """Return the signature without annotations, and with None for each default: both stand in for objects."""
    return Signature(
        [
            each.replace(annotation=Parameter.empty, default=None if _has_default(each) else Parameter.empty)
            for each in signature.parameters.values()
        ]
    )


def _braced(text: str) -> str:
    """Return text as it is written inside an f-string."""
    return text.replace("{", "{{").replace("}", "}}")


def _fstring(inside: str) -> str:
    return f"f{inside!r}"


# By source: a function that is decorated again at each call of the one around it is compiled once.
@lru_cache(maxsize=1024)
def _code(source: str) -> CodeType:
    return compile(source, "<cachedeco keys>", "exec")
