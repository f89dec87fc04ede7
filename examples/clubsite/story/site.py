"""The site under observation: a database of its own, a server process of its own, gone afterwards."""

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from tempfile import TemporaryDirectory
from threading import Thread

from story import StoryError
from story.postgresql import is_postgresql, own_database

MANAGE = Path(__file__).resolve().parent.parent / "manage.py"

# Generous: a slow machine needs a few seconds for each; they only end a wait that would never end.
PREPARE_SECONDS = 120
START_SECONDS = 120
STOP_SECONDS = 5


@dataclass(frozen=True)
class Site:
    """Where the site listens, and how to get into its admin."""

    port: int
    admin_name: str
    admin_password: str
    log_path: Path
    environment: Mapping[str, str]

    def run_elsewhere(self, *arguments: str) -> str:
        """Run a command of manage.py, in a process of its own, and return what it printed."""
        return run_manage(self.environment, *arguments)

    def last_log_lines(self) -> str:
        """Return the end of what the server logged, empty if nothing went wrong there."""
        return last_lines_of(self.log_path.read_text(encoding="utf-8"))


@contextmanager
def running_site() -> Iterator[Site]:
    """Prepare a site in a temporary directory, serve it for the block, and remove every trace of it."""
    password = secrets.token_urlsafe(12)
    server = os.environ.get("CLUBSITE_DB", "")
    with (
        TemporaryDirectory(prefix="clubsite-") as directory,
        own_database(server) if is_postgresql(server) else nullcontext(str(Path(directory, "db.sqlite3"))) as database,
    ):
        environment = {
            # Shared by processes, as that of a site is; a cache in memory is not.
            "CACHE_URL": f"file://{directory}/cache",
            **os.environ,
            "CLUBSITE_ADMIN_PASSWORD": password,
            "CLUBSITE_CACHE_MODE": "on",
            "CLUBSITE_DB": database,
            # As in production: DEBUG would keep every query.
            "CLUBSITE_DEBUG": "0",
            # The cache server may still be full from an earlier run. Nothing is flushed, since it may
            # belong to another run; this run has names of its own.
            "CLUBSITE_KEY_PREFIX": f"demo-{secrets.token_hex(6)}",
            "DJANGO_SETTINGS_MODULE": "clubsite.settings",
            "PYTHONUNBUFFERED": "1",
        }
        prepare(environment)
        log_path = Path(directory, "server.log")
        # The deliverer delivers once more what may be lost, and then says so; the story begins afterwards.
        delivering = running(environment, "deliver_until_eof", log_path) if is_postgresql(database) else nullcontext()
        with delivering, running(environment, "serve_until_eof", log_path) as address:
            port = int(address.rpartition(":")[2])
            yield Site(port, "admin", password, log_path, environment)


@contextmanager
def running(environment: Mapping[str, str], command: str, log_path: Path) -> Iterator[str]:
    """Run a command of manage.py that ends with its standard input, and return the first line that it prints."""
    with log_path.open("a", encoding="utf-8") as log:
        process = subprocess.Popen(  # noqa: S603 -- this Python, this project's manage.py
            [sys.executable, str(MANAGE), command],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        try:
            yield first_line_of(process, command, log_path)
        finally:
            stop(process)


def prepare(environment: dict[str, str]) -> None:
    """Create the tables, the clubs and the administrator."""
    run_manage(environment, "prepare")


def run_manage(environment: Mapping[str, str], *arguments: str) -> str:
    """Run a command of the site's manage.py to its end, and return what it printed."""
    done = subprocess.run(  # noqa: S603 -- as above
        [sys.executable, str(MANAGE), *arguments],
        env=environment,
        capture_output=True,
        check=False,
        text=True,
        timeout=PREPARE_SECONDS,
    )
    if done.returncode:
        msg = f"manage.py {arguments[0]} failed:\n{last_lines_of(done.stderr)}"
        raise StoryError(msg)
    return done.stdout.strip()


def first_line_of(process: subprocess.Popen[str], command: str, log_path: Path) -> str:
    """Wait for the line in which a process says that it is ready."""
    lines: SimpleQueue[str] = SimpleQueue()
    output = process.stdout
    # In a thread, since reading from a pipe can't be given a time limit on every system.
    Thread(target=lambda: lines.put(output.readline() if output else ""), daemon=True).start()
    try:
        line = lines.get(timeout=START_SECONDS).strip()
    except Empty:
        line = ""
    if not line:
        log = last_lines_of(log_path.read_text(encoding="utf-8"))
        msg = f"manage.py {command} did not start within {START_SECONDS} seconds:\n{log}"
        raise StoryError(msg)
    return line


def stop(process: subprocess.Popen[str]) -> None:
    """Close a process's standard input, which ends it; kill it if that does not."""
    if process.stdin:
        process.stdin.close()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout:
        process.stdout.close()


def last_lines_of(log: str) -> str:
    """Return the end of a log: the error itself, not all the frames that led to it."""
    return "\n".join(log.splitlines()[-12:])
