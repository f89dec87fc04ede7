"""The outbox: invalidations that survive."""
