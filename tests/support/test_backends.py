"""The recording backends and the databases of the tests do what the tests rely on."""

import asyncio

import pytest
from django.core.cache import BaseCache, cache, caches
from django.core.cache.backends.base import DEFAULT_TIMEOUT
from django.db import transaction

from tests.conftest import UseCaches
from tests.models import Club
from tests.support.backends import COMMANDS, Command, Commands, Kind
from tests.support.threads import in_thread


def test_backend_keeps_what_it_is_given(backend: Kind) -> None:
    """Every backend of the fixture is a cache that works."""
    cache.set_many({"a": 1, "b": None})

    found = cache.get_many(["a", "b", "c"])

    assert {"a": 1, "b": None} == found, backend


def test_backend_is_fresh(backend: Kind, use_caches: UseCaches) -> None:
    """A second cache of a kind does not see the first one's keys, though one place holds both."""
    cache.set("key", "value")

    use_caches(default=backend)

    assert "key" not in cache


@pytest.mark.usefixtures("dummy_backend")
def test_dummy_backend_keeps_nothing() -> None:
    """The dummy backend acknowledges and forgets."""
    cache.set("key", "value")

    assert "key" not in cache


def test_commands_of_every_backend_are_the_outermost(backend: Kind, commands: Commands) -> None:
    """A command is recorded once, with its keys, on each backend."""
    cache.set_many({"a": 1, "b": 2}, timeout=30)
    cache.get_many(iter(["a", "b"]))
    cache.add("c", 3, 60)
    _ = "c" in cache
    cache.delete_many(["a", "b"])

    expected = [
        Command("set_many", ("a", "b"), 30),
        Command("get_many", ("a", "b")),
        Command("add", ("c",), 60),
        Command("has_key", ("c",)),
        Command("delete_many", ("a", "b")),
    ]
    assert expected == commands, backend


def test_commands_carry_their_alias(use_caches: UseCaches, commands: Commands) -> None:
    """With two caches, a command tells which of them it reached."""
    use_caches(default="locmem", other="dummy")

    caches["other"].touch("key", 10)
    caches["default"].clear()

    assert [Command("touch", ("key",), 10, "other"), Command("clear")] == commands


def test_commands_of_other_threads_are_recorded(commands: Commands) -> None:
    """The list is the process's: what a thread sends is in it."""
    in_thread(lambda: cache.get("key"))

    assert ["get"] == commands.names


def test_commands_of_async_callers_are_those_that_reach_the_backend(commands: Commands) -> None:
    """An async method counts as what Django makes of it."""
    asyncio.run(cache.aget("key"))

    assert [Command("get", ("key",))] == commands


def test_commands_every_one_of_django_is_recorded() -> None:
    """No public sync method of BaseCache that names a key goes unrecorded."""
    plumbing = {"close", "get_backend_timeout", "make_and_validate_key", "make_key", "validate_key"}
    methods = {name for name in vars(BaseCache) if not name.startswith("_")}

    commands = {name for name in methods - plumbing if not (name[0] == "a" and name[1:] in methods)}

    assert set(COMMANDS) == commands


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_databases_show_threads_what_was_committed() -> None:
    """A thread sees a row when the transaction that made it has committed, in either database."""
    seen: list[bool] = []

    def look() -> None:
        seen.extend(Club.objects.using(alias).filter(name="Chess").exists() for alias in ("default", "other"))

    with transaction.atomic(using="default"), transaction.atomic(using="other"):
        Club.objects.create(name="Chess")
        Club.objects.using("other").create(name="Chess")
        in_thread(look)
    in_thread(look)

    assert [False, False, True, True] == seen


def test_settings_caches_default_timeout_is_recorded_as_not_given(commands: Commands) -> None:
    """A write without a timeout is told apart from one for ever."""
    cache.set("a", 1)
    cache.set("a", 1, None)

    assert [DEFAULT_TIMEOUT, None] == [command.timeout for command in commands]
