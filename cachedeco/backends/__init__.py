"""Django cache backend for memcached, and serializers that sign values: a door, which no other package imports."""
