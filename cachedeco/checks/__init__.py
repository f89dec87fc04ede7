"""System checks: faults in the settings, caches, databases and functions of a project."""


def register() -> None:
    """Register the checks with Django: each module registers its checks at import."""
    from cachedeco.checks import caches, functions, names, private_api, settings, views  # noqa: F401 -- imported to register
