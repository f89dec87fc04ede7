"""A process that commits a change and its invalidation, and is killed before it delivers: `dying PK`."""

import os
import signal
import sys

import django
from django.db import connections, transaction


def main() -> None:
    """Change, invalidate, commit, die."""
    django.setup()
    from tests.outbox.sites import ALIAS, name_of, rename

    with transaction.atomic(using=ALIAS):
        rename(int(sys.argv[1]), "new")
        name_of.invalidate(int(sys.argv[1]))
        # Before all that wait for the commit: by on_commit() none gets there.
        die = (set(), lambda: os.kill(os.getpid(), signal.SIGKILL), False)
        connections[ALIAS].run_on_commit.insert(0, die)  # type: ignore[arg-type]


main()
