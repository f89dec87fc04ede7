"""Ten thousand ids: how often a call waits for a server, on real ones."""

import pytest

from tests.conftest import CacheConfig, UseCaches
from tests.loading.bulk.tables import Table
from tests.support.backends import Kind
from tests.support.steps import Steps

IDS = range(10_000)
# An entry and a token for each, and the function's token, by 2000 keys a command; two are on the way at once.
READS = 11 - 1
# A token or entry for each, and the lease.
WRITES = 6


BACKENDS: dict[Kind, str] = {
    "ours": "cachedeco.backends.memcached.MemcachedCache",
    "our redis": "cachedeco.backends.redis.RedisCache",
}


@pytest.fixture(params=BACKENDS)
def _on_server(request: pytest.FixtureRequest, cache_config: CacheConfig, use_caches: UseCaches) -> None:
    """Use our backend for a server, as a site does."""
    use_caches(default=cache_config(request.param) | {"BACKEND": BACKENDS[request.param]})


@pytest.mark.slow  # it needs a server
@pytest.mark.usefixtures("_on_server")
def test_trips_of_ten_thousand_ids(steps: Steps) -> None:
    """One for each 2000 keys, and to read one less, as the second command is sent before the first answer is read."""
    many, trips = Table(dict.fromkeys(IDS, "row")).cached(), []
    many([0, 1])

    for call in (many, many, many.invalidate):
        steps.clear()
        call(IDS)
        trips.append(len(steps.sent_at_once))

    # Of what is missing the answers are short: several may be read at once.
    miss, *others = trips
    assert [READS, WRITES - 1] == others
    assert 2 * WRITES < miss <= READS + 2 * WRITES
