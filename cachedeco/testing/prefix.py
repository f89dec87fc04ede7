"""A random key prefix, so that a development server starts with empty caches."""

from secrets import token_hex


def fresh_prefix(name: str = "dev") -> str:
    """
    Return a key prefix that was never used before, so that a process begins with empty caches without clearing any.

    ::

        CACHES = {"default": {..., "KEY_PREFIX": fresh_prefix() if DEBUG else "site"}}

    Each start and each reload of the development server reads the settings, and so gets a new prefix. Only for single
    processes: all processes of a deployment need the same prefix.
    """
    return f"{name}-{token_hex(8)}"
