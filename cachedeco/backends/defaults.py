"""Defaults that all our backends share."""

from typing import Final

# Seconds, for a connection and for each part of an answer. A server answers in a millisecond; Linux sends a lost packet
# again after 0.2 seconds, which should not count as a failure; users notice a page that takes longer.
TIMEOUT_SECONDS: Final = 0.5
# Idle connections kept for each server, more than a process usually has threads; and the seconds that one is kept.
# Firewalls drop a silent connection after minutes, without notice to either end.
MOST_IDLE: Final = 64
IDLE_SECONDS: Final = 60.0
