"""How Hypothesis runs the state machines of the tests: the same histories each time."""

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test


def run_machine(machine: type[RuleBasedStateMachine], *, examples: int, **more: Any) -> None:
    """Run so many histories of a machine."""
    run_state_machine_as_test(  # type: ignore[no-untyped-call] # hypothesis leaves it so
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=30,
            derandomize=True,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            **more,
        ),
    )
