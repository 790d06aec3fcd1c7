"""What only a card can tell, in one command of at most eight minutes: `tests/bench/gpu.sh`.

A part is a function without arguments that yields a `Number` for each thing it measures, and raises
where something is wrong. Each runs in a process of its own (`part`), so that one that fails or
overruns costs the others nothing; `__main__` starts them, and prints and keeps what they say.
"""
