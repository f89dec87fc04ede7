"""What the reader of the demo sees: one sentence for each step, one line for each request."""

from dataclasses import dataclass, field
from typing import TextIO

from story.visitor import Answer

# What the line of a request tells, in the plural; the rest ("computed", "stored") follows from these.
SHOWN = {
    "hit": "hits",
    "stale": "stale",
    "miss": "misses",
    "bypassed": "bypassed",
    "invalidated": "invalidated",
    "unstored": "not stored",
    "lost": "lost",
    "error": "errors",
}
LINE = "   {request:<42} {ms:>6} {queries:>4}   {cache:<28} {verdict}\n"


@dataclass
class Report:
    """Print the story as it goes, and remember whether every step was what it should be."""

    out: TextIO
    steps: int = 0
    faults: list[str] = field(default_factory=list)

    def begin(self, what: str) -> None:
        """Print what is served, and the head of the table."""
        self.out.write(f"{what}\n\n")
        self.out.write(LINE.format(request="request", ms="ms", queries="SQL", cache="what the cache did", verdict=""))

    def step(self, name: str, expected: str) -> None:
        """Begin a step, with one sentence that says what should happen."""
        self.steps += 1
        self.out.write(f"\n{self.steps}. {name}: {expected}\n")

    def show(self, answer: Answer, *faults: str) -> None:
        """Print what a request came to; *faults* are sentences, none if it is what it should be."""
        counts = ((answer.cache.get(kind, 0), kind, plural) for kind, plural in SHOWN.items())
        cache = ", ".join(f"{n} {kind if n == 1 else plural}" for n, kind, plural in counts if n)
        line = LINE.format(
            request=answer.request,
            ms=f"{answer.milliseconds:.1f}",
            queries=answer.queries,
            cache=cache or "nothing",
            verdict="FAILED" if faults else "ok",
        )
        self.out.write(line)
        for reason in answer.invalidated:
            self.out.write(f"      why: invalidated: {reason}\n")
        for fault in faults:
            self.out.write(f"      {fault}\n")
        self.faults += faults

    def note(self, what: str) -> None:
        """Print what happened between two requests."""
        self.out.write(f"   {what}\n")

    def break_off(self, fault: str) -> None:
        """Print why the story can't go on."""
        self.out.write(f"\n{fault}\n")
        self.faults.append(fault)

    def end(self) -> bool:
        """Print the verdict and return it."""
        verdict = (
            f"{len(self.faults)} thing(s) not as they should be." if self.faults else "Every step as it should be."
        )
        self.out.write(f"\n{verdict}\n")
        return not self.faults


def unexpected(answer: Answer, *, status: int = 200, queries: int | None = None, **cache: int) -> list[str]:
    """Compare what a request came to with what it should have; what is not named in *cache* is free."""
    given = {"HTTP status": answer.status, "SQL queries": answer.queries, **answer.cache}
    wanted = {"HTTP status": status, "SQL queries": queries, **cache}
    return [
        f"Expected {what} to be {wanted_number}, it is {given.get(what)}."
        for what, wanted_number in wanted.items()
        if wanted_number is not None and given.get(what) != wanted_number
    ]


def unless(condition: object, sentence: str) -> list[str]:
    """Return the sentence as a fault unless the condition holds."""
    return [] if condition else [sentence]
