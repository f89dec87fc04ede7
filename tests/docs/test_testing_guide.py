"""The complete examples of the guide to testing, each run as a test module by Django's runner and by pytest."""

import os
import re
from pathlib import Path

import pytest

from tests.samples.outcomes import PLUGIN
from tests.support import ROOT
from tests.support.programs import run

pytestmark = pytest.mark.usefixtures("_unmeasured_processes")

GUIDE = ROOT / "docs" / "how-to" / "testing.md"
MODELS = "from tests.models import Club, ClubClass\n\n"
BLOCK = re.compile(r"^```python\n(?!>>>)(.*?)^```$", re.MULTILINE | re.DOTALL)

OFF = "The cache off"
ISOLATED = "The cache on, isolated"
ALONE = "The caching alone"
PROCESS = "Another process"


# What two processes need to share.
SHARED = """
FILES = "django.core.cache.backends.filebased.FileBasedCache"
CACHES = {{"default": {{"BACKEND": FILES, "LOCATION": "{directory}/cache"}}}}
DATABASES["default"]["TEST"] = {{"NAME": "{directory}/test.sqlite3"}}
"""


def blocks_under(heading: str) -> str:
    """Return the blocks of one part of the guide as a module, after those that come before the first part."""
    introduction, *parts = re.split(r"^## ", GUIDE.read_text(), flags=re.MULTILINE)
    part = next(part for part in parts if part.startswith(f"{heading}\n"))
    return "\n".join(BLOCK.findall(introduction) + BLOCK.findall(part))


def written(directory: Path, heading: str) -> dict[str, str]:
    """Write a project that consists of one part of the guide, and return the environment that it runs in."""
    imports = "from django.test import RequestFactory, TestCase\n"  # shown under the first heading alone
    (directory / "test_guide.py").write_text(MODELS + imports + blocks_under(heading))
    name = "CACHEDECO" if heading == OFF else "TEST_RUNNER"
    [setting] = re.findall(rf"^{name} = .*$", GUIDE.read_text(), re.MULTILINE)
    if heading == PROCESS:
        setting += SHARED.format(directory=directory)
    (directory / "guide_settings.py").write_text(f"from tests.settings import *\n{setting}\n")
    path = os.pathsep.join([str(directory), str(ROOT)])
    return {**os.environ, "PYTHONPATH": path, "DJANGO_SETTINGS_MODULE": "guide_settings", "PYTHONWARNINGS": "error"}


def output_of(directory: Path, environment: dict[str, str], *arguments: str) -> str:
    """Return what a command of Python's says; fail if it fails."""
    done = run("-m", *arguments, folder=directory, environment=environment)
    assert 0 == done.returncode, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    ("heading", "number"),
    [(ISOLATED, 3), *(pytest.param(*each, marks=pytest.mark.soak) for each in ((OFF, 2), (ALONE, 5), (PROCESS, 1)))],
)
def test_part_passes_in_djangos_runner(heading: str, number: int, tmp_path: Path) -> None:
    """With the setting that the guide shows, its tests pass."""
    environment = written(tmp_path, heading)

    said = output_of(tmp_path, environment, "django", "test", "test_guide")

    assert f"Ran {number} test" in said


@pytest.mark.parametrize(
    ("heading", "option", "number"), [(OFF, "off", 2), (ISOLATED, "isolated", 5), (ALONE, "isolated", 5)]
)
def test_part_passes_in_pytest(heading: str, option: str, number: int, tmp_path: Path) -> None:
    """With the option that the guide shows, its tests pass."""
    (tmp_path / "pytest.ini").write_text(f"[pytest]\ncachedeco_tests = {option}\n")
    environment = written(tmp_path, heading)

    said = output_of(tmp_path, environment, "pytest", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", *PLUGIN)

    assert f"{number} passed" in said
