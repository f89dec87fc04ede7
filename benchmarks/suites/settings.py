"""
Settings of a public project's suite, changed by what the environment says.

SUITE_SETTINGS names the project's own; SUITE_MODE is `plain` (only the cache is another one), `app` (cachedeco is
installed, and no function is cached), or `oracle` (helpers of the project are called through a cache, too).
"""

import os
from importlib import import_module
from typing import Any

MODE = os.environ["SUITE_MODE"]
NAME = os.environ["SUITE_NAME"]


def settings_of(project: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a project, changed."""
    found = {name: value for name, value in project.items() if name.isupper()}
    # The caches of a suite may lie in its database: then each invalidation would be a query that a test counts.
    found["CACHES"] = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    added = {"plain": (), "app": ("cachedeco",), "oracle": ("cachedeco", "benchmarks.suites.apps.OracleConfig")}
    found["INSTALLED_APPS"] = [*found["INSTALLED_APPS"], *added[MODE]]
    return found


globals().update(settings_of(vars(import_module(os.environ["SUITE_SETTINGS"]))))
