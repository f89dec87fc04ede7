"""
A schedule explorer: what may happen between two steps happens there, in every order.

Actors (who read, write and invalidate, refresh) run in threads of which exactly one runs at a time. A *step* is one
command to the cache, one read or write of a row, one look at the flights of a process; or the end of a wait. Before
each step a strategy chooses who goes on, and whether a key is evicted, an actor is abandoned, a process is killed.
Time is the world's own: it passes when an actor waits, and none sleeps.

- `world.py`: what the actors share, what may happen next, and what must never be seen;
- `crew.py`: the threads, and the baton that they hand on;
- `simulation.py`, `cache.py`: the library's clocks, dice, waits and cache, replaced by the world's;
- `explorer.py`: every schedule of a few actors, or many random ones of more;
- `acts.py`, `functions.py`, `scenarios.py`: what the actors do to what;
- `naive.py`: schemes as they are usually written, and the library with one line of defence taken away: for each of
  them a schedule must be found that breaks it.
"""
