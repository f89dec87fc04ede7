"""The mode of a run, of a test class and of a test."""

import unittest
from collections.abc import Iterator

import pytest
from django.test.utils import override_settings
from pytest_django import Settings

from cachedeco.runtime import modes
from cachedeco.testing import IsolatedCacheMixin, cache_mode
from tests.testing import cases
from tests.testing.cases import BareRunner, run, seen


class BypassingRunner(IsolatedCacheMixin, BareRunner):
    """A project's runner that bypasses unless told otherwise."""

    cache_mode = "bypass"


@pytest.fixture(autouse=True)
def _nothing_seen() -> None:
    """Begin with nothing seen."""
    seen.clear()


@pytest.mark.parametrize("chosen", ["on", "bypass", "off"])
def test_cache_mode_is_that_of_the_run(chosen: str) -> None:
    """The command line's mode holds for every test that has none of its own."""
    run(cases.ModeTests, cache_mode=chosen)

    assert ["on", chosen] == seen


def test_cache_mode_of_the_command_line_comes_first() -> None:
    """It wins over that of the runner's class."""
    run(cases.ModeTests, runner=BypassingRunner, cache_mode="off")

    assert "off" in seen


def test_settings_decide_where_nothing_else_does(settings: Settings) -> None:
    """Without an option the settings' mode holds, with the rest of the settings."""
    settings.CACHEDECO = {"MODE": "bypass", "KEY_PREFIX": "x"}

    run(cases.ModeTests)

    assert ["on", "bypass"] == seen


@pytest.mark.parametrize(("cls", "of_class"), [(cases.OffTests, "off"), (cases.OnAgainTests, "on")])
def test_mode_of_a_class_and_of_a_test(cls: type[unittest.TestCase], of_class: str) -> None:
    """A class's mode holds for its tests, rather than its base's; a test's own comes before it, an async one's too."""
    failures, output = run(cls)

    assert 0 == failures, output
    assert [of_class, "bypass"] == seen


@pytest.mark.parametrize(
    ("cls", "of_class"), [(cases.WithoutSuper, "off"), (cases.Nearer, "bypass"), (cases.AsyncWithoutSuper, "off")]
)
@pytest.mark.parametrize("way", ["run", "debug"])
def test_mode_of_a_class_needs_no_super(cls: type[unittest.TestCase], of_class: str, way: str) -> None:
    """A class's mode is in force from setUp() to the last cleanup, also without super(), and no longer."""
    getattr(cls("test_looks"), way)()

    assert [(place, of_class) for place in ("setUp", "test", "tearDown", "cleanup")] == seen
    assert "on" == modes.current_mode()


def test_mode_of_a_class_covers_a_run_of_its_own() -> None:
    """A class with a run() of its own keeps it, and runs it in its mode."""
    cases.OwnRun("test_looks").run()

    assert [(place, "off") for place in ("setUp", "test", "tearDown", "cleanup", "run")] == seen


def test_cache_mode_refuses_what_is_no_mode() -> None:
    """A misspelt mode is an error where it is written."""
    with pytest.raises(ValueError, match="the mode is 'of'"):
        cache_mode("of")  # type: ignore[arg-type]


def test_cache_mode_refuses_generator_functions() -> None:
    """The body of a fixture runs after the block: it would have the mode of the test."""

    def fixture() -> Iterator[None]:
        yield

    with pytest.raises(TypeError, match=r"fixture.* is a generator function: .* use `with` inside it"):
        cache_mode("on")(fixture)


def test_cache_mode_refuses_classes_that_unittest_does_not_run() -> None:
    """A class of pytest's is told to use the marker."""
    with pytest.raises(TypeError, match=r"mark a pytest class with @pytest.mark.cache_mode"):
        cache_mode("off")(type("TestClub", (), {}))


def test_cache_mode_changes_one_key_of_the_settings(settings: Settings) -> None:
    """The other keys of CACHEDECO stay; blocks nest; each leaves what it has found."""
    settings.CACHEDECO = {"KEY_PREFIX": "x"}

    block = cache_mode("off")
    with block, override_settings(CACHEDECO={"MODE": "bypass"}):
        with block:
            assert "off" == modes.current_mode()
        assert "bypass" == modes.current_mode()
        with cache_mode(None):
            assert "bypass" == modes.current_mode()

    assert {"KEY_PREFIX": "x"} == settings.CACHEDECO
