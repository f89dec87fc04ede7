"""A cold start for the development server."""

from secrets import token_hex


def fresh_prefix(name: str = "dev") -> str:
    """
    Return a key prefix that nobody has used, so that a process begins with empty caches, cleared by nobody.

    ::

        CACHES = {"default": {..., "KEY_PREFIX": fresh_prefix() if DEBUG else "site"}}

    Each start of the development server, and each of its reloads, reads the settings and so gets another one. For one
    process only: those of a deployment must agree on their prefix.
    """
    return f"{name}-{token_hex(8)}"
