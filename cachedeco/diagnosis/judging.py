"""Judge what the servers of a cache say: memory, evictions, limits, replicas."""

from collections.abc import Iterator
from typing import Final

from cachedeco.diagnosis.findings import Finding, State
from cachedeco.diagnosis.servers import ServerReport
from cachedeco.runtime.units import duration, size

NEARLY_FULL: Final = 0.9
# Of the connections that a server allows.
MANY: Final = 0.8
# Both servers evict from a sample, or by class of sizes, so that a cache that is not full may have evicted a little.
FEW_EVICTIONS: Final = 0.001
CLUSTERED: Final = "Use a Redis without cluster mode, or a proxy in front: each call needs several keys in one command."


def judge_server(subject: str, report: ServerReport) -> Iterator[Finding]:
    """Yield what there is to know of one server."""
    name = f"{subject}, server {report.name}"
    if report.product == "memcached":
        yield _memory_of_memcached(name, report)
        yield _evictions(name, report, "evictions", "cmd_set", "-m")
        if report.settings:
            yield _limit_of_memcached(name, report)
        yield _connections(name, report, ("curr_connections", "max_connections", "listen_disabled_num"), "-c")
        return
    yield _memory_of_redis(name, report)
    yield _evictions(name, report, "evicted_keys", "total_commands_processed", "maxmemory")
    yield _role(name, report)
    yield _persistence(name, report)
    yield _connections(name, report, ("connected_clients", "maxclients", "rejected_connections"), "maxclients")


def _memory_of_memcached(subject: str, report: ServerReport) -> Finding:
    used, limit = report.number("bytes"), report.number("limit_maxbytes")
    answer = f"{size(used)} of {size(limit)} used, by {report.number('curr_items')} items"
    question = "Has it memory?"
    if report.settings.get("evictions") == "off":
        advice = "Start it without -M: when its memory is full it refuses writes, invalidations among them."
        return Finding(subject, question, "wrong", f"{answer}; it never evicts", advice)
    refused = report.number("store_no_memory")
    if refused:
        advice = "Start it with more memory, by -m: nothing that it refuses is cached."
        return Finding(subject, question, "wrong", f"{answer}; it has refused {refused} writes for lack of it", advice)
    return Finding(subject, question, "well", answer)


def _memory_of_redis(subject: str, report: ServerReport) -> Finding:
    question = "Has it memory?"
    used, limit = report.number("used_memory"), report.number("maxmemory")
    policy = report.facts.get("maxmemory_policy", "")
    if report.facts.get("loading") == "1":
        advice = "Wait: until then each call is computed."
        return Finding(subject, question, "wrong", "it is still loading its data from the disk", advice)
    if not limit:
        advice = "Set maxmemory, and maxmemory-policy allkeys-lru: else it grows until the system has no memory left."
        return Finding(subject, question, "notice", f"{size(used)} used, and no limit is set", advice)
    answer = f"{size(used)} of {size(limit)} used, maxmemory-policy {policy}"
    if policy != "noeviction":
        return Finding(subject, question, "well", answer)
    advice = "Set maxmemory-policy allkeys-lru: when its memory is full it refuses writes, invalidations among them."
    state: State = "wrong" if used >= NEARLY_FULL * limit else "notice"
    return Finding(subject, question, state, answer, advice)


def _evictions(subject: str, report: ServerReport, name: str, writes: str, option: str) -> Finding:
    """Tell how many keys the server has dropped before their timeouts."""
    evicted, seconds = report.number(name), report.number("uptime") or report.number("uptime_in_seconds")
    question = "Does it keep what it is given?"
    since = f"in {duration(seconds)}"
    if evicted <= FEW_EVICTIONS * report.number(writes):
        return Finding(subject, question, "well", f"{evicted} keys evicted {since}")
    answer = f"{evicted} keys evicted {since}, before their timeouts"
    advice = (
        f"Give it more memory ({option}), or shorten timeouts: an evicted entry is a miss, and an evicted token makes "
        "misses of all entries that depend on it."
    )
    return Finding(subject, question, "notice", answer, advice)


def _limit_of_memcached(subject: str, report: ServerReport) -> Finding:
    question = "Is a value ever too large for it?"
    limit, refused = report.number("item_size_max"), report.number("store_too_large")
    answer = f"it takes values up to {size(limit)}"
    if not refused:
        return Finding(subject, question, "well", f"no; {answer}")
    advice = "Raise the limit by -I, or store less: a serializer that compresses, or fewer columns."
    return Finding(subject, question, "notice", f"{answer}, and has refused {refused} that were larger", advice)


def _connections(subject: str, report: ServerReport, names: tuple[str, str, str], option: str) -> Finding:
    question = "Has it connections left?"
    used, limit, refused = names
    answer = f"{report.number(used)} of {report.number(limit)} used"
    advice = f"Raise its limit ({option}), or open fewer: each thread of each process may hold one."
    if report.number(refused):
        return Finding(
            subject, question, "notice", f"{answer}; it has been full {report.number(refused)} times", advice
        )
    if report.number(limit) and report.number(used) >= MANY * report.number(limit):
        return Finding(subject, question, "notice", answer, advice)
    return Finding(subject, question, "well", answer)


def _role(subject: str, report: ServerReport) -> Finding:
    question = "Is it the primary?"
    if report.facts.get("redis_mode") == "sentinel":
        advice = "Name its service in LOCATION, and the Sentinels in OPTIONS, as 'sentinels', with our Redis backend."
        return Finding(subject, question, "wrong", "no, it is a Sentinel, which stores nothing", advice)
    if report.facts.get("cluster_enabled") == "1":
        return Finding(subject, question, "wrong", "it is a node of a cluster, which has a part of the keys", CLUSTERED)
    if report.facts.get("role") == "slave":
        link = report.facts.get("master_link_status", "unknown")
        advice = "Point LOCATION at the primary: a replica refuses writes, and has invalidations later."
        return Finding(subject, question, "wrong", f"no, a replica; its link to the primary is {link}", advice)
    replicas = report.number("connected_slaves")
    return Finding(subject, question, "well", f"yes, with {replicas} replicas" if replicas else "yes")


def _persistence(subject: str, report: ServerReport) -> Finding:
    """Tell whether a restart would bring back old entries with the tokens of that time."""
    question = "Does it begin empty?"
    kept = [
        name
        for name, is_on in (
            ("snapshots (save)", bool(report.settings.get("save"))),
            ("the append-only file", report.facts.get("aof_enabled") == "1"),
        )
        if is_on
    ]
    if not kept:
        return Finding(subject, question, "well", f"yes; up for {duration(report.number('uptime_in_seconds'))}")
    advice = (
        "Switch both off for a cache: after a crash it serves what was valid when the file was written. Or install "
        "cachedeco.outbox, whose deliverer sends the invalidations since then again."
    )
    return Finding(subject, question, "notice", f"no, a restart loads {' and '.join(kept)}", advice)
