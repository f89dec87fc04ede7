"""A real MariaDB for the tests: on loopback, in a directory of its own, gone with the tests."""

import os
import subprocess
import tempfile
from pathlib import Path

from tests.support.servers import HOST, Server, ServerError, program_path

INSTALL = "apt-get install --yes mariadb-server && python -m pip install PyMySQL"
USER = "root"
DATABASE = "clubs"

# As in postgres.py: nothing need reach the disk.
SETTINGS = {
    "bind-address": HOST,
    "innodb-flush-log-at-trx-commit": "0",
    "innodb-flush-method": "nosync",
    "innodb-buffer-pool-size": "32M",
    "innodb-log-file-size": "8M",
    "character-set-server": "utf8mb4",
    "performance-schema": "OFF",
    "skip-log-bin": "",
}


class MariaDB(Server):
    """A MariaDB without passwords, with one empty database."""

    program = "mariadbd"

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

    @property
    def location(self) -> str:
        """The server's address."""
        return f"{HOST}:{self.port}"

    def start(self) -> None:
        """Start the server and return when it answers; the first time, make its data."""
        if self._directory is None:
            self._directory = tempfile.TemporaryDirectory(prefix="cachedeco-mariadb-", ignore_cleanup_errors=True)
            self._make_data()
        super().start()

    def _make_data(self) -> None:
        options = [f"--datadir={self._data()}", "--auth-root-authentication-method=normal", "--skip-test-db"]
        command = [program_path("mariadb-install-db"), "--no-defaults", *options, *_as_root()]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            msg = f"mariadb-install-db failed: {done.stdout}{done.stderr}"
            raise ServerError(msg)
        Path(self._data(), DATABASE).mkdir()

    def _arguments(self, port: int) -> list[str]:
        options = [f"--{name}={value}" if value else f"--{name}" for name, value in SETTINGS.items()]
        places = [f"--datadir={self._data()}", f"--socket={self._data()}.sock", f"--pid-file={self._data()}.pid"]
        return ["--no-defaults", *places, f"--port={port}", *options, *_as_root()]

    def _answering_pid(self, port: int) -> int:
        import pymysql

        try:
            pymysql.connect(host=HOST, port=port, user=USER, database=DATABASE).close()
        except pymysql.Error as error:
            raise OSError from error
        return int(Path(f"{self._data()}.pid").read_text())

    def _data(self) -> str:
        if self._directory is None:
            msg = "This MariaDB has no data before its first start()."
            raise ServerError(msg)
        return str(Path(self._directory.name, "data"))


def _as_root() -> list[str]:
    return ["--user=root"] if os.geteuid() == 0 else []
