"""Storage: guarded access to Django's caches, the circuit breaker, serializers, and the bytes of an entry."""
