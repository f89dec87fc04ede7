"""Each package can be imported alone, with those below it and nothing else of ours."""

import subprocess
import sys
from collections.abc import Iterator

import django
import pytest
from django.apps import apps

from cachedeco.loading import sampling
from tests.house.modules import DOORS, PACKAGE, PACKAGES

# The doors at the top of the package, each of one module.
MODULES = ["middleware", "pytest_plugin"]
# What the package itself imports.
OWN = "lazy_names"

# What stands in INSTALLED_APPS, for what has models, or looks at those of others.
APPS = {
    "outbox": ["cachedeco.outbox"],
    "contrib": [f"django.contrib.{name}" for name in ("admin", "auth", "contenttypes")] + ["cachedeco.contrib.admin"],
}

IMPORTS = """
import sys
from importlib import import_module
import django
from django.conf import settings
settings.configure(INSTALLED_APPS={apps!r})
django.setup()
for package, names in {names!r}.items():
    for name in names:
        import_module(name)
    print(package, *sorted({{name.split(".")[1] for name in sys.modules if name.startswith("cachedeco.")}}))
"""


def modules_of(package: str) -> Iterator[str]:
    """Give the modules of a package, as they are imported."""
    path = PACKAGE / package
    for each in sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]:
        name = ".".join(["cachedeco", *each.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(".__init__")
        if name != "cachedeco.loading.refresh_task" or django.VERSION >= (6,):
            yield name


def loaded_by(*packages: str) -> dict[str, set[str]]:
    """Import packages in this order in a fresh interpreter; return which of ours are loaded after each."""
    installed = [app for package in packages for app in APPS.get(package, [])]
    names = {package: list(modules_of(package)) for package in packages}

    done = subprocess.run(
        [sys.executable, "-c", IMPORTS.format(apps=installed, names=names)],
        capture_output=True,
        text=True,
        check=False,
        cwd=PACKAGE.parent,
        env={"PYTHONPATH": str(PACKAGE.parent), "PATH": ""},
    )

    assert "" == done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    return {package: {*loaded} - {OWN} for package, *loaded in lines}


def test_packages_of_the_core_are_imported_without_those_above_them() -> None:
    """From the ground up, every module of a package loads its own package and those below, and no door."""
    loaded = loaded_by(*PACKAGES)

    assert {package: {*PACKAGES[: place + 1]} for place, package in enumerate(PACKAGES)} == loaded


@pytest.mark.parametrize("door", [each for each in (*DOORS, *MODULES) if any(PACKAGE.glob(f"{each}*"))])
def test_door_is_imported_without_the_others(door: str) -> None:
    """In a fresh interpreter every module of a door loads the door and the core, and no other door."""
    [loaded] = loaded_by(door).values()

    assert set() == loaded - {door, *PACKAGES}


def test_app_is_ready_without_doors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a distribution leaves out the checks and the auditor, the app starts without them."""
    monkeypatch.setattr(sampling, "_auditor", None)
    monkeypatch.setattr("cachedeco.apps.module_has_submodule", lambda *_: False)

    apps.get_app_config("cachedeco").ready()

    assert sampling._auditor is None
