"""A process that replays the invalidations of the outbox: all the while, or once."""

import sys

from django.core.management import call_command

from benchmarks.storming.plan import Plan, configure


def main() -> None:
    """Deliver, as the plan and the word ("loop" or "once") on the command line say."""
    configure(Plan.from_json(sys.argv[1]))
    call_command("cachedeco", "deliver", loop=sys.argv[2] == "loop")


if __name__ == "__main__":
    main()
