"""Diagnosis: what a project caches, and whether its caches are well, as values that a command or a page shows."""
