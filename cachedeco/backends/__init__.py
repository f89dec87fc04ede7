"""Cache backends for memcached and Redis, and serializers that sign values: a door, which no other package imports."""
