"""Real memcached and redis servers for the tests: on loopback, without persistence, gone with the tests."""

import atexit
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import IO, ClassVar, Self

from tests.support import hanging
from tests.support.threads import PATIENCE_SECONDS

HOST = "127.0.0.1"
INSTALL = "apt-get install --yes memcached redis-server"

# Another process can take a free port between the look and the server's own bind.
START_ATTEMPTS = 5

# Becomes the server, after asking the kernel (PR_SET_PDEATHSIG is 1) for SIGKILL when the tests die: where
# they are killed themselves, neither `finally` nor `atexit` runs.
_DIE_WITH_PARENT = f"""
import ctypes, os, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, {signal.SIGKILL:d})
os.execv(sys.argv[1], sys.argv[1:])
"""


class ServerError(Exception):
    """A server cannot be started, or is not in the state that a test asked it to leave."""


class Server(ABC):
    """
    A server that a test starts, stops, kills and pauses.

    The port is chosen at the first start and kept, so that a client finds a restarted server again. Start it
    from a thread that lives as long as it does: the kernel ends it with the thread that began it.
    """

    program: ClassVar[str]

    def __init__(self) -> None:
        """Make a server that is not started yet."""
        self._process: subprocess.Popen[bytes] | None = None
        self._port: int | None = None

    def __enter__(self) -> Self:
        """Start the server."""
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Stop the server."""
        self.stop()

    @property
    def port(self) -> int:
        """The port that the server listens on, or did until it was stopped."""
        if self._port is None:
            msg = f"{self.program} has no port before its first start()."
            raise ServerError(msg)
        return self._port

    @property
    @abstractmethod
    def location(self) -> str:
        """The server's address as Django's CACHES want it."""

    @property
    def is_running(self) -> bool:
        """Whether the process is alive; a paused one is."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the server and return when it answers."""
        if self.is_running:
            msg = f"{self.program} is running already; stop() it first."
            raise ServerError(msg)
        with tempfile.TemporaryFile() as output:
            for _ in range(START_ATTEMPTS):
                if self._start_on(self._port or free_port(), output):
                    return
            output.seek(0)
            msg = f"{self.program} did not start in {START_ATTEMPTS} attempts: {output.read().decode()}"
        raise ServerError(msg)

    def stop(self) -> None:
        """End the server, in any state; do nothing where it is gone."""
        if self._process is None:
            return
        # Not SIGTERM: a paused process does not see it, memcached takes a second, and nothing has to be saved.
        self._process.kill()
        self._process.wait()
        self._process = None
        if self._port is not None:
            hanging.end(self._port)
        atexit.unregister(self.stop)

    def kill(self) -> None:
        """End the server as a power failure would; unlike stop(), it must be running."""
        self._running()
        self.stop()

    def pause(self) -> None:
        """
        Keep the server from answering, and return when it is still: connections open, and then hang.

        The clients of this process wait for it briefly, however long their timeouts are.
        """
        process = self._running()
        process.send_signal(signal.SIGSTOP)
        os.waitpid(process.pid, os.WUNTRACED)
        hanging.begin(self.port)

    def resume(self) -> None:
        """Let a paused server go on; it answers what it was asked meanwhile."""
        process = self._running()
        hanging.end(self.port)
        process.send_signal(signal.SIGCONT)
        os.waitpid(process.pid, os.WCONTINUED)

    def restart(self) -> None:
        """Stop the server where it still runs, and start it, empty, on the same port."""
        self.stop()
        self.start()

    @abstractmethod
    def _arguments(self, port: int) -> list[str]:
        """Return what comes after the program's name on its command line."""

    @abstractmethod
    def _answering_pid(self, port: int) -> int:
        """Return the process id of the server that answers on a port."""

    def _running(self) -> subprocess.Popen[bytes]:
        """Return the process, or raise where there is none."""
        if self._process is None or self._process.poll() is not None:
            msg = f"{self.program} is not running; start() it first."
            raise ServerError(msg)
        return self._process

    def _start_on(self, port: int, output: IO[bytes]) -> bool:
        """Start the server on one port; return False where it ended at once, as when the port is taken."""
        server = [program_path(self.program), *self._arguments(port)]
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _DIE_WITH_PARENT, *server],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            # redis refuses to start in a locale that is named but not installed.
            env={**os.environ, "LC_ALL": "C"},
            # Control-C is for the tests, which then end the server themselves.
            start_new_session=True,
        )
        self._process = process
        atexit.register(self.stop)
        if self._is_ready(process, port):
            self._port = port
            return True
        self.stop()
        return False

    def _is_ready(self, process: subprocess.Popen[bytes], port: int) -> bool:
        """Wait until the process itself answers on the port; return False where it ends or says nothing."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            try:
                # Compare ids: a process that took the port before us answers as well.
                if self._answering_pid(port) == process.pid:
                    return True
            except (OSError, ValueError):
                pass  # there is no answer yet, or one of another kind of server
            try:
                process.wait(timeout=0.005)
            except subprocess.TimeoutExpired:
                continue
            return False
        return False


class DatabaseServer(Server):
    """A database whose data survive `stop()`, `kill()` and `restart()`, and end with the block or the process."""

    def __init__(self) -> None:
        """Make a server that is not started yet."""
        super().__init__()
        self._directory: tempfile.TemporaryDirectory[str] | None = None

    def __exit__(self, *exception: object) -> None:
        """Stop the server and remove its data."""
        super().__exit__(*exception)
        if self._directory is not None:
            self._directory.cleanup()
            self._directory = None

    def start(self) -> None:
        """Start the server and return when it answers; the first time, make its data."""
        if self._directory is None:
            prefix = f"cachedeco-{type(self).__name__.lower()}-"
            self._directory = tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True)
            command = self._command_that_makes_data(self._directory.name)
            done = subprocess.run(command, cwd=self._directory.name, capture_output=True, text=True, check=False)
            if done.returncode:
                msg = f"{' '.join(command)} failed: {done.stdout}{done.stderr}"
                raise ServerError(msg)
        super().start()

    @abstractmethod
    def _command_that_makes_data(self, directory: str) -> list[str]:
        """Return a command that makes the data of an empty database below a directory."""

    def _data(self) -> str:
        if self._directory is None:
            msg = f"{self.program} has no data before its first start()."
            raise ServerError(msg)
        return str(Path(self._directory.name, "data"))


class Memcached(Server):
    """A memcached of 64 megabytes."""

    program = "memcached"

    def __init__(self, *options: str) -> None:
        """Make a server that is not started yet; *options* are more of its command line, `-c 4096` for one."""
        super().__init__()
        self._options = options

    @property
    def location(self) -> str:
        """The server's address as Django's CACHES want it."""
        return f"{HOST}:{self.port}"

    def stats(self) -> dict[str, str]:
        """Return what the command `stats` tells: `cmd_get`, `get_hits`, `curr_items` and so on."""
        return self._stats(self.port)

    def _arguments(self, port: int) -> list[str]:
        user = ["-u", "root"] if os.geteuid() == 0 else []
        return ["-U", "0", "-l", HOST, "-p", str(port), "-m", "64", *user, *self._options]

    def _answering_pid(self, port: int) -> int:
        return int(self._stats(port).get("pid", 0))

    @staticmethod
    def _stats(port: int) -> dict[str, str]:
        lines = _answer(port, "stats", end="END").splitlines()
        return {name: value for _, name, value in (line.split(" ", 2) for line in lines)}


class Redis(Server):
    """A redis of 64 megabytes that writes nothing to disk."""

    program = "redis-server"

    def __init__(self, *options: str) -> None:
        """Make a server that is not started yet; *options* are more of its command line, `--maxclients 9` for one."""
        super().__init__()
        self._options = options
        # Of its own: a replica writes a dump where it starts, and each Redis that starts there afterwards loads it.
        self._directory: tempfile.TemporaryDirectory[str] | None = None

    @property
    def location(self) -> str:
        """The server's address as Django's CACHES want it."""
        return f"redis://{HOST}:{self.port}/0"

    def stop(self) -> None:
        """End the server, in any state; do nothing where it is gone. Nothing that it wrote to its disk is left."""
        super().stop()
        if self._directory is not None:
            self._directory.cleanup()
            self._directory = None

    def info(self) -> dict[str, str]:
        """Return what the command `INFO` tells: `keyspace_hits`, `total_commands_processed` and so on."""
        return self._info(self.port)

    def _arguments(self, port: int) -> list[str]:
        if self._directory is None:
            self._directory = tempfile.TemporaryDirectory(prefix="cachedeco-redis-", ignore_cleanup_errors=True)
        options = {
            "bind": HOST,
            "port": str(port),
            "save": "",
            "appendonly": "no",
            "maxmemory": "64mb",
            "dir": self._directory.name,
        }
        return [*(word for name, value in options.items() for word in (f"--{name}", value)), *self._options]

    def _answering_pid(self, port: int) -> int:
        return int(self._info(port).get("process_id", 0))

    @staticmethod
    def _info(port: int) -> dict[str, str]:
        # The empty line ends the answer's last section only with another answer after it.
        lines = _answer(port, "INFO\r\nPING", end="+PONG").splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)


class Sentinel(Redis):
    """A Sentinel that watches what a test tells it to; it keeps its state in a file."""

    def __init__(self, path: Path) -> None:
        """Make a Sentinel that is not started yet; *path* is that of its file, in a directory of the test's own."""
        super().__init__()
        self._path = path

    def monitor(self, service: str, server: Redis) -> None:
        """Name a server as the primary of a service, from now on."""
        commands = [f"SENTINEL REMOVE {service}", f"SENTINEL MONITOR {service} {HOST} {server.port} 1", "PING"]
        _answer(self.port, "\r\n".join(commands), end="+PONG")

    def _arguments(self, port: int) -> list[str]:
        self._path.touch()
        return [str(self._path), "--sentinel", "--bind", HOST, "--port", str(port)]


def free_port() -> int:
    """Return a port of the loopback address that is free at the moment."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        port: int = listener.getsockname()[1]
        return port


def program_path(program: str) -> str:
    """Return where a program is, or raise an error that tells how to install it."""
    path = shutil.which(program)
    if path is None:
        msg = f"{program} is not on PATH, and the tests need a real one; install it with: {INSTALL}"
        raise ServerError(msg)
    return path


def _answer(port: int, command: str, *, end: str) -> str:
    """Send one command to a server, and return the lines of its answer before the line `end`."""
    answer: list[str] = []
    with socket.create_connection((HOST, port), timeout=PATIENCE_SECONDS) as connection:
        connection.sendall(f"{command}\r\n".encode())
        with connection.makefile(encoding="utf-8", newline="\r\n") as lines:
            for line in lines:
                if line.strip() == end:
                    break
                answer.append(line.strip())
    return "\n".join(answer)
