"""Tests of what ends an entry: namespaces, models, transactions, the retry queue."""
