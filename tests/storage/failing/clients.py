"""The options of the clients for real servers, where a test does not want to wait for them long."""

from typing import Any

import pytest

# Seconds: long for a server on loopback, short for one that hangs.
PATIENCE = 0.2

# HashClient as Django has it keeps quiet about a dead server for a minute; "eager", it asks it again at once.
CLIENTS: dict[str, dict[str, Any]] = {
    "memcached": {"timeout": PATIENCE, "connect_timeout": PATIENCE},
    "memcached eager": {"timeout": PATIENCE, "connect_timeout": PATIENCE, "retry_attempts": 0, "dead_timeout": 0},
    "ours": {"timeout": PATIENCE, "connect_timeout": PATIENCE},
    "redis": {"socket_timeout": PATIENCE, "socket_connect_timeout": PATIENCE, "retry": None},
}
# One that asks the server every time: what HashClient spares us is not to be counted as ours.
eager = pytest.mark.parametrize("client", ["memcached eager", "redis"])
# One that asks a server at once that was started again; ours leaves alone one that hangs.
returning = pytest.mark.parametrize("client", ["memcached eager", "ours", "redis"])
