"""Our backend for memcached: what Django promises of a cache, servers that come and go, and many callers at once."""
