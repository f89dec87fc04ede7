"""What an operator asks is read from `stats` and `top`: each cause is planted, and counted by the library itself."""

from cachedeco import Namespace, cached_query
from cachedeco.runtime.statistics import begin_anew
from tests.management.saying import said


@cached_query(name="operated.busy", namespace="operated:{number}", timeout=60)
def busy(number: int) -> int:
    """Return the same number each time."""
    return number


def test_counts_answer_what_an_operator_asks() -> None:
    """How many hits, at which ratio; why were the others misses; was it in vain; what is invalidated most."""
    begin_anew()  # what other tests of this process have counted would take the first places
    busy(1)
    busy(1)
    busy(1)
    busy.invalidate(1)
    busy(1)
    for _ in range(5):
        Namespace("operated").invalidate()
    busy(1)

    counts = {
        line.split()[0]: " ".join(line.split()[1:]) for line in said("stats", "operated.busy").out.splitlines()[1:]
    }
    needless = {each["name"]: each["amount"] for each in said("top", "needless", "--json").json["needless"]}
    [most] = said("top", "invalidations", "--limit", "1", "--json").json["invalidations"]
    cost = [each["name"] for each in said("top", "cost", "--json").json["cost"]]

    assert ("2, 40 %", "3", "1", "1") == tuple(counts[name] for name in ("hits", "misses", "absent", "invalidated"))
    assert counts["computations"].startswith("3, ")
    assert (2, "namespace operated", 5) == (needless["operated.busy"], most["name"], most["amount"])
    assert "operated.busy" in cost
