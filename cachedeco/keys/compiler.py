"""
A signature, compiled once, into: call -> key.

For each decorated function two functions are written that have its very signature, so that Python itself puts the
arguments in their places, at its own speed: one returns the keys of a call, the other the key of its own token.
"""

from collections.abc import Callable, Sequence
from copy import copy
from functools import lru_cache
from inspect import Parameter, Signature
from itertools import accumulate
from types import CodeType
from typing import Any, NamedTuple

from cachedeco.invalidation.namespaces import Namespace, part_of
from cachedeco.keys.dependencies import Dependency
from cachedeco.keys.encoders import KeyTypeError, encode
from cachedeco.keys.expressions import ONE_ID, Expression, Subject, pieces_of

KeyOption = str | Callable[..., object] | None
NamespaceOption = Namespace | str | Callable[..., object]

# Where the text of a value ends, none of these can be read as more of it.
ENDS = (",", ":", ";", "|", "/", " ")


class CompiledKeys(NamedTuple):
    """The compiled functions; both take what the decorated function takes."""

    keys: Callable[..., list[str]]  #: the entry's key, then those of its tokens, the call's own first
    own: Callable[..., str]  #: the key of the call's own token


class KeyPlan:
    """
    What tells one call of a function from another.

    Args:
        subject: The function.

        key, ignore, vary, namespace: As `cached_query` takes them, as sequences; what `depends_on` says stands among
            the namespaces.

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
        self.call_text = self._call_source(key, ignore)
        self.vary = [subject.call(each, "vary") for each in vary]
        self.paths: list[str] = []  # insides of f-strings, one for each token
        self.dynamic: list[Expression] = []  # callables that give namespaces
        self.dependencies = [each for each in namespace if isinstance(each, Dependency)]
        for each in namespace:
            if not isinstance(each, Dependency):  # which may name models that are not loaded as yet
                self._add_namespace(each)
        seen = {*ignore}.union(*(each.reads for each in (*self.expressions, *self.vary)))
        _check_accounted(subject, ignore, seen)

    def _call_source(self, key: KeyOption, ignore: Sequence[str]) -> str:
        """Return the inside of an f-string that tells the call, names included: `club=...,page=...`."""
        subject = self.subject
        pieces: list[tuple[str, Expression | None]]
        if isinstance(key, str):
            pieces = list(pieces_of(subject, key, "key"))
        elif key is None:
            names = [name for name in subject.signature.parameters if name not in ignore]
            fields = [Expression(name, name, frozenset({name})) for name in names]
            pieces = [("," if n else "", each) for n, each in enumerate(fields)]
        else:
            call = subject.call(key, "key")
            self.expressions.append(call)
            return subject.encoded(call)
        self.expressions += [field for _, field in pieces if field]
        inside, ended = self._kind_source(), True
        for literal, field in pieces:
            # A digit or a quote here could be read as more of the value before it.
            inside += ("" if ended or literal.startswith(ENDS) else ",") + _braced(literal)
            inside += f"{field.source}={subject.encoded(field)}" if field else ""
            ended = field is None
        return inside

    def _kind_source(self) -> str:
        """
        Return what tells the class of a method whose template tells only attributes of the instance.

        A subclass inherits the method: `{self.pk}` of a club and of a member are two things.
        """
        first = next(iter(self.subject.signature.parameters), "")
        looks = [each.source for each in self.expressions if each.source.partition(".")[0] == first]
        if self.subject.is_method and looks and first not in looks:
            return f"{{{self.subject.mark}kind({first})}}:"
        return ""

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
        for literal, field in pieces_of(self.subject, template, "namespace"):
            # Quoted piece by piece, which gives the same as quoting the whole: the path that Namespace() makes.
            inside += ":".join([_braced(part_of(part)) if part else "" for part in literal.split(":")])
            inside += f"{{{self.subject.mark}part({field.source})}}" if field else ""
        parts = inside.split(":")
        if not all(parts):
            msg = f"namespace={template!r} has an empty part; write it as 'club:{{club.pk}}'."
            raise ValueError(msg)
        return parts

    def compiled(self, prefix: str, version: str | int | None, vary: Sequence[Callable[[], object]]) -> CompiledKeys:
        """Return the functions for the settings in force: their key prefix, and what they vary on besides."""
        # With values of its own: the next settings must find the plan as it was, and so must another thread.
        subject = copy(self.subject)
        subject.values = dict(self.subject.values)
        mark = subject.mark
        varied = ",".join(map(subject.encoded, (*self.vary, *(subject.call(each, "vary") for each in vary))))
        versioned = "" if version is None else "|" + _braced(encode(version))
        start, name = _braced(prefix), _braced(subject.key_name)
        paths = dict.fromkeys([*self.paths, *(path for each in self.dependencies for path in each.paths(subject))])
        own = _fstring(f"{start}:t:{name}({{{mark}call}})")
        keys = [
            _fstring(f"{start}:e:{name}({{{mark}call}}|{varied}{versioned})"),
            own,
            repr(token_of_function(prefix, subject.key_name)),
            *(_fstring(f"{start}:n:{path}") for path in paths),
            *(f"*{mark}paths({prefix!r}, {each.source})" for each in self.dynamic),
        ]
        body = f"{_plain(subject.signature)}:\n {mark}call = {_fstring(self.call_text)}\n return "
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


def _made(subject: Subject, source: str) -> CompiledKeys:
    """Run the source, and give its functions the defaults and the name of ours: errors are then the same."""
    functions: dict[str, Any] = {}  # apart from what they refer to, or a closure in there would live in a cycle
    exec(_code(source), subject.values, functions)  # noqa: S102 -- from names that Python has parsed
    made = CompiledKeys(functions["__keys"], functions["__own"])
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


def _check_accounted(subject: Subject, ignore: Sequence[str], seen: set[str]) -> None:
    parameters = subject.signature.parameters
    for name in ignore:
        if name not in parameters and name not in subject.free:
            msg = f"ignore= names {name!r}, which {subject.name}() does not have; {subject.has()}."
            raise TypeError(msg)
    if subject.over is not None and ONE_ID not in seen:
        msg = (
            f"{subject.name}() takes many ids as {subject.over!r}, and its key never looks at {ONE_ID!r}, one of them: "
            f"all would share one entry. Put {{{ONE_ID}}} into key=."
        )
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
            f"parameter, or say vary=lambda: {name} if it is a value, or ignore=({name!r},) if it changes nothing."
        )
        raise TypeError(msg)


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
