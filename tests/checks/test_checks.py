"""The system checks: what can be wrong is said by `manage.py check`, each fault under its id."""

import gc
from typing import Any

import pytest
from django.core.checks import CheckMessage, run_checks
from django.core.checks.registry import registry
from django.db.models import Model
from django.utils.translation import get_language

from cachedeco import cached_query, rows
from cachedeco.checks import functions
from cachedeco.checks.caches import check_caches, check_databases, check_deployment
from cachedeco.checks.functions import check_functions
from cachedeco.checks.settings import check_ignored_names, check_modules, check_settings
from tests.conftest import CacheConfig, UseCaches
from tests.models import Club


@cached_query(cache="slow", name="tests.checks.slow")
def slow() -> int:
    """Be in a cache that the settings of the tests don't have."""
    return 1


def found(settings: Any, **cachedeco: object) -> list[CheckMessage]:
    """Return what the checks of ours find; of the functions, those of this module."""
    settings.CACHEDECO = cachedeco
    messages = [each for each in run_checks(tags=["cachedeco"]) if (each.id or "").startswith("cachedeco.")]
    of_settings = {"cachedeco.E001", "cachedeco.E002", "cachedeco.E003"}
    return [each for each in messages if each.id in of_settings or "tests.checks." in each.msg]


def test_app_registers_the_checks() -> None:
    """With the app installed, `manage.py check` runs them, and one of them only with `--deploy`."""
    usual, with_deploy = registry.get_checks(), registry.get_checks(include_deployment_checks=True)

    assert {check_caches, check_databases, check_functions, check_settings} <= {*usual}
    assert (False, True) == (check_deployment in usual, check_deployment in with_deploy)


def test_checks_of_a_sound_project_find_nothing(settings: Any, use_caches: UseCaches) -> None:
    """All aliases are there: not a word."""
    use_caches(default="locmem", slow="locmem")

    assert [] == found(settings, ALIASES=["default", "slow"])


def test_settings_at_fault_are_e001_and_nothing_else(settings: Any) -> None:
    """All faults of the dict are in one message; what can't be judged without it is left alone."""
    [message] = found(settings, MODE="of", NONSENSE=1)

    assert ("cachedeco.E001", True, True) == (message.id, "'NONSENSE'" in message.msg, "'of'" in message.msg)
    assert message.hint


@pytest.mark.parametrize(
    "item", ["tests.Nothing", "Club", "AUTO", "nowhere.Club", 1, Model, rows(Club, pk="{club}")], ids=repr
)
def test_model_of_the_settings_that_is_none_is_e001(settings: Any, item: object) -> None:
    """It would make each call of each function raise; a function need not exist for the check to say so."""
    [message] = [each for each in found(settings, DEPENDS_ON=["auto", Club, item]) if each.id == "cachedeco.E001"]

    assert message.msg.startswith("CACHEDECO['DEPENDS_ON']: ")


@pytest.mark.parametrize("name", ["tests.Club.nothing", "tests.Nothing.name", "tests.Club.members", "nowhere.Club.x"])
def test_ignored_column_that_is_none_is_e001(settings: Any, name: str) -> None:
    """A name that no column has would leave all writes unwatched."""
    [message] = [each for each in found(settings, IGNORED_COLUMNS=[name]) if each.id == "cachedeco.E001"]

    assert name in message.msg


@pytest.mark.parametrize("name", ["tests.Nothing", "nowhere.Club", "tests_nothing", "totals"])
def test_name_in_sql_that_stands_for_no_table_is_e001(settings: Any, name: str) -> None:
    """What reads it would depend on what nothing writes, and be stale; an app, a model and a table are right."""
    tables = {"totals": ["tests", "tests.Club", "tests_club"], "others": [name], "nothing": []}

    [message] = [each for each in found(settings, TABLES=tables) if each.id == "cachedeco.E001"]

    assert message.msg.startswith(f"CACHEDECO['TABLES'] has {name!r} for 'others', which is no app, no model")


def test_replica_that_is_no_database_is_e001(settings: Any) -> None:
    """A misspelt replica would have no lag, and a lag in seconds is one for all."""
    [message] = [
        each for each in found(settings, REPLICA_LAG={"other": 2, "replica": 2}) if each.id == "cachedeco.E001"
    ]

    assert ("cachedeco.E001", "CACHEDECO['REPLICA_LAG'] names 'replica', which is not in DATABASES.") == (
        message.id,
        message.msg,
    )
    assert "['default', 'other']" in str(message.hint)
    assert "cachedeco.E001" not in {each.id for each in found(settings, REPLICA_LAG=2)}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["queries"], []),  # the default, which no app need have
        (["models", "checks.test_checks"], []),
        (["querys", "models"], ["'querys'"]),
        (["tests.models", "models.nothing"], ["'tests.models'", "'models.nothing'"]),
    ],
)
def test_module_that_no_app_has_is_w016(settings: Any, names: list[str], expected: list[str]) -> None:
    """Nothing else would say so: its functions are not imported when Django starts."""
    settings.CACHEDECO = {"MODULES": names}

    messages = check_modules()

    assert [f"CACHEDECO['MODULES'] names {each}, and no installed app has such a module." for each in expected] == [
        each.msg for each in messages
    ]


def test_model_that_the_app_of_an_ignored_table_lacks_is_w020(settings: Any) -> None:
    """It would stand for a table that is not there; apps, models, tables and other schemas are right."""
    right = ["tests", "tests.Club", "tests_club", "public.tests_club", "nothing"]
    settings.CACHEDECO = {"IGNORED_TABLES": [*right, "tests.Clubb", "tests.models.Club"]}

    misspelt, path = check_ignored_names()

    assert ("cachedeco.W020", "cachedeco.W020") == (misspelt.id, path.id)
    assert "has 'tests.Clubb', and the app tests has no model Clubb: it stands" in misspelt.msg
    assert "has 'tests.models.Club', and the app tests has no model models.Club: it stands" in path.msg


@pytest.mark.parametrize("aliases", [["default"], []])
def test_unknown_alias_is_e002(
    settings: Any, use_caches: UseCaches, cache_config: CacheConfig, aliases: list[str]
) -> None:
    """An alias that Django's CACHES lacks is named, beside those that there are: none, where there is none."""
    use_caches(**{alias: cache_config("locmem") for alias in aliases})
    messages = [each for each in found(settings, ALIASES=[*aliases, "nowhere"]) if each.id != "cachedeco.E004"]

    assert [("cachedeco.E002", f"CACHES has {aliases}.")] == [(each.id, each.hint) for each in messages]
    assert "'nowhere'" in messages[0].msg


@pytest.mark.parametrize(("length", "expected"), [(187, []), (188, ["cachedeco.E003"])])
def test_key_prefix_that_leaves_no_room_is_e003(
    settings: Any,
    use_caches: UseCaches,
    cache_config: CacheConfig,
    length: int,
    expected: list[str],
) -> None:
    """Of memcached's 250 bytes, Django's prefix and version must leave as many as the shortest key takes."""
    use_caches(default=cache_config("locmem", KEY_PREFIX="p" * length), slow="locmem")

    assert expected == [each.id for each in found(settings, ALIASES=["default", "slow"])]


@pytest.mark.parametrize(("caches", "hint"), [(["slow"], "Add the alias there"), ([], "It takes one of")])
def test_function_in_a_cache_that_invalidations_miss_is_e004(
    settings: Any, use_caches: UseCaches, caches: list[str], hint: str
) -> None:
    """The function and its alias are named, and what to do."""
    use_caches(default="locmem", **dict.fromkeys(caches, "locmem"))

    [message] = found(settings)

    assert ("cachedeco.E004", True) == (message.id, "tests.checks.slow() has cache='slow'" in message.msg)
    assert hint in (message.hint or "")


def test_cache_that_the_setting_names_and_django_does_not_have_is_not_advised(settings: Any) -> None:
    """What the hint of E004 names is taken; E002 tells of the setting."""
    [slow] = [each for each in found(settings, ALIASES=["default", "slow"]) if each.id == "cachedeco.E004"]

    assert ("tests.checks.slow() has cache='slow', which is not in CACHES.", True) == (
        slow.msg,
        (slow.hint or "").endswith("names: default."),
    )


def test_function_that_is_gone_is_not_checked(settings: Any) -> None:
    """A function that was decorated inside another one, and is no more, is no fault."""

    def inside() -> None:
        @cached_query(cache="slow", name="tests.checks.gone")
        def gone() -> int:
            return 1

        assert any("tests.checks.gone" in each.msg for each in found(settings))

    inside()
    gc.collect()

    assert not any("tests.checks.gone" in each.msg for each in found(settings))


LOCALE = "django.middleware.locale.LocaleMiddleware"


@pytest.mark.parametrize(
    ("changes", "ids"),
    [
        ({"MIDDLEWARE": [LOCALE]}, ["cachedeco.W013"]),
        ({"MIDDLEWARE": []}, []),
        ({"MIDDLEWARE": [LOCALE], "USE_I18N": False}, []),
        ({"MIDDLEWARE": [LOCALE], "LANGUAGES": [("en", "English")]}, []),
        ({"MIDDLEWARE": [LOCALE], "CACHEDECO": {"VARY": ["django.utils.translation.get_language"]}}, []),
        ({"MIDDLEWARE": [LOCALE], "CACHEDECO": {"NONSENSE": 1}}, []),
    ],
    ids=["on", "off", "no translations", "one language", "VARY", "settings at fault"],
)
def test_functions_without_the_language_of_visitors_are_w013(
    settings: Any, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], ids: list[str]
) -> None:
    """A site in several languages is told of functions that give each visitor the text of the first one."""
    for name, value in changes.items():
        setattr(settings, name, value)

    @cached_query(vary=get_language)
    def varied() -> str:
        return "Montag"

    specs = [spec for spec in functions.decorated_functions() if spec.name in {slow._spec.name, varied._spec.name}]
    monkeypatch.setattr(functions, "decorated_functions", lambda: [*specs, *[specs[0]] * 3])

    messages = functions.check_languages()

    assert ids == [message.id for message in messages]
    assert all("varied()" not in message.msg for message in messages)


def test_functions_that_all_vary_are_no_fault(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What says what it depends on is right."""
    settings.MIDDLEWARE = [LOCALE]
    monkeypatch.setattr(functions, "decorated_functions", list)

    assert [] == functions.check_languages()
