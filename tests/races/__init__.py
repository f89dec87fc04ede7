"""Races of readers, writers and evictions, step by step."""
