"""`depends_on`: the models, or rows of them, whose changes invalidate the entries of a function."""

from collections.abc import Sequence
from functools import partial
from typing import Final, NamedTuple, cast

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.db.models import Model

from cachedeco.invalidation.namespaces import Namespace, rows_of_table, table_namespace
from cachedeco.invalidation.parts import are_parts_known, name_parts
from cachedeco.invalidation.rows import (
    AnyField,
    ModelReference,
    check_canonical,
    field_of,
    model_of,
    table_of,
    text_of_given,
)
from cachedeco.keys.expressions import Expression, KeyedFunction, Pieces, parse_template
from cachedeco.keys.signatures import advise_on_arguments
from cachedeco.runtime import conf
from cachedeco.runtime.databases import databases
from cachedeco.runtime.reprs import repr_of
from cachedeco.runtime.validation import UNSET, Unset


class Rows(NamedTuple):
    """The rows of a model with one value in a field: the result of `rows()`."""

    model: ModelReference
    field: str
    template: str


@advise_on_arguments("it takes a model and one field of it by name: rows(ClubClass, club='{club.pk}')")
def rows(model: ModelReference, /, **field: str) -> Rows:
    """
    Return the rows of a model with one value in a field, for *depends_on*.

    ::

        depends_on=[rows(ClubClass, club="{club.pk}")]  # the classes of this call's club, and no others

    Args:
        model: The model, or its name, "app_label.Model".

        field: Exactly one field, without lookups; its value is a template over the parameters.

    Raises:
        TypeError: There is not exactly one field, or its value is no text.
    """
    shown = _name_of(model)
    if len(field) != 1 or any("__" in name or not isinstance(text, str) for name, text in field.items()):
        fields = ", ".join(f"{name}={repr_of(text)}" for name, text in field.items()) or "no field"
        msg = (
            f"rows({shown}, ...) has {fields}; it takes one field, without lookups, and a template: "
            f"rows({shown}, club='{{club.pk}}')."
        )
        raise TypeError(msg)
    [(name, template)] = field.items()
    return Rows(model, name, template)


DependsOn = ModelReference | Rows

# The tables that the function reads, whichever they are. Settings can say it without an import.
AUTO: Final = "auto"


class Dependency:
    """
    One model, or rows of it with a value in a field, that a function depends on.

    The model of a name "app_label.Model" is looked up when all models are loaded, by `resolve()`.

    Raises:
        TypeError: The item is no model, no name and no `rows()`.
        ValueError: The template is malformed.
    """

    def __init__(self, keyed: KeyedFunction, item: object, origin: str) -> None:
        """Check what can be checked before all models are loaded; *origin* names where it is given, in errors."""
        self.reference: ModelReference
        self.field: str | None = None
        self.pieces: Pieces = ()
        self.option = ""  #: as it is written, for error messages
        self._origin = origin
        if isinstance(item, Rows):
            self.reference, self.field, template = item
            self.option = f"rows({_name_of(self.reference)}, {self.field}={template!r})"
            self.pieces = parse_template(keyed, template, "depends_on")
        else:
            self.reference = cast("ModelReference", item)  # resolve() refuses all else
        if apps.models_ready or not isinstance(self.reference, str) or self.reference.count(".") != 1:
            self.resolve()
        if self.field is not None:
            name_parts(self.reference, self.field)

    def resolve(self) -> tuple[type[Model], "AnyField | None"]:
        """
        Return the model and the field.

        Raises:
            TypeError: There is no such model or field, or the values of the field have several texts each.
        """
        try:
            model = model_of_item(self.reference)
            field = None if self.field is None else field_of(model, self.field)
            if field is not None and apps.models_ready:
                check_canonical(field)
        except TypeError as error:
            msg = f"{self._origin}: {error}"
            raise TypeError(msg) from error
        return model, field

    def paths(self, keyed: KeyedFunction) -> list[str]:
        """
        Return the paths of a call's namespaces, as insides of f-strings over the values of the function.

        Rows that processes which write can't tell apart are the whole model.
        """
        model, field = self.resolve()
        if field is None or not are_parts_known(model, field):
            return [table_namespace(table_of(model)).path]
        rows = rows_of_table(table_of(model)).path
        return [rows, f"{rows}:{keyed.part_source(self._text_expression(keyed, field))}"]

    def expression(self, keyed: KeyedFunction) -> Expression | None:
        """Return the expression of the name of the rows, for error messages; None for a whole model."""
        model, field = self.resolve()
        if field is None or not are_parts_known(model, field):
            return None
        return self._text_expression(keyed, field)

    def _text_expression(self, keyed: KeyedFunction, field: AnyField) -> Expression:
        """Return the expression of the name of the rows."""
        alias = keyed.add_value(partial(text_of_given, field))
        fields = [expression for _, expression in self.pieces if expression]
        given = tuple(dict.fromkeys(expression.path[0] for expression in fields))
        source = f"{alias}({self._value_source(keyed)})"
        return Expression(", ".join(each.label for each in fields), source, given, given, self.option, is_folded=True)

    def _value_source(self, keyed: KeyedFunction) -> str:
        """Return the source of the field's value: for a template of one field, the object itself and not its text."""
        if len(self.pieces) == 1 and not self.pieces[0][0] and self.pieces[0][1]:
            return self.pieces[0][1].source
        texts = []
        for literal, field in self.pieces:
            if literal:  # by a name: no text of the user's is in the source, where a quote could end a string
                texts.append(keyed.add_value(literal))
            if field:
                texts.append(f"str({field.source})")
        return " + ".join(texts) or "''"


def dependencies_of(keyed: KeyedFunction, depends_on: Sequence[DependsOn], origin: str = "") -> list[Dependency]:
    """
    Return the dependencies of a function, for the namespaces of its `KeyPlan`.

    *origin* names the setting that gives them, in errors; else it is the function's *depends_on*.

    Raises:
        TypeError, ValueError: As for `Dependency`, or *depends_on* is no sequence.
        ImproperlyConfigured: The app "cachedeco", which watches what is written, is not installed.
    """
    if not isinstance(depends_on, list | tuple) or isinstance(depends_on, Rows):
        meant = _list_of(depends_on)
        taken = f": depends_on={meant}" if meant else " of models, of names 'app_label.Model', of rows() and AUTO"
        given = _text_of(depends_on) or repr_of(depends_on)
        none = "; () is none of them" if depends_on is None else ""
        msg = f"depends_on={given} for {keyed.name}(); it takes a list{taken}{none}."
        raise TypeError(msg)
    origin = origin or f"depends_on= of {keyed.name}()"
    if depends_on and apps.apps_ready and not apps.is_installed("cachedeco"):
        msg = f"{origin} needs the app, which watches what is written: add 'cachedeco' to INSTALLED_APPS."
        raise ImproperlyConfigured(msg)
    return [Dependency(keyed, item, origin) for item in depends_on if item != AUTO]


def model_of_item(item: ModelReference) -> type[Model]:
    """
    Return the concrete model of an item of *depends_on* that is not AUTO.

    Raises:
        TypeError: It is no model.
    """
    if isinstance(item, Namespace):
        msg = f"{item!r} is no model; a namespace goes into namespace=."
        raise TypeError(msg)
    if _is_auto(item):
        msg = f"{item!r} names no model; for the tables that the function reads it is AUTO, or {AUTO!r} as text."
        raise TypeError(msg)
    return model_of(item)


def _is_auto(item: object) -> bool:
    """Tell whether an item says AUTO, or tries to."""
    return isinstance(item, str) and item.lower() == AUTO


def depends_on_in_force(given: Sequence[DependsOn] | Unset) -> Sequence[DependsOn]:
    """Return what a function depends on by its option, or by the setting where it says nothing."""
    return conf.settings().DEPENDS_ON if given is UNSET else given


def refuse_auto_without_app(name: str, given: Sequence[DependsOn] | Unset) -> None:
    """
    Refuse AUTO where the app is missing, which sees what is read; without a database nothing is read.

    At decoration, and at the first call: before Django has started it is not known. *given* is the function's
    *depends_on*; the setting `DEPENDS_ON` if that is UNSET.

    Raises:
        ImproperlyConfigured: Its values would be served until their timeout.
    """
    if not apps.models_ready or apps.is_installed("cachedeco"):
        return
    if AUTO not in depends_on_in_force(given) or not databases():
        return
    msg = (
        f"{name}() depends on the tables that it reads, and only the app sees which: add 'cachedeco' to "
        "INSTALLED_APPS. If its values may be old for their timeout, say depends_on=()."
    )
    raise ImproperlyConfigured(msg)


def _name_of(item: object) -> str:
    return item.__name__ if isinstance(item, type) else repr_of(item)


def _text_of(item: object) -> str:
    """Return an item of a list, or a text that is one or several, as source text; "" for what can't be one."""
    if isinstance(item, Rows):
        return f"rows({_name_of(item.model)}, {item.field}={repr_of(item.template)})"
    is_model = isinstance(item, type) and issubclass(item, Model)
    return _name_of(item) if is_model or isinstance(item, str) else ""


def _list_of(depends_on: object) -> str:
    """Return the list that was meant, as source text; "" if there is none that would be taken."""
    if isinstance(depends_on, str):
        names = [name.strip() for name in depends_on.split(",")]
        items = ["AUTO" if _is_auto(name) else repr_of(name) if name.count(".") == 1 else "" for name in names]
    else:
        given = depends_on if isinstance(depends_on, set | frozenset) else [depends_on]
        items = [_text_of(item) for item in given]
    return f"[{', '.join(items)}]" if all(items) else ""
