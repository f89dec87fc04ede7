"""A real MariaDB for the tests: on loopback, in a directory of its own, gone with the tests."""

import os
from pathlib import Path

from tests.support.servers import HOST, DatabaseServer, program_path

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


class MariaDB(DatabaseServer):
    """A MariaDB without passwords, with one empty database."""

    program = "mariadbd"

    @property
    def location(self) -> str:
        """The server's address."""
        return f"{HOST}:{self.port}"

    def _command_that_makes_data(self, directory: str) -> list[str]:
        Path(directory, "data", DATABASE).mkdir(parents=True)  # how a database is made
        options = [f"--datadir={self._data()}", "--auth-root-authentication-method=normal", "--skip-test-db"]
        return [program_path("mariadb-install-db"), "--no-defaults", *options, *_as_root()]

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


def _as_root() -> list[str]:
    return ["--user=root"] if os.geteuid() == 0 else []
