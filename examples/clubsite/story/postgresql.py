"""PostgreSQL, where the site runs on it: a database of its own, and a client that is no Django."""

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from urllib.parse import unquote, urlsplit

from story import StoryError

STATEMENT_SECONDS = 120


def is_postgresql(url: str) -> bool:
    """Tell whether CLUBSITE_DB is an address of PostgreSQL."""
    return urlsplit(url).scheme in {"postgresql", "postgres"}


@contextmanager
def own_database(url: str) -> Iterator[str]:
    """Create a database for the block on the server of another one, and return its address."""
    name = f"clubsite_demo_{secrets.token_hex(6)}"
    run_sql(url, f"CREATE DATABASE {name}")
    try:
        yield urlsplit(url)._replace(path=f"/{name}").geturl()
    finally:
        run_sql(url, f"DROP DATABASE {name} WITH (FORCE)")


def run_sql(url: str, statement: str) -> str:
    """Run a statement by psql, or by psycopg where there is no psql, and return which it was."""
    psql = shutil.which("psql")
    if psql is None:
        run_by_psycopg(url, statement)
        return "psycopg"
    parts = urlsplit(url)
    # Not among the arguments, which every user of the machine can list.
    password = {"PGPASSWORD": unquote(parts.password)} if parts.password else {}
    user, at, host = parts.netloc.rpartition("@")
    address = parts._replace(netloc=f"{user.partition(':')[0]}{at}{host}").geturl()
    done = subprocess.run(  # noqa: S603 -- psql, and a statement of the demo
        [psql, "--no-psqlrc", "--no-password", "--quiet", f"--command={statement}", address],
        env={**os.environ, **password},
        capture_output=True,
        check=False,
        text=True,
        timeout=STATEMENT_SECONDS,
    )
    if done.returncode:
        msg = f"psql failed:\n{done.stderr.strip()}"
        raise StoryError(msg)
    return "psql"


def run_by_psycopg(url: str, statement: str) -> None:
    """Run a statement on a connection that Django knows nothing of."""
    try:
        psycopg = import_module("psycopg")
    except ImportError as error:
        msg = "PostgreSQL needs psycopg: pip install 'psycopg[binary]'."
        raise StoryError(msg) from error
    try:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(statement)
    except psycopg.Error as error:
        msg = f"PostgreSQL failed:\n{error}"
        raise StoryError(msg) from error
