"""Two fleets, processes of two releases on one cache: each keeps its entries, and every invalidation reaches both."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import distributions
from typing import Any, Final, Self

import django
import pytest

from tests.conftest import CacheConfig
from tests.scenarios.fleets.release import Release
from tests.support import ROOT
from tests.support.backends import Kind

pytestmark = pytest.mark.usefixtures("_unmeasured_processes")

BACKENDS: Final[dict[Kind, str]] = {
    "memcached": "django.core.cache.backends.memcached.PyMemcacheCache",
    "ours": "cachedeco.backends.memcached.MemcachedCache",
    "redis": "django.core.cache.backends.redis.RedisCache",
}
ROUNDS: Final = 5
# What `call` computes in one release: the bulk function once for both ids, the nested call not at all.
ONCE: Final = {"player": 1, "players": 1, "team": 1}
INVALIDATIONS: Final = ("invalidate calls", "invalidate functions", "invalidate namespace")


class Fleet:
    """One process of a release, as seen by the test."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        """Talk to a process."""
        self._process = process
        self.computed: dict[str, int] = {}

    @classmethod
    @contextmanager
    def of(cls, release: Release, python: str = sys.executable) -> Iterator[Self]:
        """Start a process, and end it with the block."""
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **release.environment()}
        environment.pop("DJANGO_SETTINGS_MODULE", None)
        command = [python, "-m", "tests.scenarios.fleets"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        with subprocess.Popen(command, env=environment, text=True, **pipes) as process:  # type: ignore[call-overload]
            try:
                yield cls(process)
            finally:
                process.kill()

    def order(self, command: str) -> Any:
        """Return the result of a command, after which nothing has failed and no warning was given."""
        assert self._process.stdin
        assert self._process.stdout
        print(command, file=self._process.stdin, flush=True)
        told = json.loads(self._process.stdout.readline())
        assert ([], []) == (told["errors"], told["warnings"])
        self.computed = told["computed"]
        return told["result"]


def another_python() -> str:
    """Return an interpreter of this project with another feature release of Django; empty if there is none."""
    for folder in ROOT.glob(".venv*/lib/python*/site-packages"):
        for found in distributions(name="Django", path=[str(folder)]):
            if found.version.split(".")[:2] != django.__version__.split(".")[:2]:
                return str(folder.parents[2] / "bin" / "python")
    return ""


ANOTHER_PYTHON: Final = another_python()
OTHERS: Final[dict[str, dict[str, Any]]] = {
    "another serializer": {"serializer": "json", "computes_rows": False},
    "signed entries": {"signing_keys": ("a key of the tests, long enough",)},
    "a field more": {"has_rank": True},
    **({"another Django": {}} if ANOTHER_PYTHON else {}),  # the second suite installs one
}


# Which server it is hardly matters to what two fleets do to each other.
@pytest.fixture(params=["ours", *(pytest.param(each, marks=pytest.mark.soak) for each in BACKENDS if each != "ours")])
def caches(request: pytest.FixtureRequest, cache_config: CacheConfig) -> dict[str, Any]:
    """Give the setting CACHES of both releases, on a real server."""
    return {"default": cache_config(request.param) | {"BACKEND": BACKENDS[request.param]}}


@pytest.mark.covering(1)
@pytest.mark.parametrize("other", OTHERS)
def test_each_fleet_keeps_its_entries_and_every_invalidation_reaches_both(caches: dict[str, Any], other: str) -> None:
    """
    Fleets that call in turn compute once each, and are served what they have computed themselves.

    The defect: 19 computations in 20 calls, as each overwrote the entries of the other.
    """
    options = OTHERS[other]
    python = ANOTHER_PYTHON if other == "another Django" else sys.executable
    rows = options.get("computes_rows", True)
    one, another = Release("one", caches, computes_rows=rows), Release("another", caches)._replace(**options)
    with Fleet.of(one) as first, Fleet.of(another, python) as second:
        for number, invalidation in enumerate(INVALIDATIONS * 2, 1):
            for _ in range(ROUNDS):
                assert (["one"] * 4, ["another"] * 4) == (first.order("call"), second.order("call"))
            assert {name: count * number for name, count in ONCE.items()} == first.computed == second.computed
            assert [True, 2, True] == first.order("peek") == second.order("peek")

            (first, second)[number % 2].order(invalidation)

            assert [False, 0, False] == first.order("peek") == second.order("peek")


def test_patch_releases_of_django_share_entries_without_a_warning(caches: dict[str, Any]) -> None:
    """What one patch release has computed is served by the other."""
    one, another = Release("one", caches), Release("another", caches, patch=f"{django.get_version()}.999")
    with Fleet.of(one) as first, Fleet.of(another) as second:
        for _ in range(ROUNDS):
            assert ["one"] * 4 == first.order("call") == second.order("call")

    assert (ONCE, {}) == (first.computed, second.computed)
