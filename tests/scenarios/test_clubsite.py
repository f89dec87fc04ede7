"""The example site: its own tests, and the story that `make demo` tells over HTTP, on each kind of server."""

import os
import subprocess
import sys
from shutil import which

import psycopg
import pytest

from tests.support import ROOT
from tests.support.postgres import PostgreSQL
from tests.support.servers import Memcached, Redis
from tests.support.threads import PATIENCE_SECONDS, PROGRAM_SECONDS

pytestmark = pytest.mark.usefixtures("_unmeasured_processes")

SITE = ROOT / "examples" / "clubsite"
PATIENT = {"CLUBSITE_CACHE_SECONDS": str(PATIENCE_SECONDS)}


def run(
    *arguments: str, cache_url: str = "locmem://", database: str = "db.sqlite3"
) -> subprocess.CompletedProcess[str]:
    """Run one of the site's programs, and return what it printed."""
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=SITE,
        env={**environment, "CACHE_URL": cache_url, "CLUBSITE_DB": database, "PYTHONPATH": str(ROOT), **PATIENT},
        capture_output=True,
        text=True,
        timeout=PROGRAM_SECONDS,
        check=False,
    )


def test_tests_of_the_site_pass() -> None:
    """A reader who runs the example's own tests sees them pass."""
    done = run("-W", "error", "manage.py", "test", "clubs")

    assert 0 == done.returncode, done.stderr


@pytest.mark.parametrize(("given", "served"), [(["PORT=8001"], "serve 8001"), ([], "serve 8000")])
def test_make_serve_takes_a_port(given: list[str], served: str) -> None:
    """The port goes to the command, whose own tests have what it says of a busy one."""
    environment = {name: value for name, value in os.environ.items() if name != "PORT"}

    printed = subprocess.run(
        [str(which("make")), "--no-print-directory", "--dry-run", "serve", *given],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    assert printed.rstrip().endswith(f"manage.py {served}")


@pytest.mark.parametrize(
    "kind", ["memcached", *(pytest.param(each, marks=pytest.mark.soak) for each in ("locmem", "redis"))]
)
def test_demo_tells_its_story(kind: str, memcached_server: Memcached, redis_server: Redis) -> None:
    """Every step is as it should be, on each kind of cache that the site can be put on."""
    cache_url = {
        "locmem": "locmem://",
        "memcached": f"memcached://127.0.0.1:{memcached_server.port}",
        "redis": f"redis://127.0.0.1:{redis_server.port}/0",
    }[kind]

    done = run("demo.py", cache_url=cache_url)

    assert (0, True) == (done.returncode, "Every step as it should be." in done.stdout), done.stdout + done.stderr


@pytest.mark.soak
def test_demo_shows_a_write_by_psql(memcached_server: Memcached) -> None:
    """On PostgreSQL what another program writes is on the page, too; the demo leaves no database behind."""
    with PostgreSQL() as server:
        done = run("demo.py", cache_url=f"memcached://127.0.0.1:{memcached_server.port}", database=server.location)
        with psycopg.connect(server.location) as connection:
            left = connection.execute("SELECT datname FROM pg_database WHERE datname LIKE 'clubsite%'").fetchall()

    assert (0, True) == (done.returncode, "UPDATE by p" in done.stdout), done.stdout + done.stderr
    assert [] == left


@pytest.mark.soak
def test_demo_fails_where_a_step_is_not_what_it_should_be() -> None:
    """Without a server nothing is a hit: the story says so, and ends non-zero."""
    done = run("demo.py", cache_url="memcached://127.0.0.1:1")

    assert (1, False) == (done.returncode, "Every step as it should be." in done.stdout), done.stdout + done.stderr
