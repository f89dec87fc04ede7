"""
Signature compiler: compile a function's signature, once, into functions that return the keys of a call.

For each decorated function it generates two functions with the same signature, so that Python itself binds the
arguments, at its own speed: one returns all keys of a call, the other the key of its own token.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from inspect import Parameter, Signature
from itertools import accumulate
from types import CodeType, FunctionType
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

from cachedeco.invalidation.identities import PartTypeError
from cachedeco.invalidation.namespaces import FIELD, Namespace, is_of_tables, part_of
from cachedeco.keys.dependencies import Dependency
from cachedeco.keys.encoders import encode, is_deep, kind_of_text
from cachedeco.keys.expressions import ONE_ID, Expression, KeyedFunction, Pieces, parse_template
from cachedeco.keys.refusals import FUNCTION, OF_MANAGER, QUERY, REGISTER, KeyTypeError
from cachedeco.keys.saved_rows import READ_MARK, without_reads
from cachedeco.keys.unsaved import UnsavedRowError
from cachedeco.runtime.interrupts import pass_interrupt
from cachedeco.runtime.reprs import repr_of, shorten, shorten_error, text_of_error

KeyOption = str | Callable[..., object] | None
NamespaceOption = Namespace | str | Callable[..., object]

REQUEST: Final = "request"  # by this name Django's views take what no entry may be shared by

# Text that begins with one of these can't be read as more of the value before it.
ENDS = (",", ":", ";", "|", "/", " ")


_STARS: Final[Mapping[object, str]] = {Parameter.VAR_POSITIONAL: "*", Parameter.VAR_KEYWORD: "**"}


class CompiledKeys:
    """The compiled functions; both have the signature of the decorated function."""

    #: Returns the entry's key, then those of its tokens, the call's own first; then what each callable of *vary* gives.
    keys: Callable[..., list[str]]

    def __init__(self, keyed: KeyedFunction, source_of_keys: str, source_of_own: str) -> None:
        """Compile what every call needs."""
        self.keys = _build_function(keyed, source_of_keys)
        self._keyed = keyed
        self._source_of_own = source_of_own

    @cached_property
    def own(self) -> Callable[..., str]:
        """Return the key of the call's own token; compiled for the first invalidation of a call."""
        return _build_function(self._keyed, self._source_of_own)


class KeyScheme(NamedTuple):
    """What the keys of a function have in common, under the settings in force."""

    start: str  #: what each key begins with: the prefixes of the cache and of the package
    table_start: str  #: what the keys of tables' tokens begin with
    version: str | int | None  #: the option *version*
    vary: Sequence[Callable[[], object]]  #: the callables of the setting VARY
    #: What makes entries incompatible, such as the serializer. It is in the entry's key, and in no token's: entries of
    #: two releases lie side by side, and an invalidation reaches both.
    release: str


class KeyPlan:
    """
    What distinguishes the calls of a function: the expressions that its keys are made of.

    Args:
        keyed: The function.

        key, ignore, vary, namespace: Those of `cached_query`, as sequences; the dependencies of `depends_on` are among
            the namespaces.

    Raises:
        TypeError: The key ignores a parameter or a free variable, or a name is not the function's.
        ValueError: A template is malformed.
    """

    def __init__(
        self,
        keyed: KeyedFunction,
        key: KeyOption,
        ignore: Sequence[str],
        vary: Sequence[object],
        namespace: Sequence[object],
    ) -> None:
        """Build the expressions; refuse those that can't be right."""
        self.keyed = keyed
        self.expressions: list[Expression] = []  # those in the text of the call
        # Inside of an f-string: what the key of a method's entry has of its class, and its token has not.
        self.mark = ""
        self.call_text = self._call_source(key, ignore)
        self.vary = [keyed.call_source(function, "vary") for function in vary]
        self.paths: list[str] = []  # insides of f-strings, one for each token
        self.tables: list[str] = []  # the same, of tables
        self.fields: list[Expression] = []  # those in the paths
        self.dynamic: list[Expression] = []  # callables that return namespaces
        self._is_key_callable = callable(key)
        self.dependencies = [item for item in namespace if isinstance(item, Dependency)]
        for item in namespace:
            if not isinstance(item, Dependency):  # a dependency may name models that are not loaded yet
                self._add_namespace(item)
        covered = {*ignore}.union(*(expression.reads for expression in (*self.expressions, *self.vary)))
        # Those that may pass through an object which is no argument, as {request.user.pk}.
        self._passing = [each.source.split(".") for each in self.expressions if each.source.count(".") > 1]
        for name in sorted(keyed.imports.keys() - covered):
            source = f"{keyed.add_value(keyed.imports[name])}.cell_contents"
            self.call_text += f",{name}={{{keyed.private_prefix}imported({source})}}"
            covered.add(name)
        do = "Let the callable of key= take it by this name" if self._is_key_callable else "Put it into key="
        _check_accounted(keyed, ignore, covered, do)

    @property
    def calls_users_code(self) -> bool:
        """Whether a callable of the user's makes a part of the keys, those of *vary* left out."""
        return self._is_key_callable or bool(self.dynamic)

    def _call_source(self, key: KeyOption, ignore: Sequence[str]) -> str:
        """Return the inside of an f-string for the text of the call, with names: `club=...,page=...`."""
        keyed = self.keyed
        pieces: Pieces
        if isinstance(key, str):
            pieces = parse_template(keyed, key, "key")
        elif key is None:
            names = [name for name in keyed.signature.parameters if name not in ignore]
            fields = [Expression(name, name, (name,)) for name in names]
            pieces = [("," if n else "", field) for n, field in enumerate(fields)]
        else:
            expression = keyed.call_source(key, "key")
            self.expressions.append(expression)
            return self._kind_source(ignore) + keyed.encode_source(expression)
        self.expressions += [field for _, field in pieces if field]
        inside, is_value_ended = self._kind_source(ignore), True
        for literal, field in pieces:
            # A digit or a quote here could be read as more of the value before it.
            inside += ("" if is_value_ended or literal.startswith(ENDS) else ",") + _escape_braces(literal)
            inside += f"{field.source}={keyed.encode_source(field)}" if field else ""
            is_value_ended = field is None
        return inside

    def _kind_source(self, ignore: Sequence[str]) -> str:
        """
        Return the source of the instance's class, for a method, and set the mark of its entry; nothing for others.

        A subclass inherits the method, and may override what this calls: `{self.pk}` of a club and of a member may be
        equal. Where the key has the instance itself, only a proxy has the text of another class; it is the same row, so
        one invalidation reaches both. What a key ignores of an instance does not change the value, but its class may:
        there an invalidation reaches all classes. A class that a key ignores, as `cls`, it ignores.
        """
        first = next(iter(self.keyed.signature.parameters), "")
        if not self.keyed.is_method or not first or (self.keyed.takes_class and first in ignore):
            return ""
        private = self.keyed.private_prefix
        cls = first if self.keyed.takes_class else f"{first}.__class__"
        self.mark = f"{{{private}class_mark({first})}}" if first in ignore else f"{{{private}proxy({cls})}}"
        is_told = first in ignore or any(expression.path == [first] for expression in self.expressions)
        return "" if is_told else f"{{{private}kind({first})}}:"

    def _add_namespace(self, namespace: object) -> None:
        if isinstance(namespace, Namespace):
            if FIELD.search(unquote(namespace.path)):
                msg = (
                    f"namespace= of {self.keyed.name}() is {namespace!r}, and its braces would never be filled in: "
                    f"pass the template itself, namespace={unquote(namespace.path)!r}."
                )
                raise TypeError(msg)
            if is_of_tables(namespace):
                self.tables += accumulate(namespace.path.split(":"), "{}:{}".format)
                return
            parts = namespace.path.split(":")
        elif isinstance(namespace, str):
            parts = self._template_parts(namespace)
        else:
            self.dynamic.append(self.keyed.call_source(namespace, "namespace"))
            return
        self.paths += [path for path in accumulate(parts, "{}:{}".format) if path not in self.paths]

    def _template_parts(self, template: str) -> list[str]:
        """Split the literal text of a template at ":" into parts; a field is never split."""
        parts = [""]
        for literal, field in parse_template(self.keyed, template, "namespace"):
            # Quoted piece by piece, with the same result as quoting the whole part: the path of Namespace().
            pieces = [_escape_braces(part_of(piece)) if piece else "" for piece in literal.split(":")]
            parts[-1] += pieces[0]
            parts += pieces[1:]
            if field:
                parts[-1] += self.keyed.part_source(field)
                self.fields.append(field)
        if not all(parts):
            msg = f"namespace={repr_of(template)} has an empty part; write it as 'club:{{club.pk}}'."
            raise ValueError(msg)
        return parts

    def compile(self, scheme: KeyScheme, dependencies: Sequence[Dependency]) -> CompiledKeys:
        """Return the functions for the settings in force, and for the models that calls depend on under these."""
        keyed = self.keyed.copy()  # neither other settings nor another thread may see what is added here
        private_prefix = keyed.private_prefix
        # Variables and no literals: functions of one form, and other prefixes, as in each test, need no other code.
        begins = {
            "entry": f"{scheme.start}:e:{keyed.key_name}(",
            "token": f"{scheme.start}:t:{keyed.key_name}(",
            "function": token_of_function(scheme.start, keyed.key_name),
            "start": scheme.start,
            "table_start": scheme.table_start,
        }
        keyed.values |= {f"{private_prefix}{each}": text for each, text in begins.items()}
        keyed.values[f"{private_prefix}without"] = without_reads
        varied = {f"{private_prefix}varied{n}": keyed.encode_source(each) for n, each in enumerate(self.vary)}
        own = _fstring(f"{{{private_prefix}token}}{{{private_prefix}anywhere}})")
        tokens = [own, f"{private_prefix}function", *self._token_sources(keyed, dependencies)]
        keys = [self._entry_source(keyed, scheme, varied), *tokens, *varied]
        body = (
            f"({_parameters_source(keyed.signature)}):\n {private_prefix}call = {_fstring(self.call_text)}\n"
            f" {private_prefix}anywhere = {private_prefix}without({private_prefix}call)"
            f" if {READ_MARK!r} in {private_prefix}call else {private_prefix}call\n"
        )
        vary_body = "".join(f" {variable} = {_fstring(source)}\n" for variable, source in varied.items())
        return CompiledKeys(
            keyed, f"def __keys{body}{vary_body} return [{', '.join(keys)}]\n", f"def __keys{body} return {own}\n"
        )

    def _entry_source(self, keyed: KeyedFunction, scheme: KeyScheme, variables: Iterable[str]) -> str:
        """Return the source of the key of the entry; *variables* hold what the callables of *vary* give."""
        settings_vary = [keyed.encode_source(keyed.call_source(function, "vary")) for function in scheme.vary]
        varied = ",".join([*(f"{{{each}}}" for each in variables), *settings_vary])
        versioned = "" if scheme.version is None else "|" + _escape_braces(encode(scheme.version))
        entry, call = (f"{{{keyed.private_prefix}{each}}}" for each in ("entry", "call"))
        return _fstring(f"{entry}{self.mark}{call}|{varied}{versioned}|{_escape_braces(scheme.release)})")

    def _token_sources(self, keyed: KeyedFunction, dependencies: Iterable[Dependency]) -> Iterator[str]:
        """Yield the source of the key of each token of namespaces and tables."""
        start, table_start = f"{keyed.private_prefix}start", f"{keyed.private_prefix}table_start"
        for path in self.paths:
            yield _fstring(f"{{{start}}}:n:{path}")
        for item in self.dynamic:
            yield f"*{keyed.paths_source(item, start, table_start)}"
        for path in dict.fromkeys([*self.tables, *(path for item in dependencies for path in item.paths(keyed))]):
            yield _fstring(f"{{{table_start}}}:n:{path}")

    def objects_in_key(self, args: Sequence[object], kwargs: dict[str, object]) -> Iterator[object]:
        """
        Yield what the templates of the key pass through: `request.user` of "{request.user.pk}".

        The key has been made of them already, so no attribute here raises.
        """
        if not self._passing:  # nearly always: of a call over many ids this is asked for each
            return
        given = self.keyed.signature.bind(*args, **kwargs).arguments
        for first, *attributes in self._passing:
            if first in given and all(map(str.isidentifier, attributes)):
                reached = given[first]
                for attribute in attributes[:-1]:
                    reached = getattr(reached, attribute)
                    yield reached

    def kinds_in_key(
        self, args: Sequence[object], kwargs: dict[str, object]
    ) -> Iterator[tuple[str, object, str, object]]:
        """
        Yield each value that a key is made of, without those of callables: its label, the value, its type, its owner.

        The owner is the object whose attribute the value is; None for an argument.
        """
        bound = self.keyed.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        for expression in self.expressions:
            first, *attributes = expression.source.split(".")
            if first in bound.arguments and all(map(str.isidentifier, attributes)):
                value, owner = bound.arguments[first], None
                for attribute in attributes:
                    value, owner = getattr(value, attribute), value
                yield expression.label, value, kind_of_text(encode(value)), owner

    def explain(self, error: Exception, args: Sequence[object], kwargs: dict[str, object]) -> Exception:
        """Return an error that names the function, and what of the call can't be in its key; else the error itself."""
        keyed = self.keyed.copy()  # rows add their values
        bound = keyed.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        none = f"{keyed.private_prefix}none"
        rows = [each.expression(keyed) for each in self.dependencies]
        first = next(iter(keyed.signature.parameters), "")
        sources = [
            (Expression(first, first, (first,)), self.mark),
            *((each, keyed.encode_source(each)) for each in (*self.expressions, *self.vary)),
            *((each, keyed.part_source(each)) for each in (*self.fields, *filter(None, rows))),
            *((each, f"{{{keyed.paths_source(each, none, none)}}}") for each in self.dynamic),
        ]
        for expression, source in sources:
            try:
                eval(_fstring(source), keyed.all_values(), bound.arguments)  # noqa: S307 -- generated source
            except Exception as refused:  # noqa: BLE001 -- the user's properties may raise anything
                pass_interrupt(refused)
                if isinstance(refused, UnsavedRowError):
                    refused = refused.of_row(is_part=expression in {*self.fields, *self.dynamic, *rows})
                return self._explain_expression(refused, expression) or error
        # By elimination: the plan knows no callables of the settings.
        of_settings = Expression("what CACHEDECO['VARY'] gave", "()", ())
        return (isinstance(error, KeyTypeError) and self._explain_expression(error, of_settings)) or error

    def _advice_on(self, refused: KeyTypeError, expression: Expression) -> str:
        """Return what to do about a value that can't be in a key: that of a template, of a callable or of `self`."""
        advice, label = refused.advice, expression.label
        if not expression.path:  # a callable makes the key already
            if advice == FUNCTION:
                return "a function has no text that says what it does: give what it returns"
            return advice.replace("or pass key=", "or give what distinguishes it")
        if advice == FUNCTION and len(expression.path) > 1:
            return f"a template calls no method: let a callable do it, lambda {expression.reads[0]}: {label}()"
        if not self.keyed.is_method or [label] != [*self.keyed.signature.parameters][:1]:
            return advice
        if REGISTER in advice:
            return f"{advice}; or say ignore=({label!r},) if it does not change the value"
        return f"{advice}; {OF_MANAGER}" if advice == QUERY else advice

    def _explain_expression(self, refused: Exception, expression: Expression) -> Exception | None:
        """Return an error that names an expression which can't be in a key; None if it says so itself."""
        name, label = f"{self.keyed.name}()", expression.label
        if isinstance(refused, KeyTypeError):
            advice = self._advice_on(refused, expression)
            return TypeError(f"Can't encode {refused.what} ({label} of {name}) in a cache key; {advice}.")
        if isinstance(refused, PartTypeError):
            where = f"{{{label}}} in {expression.option} of " if expression.option else ""
            return TypeError(f"{where}{name}: {refused}")
        if type(refused) is AttributeError and expression.option:
            why = shorten(text_of_error(refused)) or type(refused).__name__
            do = "correct it, or pass what has it"
            if isinstance(refused.obj, Mapping) and refused.name in expression.path[1:]:
                before, _, after = f"{label}.".partition(f".{refused.name}.")
                item = f"{before}[{refused.name!r}].{after}".removesuffix(".")
                do = f"a template reads no items: let a callable do it, lambda {expression.reads[0]}: {item}"
            msg = f"{expression.option} of {name} can't read {{{label}}}: {why}; {do}."
            return AttributeError(msg, name=refused.name, obj=refused.obj)
        if isinstance(refused, RecursionError) and is_deep(refused):
            what = f"{label} of {name}"
            return TypeError(f"Can't encode {what} in a cache key; it contains itself, or is nested too deeply.")
        # An int with too many digits, a dataclass without one of its attributes, a `__cache_key__` of the user's.
        if isinstance(refused, ValueError | AttributeError) and expression.path:
            raised = shorten_error(refused).removesuffix(".")
            return TypeError(f"Can't encode {label} of {name} in a cache key, which raises {raised}.")
        return None


def _build_function(keyed: KeyedFunction, source: str) -> Callable[..., Any]:
    """Run the source, and give its function the defaults and the name of the user's, for the same error messages."""
    functions: dict[str, Any] = {}  # not among the values, or a closure there would be in a reference cycle
    exec(_compile_source(source), keyed.all_values(), functions)  # noqa: S102 -- made of names that Python has parsed
    function: FunctionType = functions["__keys"]
    parameters = [each for each in keyed.signature.parameters.values() if _has_default(each)]
    function.__defaults__ = tuple(each.default for each in parameters if each.kind is not Parameter.KEYWORD_ONLY)
    function.__kwdefaults__ = {each.name: each.default for each in parameters if each.kind is Parameter.KEYWORD_ONLY}
    function.__qualname__ = keyed.qualname
    return function


def token_of_function(start: str, name: str) -> str:
    """Return the key of the token that all entries of a function depend on."""
    return f"{start}:f:{name}()"


def _check_accounted(keyed: KeyedFunction, ignore: Sequence[str], covered: set[str], do: str) -> None:
    """
    Refuse a parameter or a free variable that nothing speaks for, and a name that nothing has.

    *do* says in the error what puts a parameter into the key.

    Raises:
        TypeError: There is one.
    """
    parameters = keyed.signature.parameters
    for name in ignore:
        if name not in parameters and name not in keyed.free:
            msg = f"ignore= names {repr_of(name)}, which {keyed.name}() does not have; {keyed.describe_parameters()}."
            raise TypeError(msg)
    if keyed.over is not None and ONE_ID not in covered:
        msg = (
            f"{keyed.name}() takes many ids as {keyed.over!r}, and its key never looks at {ONE_ID!r}, one of them: "
            f"all would share one entry. Put {{{ONE_ID}}} into key=."
        )
        raise TypeError(msg)
    for name in parameters:
        if name not in covered:
            raise TypeError(_refusal_of_parameter(keyed, name, do))
    for name in sorted(keyed.free - covered):
        raise TypeError(_refusal_of_variable(keyed, name))


def _refusal_of_parameter(keyed: KeyedFunction, name: str, do: str) -> str:
    """Return the message for a parameter that the key never looks at."""
    takes = f"{keyed.name}() takes {name!r}, which its key never looks at"
    if name == REQUEST:
        return (
            f"{takes}. Put what the value depends on into key=, such as {{request.user.pk}}; or let it take that alone."
        )
    return (
        f"{takes}: two calls that differ in it would share one entry. {do}, or say ignore=({name!r},) if it does not "
        "change the value."
    )


def _refusal_of_variable(keyed: KeyedFunction, name: str) -> str:
    """Return the message for a free variable that the key does not contain."""
    reads = f"{name!r} from the function around it, and its key does not contain it"
    if name == REQUEST:
        return f"{keyed.name}() reads {reads}. Make what it needs of the request a parameter, such as user_id."
    if name in keyed.functions:
        return (
            f"{keyed.name}() calls {name!r}, a function, from the function around it, and its key does not contain it. "
            "If a decorator is around it, put ours below that, or let it use functools.wraps(); else define "
            f"{name!r} outside, or say ignore=({name!r},) if it changes nothing."
        )
    return (
        f"{keyed.name}() reads {reads}. Make it a parameter, or say vary=lambda: {name} if it is a value, or "
        f"ignore=({name!r},) if it changes nothing."
    )


def _has_default(parameter: Parameter) -> bool:
    return parameter.default is not Parameter.empty


def _parameters_source(signature: Signature) -> str:
    """Return the parameters as source: without annotations, and with None for each default, which it can't hold."""
    texts: list[str] = []
    before: object = None
    for name, parameter in signature.parameters.items():
        kind = parameter.kind
        if before is Parameter.POSITIONAL_ONLY and kind is not before:
            texts.append("/")
        if kind is Parameter.KEYWORD_ONLY and before not in {kind, Parameter.VAR_POSITIONAL}:
            texts.append("*")
        texts.append(f"{_STARS.get(kind, '')}{name}{'=None' if _has_default(parameter) else ''}")
        before = kind
    if before is Parameter.POSITIONAL_ONLY:
        texts.append("/")
    return ", ".join(texts)


def _escape_braces(text: str) -> str:
    """Return literal text for the inside of an f-string."""
    return text.replace("{", "{{").replace("}", "}}")


def _fstring(inside: str) -> str:
    return f"f{inside!r}"


# By source: a function that is decorated again at each call of an outer one is compiled once.
@lru_cache(maxsize=1024)
def _compile_source(source: str) -> CodeType:
    return compile(source, "<cachedeco keys>", "exec")
