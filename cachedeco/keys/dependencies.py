"""What `depends_on` says: the models, or the parts of them, whose changed rows invalidate the entries of a function."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple, cast

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.db.models import Field, Model

from cachedeco.invalidation.namespaces import every_row_of, some_rows_of
from cachedeco.invalidation.rows import ModelReference, check_telling, field_of, model_of, text_of
from cachedeco.invalidation.signals import watch
from cachedeco.keys.expressions import Expression, Subject, pieces_of


class Rows(NamedTuple):
    """The rows of a model with one value in a field: what `rows()` gives."""

    model: ModelReference
    field: str
    template: str


def rows(model: ModelReference, /, **field: str) -> Rows:
    """
    Return the rows of a model that have one value in a field, for *depends_on*.

    ::

        depends_on=[rows(ClubClass, club="{club.pk}")]  # the classes of this call's club, and no others

    Args:
        model: The model, or its name, "app_label.Model".

        field: Exactly one field, without lookups: its value is a template over the parameters.

    Raises:
        TypeError: It is not exactly one field, or its value is no text.
    """
    shown = _shown(model)
    if len(field) != 1 or any("__" in name or not isinstance(text, str) for name, text in field.items()):
        given = ", ".join(f"{name}={text!r}" for name, text in field.items()) or "no field"
        msg = (
            f"rows({shown}, ...) has {given}; it takes one field, without lookups, and a template: "
            f"rows({shown}, club='{{club.pk}}')."
        )
        raise TypeError(msg)
    [(name, template)] = field.items()
    return Rows(model, name, template)


DependsOn = ModelReference | Rows


class Dependency:
    """
    One model, or the part of it whose rows have a value in a field, that a function depends on.

    A name "app_label.Model" need not lead to a model before all of them are loaded: then `resolved()` tells.

    Raises:
        TypeError: It is none.
        ValueError: The template is malformed.
    """

    def __init__(self, subject: Subject, given: object) -> None:
        """Check what can be checked as yet."""
        self.reference: ModelReference
        self.field: str | None = None
        self.pieces: list[tuple[str, Expression | None]] = []
        self._label = f"depends_on= of {subject.name}()"
        if isinstance(given, tuple) and not isinstance(given, Rows):
            model = _shown(given[0]) if given else "Model"
            field = given[1] if given[1:] and str(given[1]).isidentifier() else "field"
            template = given[2] if given[2:] and isinstance(given[2], str) else f"{{{field}}}"
            msg = (
                f"{self._label} has the tuple {given!r}; it takes a model, 'app_label.Model', or "
                f"rows({model}, {field}={template!r})."
            )
            raise TypeError(msg)
        if isinstance(given, Rows):
            self.reference, self.field, template = given
            self.pieces = list(pieces_of(subject, template, "depends_on"))
        else:
            self.reference = cast("ModelReference", given)  # resolved() refuses all else
        if apps.models_ready or not isinstance(self.reference, str):
            self.resolved()

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
