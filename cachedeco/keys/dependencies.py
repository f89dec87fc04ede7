"""What `depends_on` says: the models, or the parts of them, whose changed rows invalidate the entries of a function."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.db.models import Field, Model

from cachedeco.invalidation.namespaces import every_row_of, some_rows_of
from cachedeco.invalidation.rows import ModelReference, check_telling, field_of, model_of, text_of
from cachedeco.invalidation.signals import watch
from cachedeco.keys.expressions import Expression, Subject, pieces_of

DependsOn = ModelReference | tuple[ModelReference, str] | tuple[ModelReference, str, str]


class Dependency:
    """
    One model, or the part of it whose rows have a value in a field, that a function depends on.

    A name "app_label.Model" need not lead to a model before all of them are loaded: then `resolved()` tells.

    Raises:
        TypeError: It is none, or neither a template nor a parameter gives the value of the field.
        ValueError: The template is malformed.
    """

    def __init__(self, subject: Subject, given: object) -> None:
        """Check what can be checked as yet."""
        self.reference: ModelReference
        self.field: str | None
        self.pieces: list[tuple[str, Expression | None]] = []
        self._label = f"depends_on= of {subject.name}()"
        parts = given if isinstance(given, tuple) else (given,)
        if len(parts) not in {1, 2, 3} or not all(isinstance(each, str) for each in parts[1:]):
            msg = (
                f"{self._label} has {given!r}; it takes a model, 'app_label.Model', (Model, 'field'), or "
                "(Model, 'field', '{template}')."
            )
            raise TypeError(msg)
        padded: tuple[Any, ...] = (*parts, None, None)
        self.reference, self.field, template = padded[:3]
        if apps.models_ready or not isinstance(self.reference, str):
            self.resolved()
        if template is not None:
            self.pieces = list(pieces_of(subject, template, "depends_on"))
        elif self.field is not None:
            self.pieces = [("", subject.attribute(self._parameter(subject, self.field), "depends_on"))]

    def resolved(self) -> tuple[type[Model], "Field[Any, Any] | None"]:
        """
        Return the model and the field.

        Raises:
            TypeError: There is no such model, or the field is none by which rows can be told apart.
        """
        try:
            model = model_of(self.reference)
            field = None if self.field is None else field_of(model, self.field)
            if field is not None and apps.models_ready:
                check_telling(field)
        except TypeError as error:
            msg = f"{self._label}: {error}"
            raise TypeError(msg) from error
        return model, field

    def _parameter(self, subject: Subject, name: str) -> str:
        """Return the parameter that gives the field's value: of its name, with or without `_id`."""
        names = [name, name.removesuffix("_id"), f"{name}_id"]
        if apps.models_ready or not isinstance(self.reference, str):
            field = self.resolved()[1]
            names = [name, getattr(field, "attname", name), getattr(field, "name", name)]
        for each in names:
            if each in subject.signature.parameters:
                return each
        msg = (
            f"{self._label} names the field {name!r}, and no parameter is called {' or '.join(dict.fromkeys(names))}; "
            f"{subject.has()}. Say where its value comes from: (..., {name!r}, '{{club.pk}}')."
        )
        raise TypeError(msg)

    def watch(self) -> None:
        """Have changed rows invalidate what depends on them, from now on."""
        watch(self.reference, self.field)

    def paths(self, subject: Subject) -> list[str]:
        """Return the paths of a call's namespaces, as insides of f-strings over the values of the subject."""
        model, field = self.resolved()
        if field is None:
            return [every_row_of(model).path]
        rows = some_rows_of(model).path
        mark, alias = subject.mark, f"{subject.mark}rows{len(subject.values)}"
        subject.values[alias] = partial(text_of, field)
        return [rows, f"{rows}:{{{mark}part({alias}({self._value_source()}))}}"]

    def _value_source(self) -> str:
        """Return what gives the value: of a template that is one field, the object itself and not its text."""
        if len(self.pieces) == 1 and not self.pieces[0][0] and self.pieces[0][1]:
            return self.pieces[0][1].source
        texts = [each for literal, field in self.pieces for each in (repr(literal), field and f"str({field.source})")]
        return " + ".join(filter(None, texts)) or "''"


def dependencies_of(subject: Subject, given: Sequence[DependsOn]) -> list[Dependency]:
    """
    Read `depends_on`, for a `KeyPlan`, which takes dependencies among its namespaces.

    Raises:
        TypeError, ValueError: As `Dependency` says, or it is no sequence.
        ImproperlyConfigured: Our app is not installed, which connects the models.
    """
    if not isinstance(given, list | tuple):
        msg = f"depends_on={given!r} for {subject.name}(); it takes a list: depends_on=[{_shown(given)}]."
        raise TypeError(msg)
    if given and apps.apps_ready and not apps.is_installed("cachedeco"):
        msg = f"{subject.name}() has depends_on=: add 'cachedeco' to INSTALLED_APPS, as the app connects the models."
        raise ImproperlyConfigured(msg)
    return [Dependency(subject, each) for each in given]


def _shown(given: object) -> str:
    return given.__name__ if isinstance(given, type) else repr(given)
