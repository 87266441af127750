"""Speed and memory against bare clients: `python -m tests.benchmarks [name ...]`, best on an idle machine.

Every figure is a ratio (or a difference) of two things measured in the same run, turn by turn, so that a slow moment
hits both. The server is a process of its own on another core, and answers at once or after a time that the URL names.
"""
