"""The pytest plugin: what it does, seen from inside this process."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from textwrap import dedent
from types import SimpleNamespace

import pytest
from django.core.cache import cache, caches
from django.test import override_settings

import cachedeco.testing  # noqa: F401  pytester forgets what is imported first inside it
from cachedeco import pytest_plugin
from cachedeco.runtime import modes
from cachedeco.testing import isolation
from tests.samples.outcomes import PLUGIN

pytest_plugins = ["pytester"]

# What each test file begins with.
LOOKING = """
    import unittest
    import pytest
    from cachedeco import cached_query
    from cachedeco.runtime import conf, modes
    from django.core.cache import cache

    def look_and_leave():
        found = cache.get("key")
        cache.set("key", "left")
        return found
"""

Inner = Callable[..., pytest.RunResult]


@pytest.fixture
def inner(pytester: pytest.Pytester) -> Inner:
    """Give the function that runs a test file with the plugin, in this process and in its Django."""

    def run(source: str, *args: str, ini: str = "isolated") -> pytest.RunResult:
        pytester.makeini(f"[pytest]\ncachedeco_tests = {ini}\n" if ini else "[pytest]\n")
        pytester.makepyfile(dedent(LOOKING) + dedent(source))
        blocked = [f"-pno:{name}" for name in ("django", "randomly", "xdist", "hypothesispytest", "cacheprovider")]
        return pytester.runpytest_inprocess(*PLUGIN, *blocked, "--strict-markers", *args, no_reraise_ctrlc=True)

    return run


def traces() -> tuple[object, ...]:
    """Return what the plugin touches."""
    return caches.settings, caches["default"], isolation._scopes["default"], modes.current_mode()


@pytest.fixture(autouse=True)
def _others_value() -> Iterator[None]:
    """Have a value of another user in the cache, which must stay; and find caches and mode as they were."""
    cache.set("key", "from outside")
    found = traces()
    yield
    assert "from outside" == cache.get("key")
    assert found == traces()


def test_tests_see_nothing_from_outside_nor_from_each_other(inner: Inner) -> None:
    """Every test begins with empty caches, and sees what its own fixtures have cached."""
    result = inner("""
        @pytest.fixture
        def own():
            assert look_and_leave() is None

        @pytest.mark.parametrize("number", [1, 2])
        def test_looks(number, own):
            assert cache.get("key") == "left"
    """)

    result.assert_outcomes(passed=2)


def test_tests_see_nothing_of_wider_fixtures(inner: Inner) -> None:
    """What fixtures of the class, the module and the session have cached is not seen, and neither by one another."""
    result = inner("""
        def setup_module():
            assert look_and_leave() is None

        @pytest.fixture(scope="session", autouse=True)
        def widest():
            assert look_and_leave() is None
            yield
            assert look_and_leave() is None

        class TestClub(unittest.TestCase):
            @classmethod
            def setUpClass(cls):
                assert look_and_leave() is None

            def test_looks(self):
                assert look_and_leave() is None

            def test_looks_again(self):
                assert look_and_leave() is None

            @classmethod
            def tearDownClass(cls):
                assert look_and_leave() is None
    """)

    result.assert_outcomes(passed=2)


def test_wider_fixture_asked_for_late_takes_nothing_away(inner: Inner) -> None:
    """A test keeps what it has cached when it asks for a module's fixture in its middle."""
    result = inner("""
        @pytest.fixture(scope="module")
        def late():
            assert look_and_leave() is None

        def test_looks(request):
            cache.set("key", "mine")
            request.getfixturevalue("late")
            assert cache.get("key") == "mine"
    """)

    result.assert_outcomes(passed=1)


def test_end_of_a_fixture_of_the_tests_own_sees_what_the_test_has_cached(inner: Inner) -> None:
    """Cleaning up after a test is part of it."""
    result = inner("""
        @pytest.fixture
        def own():
            yield
            assert cache.get("key") == "the test's"

        def test_leaves(own):
            cache.set("key", "the test's")
    """)

    result.assert_outcomes(passed=1)


@pytest.mark.parametrize("ini", ["", "isolated"])
def test_fixture_that_switches_the_cache_on_isolates(ini: str, inner: Inner) -> None:
    """Also where the plugin does nothing else: two tests of one key see nothing of one another, or of outside."""
    with override_settings(CACHEDECO={"MODE": "off"}):
        result = inner(
            """
            @pytest.mark.parametrize("number", [1, 2])
            def test_looks(number, cache_on):
                assert look_and_leave() is None and modes.current_mode() == "on"
            """,
            ini=ini,
        )

    result.assert_outcomes(passed=2)


@pytest.mark.parametrize(("ini", "seen"), [("on", "on"), ("isolated", "off")])
def test_mode_on_comes_before_the_settings(ini: str, seen: str, inner: Inner) -> None:
    """`on` switches cachedeco on in a project whose settings have it off; `isolated` leaves it to them."""
    with override_settings(CACHEDECO={"MODE": "off"}):
        result = inner(f"def test_looks(): assert modes.current_mode() == '{seen}'", ini=ini)

    result.assert_outcomes(passed=1)


def test_class_of_unittests_has_its_mode(inner: Inner) -> None:
    """`@cache_mode` on a unittest class is in force for its tests, setUp() without super() and cleanups included."""
    result = inner("""
        from cachedeco.testing import cache_mode

        def look():
            assert modes.current_mode() == "off"

        @cache_mode("off")
        class Base(unittest.TestCase):
            pass

        class TestClub(Base):
            def setUp(self):
                self.addCleanup(look)
                look()

            def test_looks(self):
                look()
    """)

    result.assert_outcomes(passed=1)


def test_second_attempt_begins_with_nothing(inner: Inner, pytester: pytest.Pytester) -> None:
    """A plugin that runs a test again does it with empty caches."""
    pytester.makeconftest("""
        from _pytest.runner import runtestprotocol

        def pytest_runtest_protocol(item, nextitem):
            runtestprotocol(item, nextitem=item, log=False)
            runtestprotocol(item, nextitem=nextitem)
            return True
    """)

    result = inner("""
        def test_looks():
            assert look_and_leave() is None
    """)

    result.assert_outcomes(passed=1)


def test_failures_and_interruption_leave_no_trace(inner: Inner) -> None:
    """A failure, an error in a fixture, and Control-C are told as ever; the caches are as before."""
    result = inner("""
        @pytest.fixture(scope="module")
        def broken():
            raise ZeroDivisionError

        @pytest.fixture(scope="session", autouse=True)
        def widest():
            yield  # ends when the isolation has ended already: pytest leaves the loop before it takes things down

        def test_fails():
            assert look_and_leave() == "the reason"

        def test_errs(broken):
            pass

        def test_interrupted():
            raise KeyboardInterrupt
    """)

    result.stdout.fnmatch_lines(["*assert None == 'the reason'*", "*KeyboardInterrupt*", "*1 failed*1 error*"])
    assert pytest.ExitCode.INTERRUPTED == result.ret


@pytest.mark.parametrize(
    ("ini", "option", "seen"),
    [
        ("isolated", None, "on"),
        ("on", None, "on"),
        ("bypass", None, "bypass"),
        ("off", None, "off"),
        ("", "off", "off"),
        ("off", "isolated", "on"),
    ],
)
def test_mode_of_the_run(ini: str, option: str | None, seen: str, inner: Inner) -> None:
    """The ini option says the mode of the run, and the command line comes first; both isolate."""
    result = inner(
        f"""
        def test_looks():
            assert look_and_leave() is None
            assert modes.current_mode() == "{seen}"
        """,
        *([f"--cachedeco={option}"] if option else []),
        ini=ini,
    )

    result.assert_outcomes(passed=1)


def test_not_set_leaves_everything_as_it_is(inner: Inner) -> None:
    """Without the option tests meet what is there, and the fixtures for a mode work."""
    result = inner(
        """
        def test_looks(cache_off):
            assert cache.get("key") == "from outside"
            assert modes.current_mode() == "off"
        """,
        ini="",
    )

    result.assert_outcomes(passed=1)


def test_marker_and_fixtures_put_a_mode_in_force(inner: Inner) -> None:
    """A marker on a module, a class or a test, the nearest first; and a fixture for each mode."""
    result = inner("""
        pytestmark = pytest.mark.cache_mode("bypass")

        def test_module():
            assert modes.current_mode() == "bypass"

        @pytest.mark.cache_mode("off")
        class TestClub:
            def test_class(self):
                assert modes.current_mode() == "off"

            @pytest.mark.cache_mode("on")
            def test_test(self):
                assert modes.current_mode() == "on"

        @pytest.mark.parametrize("name", ["on", "bypass", "off"])
        def test_fixture(name, request):
            request.getfixturevalue(f"cache_{name}")
            assert modes.current_mode() == name
    """)

    result.assert_outcomes(passed=6)


def test_events_fixture_lists_what_happens(inner: Inner) -> None:
    """`cache_events` gives the events of the test."""
    result = inner("""
        @cached_query(name="kit.inner")
        def one():
            return 1

        def test_events(cache_events):
            one(), one()
            assert [event.kind for event in cache_events] == ["miss", "computed", "stored", "hit"]
    """)

    result.assert_outcomes(passed=1)


@pytest.mark.parametrize("arguments", ['"of"', '"on", "off"', "", 'name="on"'])
def test_marker_that_names_no_mode_is_refused_at_once(arguments: str, inner: Inner) -> None:
    """A misspelt mode stops the run before any test, and says where it is."""
    result = inner(f"""
        @pytest.mark.cache_mode({arguments})
        def test_looks():
            pass
    """)

    result.stderr.fnmatch_lines(["ERROR: *test_looks: * takes one of on, bypass, off."])
    assert pytest.ExitCode.USAGE_ERROR == result.ret


def test_ini_value_that_is_none_is_refused(inner: Inner) -> None:
    """A misspelt choice is an error that lists the right ones."""
    result = inner("def test_looks(): pass", ini="isolate")

    result.stderr.fnmatch_lines(
        ["ERROR: cachedeco_tests = isolate in the ini file is unknown; accepted are isolated, on, bypass, off."]
    )
    assert pytest.ExitCode.USAGE_ERROR == result.ret


def test_controller_of_xdist_isolates_nothing(inner: Inner, pytester: pytest.Pytester) -> None:
    """Where the tests run in other processes, these isolate."""
    pytester.makeconftest("""
        def pytest_configure(config):
            config.pluginmanager.register(object(), "dsession")
    """)

    result = inner("""
        def test_looks():
            assert cache.get("key") == "from outside"
            cache.set("key", "from outside")
    """)

    assert pytest.ExitCode.OK == result.ret


@pytest.mark.parametrize(
    ("configured", "module", "refused"), [(True, "", False), (False, "", True), (False, "some.settings", False)]
)
def test_settings_are_there_or_will_be(
    *, configured: bool, module: str, refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settings that are configured will do, or a module named to be read; and nothing else."""
    monkeypatch.setattr("django.conf.settings", SimpleNamespace(configured=configured))
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", module)

    with pytest.raises(pytest.UsageError, match="Django has no settings") if refused else nullcontext():
        pytest_plugin.require_settings()
