"""
Draw the plots of the documentation from the results of `make bench`.

    make bench                                  # or, after it: python benchmarks/plots.py [--into docs/images]

Writes SVG by hand: bars and lines with their numbers beside them, so that nothing is told by colour alone; cachedeco is
in bold, with full bars, and the others have hollow ones. A plot brings its own background, and is dark where the
reader's system is.
"""

import argparse
import json
from collections.abc import Callable, Mapping
from html import escape
from math import log10
from pathlib import Path
from typing import Any, Final

import results

IMAGES: Final = Path(__file__).parent.parent / "docs" / "images"
WIDTH: Final = 720
STYLE: Final = """<style>
svg { color: #1b1b1b; background: #fff; font: 13px sans-serif }
@media (prefers-color-scheme: dark) { svg { color: #e6e6e6; background: #1b1b1b } }
text { fill: currentColor } .ours { font-weight: bold } .end { text-anchor: end } .middle { text-anchor: middle }
rect, path { stroke: currentColor; fill: none } rect.ours { fill: currentColor }
.foot { font-size: 11px }
.axis { opacity: .4 } .dashed { stroke-dasharray: 6 4 } .dotted { stroke-dasharray: 1 4 }
</style>"""

# The bars of each plot: what a bar is called, and its name in the results.
MEMCACHED: Final = {
    "cachedeco, its memcached backend": "our backend",
    "cachedeco, PyMemcacheCache": "PyMemcacheCache",
    "PyMemcacheCache.get() alone": "PyMemcacheCache.get",
    "django-cache-memoize, PyMemcacheCache": "django-cache-memoize, PyMemcacheCache",
    "cache-results, PyMemcacheCache": "cache-results, PyMemcacheCache",
    "dogpile.cache, pymemcache": "dogpile.cache, pymemcache",
    "a bare socket and pickle.loads": "raw socket",
}
REDIS: Final = {
    "cachedeco, its Redis backend": "our Redis backend",
    "cachedeco, RedisCache": "RedisCache",
    "RedisCache.get() alone": "RedisCache.get",
    "django-cache-memoize, RedisCache": "django-cache-memoize, RedisCache",
    "cache-results, RedisCache": "cache-results, RedisCache",
    "dogpile.cache, redis": "dogpile.cache, redis",
    "cacheops cached": "cacheops cached",
}
PROCESS: Final = {
    "cachedeco, LocMemCache": "LocMemCache",
    "cachedeco, request memory": "request memory",
    "django-cache-memoize, LocMemCache": "django-cache-memoize, LocMemCache",
    "cache-results, LocMemCache": "cache-results, LocMemCache",
    "dogpile.cache, memory_pickle": "dogpile.cache, memory_pickle",
    "pickle.loads of the value alone": "pickle.loads",
    "TTLCache, no copy": "TTLCache",
    "lru_cache, no copy": "lru_cache",
}
ASYNC: Final = {
    "cachedeco, its memcached backend": "our backend",
    "aiocache, memcached": "aiocache, MEMCACHED",
    "cachedeco, its Redis backend": "our Redis backend",
    "cashews, Redis": "cashews, Redis",
    "aiocache, Redis": "aiocache, REDIS",
    "cachedeco, LocMemCache": "LocMemCache",
    "cashews, memory": "cashews, memory",
    "aiocache, memory, no copy": "aiocache, MEMORY",
}
PAGES: Final = {
    "cachedeco, its memcached backend, gunicorn": "gunicorn: our backend",
    "cachedeco, the same with gather()": "gunicorn: our backend, gather",
    "django-cache-memoize, gunicorn": "gunicorn: django-cache-memoize, PyMemcacheCache",
    "cachedeco, its Redis backend, uvicorn": "uvicorn: our Redis backend",
    "cachedeco, RedisCache, uvicorn": "uvicorn: RedisCache",
}
LINES: Final = {"our backend": "", "our Redis backend": "dashed", "LocMemCache": "dotted"}


def conditions(section: Mapping[str, Any]) -> str:
    """Return on what was measured."""
    versions = ", ".join(f"{name} {section['versions'][name]}" for name in ("Django", "pymemcache", "redis", "hiredis"))
    rounds, load = f"medians of {section['rounds']} rounds", f"load {section['load']}"
    return f"{section['date']}, {rounds}; Python {section['python']}, {versions}; {section['cores']} cores, {load}"


def svg(height: int, title: str, marks: list[str], section: Mapping[str, Any]) -> str:
    """Return a picture, with a line about how it was measured."""
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">'
    heading = f'<title>{escape(title)}</title>{STYLE}<text x="12" y="22" class="ours">{escape(title)}</text>'
    foot = f'<text x="12" y="{height - 8}" class="foot">{escape(conditions(section))}</text>'
    return "\n".join([head, heading, *marks, foot, "</svg>\n"])


def number(value: float) -> str:
    """Return a number as one reads it."""
    return f"{value:.2f}" if value < 1 else f"{value:.1f}" if value < 20 else f"{value:.0f}"  # noqa: PLR2004


def bars(title: str, names: Mapping[str, str], spreads: Mapping[str, list[float]], section: Mapping[str, Any]) -> str:
    """Return a bar for the median of each that was measured, cheapest first, with a line between its quartiles."""
    rows = sorted(
        ((spreads[name], label) for label, name in names.items() if name in spreads), key=lambda row: row[0][1]
    )
    scale = (WIDTH - 390) / max(high for (_, _, high), _ in rows)
    marks = []
    for at, ((low, middle, high), label) in enumerate(rows):
        y, ours = 38 + 26 * at, ' class="ours"' if label.startswith("cachedeco") else ""
        marks += [
            f'<text x="285" y="{y + 14}" class="end{" ours" if ours else ""}">{escape(label)}</text>',
            f'<rect x="295" y="{y + 3}" width="{middle * scale:.1f}" height="14"{ours}/>',
            f'<path class="axis" d="M{295 + low * scale:.1f} {y + 20}H{295 + high * scale:.1f}"/>',
            f'<text x="{303 + max(middle, high) * scale:.1f}" y="{y + 14}"{ours}>{number(middle)} µs</text>',
        ]
    return svg(68 + 26 * len(rows), title, marks, section)


def lines(title: str, section: Mapping[str, Any]) -> str:
    """Return a small plot for each thing that grows, both axes by powers of ten."""
    marks, tables = [], section["growth"]
    for at, (what, caches) in enumerate(tables.items()):
        left, top = 50 + 350 * (at % 2), 60 + 215 * (at // 2)
        marks += panel(what, caches, left, top)
    return svg(80 + 215 * ((len(tables) + 1) // 2), title, marks, section)


def panel(what: str, caches: Mapping[str, list[list[float]]], left: int, top: int) -> list[str]:
    """Return one of them: a line for each cache, named at its end."""
    counts = [point[0] for point in next(iter(caches.values()))]
    across = _scale(max(counts[0], 0.5), counts[-1], left, left + 190)
    down = _scale(1, 1000, top + 150, top)
    marks = [f'<text x="{left}" y="{top - 8}" class="ours">{escape(what)}</text>']
    for cost in (1, 10, 100, 1000):
        marks.append(f'<path class="axis" d="M{left} {down(cost):.1f}H{left + 190}"/>')
        marks.append(f'<text x="{left - 6}" y="{down(cost) + 4:.1f}" class="end">{cost}</text>')
    shown = counts if len(counts) < 7 else counts[::2]  # noqa: PLR2004 -- more do not fit
    marks += [f'<text x="{across(max(n, 0.5)):.1f}" y="{top + 167}" class="middle">{n:,.0f}</text>' for n in shown]
    last = -1000.0
    for name, points in sorted(caches.items(), key=lambda pair: pair[1][-1][2]):
        places = [f"{across(max(n, 0.5)):.1f} {down(middle):.1f}" for n, _, middle, _ in points]
        marks.append(f'<path class="{LINES[name]}" stroke-width="2" d="M{"L".join(places)}"/>')
        y = down(points[-1][2]) + 4
        last = min(y, last - 14) if last > 0 else y
        label = {"our backend": "memcached", "our Redis backend": "Redis"}.get(name, name)
        marks.append(f'<text x="{left + 196}" y="{last:.1f}">{label} {number(points[-1][2])}</text>')
    return marks


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    return lambda value: start + (end - start) * (log10(value) - log10(low)) / (log10(high) - log10(low))


def main() -> None:
    """Draw the plots of all benchmarks that have results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--into", type=Path, default=IMAGES)
    into = parser.parse_args().into
    found = json.loads(results.FILE.read_text())
    plots = {}
    if hit := found.get("hit"):
        costs = hit["microseconds"]
        plots["hit-memcached"] = bars("A hit on memcached: microseconds of CPU", MEMCACHED, costs, hit)
        plots["hit-redis"] = bars("A hit on Redis: microseconds of CPU", REDIS, costs, hit)
        plots["hit-process"] = bars("A hit in the process: microseconds of CPU", PROCESS, costs, hit)
    if awaited := found.get("async"):
        costs = awaited["microseconds"]
        one, several = "A hit of async code, one task", "A hit of async code, a hundred tasks"
        plots["hit-one-task"] = bars(f"{one}: microseconds of CPU", ASYNC, costs["one task"], awaited)
        plots["hit-tasks"] = bars(f"{several}: microseconds of CPU", ASYNC, costs["100 tasks"], awaited)
    if growth := found.get("growth"):
        plots["hit-growth"] = lines("A hit of cachedeco, microseconds of CPU, as these grow:", growth)
    if pages := found.get("pages"):
        costs = pages["microseconds"]
        plots["page"] = bars("A page of five hits: microseconds of CPU of the worker", PAGES, costs, pages)
    for name, plot in plots.items():
        (into / f"{name}.svg").write_text(plot)


if __name__ == "__main__":
    main()
