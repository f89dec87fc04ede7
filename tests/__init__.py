"""The tests of cachedeco, and a Django app whose models they cache."""
