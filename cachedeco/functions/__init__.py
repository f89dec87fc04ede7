"""Cached functions: the decorators, their options, binding, names and verbs."""
