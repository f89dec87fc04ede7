"""System checks: faults in the settings, caches, databases and functions of a project."""


def register() -> None:
    """Register the checks with Django: each module registers its checks at import."""
    from cachedeco.checks import (  # noqa: F401 -- imported to register
        caches,
        functions,
        names,
        private_api,
        settings,
        unseen_queries,
    )
