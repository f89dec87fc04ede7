"""Turn the environment variable CLUBSITE_DB into an entry of Django's DATABASES."""

from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured


def database_from_url(url: str | Path) -> dict[str, Any]:
    """
    Return the entry for an address of PostgreSQL, or for the path of a SQLite file.

    Raises:
        ImproperlyConfigured: If *url* is an address of another kind, or names no database.
    """
    if "://" not in str(url):
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": url,
            # A transaction takes the write lock when it begins: two writers queue, neither fails.
            "OPTIONS": {"timeout": 10, "transaction_mode": "IMMEDIATE"},
        }
    parts = urlsplit(str(url))
    name = unquote(parts.path.removeprefix("/"))
    if parts.scheme not in {"postgresql", "postgres"} or not name:
        server = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()  # without the password
        msg = (
            f"CLUBSITE_DB={server!r} is not an address of a database; give the path of a SQLite file "
            "or postgresql://user@127.0.0.1:5432/name."
        )
        raise ImproperlyConfigured(msg)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": name,
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": unquote(parts.hostname or ""),
        "PORT": str(parts.port or ""),
        "OPTIONS": dict(parse_qsl(parts.query)),
    }
