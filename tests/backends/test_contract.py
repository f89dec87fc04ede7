"""Ours keeps what Django promises of a cache, beside Django's own backends on the same servers."""

import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.cache import BaseCache
from django.core.cache.backends.redis import RedisCache
from django.utils.module_loading import import_string

from tests.backends import contract_of_keys, contract_of_methods, contract_of_values
from tests.backends.contract import BACKENDS, PROMISES, Backend, Place, Promise
from tests.conftest import CacheConfig
from tests.support.backends import PROGRAMS
from tests.support.sides import Side, both

MODULES = (contract_of_keys, contract_of_methods, contract_of_values)

Opener = Callable[[Backend, dict[str, Any]], BaseCache]


@pytest.fixture
def opener(promise: Promise, cache_config: CacheConfig, request: pytest.FixtureRequest) -> Iterator[Opener]:
    """Give the function that opens a cache, in the same place whenever it is of the same backend."""
    configs: dict[Backend, dict[str, Any]] = {}
    opened: list[BaseCache] = []
    for backend in BACKENDS:
        own = promise.empties and backend in PROGRAMS
        server = request.getfixturevalue(f"private_{PROGRAMS[backend]}") if own else None
        configs[backend] = cache_config(backend, server=server)

    def cache(backend: Backend, entry: dict[str, Any]) -> BaseCache:
        params = {**configs[backend], **entry}
        # What the promise calls its prefix comes after that of the place.
        params["KEY_PREFIX"] = configs[backend]["KEY_PREFIX"] + entry.get("KEY_PREFIX", "")
        opened.append(import_string(BACKENDS[backend])(params.pop("LOCATION"), params))
        return opened[-1]

    yield cache
    for each in opened:
        if type(each) is RedisCache:
            for pool in each._cache._pools.values():
                pool.disconnect()
        else:
            each.close()


def broken(promise: Promise, place: Place) -> str:
    """Return what is wrong; nothing where the promise is kept."""
    try:
        promise.keep(place)
    except Exception as error:  # noqa: BLE001 -- any that breaks it
        return f"{type(error).__name__}: {error}"[:300]
    return ""


@both
@pytest.mark.parametrize("promise", PROMISES.values(), ids=PROMISES)
def test_promise_is_kept_by_ours_and_by_those_we_know(promise: Promise, side: Side, opener: Opener) -> None:
    """Ours keeps it, and of Django's own backends just those break it that are said to."""
    places = {name: Place(side, lambda entry, name=name: opener(name, entry)) for name in BACKENDS}

    found = {name: broken(promise, place) for name, place in places.items()}

    assert ["", ""] == [found["ours"], found["our redis"]]
    assert promise.breakers(side) == {name for name, wrong in found.items() if wrong}, found


def test_promises_are_of_every_method() -> None:
    """No method of a cache is left out."""
    used = {name for module in MODULES for name in re.findall(r"\.(\w+)\(", inspect.getsource(module))}
    used |= set(re.findall(r'together\("(\w+)"', inspect.getsource(contract_of_methods)))
    methods = {name for name in vars(BaseCache) if not name.startswith("_")}
    plumbing = {"get_backend_timeout", "make_and_validate_key", "make_key", "validate_key"}

    left_out = {name for name in methods - plumbing - used if not (name[0] == "a" and name[1:] in methods)}

    assert set() == left_out
