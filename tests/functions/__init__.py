"""Tests of what is called: decorators, cached functions, verbs, options."""
