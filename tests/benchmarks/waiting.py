"""Training steps a second with two threads, while threads that wait spin and while they sleep, alone and beside others.

PYTHONPATH=workflow:tests python tests/benchmarks/waiting.py
"""

import os
import subprocess
import sys
import time

SECONDS = 6
WAYS = {"spin": {"OMP_WAIT_POLICY": "active"}, "library's default": {}, "sleep": {"OMP_WAIT_POLICY": "passive"}}
BUSY = "while True: pass"


def steps():
    """Steps a second of a small network on batches of 256 rows, in this process."""
    import torch

    torch.set_num_threads(2)
    network = torch.nn.Sequential(torch.nn.Linear(256, 512), torch.nn.ReLU(), torch.nn.Linear(512, 64))
    optimiser, rows = torch.optim.Adam(network.parameters()), torch.randn(256, 256)
    done, start = 0, time.monotonic()
    while time.monotonic() < start + SECONDS:
        optimiser.zero_grad()
        network(rows).square().mean().backward()
        optimiser.step()
        done += 1
    return done / (time.monotonic() - start)


def measured(setting):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OMP_")} | setting
    done = subprocess.run(
        [sys.executable, __file__, "steps"], env=environment, capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def main():
    print(f"{len(os.sched_getaffinity(0))} cores; steps a second, alone and beside as many busy processes")
    for way, setting in WAYS.items():
        alone = measured(setting)
        others = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in os.sched_getaffinity(0)]
        try:
            beside = measured(setting)
        finally:
            for other in others:
                other.kill()
                other.wait()
        print(f"{way:18}  {alone:8.1f}  {beside:8.1f}")


if __name__ == "__main__":
    print(steps()) if sys.argv[1:] == ["steps"] else main()
