"""Who can write to the cache server, and what he can do with that."""
