"""System checks: faults of a project, reported before they matter."""


def register() -> None:
    """Register the checks with Django: each module registers its own when it is imported."""
    from cachedeco.checks import caches, functions, private_api, settings  # noqa: F401 -- imported for that alone
