"""Our own backends, as the tests' other caches: recording. Apart from those, as a door and its tests can be deleted."""

from cachedeco.backends.memcached import MemcachedCache
from cachedeco.backends.redis import RedisCache
from cachedeco.backends.server import forget_servers
from tests.support.backends import Recording


class RecordingOurs(Recording, MemcachedCache):
    """Our backend for memcached, recording."""

    def release(self) -> None:
        """Close the connections, which are the process's."""
        forget_servers()


class RecordingOurRedis(Recording, RedisCache):
    """Our backend for Redis, recording."""

    def release(self) -> None:
        """Close the connections, which are the process's."""
        forget_servers()
