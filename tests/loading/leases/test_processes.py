"""Real processes on real servers: many miss at once, and one computes."""

import pytest
from django.conf import settings

from tests.loading.leases.crowd import PROCESSES, THREADS, Crowd

CALLERS = PROCESSES * THREADS


@pytest.mark.usefixtures("_unmeasured_processes", "backend")
@pytest.mark.parametrize("backend", ["memcached", "redis"], indirect=True)
def test_many_processes_compute_once_and_outlive_the_one_who_computes() -> None:
    """
    Of 32 callers in four processes one computes, cold and just invalidated, and all get its value.

    Where the one who computes is killed, the others wait as long as they were told, compute, and raise nothing.
    """
    with Crowd.of(settings.CACHES) as crowd:
        for number in range(5):
            for is_invalidated in (False, True):
                if is_invalidated:
                    crowd.members[number % PROCESSES].order(f"invalidate {number}")
                    crowd.expect(invalidated=1)
                crowd.order(f"call {number}")
                computing = crowd.expect(missed=CALLERS, computing=1)["computing"]
                crowd.order("go")
                returned = crowd.expect(returned=CALLERS)["returned"]  # one more "computing" would be a failure here

                assert (1, 1) == (len(computing), len({value for _, value in returned}))

        crowd.order("call 5")
        [(victim, _)] = crowd.expect(missed=CALLERS, computing=1)["computing"]
        victim.process.kill()
        crowd.members.remove(victim)
        crowd.order("later")
        crowd.order("go")
        crowd.expect(returned=CALLERS - THREADS, computing=1)  # "raised" would be a failure
