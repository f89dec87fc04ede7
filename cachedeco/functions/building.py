"""Build the spec of a function at decoration: check the function and the options, and plan its keys."""

from collections.abc import Mapping, Sequence
from inspect import Parameter, Signature
from typing import Any

from cachedeco.functions.naming import key_name_of, name_of, take_names
from cachedeco.functions.options import as_tuple, check
from cachedeco.functions.source import Source
from cachedeco.functions.spec import FunctionSpec
from cachedeco.functions.views import refuse_annotated_view
from cachedeco.keys.compiler import KeyPlan
from cachedeco.keys.dependencies import dependencies_of, refuse_auto_without_app
from cachedeco.keys.expressions import ONE_ID, KeyedFunction, free_variables
from cachedeco.keys.imports import functions_among, imports_of
from cachedeco.keys.signatures import text_signature
from cachedeco.runtime.reprs import repr_of
from cachedeco.runtime.validation import UNSET


def build_spec(decorated: object, options: Mapping[str, Any], over: str | None = None) -> FunctionSpec:
    """
    Check the function and the options, and return the spec of the function.

    *over* names the parameter that takes many ids. In keys it is replaced by one id, `each`.
    """
    source = Source.of(decorated, "cached_query" if over is None else "cached_query_many")
    name = name_of(source.function, options["name"])
    check(options, name)
    key_name = key_name_of(source.function, name)
    signature, free = text_signature(source.function), free_variables(source.function)
    refuse_annotated_view(source.function, signature, name, options)
    if over is not None:
        signature = _signature_for_one_id(name, signature, over, options["ignore"])
        _refuse_free_id(name, over, free)
    imports = imports_of(source.function, free)
    keyed = KeyedFunction(
        name,
        source.function.__qualname__,
        key_name,
        signature,
        free,
        is_method=_is_method(source),
        takes_class=source.binding == "class",
        over=over,
        imports=imports,
        functions=functions_among(source.function, free),
    )
    depends_on = () if options["depends_on"] is UNSET else options["depends_on"]
    namespaces = (*as_tuple(options["namespace"]), *dependencies_of(keyed, depends_on))
    plan = KeyPlan(keyed, options["key"], tuple(options["ignore"]), as_tuple(options["vary"]), namespaces)
    refuse_auto_without_app(name, options["depends_on"])
    spec = FunctionSpec(source, name, plan, options)
    take_names(spec, source.function, name, key_name, is_chosen=options["name"] is not None)
    return spec


def _signature_for_one_id(name: str, signature: Signature, over: str, ignore: Sequence[str]) -> Signature:
    """
    Return the signature of a bulk function in its keys: one id, `each`, in the place of many.

    Raises:
        TypeError: *over* names no parameter that can take a collection, or the key ignores the id.
    """
    parameters = signature.parameters
    kind = parameters[over].kind if isinstance(over, str) and over in parameters else Parameter.VAR_POSITIONAL
    if kind in {Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD}:
        bare = [each.replace(annotation=Parameter.empty) for each in parameters.values()]
        taken = ", ".join(map(str, bare)) or "no parameters"
        msg = f"over={repr_of(over)} for {name}(); it names the parameter that takes the ids, of these: {taken}."
        raise TypeError(msg)
    if over in ignore or ONE_ID in ignore:
        msg = f"{name}() is over {over!r}, and ignore= names it too: all ids would share one entry."
        raise TypeError(msg)
    if ONE_ID in parameters and over != ONE_ID:
        msg = f"{name}() takes {ONE_ID!r}, which is one id of {over!r} in keys and namespaces; rename it."
        raise TypeError(msg)
    return signature.replace(
        parameters=[item.replace(name=ONE_ID) if item.name == over else item for item in parameters.values()]
    )


def _refuse_free_id(name: str, over: str, free: frozenset[str]) -> None:
    """
    Refuse a bulk function that reads a variable called `each`: its keys would confuse it with the id.

    Raises:
        TypeError: It does.
    """
    if ONE_ID in free:
        msg = (
            f"{name}() reads {ONE_ID!r} from the function around it, which is one id of {over!r} in keys and "
            "namespaces; rename it."
        )
        raise TypeError(msg)


def _is_method(source: Source) -> bool:
    body = source.function.__qualname__.rpartition(".")[0]
    return source.binding != "none" and bool(body) and not body.endswith("<locals>")
