"""Refuse views: at decoration where a function certainly is one, and otherwise at its first use."""

import inspect
from collections.abc import Callable, Mapping
from inspect import Parameter, Signature
from types import UnionType
from typing import Any, Union, get_args, get_origin

from cachedeco.storage.refusals import RESPONSE, VIEWS, is_request, is_response, is_view

# Where `as_view()` and Django REST framework's `@api_view` leave the class of a view.
_MARKS = ("view_class", "cls")


def refuse_view(function: Callable[..., Any]) -> None:
    """
    Refuse what `as_view()` or `@api_view` has made.

    Raises:
        TypeError: It is a view.
    """
    for mark in _MARKS:
        owner = getattr(function, mark, None)
        if isinstance(owner, type) and is_view(owner):
            msg = f"{owner.__qualname__} is a view: its response {RESPONSE.why}"
            raise TypeError(msg)


def refuse_annotated_view(
    function: Callable[..., Any], signature: Signature, name: str, options: Mapping[str, Any]
) -> None:
    """
    Refuse a function that says that it returns a response, or that a whole request is in its key.

    Its annotations are not evaluated.

    Raises:
        TypeError: It says so.
    """
    # What a decorator between it and ours returns, no annotation says.
    if not hasattr(function, "__wrapped__") and any(
        map(is_response, _classes(signature.return_annotation, function)),
    ):
        msg = f"{name}() returns a response, which {RESPONSE.why}"
        raise TypeError(msg)
    for parameter in signature.parameters.values() if options["key"] is None else ():
        if parameter.name in options["ignore"] or parameter.default is not Parameter.empty:
            continue
        classes = _classes(parameter.annotation, function)
        if classes and all(map(is_request, classes)):
            msg = (
                f"{name}() takes a request as {parameter.name!r}, which is another one at each call. {VIEWS} Such a "
                "function takes what it needs of a request, as user_id."
            )
            raise TypeError(msg)


def _classes(annotation: object, function: Callable[..., Any]) -> list[type]:
    """Return the classes that an annotation names, those of a union; it is not evaluated, and other ones have none."""
    if isinstance(annotation, str):
        names: Mapping[str, Any] = getattr(inspect.unwrap(function), "__globals__", {})
        parts = [_look_up(names, each.strip()) for each in annotation.split("|")]
    else:
        parts = [*get_args(annotation)] if get_origin(annotation) in {Union, UnionType} else [annotation]
    return [each for each in parts if isinstance(each, type) and each is not Parameter.empty]


def _look_up(names: Mapping[str, Any], path: str) -> Any:
    """Return what a dotted name means among the globals of a module; None if it means nothing there."""
    first, *attributes = path.split(".")
    found = type(None) if first == "None" else names.get(first)
    for attribute in attributes:
        found = inspect.getattr_static(found, attribute, None)  # runs no code of a module that is loaded lazily
    return found


def refuse_ignored_view(name: str, parameter: str, instance: object) -> None:
    """
    Refuse a method of a view whose key ignores the view.

    Raises:
        TypeError: Two views, and two visitors, would share an entry.
    """
    if is_view(type(instance)):
        msg = (
            f"{name}() ignores {parameter!r}, a view, which holds the request of one visitor: two views, and two "
            "visitors, would share an entry. Cache a function outside the class, which takes what it needs."
        )
        raise TypeError(msg)
