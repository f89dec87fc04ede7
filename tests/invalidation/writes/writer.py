"""A process that writes as it is told, and imports no cached function: one line of JSON for each write."""

import json
import sys
from contextlib import suppress

import django
from django.conf import settings


def main() -> None:
    """Answer each line with the name of what a write has raised, or an empty line."""
    with suppress(ImportError):  # it is there for the tests on MariaDB
        import pymysql

        pymysql.install_as_MySQLdb()
    settings.configure(**json.loads(sys.argv[1]))
    django.setup()
    from tests.invalidation.writes.kinds import KINDS
    from tests.invalidation.writes.ways import write

    kinds = {kind.name: kind for kind in KINDS}
    for line in sys.stdin:
        name, way, alias = json.loads(line)
        raised = ""
        try:
            write(kinds[name], way, alias)
        except Exception as error:  # noqa: BLE001 -- rows that a kind needs may be gone
            raised = type(error).__name__
        sys.stdout.write(f"{raised}\n")
        sys.stdout.flush()
    from cachedeco.functions.spec import all_specs

    assert [] == [spec.name for spec in all_specs()]


if __name__ == "__main__":
    main()
