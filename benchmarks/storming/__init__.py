"""
The storm: real processes, real servers and real faults, and a count of what was served too old.

plan.py tells every process what to do, board.py is the memory that they share. readers.py and writers.py are the
processes, caching.py is what they call; aftermath.py looks at what is left. field.py starts the servers and the
processes, scenarios.py says what befalls them, tally.py sums up. proxy.py is a bad network.
"""
