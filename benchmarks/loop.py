"""Speed of training as a whole; the same as `manyheads bench loop`.

python benchmarks/loop.py [--workload walker|image] [--updates 100] [--threads N] [--set KEY=VALUE] [--json]
"""

from manyheads.cli.bench import loop

if __name__ == "__main__":
    loop()
