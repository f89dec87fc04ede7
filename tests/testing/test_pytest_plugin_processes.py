"""The pytest plugin in processes of their own: what it must not do, and where it needs Django's settings."""

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from tests.samples.outcomes import PLUGIN, PYTHONPATH
from tests.support.threads import PROGRAM_SECONDS

SPYING = """
    import sys

    def pytest_unconfigure(config):
        loaded = sorted(name for name in sys.modules if name.split(".")[0] in ("django", "asgiref"))
        print("django loaded:", loaded)
        plugin = config.pluginmanager.get_plugin("cachedeco.pytest_plugin") \\
            or config.pluginmanager.get_plugin("cachedeco")
        print("hooks:", sorted(caller.name for caller in config.pluginmanager.get_hookcallers(plugin)))
"""


def python(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pytest in a project of its own, which knows of Django only what is installed."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("DJANGO", "PYTEST", "COV"))
    }
    blocked = [f"-pno:{name}" for name in ("django", "randomly", "xdist", "hypothesispytest", "cacheprovider")]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *PLUGIN, *blocked, "-s", *arguments],
        cwd=directory,
        env={**environment, "PYTHONPATH": PYTHONPATH, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=PROGRAM_SECONDS,
        check=False,
    )


def test_off_costs_nothing(tmp_path: Path) -> None:
    """In a project that doesn't want it: nothing of Django is imported, and no hook is called for a test."""
    (tmp_path / "conftest.py").write_text(dedent(SPYING))
    (tmp_path / "test_plain.py").write_text("def test_passes():\n    pass\n")

    done = python(tmp_path)

    assert "1 passed" in done.stdout, done.stdout + done.stderr
    assert "django loaded: []" in done.stdout, done.stdout
    assert "hooks: ['pytest_addoption', 'pytest_configure']" in done.stdout


def test_marker_is_unknown_where_the_plugin_is_not_on(tmp_path: Path) -> None:
    """A marker that would do nothing is not silently accepted."""
    (tmp_path / "test_plain.py").write_text("import pytest\n\n@pytest.mark.cache_mode('off')\ndef test_x(): pass\n")

    done = python(tmp_path, "--strict-markers")

    assert "'cache_mode' not found in `markers` configuration option" in done.stdout


def test_django_without_settings_is_a_usage_error(tmp_path: Path) -> None:
    """Where it is wanted and Django has no settings, the error says what to do."""
    (tmp_path / "pytest.ini").write_text("[pytest]\ncachedeco_tests = isolated\n")
    (tmp_path / "test_plain.py").write_text("def test_passes():\n    pass\n")

    done = python(tmp_path)

    assert (
        "ERROR: cachedeco_tests is set, but Django has no settings: set DJANGO_SETTINGS_MODULE, or use pytest-django."
    ) in done.stderr
    assert pytest.ExitCode.USAGE_ERROR == done.returncode


def test_settings_configured_in_a_conftest_will_do(tmp_path: Path) -> None:
    """Settings need not be a module."""
    (tmp_path / "conftest.py").write_text("from django.conf import settings\nsettings.configure()\n")
    (tmp_path / "test_plain.py").write_text(
        "from django.core.cache import cache\n\ndef test_passes():\n    assert '/' in cache.make_key('key')\n"
    )

    done = python(tmp_path, "--cachedeco=isolated")

    assert "1 passed" in done.stdout, done.stdout + done.stderr
