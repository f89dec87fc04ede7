"""A real PostgreSQL for the tests: on loopback, in a directory of its own, gone with the tests."""

import os
import pwd
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

from tests.support.servers import HOST, DatabaseServer, ServerError, program_path

INSTALL = "apt-get install --yes postgresql"
USER = "storm"
DATABASE = "postgres"  # initdb makes it
SYSTEM_USER = "postgres"  # Debian's package makes it
STOP_SECONDS = 5.0

# Nothing is to outlive the tests, so nothing need reach the disk; and what a killed server leaves in memory lies in
# its directory.
SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "fsync": "off",
    "full_page_writes": "off",
    "max_connections": "80",
    "shared_buffers": "16MB",
    "dynamic_shared_memory_type": "mmap",
    "log_min_messages": "fatal",
}


class PostgreSQL(DatabaseServer):
    """
    A PostgreSQL with one empty database.

    It refuses to be root's, so root starts it as Debian's user `postgres`. All who can reach the port can log in.
    """

    # It becomes the server, with the same process id, once it has given up being root.
    program = "setpriv"

    @property
    def location(self) -> str:
        """The server's address as psycopg wants it."""
        return f"postgresql://{USER}@{HOST}:{self.port}/{DATABASE}"

    def stop(self) -> None:
        """End the server at once, as a power failure would: the next start repairs what has to be."""
        if self.is_running:
            process = self._running()
            self._signal_all(signal.SIGCONT)  # a paused one would not see the next
            # SIGQUIT and not SIGKILL, which would leave its children, and a segment of shared memory, behind.
            process.send_signal(signal.SIGQUIT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)
        super().stop()

    def pause(self) -> None:
        """Keep the server from answering, its children too: each connection is served by one of them."""
        super().pause()
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused server go on; it answers what it was asked meanwhile."""
        super().resume()
        self._signal_all(signal.SIGCONT)

    def _arguments(self, port: int) -> list[str]:
        options = [word for name, value in SETTINGS.items() for word in ("-c", f"{name}={value}")]
        # As a change of the user clears what the kernel was asked for, it is asked again: SIGQUIT when the tests die.
        command = ["--pdeathsig", "QUIT", *_as_system_user(), _program("postgres")]
        return [*command, "-D", self._data(), "-p", str(port), *options]

    def _answering_pid(self, port: int) -> int:
        # Its lines: process id, data directory, start time, port, two of sockets, shared memory, state.
        lines = Path(self._data(), "postmaster.pid").read_text().splitlines()
        is_ready = len(lines) > 7 and lines[3] == str(port) and lines[7].strip() == "ready"
        return int(lines[0]) if is_ready else 0

    def _command_that_makes_data(self, directory: str) -> list[str]:
        if os.geteuid() == 0:
            shutil.chown(directory, SYSTEM_USER, pwd.getpwnam(SYSTEM_USER).pw_gid)
        options = ["--auth=trust", "--no-sync", "--no-locale", "--encoding=UTF8", f"--username={USER}"]
        return [program_path(self.program), *_as_system_user(), _program("initdb"), *options, "-D", self._data()]

    def _signal_all(self, number: signal.Signals) -> None:
        """Signal the server and its children, which are in groups of their own."""
        parent = self._running().pid
        for pid in [parent, *_children(parent)]:
            with suppress(ProcessLookupError):
                os.kill(pid, number)


def _as_system_user() -> list[str]:
    """Return the options by which setpriv gives up being root, where it is."""
    return ["--reuid", SYSTEM_USER, "--regid", SYSTEM_USER, "--init-groups"] if os.geteuid() == 0 else []


def _program(name: str) -> str:
    """Return where a program of PostgreSQL is; Debian keeps each version's in a directory that is not on PATH."""
    versions = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: path.parts[4])
    found = shutil.which(name) or (str(versions[-1]) if versions else None)
    if found is None:
        msg = f"PostgreSQL's {name} was not found, and the tests need a real one; install it with: {INSTALL}"
        raise ServerError(msg)
    return found


def _children(parent: int) -> list[int]:
    """Return the ids of the processes that a process has started."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # After the name, which may hold anything, in brackets: the state and the parent's id.
            if int(status.read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(status.parent.name))
    return found
