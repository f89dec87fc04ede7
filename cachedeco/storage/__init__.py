"""Where an entry lies: access to Django's caches, the circuit breaker, the bytes of an entry."""
