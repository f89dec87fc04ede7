"""What servers say of themselves is judged."""

import pytest

from cachedeco.diagnosis.judging import judge_server
from cachedeco.diagnosis.servers import ServerReport
from tests.support.cases import in_one_test

MB = 2**20
WELL_MEMCACHED = {
    "uptime": "90000",
    "bytes": f"{MB}",
    "limit_maxbytes": f"{64 * MB}",
    "curr_items": "10",
    "cmd_set": "5000",
    "evictions": "0",
    "curr_connections": "10",
    "max_connections": "1024",
    "listen_disabled_num": "0",
    "store_too_large": "0",
    "store_no_memory": "0",
}
OF_MEMCACHED = {"item_size_max": f"{MB}", "evictions": "on"}
WELL_REDIS = {
    "uptime_in_seconds": "90000",
    "used_memory": f"{MB}",
    "maxmemory": f"{64 * MB}",
    "maxmemory_policy": "allkeys-lru",
    "total_commands_processed": "5000",
    "evicted_keys": "0",
    "role": "master",
    "connected_slaves": "0",
    "connected_clients": "10",
    "maxclients": "10000",
    "rejected_connections": "0",
    "aof_enabled": "0",
    "cluster_enabled": "0",
    "loading": "0",
}


def judged(report: ServerReport) -> dict[str, tuple[str, str, str]]:
    """Return state, answer and advice, by question."""
    return {each.question: (each.state, each.answer, each.advice) for each in judge_server("cache default", report)}


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        (
            ServerReport("a:1", "memcached", WELL_MEMCACHED, OF_MEMCACHED),
            {
                "Has it memory?": "1 MB of 64 MB used, by 10 items",
                "Does it keep what it is given?": "0 keys evicted in 1 d",
                "Is a value ever too large for it?": "no; it takes values up to 1 MB",
                "Has it connections left?": "10 of 1024 used",
            },
        ),
        (
            ServerReport("a:1", "Redis", WELL_REDIS),
            {
                "Has it memory?": "1 MB of 64 MB used, maxmemory-policy allkeys-lru",
                "Does it keep what it is given?": "0 keys evicted in 1 d",
                "Is it the primary?": "yes",
                "Does it begin empty?": "yes; up for 1 d",
                "Has it connections left?": "10 of 10000 used",
            },
        ),
    ],
    ids=["memcached", "Redis"],
)
def test_server_that_is_well_needs_no_advice(report: ServerReport, expected: dict[str, str]) -> None:
    """Each question has its answer."""
    assert {question: ("well", answer, "") for question, answer in expected.items()} == judged(report)


@in_one_test(
    [
        ("memcached", {}, {"evictions": "off"}, "Has it memory?", "wrong", "it never evicts", "without -M"),
        ("memcached", {"store_no_memory": "3"}, {}, "Has it memory?", "wrong", "refused 3 writes", "by -m"),
        (
            "memcached",
            {"evictions": "700"},
            {},
            "Does it keep what it is given?",
            "notice",
            "700 keys evicted in 1 d",
            "-m",
        ),
        ("memcached", {"evictions": "3"}, {}, "Does it keep what it is given?", "well", "3 keys evicted", ""),
        (
            "memcached",
            {"store_too_large": "2"},
            OF_MEMCACHED,
            "Is a value ever too large for it?",
            "notice",
            "up to 1 MB, and has refused 2",
            "by -I",
        ),
        ("memcached", {"listen_disabled_num": "4"}, {}, "Has it connections left?", "notice", "full 4 times", "(-c)"),
        ("memcached", {"curr_connections": "900"}, {}, "Has it connections left?", "notice", "900 of 1024", "(-c)"),
        ("Redis", {"loading": "1"}, {}, "Has it memory?", "wrong", "loading its data", "Wait"),
        ("Redis", {"maxmemory": "0"}, {}, "Has it memory?", "notice", "no limit is set", "allkeys-lru"),
        ("Redis", {"maxmemory_policy": "noeviction"}, {}, "Has it memory?", "notice", "noeviction", "allkeys-lru"),
        (
            "Redis",
            {"maxmemory_policy": "noeviction", "used_memory": f"{60 * MB}"},
            {},
            "Has it memory?",
            "wrong",
            "60 MB of 64 MB used, maxmemory-policy noeviction",
            "refuses writes, invalidations among them",
        ),
        ("Redis", {"evicted_keys": "12"}, {}, "Does it keep what it is given?", "notice", "12 keys", "maxmemory"),
        ("Redis", {"redis_mode": "sentinel"}, {}, "Is it the primary?", "wrong", "a Sentinel", "service"),
        ("Redis", {"cluster_enabled": "1"}, {}, "Is it the primary?", "wrong", "node of a cluster", "proxy"),
        (
            "Redis",
            {"role": "slave", "master_link_status": "down"},
            {},
            "Is it the primary?",
            "wrong",
            "no, a replica; its link to the primary is down",
            "Point LOCATION at the primary",
        ),
        ("Redis", {"connected_slaves": "2"}, {}, "Is it the primary?", "well", "yes, with 2 replicas", ""),
        (
            "Redis",
            {},
            {"save": "3600 1"},
            "Does it begin empty?",
            "notice",
            "loads snapshots (save)",
            "cachedeco.outbox",
        ),
        (
            "Redis",
            {"aof_enabled": "1"},
            {"save": ""},
            "Does it begin empty?",
            "notice",
            "append-only file",
            "Switch both off",
        ),
        (
            "Redis",
            {"rejected_connections": "1"},
            {},
            "Has it connections left?",
            "notice",
            "full 1 times",
            "maxclients",
        ),
    ]
)
def test_trouble_of_a_server_is_told_with_advice(  # noqa: PLR0913, PLR0917 -- columns of a table
    product: str, said: dict[str, str], configured: dict[str, str], question: str, state: str, answer: str, advice: str
) -> None:
    """One number is changed, and one answer with it; the others stay well."""
    well = WELL_MEMCACHED if product == "memcached" else WELL_REDIS
    found = judged(ServerReport("a:1", product, {**well, **said}, configured))  # type: ignore[arg-type] # one of the two

    assert (state, True, bool(advice)) == (found[question][0], answer in found[question][1], bool(found[question][2]))
    assert advice in found[question][2]
    assert {"well"} == {each[0] for name, each in found.items() if name != question}


def test_server_that_says_little_is_judged() -> None:
    """A server of another make may leave out anything."""
    assert "wrong" not in {
        each[0] for product in ("memcached", "Redis") for each in judged(ServerReport("a", product)).values()
    }  # type: ignore[arg-type] # one of the two
