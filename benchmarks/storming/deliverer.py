"""A process that delivers what the outbox holds, all the while; and one that waits until nothing is left of before."""

import sys
from time import sleep

from django.core.management import call_command

from benchmarks.storming.plan import Plan, configure


def wait_until_replayed() -> None:
    """Return when all that is in the outbox now has reached the cache."""
    from cachedeco.outbox.models import rows  # type: ignore[import-not-found,unused-ignore] # where there is one

    left = list(rows("default").filter(acknowledged=None).values_list("pk", flat=True))
    while rows("default").filter(acknowledged=None, pk__in=left).exists():
        sleep(0.05)


def main() -> None:
    """Deliver, or wait, as the plan and the word ("deliver" or "wait") on the command line say."""
    configure(Plan.from_json(sys.argv[1]))
    if sys.argv[2] == "deliver":
        call_command("cachedeco", "deliver", loop=True)
    else:
        wait_until_replayed()


if __name__ == "__main__":
    main()
