"""The options of the clients for real servers."""

from typing import Any

import pytest

from tests.support.threads import PATIENCE_SECONDS

# HashClient as Django has it keeps quiet about a dead server for a minute; "eager", it asks it again at once.
CLIENTS: dict[str, dict[str, Any]] = {
    "memcached": {"timeout": PATIENCE_SECONDS, "connect_timeout": PATIENCE_SECONDS},
    "memcached eager": {
        "timeout": PATIENCE_SECONDS,
        "connect_timeout": PATIENCE_SECONDS,
        "retry_attempts": 0,
        "dead_timeout": 0,
    },
    "ours": {"timeout": PATIENCE_SECONDS, "connect_timeout": PATIENCE_SECONDS},
    "redis": {"socket_timeout": PATIENCE_SECONDS, "socket_connect_timeout": PATIENCE_SECONDS, "retry": None},
}
# One that asks the server every time: what HashClient spares us is not to be counted as ours.
eager = pytest.mark.parametrize("client", ["memcached eager", "redis"])
# One that asks a server at once that was started again; ours leaves alone one that hangs.
returning = pytest.mark.parametrize("client", ["memcached eager", "ours", "redis"])
