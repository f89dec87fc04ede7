"""
The storm: real processes, real servers and real faults, and a count of what was served too old.

plan.py tells every process what to do, board.py is the memory that they share. readers.py and writers.py are the
processes, caching.py is what they call; aftermath.py looks at what is left. course.py starts the servers, crew.py the
processes; scenarios.py says what befalls them, and acts on field.py. proxy.py is a bad network. tenants.py is a process
of another storm.
"""
