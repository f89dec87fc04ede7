"""What `depends_on` can't mean is refused at decoration; what is not known by then, by the system checks."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import AbstractUser
from django.core.exceptions import ImproperlyConfigured
from django.db.models import F, GeneratedField, IntegerField, Model
from django.test.utils import isolate_apps

from cachedeco import AUTO, Namespace, cached_query, rows
from cachedeco.invalidation import parts
from tests.invalidation.dependencies.conftest import Starting
from tests.models import Player, Squad, YouthSquad


def decorated(depends_on: Any) -> Callable[..., object]:
    """Decorate a function of two parameters."""

    @cached_query(depends_on=depends_on, name="tests.dependencies.refused")
    def refused(squad: object, other: int = 1) -> tuple[object, int]:
        return squad, other

    return refused


REFUSED: dict[str, tuple[object, str]] = {
    "model alone": (Squad, "it takes a list: depends_on=[Squad]"),
    "name alone": ("tests.Squad", "it takes a list: depends_on=['tests.Squad']"),
    "several names": ("tests.Squad, auto", "it takes a list: depends_on=['tests.Squad', AUTO]"),
    "AUTO alone": ("auto", "it takes a list: depends_on=[AUTO]"),
    "AUTO as a text": ("AUTO", "it takes a list: depends_on=[AUTO]"),
    "AUTO as a text in a list": (["AUTO"], "'AUTO' names no model; for the tables that the function reads it is AUTO"),
    "name of an app": ("tests", "it takes a list of models, of names 'app_label.Model', of rows() and AUTO"),
    "a set": ({Squad}, "it takes a list: depends_on=[Squad]"),
    "a generator": ((each for each in [Squad]), "it takes a list of models"),
    "no": (False, "it takes a list of models"),
    "nothing": (None, "of rows() and AUTO; () is none of them"),
    "rows alone": (rows(Player, squad="{squad}"), "it takes a list: depends_on=[rows(Player, squad='{squad}')]"),
    "a namespace": ([Namespace("squad", 1)], "<Namespace squad:1> is no model; a namespace goes into namespace=."),
    "no model": ([int], "<class 'int'> is no model"),
    "an instance": ([Squad(pk=1)], "is no model"),
    "abstract model": ([AbstractUser], "is abstract and has no rows"),
    "the base of all models": ([Model], "is abstract and has no rows"),
    "rows of the base of all models": ([rows(Model, pk="{other}")], "is abstract and has no rows"),
    "part without brackets": ((Player, "squad_id"), "'squad_id' names no model; it takes 'app_label.Model'"),
    "model without its app": (["Squad"], "'Squad' names no model; did you mean 'tests.Squad'?"),
    "path of a model": (["tests.models.Squad"], "'tests.models.Squad' names no model; did you mean 'tests.Squad'?"),
    "model in small letters": (["group"], "'group' names no model; did you mean 'auth.Group'?"),
    "unknown app": (
        ["nowhere.Nothing"],
        "'nowhere.Nothing' names no model: No installed app with label 'nowhere'; it takes",
    ),
    "misspelt model": (["tests.Sqaud"], "App 'tests' doesn't have a 'Sqaud' model; did you mean 'tests.Squad'?"),
    "unknown model": (["tests.Nobody"], "App 'tests' doesn't have a 'Nobody' model"),
    "unknown field": (
        [rows(Player, height="{other}")],
        "'height' is no column of tests.Player's own table, which has id, name",
    ),
    "relation": ([rows(Player, skills="{other}")], "'skills' is no column"),
    "column of a parent": ([rows(YouthSquad, name="{other}")], "'name' is no column of tests.YouthSquad's own table"),
    "a tuple": ([(Player, "squad")], "is no model; it takes a model class or its name"),
    "no parameter": ([rows(Player, number="{number}")], "takes no 'number'; it has squad, other"),
    "wrong template": ([rows(Player, squad="{club.pk}")], "takes no 'club'; it has squad, other"),
}


@pytest.mark.parametrize(("depends_on", "expected"), REFUSED.values(), ids=REFUSED)
def test_dependency_that_can_t_be_meant_is_refused(depends_on: object, expected: str) -> None:
    """The error says what was given, and what is accepted."""
    with pytest.raises(TypeError) as caught:
        decorated(depends_on)

    assert expected in str(caught.value)
    assert "tests.dependencies.refused" in str(caught.value)


NAMES = {"AUTO": AUTO, "Player": Player, "Squad": Squad, "rows": rows}
ADVICE = re.compile(r"depends_on=(\[.*\])")


@pytest.mark.parametrize("depends_on", [given for given, _ in REFUSED.values()], ids=REFUSED)
def test_what_an_error_advises_is_taken(depends_on: object) -> None:
    """An error that shows what to write instead shows what is not refused in turn."""
    with pytest.raises(TypeError) as caught:
        decorated(depends_on)

    for advice in ADVICE.findall(str(caught.value).rpartition("; ")[2]):
        assert decorated(eval(advice, NAMES))  # noqa: S307 -- of the error


def test_malformed_name_is_refused_while_models_load(monkeypatch: pytest.MonkeyPatch) -> None:
    """What can be no name of a model is refused where it is written, even if no model is loaded yet."""
    monkeypatch.setattr(apps, "models_ready", False)

    with pytest.raises(TypeError, match="'AUTO' names no model"):
        decorated(["AUTO"])


def test_field_whose_values_have_several_texts_is_refused() -> None:
    """Rows can't be told apart by a moment, which has a text in every time zone."""
    with pytest.raises(TypeError, match=r"auth\.User\.last_login is a DateTimeField, whose values have several texts"):
        decorated([rows("auth.User", last_login="{other}")])


@isolate_apps("tests")
def test_field_that_the_database_computes_is_refused() -> None:
    """A statement that inserts a row does not name its value."""
    meta = type("Meta", (), {"app_label": "tests"})
    twice: Any = GeneratedField(expression=F("id") * 2, output_field=IntegerField(), db_persist=True)
    model: Any = type("Twice", (Model,), {"__module__": __name__, "Meta": meta, "twice": twice})

    with pytest.raises(
        TypeError, match=r"tests\.Twice\.twice is a GeneratedField, which the database computes; it takes"
    ):
        Namespace.for_model(model, twice=2)


def test_malformed_template_is_refused() -> None:
    """A template is one as in the key."""
    with pytest.raises(ValueError, match="is no template"):
        decorated([rows(Player, squad="{squad")])


def test_app_that_is_not_installed_is_missed(settings: Any) -> None:
    """No write would be seen: the error says what to add."""
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "cachedeco"]

    with pytest.raises(ImproperlyConfigured, match="add 'cachedeco' to INSTALLED_APPS"):
        decorated([Squad])


@pytest.mark.parametrize("item", ["AUTO", "Squad", "tests.Nothing", 1], ids=repr)
def test_item_of_the_setting_is_refused_in_its_name(settings: Any, item: object) -> None:
    """A function that names nothing itself is not at fault: the error names the setting, and not its depends_on."""
    settings.CACHEDECO = {"DEPENDS_ON": [AUTO, item]}

    with pytest.raises(TypeError, match=r"^CACHEDECO\['DEPENDS_ON'\]: ") as caught:
        cached_query(60, name="tests.dependencies.by_setting")(lambda: 1)()

    assert "depends_on=" not in str(caught.value)


@pytest.mark.parametrize(
    ("by_setting", "given", "expected"),
    [
        ([Squad], {}, "CACHEDECO['DEPENDS_ON'] needs the app"),
        ([], {"depends_on": [Squad]}, "depends_on= of tests.dependencies.without_app() needs the app"),
    ],
    ids=["setting", "function"],
)
def test_app_is_missed_by_what_needs_it(
    settings: Any, by_setting: list[Any], given: dict[str, Any], expected: str
) -> None:
    """The error names the setting, or the function."""
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "cachedeco"]
    settings.CACHEDECO = {"DEPENDS_ON": by_setting}

    with pytest.raises(ImproperlyConfigured, match=re.escape(expected)):
        cached_query(60, name="tests.dependencies.without_app", **given)(lambda: 1)()


def test_nothing_to_depend_on_needs_no_app(settings: Any) -> None:
    """Without depends_on, the library works without being installed."""
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "cachedeco"]

    assert decorated([])


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((Player, {"squad_id": 1, "number": 2}), "takes one field, not squad_id, number"),
        ((Player, {"height": 1}), "'height' is no column"),
        ((int, {}), "is no model"),
        (("auth.User", {"last_login": 1}), "is a DateTimeField"),
    ],
    ids=["two fields", "unknown field", "no model", "several texts"],
)
def test_namespace_of_what_is_no_model_is_refused(given: tuple[Any, dict[str, object]], expected: str) -> None:
    """`Namespace.for_model()` takes what `depends_on` takes."""
    model, value = given

    with pytest.raises(TypeError) as caught:
        Namespace.for_model(model, **value)

    assert expected in str(caught.value)


@pytest.mark.django_db
@pytest.mark.parametrize(
    "value", [[1], (1,), {1}, {"pk": 1}, Squad.objects.all(), Squad.objects], ids=lambda value: type(value).__name__
)
def test_collection_in_the_place_of_a_field_s_value_is_refused(value: object, starting: Starting) -> None:
    """No write would name such rows: what depends on them would be stale."""
    with starting():

        @cached_query(ignore=("squads",), depends_on=[rows(Player, squad="{squads}")])
        def many(squads: object) -> object:
            return squads

    with pytest.raises(TypeError, match=r"^{squads} in rows\(Player, squad='{squads}'\) of .*_id has one value: give"):
        many(value)
    with pytest.raises(TypeError, match="squad_id has one value: give one, or name the whole model"):
        Namespace.for_model(Player, squad=value)


@pytest.mark.usefixtures("_models_loading")
@pytest.mark.django_db
def test_name_is_resolved_once_the_models_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A function may depend on what is loaded after it: it is watched from when Django has started."""

    @cached_query(depends_on=[rows("tests.Player", squad_id="{squad}")], name="tests.dependencies.early")
    def early(squad: int) -> int:
        return Player.objects.filter(squad=squad).count()

    asked = dict(parts._requests)
    monkeypatch.undo()
    monkeypatch.setattr(parts, "_requests", asked)
    parts.connect()
    squad = Squad.objects.create(name="North")
    before = early(squad.pk)

    Player.objects.create(name="Ann", squad=squad)

    assert (0, 1) == (before, early(squad.pk))


@pytest.mark.parametrize(
    ("field", "given"),
    [
        ({}, "has no field"),
        ({"squad": "{squad}", "number": "{other}"}, "has squad='{squad}', number='{other}'"),
        ({"squad__name": "{squad}"}, "has squad__name='{squad}'"),
        ({"squad": 7}, "has squad=7"),
    ],
    ids=["none", "two", "lookup", "no text"],
)
def test_rows_take_exactly_one_field_and_a_template(field: dict[str, Any], given: str) -> None:
    """What is no single field with a template is refused where it is written, with an example."""
    with pytest.raises(TypeError, match="it takes one field, without lookups, and a template: rows") as caught:
        rows(Player, **field)

    assert f"rows(Player, ...) {given};" in str(caught.value)
