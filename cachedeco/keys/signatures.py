"""Signatures of functions and of callables: their annotations are never evaluated, as Python 3.14 would."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from importlib import import_module
from inspect import Parameter, Signature
from types import FunctionType
from typing import Any, Final, ParamSpec, TypeVar

from asgiref.sync import markcoroutinefunction

P = ParamSpec("P")
T = TypeVar("T")


def _annotations_as(name: str) -> dict[str, Any]:
    """
    Return what has `inspect.signature()` give annotations in a format of `annotationlib`.

    Since Python 3.14 annotations are evaluated when they are first asked for, and `inspect.signature()` asks. A name
    may exist for type checkers only, or further down in the module: to evaluate it raises.
    """
    try:
        annotationlib: Any = import_module("annotationlib")
    except ImportError:
        return {}
    return {"annotation_format": annotationlib.Format[name]}


_TEXTS: Final = _annotations_as("STRING")
_FORWARD: Final = _annotations_as("FORWARDREF")


def bare_signature(function: Callable[..., Any]) -> Signature:
    """Return the signature of a function without its annotations, at which this never looks."""
    innermost = inspect.unwrap(function, stop=lambda each: hasattr(each, "__signature__"))
    if isinstance(innermost, FunctionType) and not hasattr(innermost, "__signature__"):
        return inspect.signature(_without_annotations(innermost))
    signature = text_signature(function)
    bare = [item.replace(annotation=Parameter.empty) for item in signature.parameters.values()]
    return signature.replace(parameters=bare, return_annotation=Signature.empty)


def text_signature(function: Callable[..., Any]) -> Signature:
    """Return the signature of a function with its annotations, as text where they are not evaluated yet."""
    return inspect.signature(function, **_TEXTS)


def forward_signature(function: Callable[..., Any]) -> Signature:
    """Return the signature of a function with its annotations, a `ForwardRef` for each that can't be evaluated yet."""
    return inspect.signature(function, **_FORWARD)


def parameters_of(function: Callable[..., object]) -> Iterable[Parameter]:
    """Return the parameters of a callable, without annotations; none if it has no signature."""
    try:
        return bare_signature(function).parameters.values()
    except ValueError:  # written in C, without a signature
        return ()


def advice_on_call(kwargs: Mapping[str, object], advice: str) -> str:
    """Return the advice on a call that a function of ours can't take: another one if Django's signals have made it."""
    if {"signal", "sender"} <= kwargs.keys():
        return "a receiver of a signal is a def that takes **kwargs and calls it; depends_on= needs no receiver"
    return advice


def advise_on_arguments(advice: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """
    Decorate a function of ours: an error about the arguments of its call says what to write.

    Python's own counts them, `self` among them.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        signature = bare_signature(function)

        @wraps(function)
        def checked(*args: P.args, **kwargs: P.kwargs) -> T:
            try:
                signature.bind(*args, **kwargs)
            except TypeError as error:
                msg = f"{function.__name__}(): {error}; {advice_on_call(kwargs, advice)}."
                raise TypeError(msg) from None
            return function(*args, **kwargs)

        return markcoroutinefunction(checked) if inspect.iscoroutinefunction(function) else checked

    return decorate


def _without_annotations(function: FunctionType) -> FunctionType:
    """Return a function with the same parameters and no annotations."""
    code, closure = function.__code__, function.__closure__
    bare = FunctionType(code, function.__globals__, function.__name__, function.__defaults__, closure)
    bare.__kwdefaults__ = function.__kwdefaults__
    return bare
