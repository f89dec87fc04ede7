"""Tests of storage: entries, circuit breaker, signatures."""
