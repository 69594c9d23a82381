"""Speed of one update; the same as `manyheads bench learner`.

python benchmarks/learner.py [--workload demo|proprio-1m|pixels-12m] [--device cpu|cuda] [--plain] [--json]
"""

from manyheads.cli.bench import learner

if __name__ == "__main__":
    learner()
