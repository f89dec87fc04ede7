"""Every schedule of a few actors, or many random ones of more."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

from tests.schedules.crew import Crew, Stage, Strategy
from tests.schedules.simulation import enter, simulated
from tests.schedules.trace import told
from tests.schedules.world import Actor, Choice, Violation, World

# More states than this are no matter of seconds.
MOST_STATES = 200_000
# Random schedules that tell which keys are written.
SAMPLES = 20
# Actors, and those that they start in the background.
LARGEST_CAST = 12


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """Who does what, what may happen to them, and how it is looked at in the end."""

    name: str
    cast: Mapping[str, Callable[[], object]]  #: acts by actor; "A@p" is actor A in the process p
    looks: Sequence[Callable[[], object]]  #: what is done when all have ended, by each process
    before: Sequence[Callable[[], object]] = ()  #: what is done before they begin
    budget: Mapping[str, int] = field(default_factory=dict)  #: how often each disturbance may happen
    settings: Mapping[str, object] = field(default_factory=dict)  #: of CACHEDECO
    promise: str = ""  #: what holds in each schedule, beside what always does

    @property
    def processes(self) -> list[str]:
        """The processes' names, each once."""
        return list(dict.fromkeys(name.partition("@")[2] or "p" for name in self.cast))

    def actors(self, world: World) -> list[Actor]:
        """Return the cast for one schedule."""
        named = [(*name.partition("@"), act) for name, act in self.cast.items()]
        return [Actor(name, world.processes[process or "p"], act) for name, _, process, act in named]


@dataclass
class Explored:
    """What was found."""

    scenario: str
    schedules: int = 0  #: different ones
    runs: int = 0  #: schedules that were run, to their end or to a state that had been met
    states: int = 0
    violations: int = 0  #: runs that ended in one
    violation: str = ""  #: the shortest one: what it is, and its steps
    length: int = 0  #: its number of steps

    def note(self, world: World, seed: int | None = None) -> None:
        """Remember the violation of a world if it is the shortest."""
        self.violations += 1
        if not self.violation or len(world.trace) < self.length:
            self.length, self.violation = len(world.trace), told(world, self.scenario, seed)


@dataclass
class _Node:
    """A state at which there was a choice, on the way to where the run is now."""

    state: int
    choices: list[Choice]
    index: int = 0
    schedules: int = 0


class Exhaustive:
    """
    Choose everything, in turn.

    Each run takes another way at the last place that has one left, and ends where it meets a state that was met before:
    all that follows from it has been seen. The schedules are counted all the same.
    """

    def __init__(self, *, cuts: bool = True) -> None:
        """Begin at the beginning; without cuts, run every schedule to its end."""
        self.cuts = cuts
        self.path: list[_Node] = []
        self.schedules_from: dict[int, int] = {}
        self.schedules = 0
        self._depth = 0

    def choose(self, world: World, choices: list[Choice]) -> Choice | None:
        """Follow the way of this run; beyond its end take the first, if the place is new."""
        if len(choices) == 1:
            return choices[0]
        if self._depth < len(self.path):
            node = self.path[self._depth]
            assert node.choices == choices, "the same choices have led to another state"
        else:
            state = world.fingerprint()
            if self.cuts and state in self.schedules_from:
                self._add(self.schedules_from[state])
                return None
            node = _Node(state, choices)
            self.path.append(node)
        self._depth += 1
        return node.choices[node.index]

    def turn(self, *, has_ended: bool) -> bool:
        """Prepare the next run; tell whether there is one."""
        if has_ended:
            self._add(1)
        self._depth = 0
        while self.path:
            node = self.path[-1]
            node.index += 1
            if node.index < len(node.choices):
                return True
            self.path.pop()
            self.schedules_from[node.state] = node.schedules
            self._add(node.schedules)
        return False

    def _add(self, schedules: int) -> None:
        if self.path:
            self.path[-1].schedules += schedules
        else:
            self.schedules += schedules


class Dice:
    """Choose at random; each seed has its own inclination to go on with the same actor, and to disturb."""

    def __init__(self, seed: int) -> None:
        """Throw the dice of a seed."""
        self._random = Random(seed)
        self._constancy = self._random.choice([0.0, 0.5, 0.8, 0.95])
        self._unrest = self._random.choice([0.0, 0.03, 0.1, 0.3])
        self._last: Choice | None = None

    def choose(self, _world: World, choices: list[Choice]) -> Choice:
        """Choose."""
        calm = [each for each in choices if each.deed in {"step", "end"}]
        rest = [each for each in choices if each.deed not in {"step", "end"}]
        if rest and (not calm or self._random.random() < self._unrest):
            return self._random.choice(rest)
        if self._last not in calm or self._random.random() >= self._constancy:
            self._last = self._random.choice(calm)
        return self._last


def _played(
    scenario: Scenario, start: World, strategy: Strategy, crew: Crew, written: set[tuple[str, str]] | None = None
) -> tuple[World, bool]:
    """Return the world after one schedule, and whether that went to its end."""
    world = start.twin(scenario.budget)
    world.written = written
    stage = Stage(world, crew, strategy)
    enter(world, stage)
    stage.play(scenario.actors(world))
    enter(world)
    world.written = None
    world.violation = world.violation or world.fault
    if stage.is_given_up:
        return world, bool(world.violation)
    try:
        for process in world.processes.values():
            world.alone = process
            for look in scenario.looks:
                look()
    except Violation as violation:
        world.violation = str(violation)
    world.violation = world.violation or world.fault
    return world, True


def _prepared(scenario: Scenario) -> World:
    world = World(scenario.processes)
    enter(world)
    for act in scenario.before:
        act()
    return world


def explore(scenario: Scenario, *, cuts: bool = True, is_one_enough: bool = False) -> Explored:
    """
    Run every schedule of a scenario.

    Args:
        scenario: The scenario.

        cuts: Run each only as far as it differs from those before.

        is_one_enough: Stop at the first violation, rather than look for the shortest.
    """
    explored, strategy = Explored(scenario.name), Exhaustive(cuts=cuts)
    with simulated(**scenario.settings), Crew(LARGEST_CAST) as crew:
        start = _prepared(scenario)
        # An eviction is a write of anything.
        written: set[tuple[str, str]] | None = None if scenario.budget.get("evict") else set()
        for seed in range(SAMPLES if written is not None else 0):
            _played(scenario, start, Dice(seed), crew, written)
        known, goes_on = len(written or ()), True
        while goes_on:
            world, has_ended = _played(scenario, start, strategy, crew, written)
            if world.violation:
                explored.note(world)
            explored.runs += 1
            assert len(strategy.schedules_from) < MOST_STATES, f"{scenario.name} has too many states"
            goes_on = strategy.turn(has_ended=has_ended) and not (is_one_enough and explored.violation)
            if written and len(written) > known:  # reads of that key were taken at once: begin again, and let them wait
                known, strategy, goes_on = len(written), Exhaustive(cuts=cuts), True
                explored.runs = 0
    explored.schedules, explored.states = strategy.schedules, len(strategy.schedules_from)
    return explored


def throw(scenario: Scenario, seeds: Sequence[int]) -> Explored:
    """Run a random schedule of a scenario for each seed, until one breaks it."""
    explored = Explored(scenario.name)
    with simulated(**scenario.settings), Crew(LARGEST_CAST) as crew:
        start = _prepared(scenario)
        for seed in seeds:
            world, _ = _played(scenario, start, Dice(seed), crew)
            explored.runs += 1
            if world.violation:
                explored.note(world, seed)
                break
    explored.schedules = explored.runs
    return explored
