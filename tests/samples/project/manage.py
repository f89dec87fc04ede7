"""The sample project's command line; START_METHOD=spawn makes the workers of `--parallel` begin from nothing."""  # noqa: INP001 -- a script

import multiprocessing
import os
import sys

from django.core.management import execute_from_command_line

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings")
    multiprocessing.set_start_method(os.environ.get("START_METHOD", "fork"))
    execute_from_command_line(sys.argv)
