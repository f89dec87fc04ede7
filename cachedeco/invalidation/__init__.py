"""Invalidation: namespaces, tokens, delivery at commit, model signals, retry queue."""
