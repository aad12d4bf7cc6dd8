"""What starting costs: `import refnorm` beyond NumPy, `refnorm list`, `refnorm check`; medians of interleaved runs.

    python examples/benchmarks/startup.py [RUNS]
"""

import statistics
import subprocess
import sys
import time

COMMANDS = {
    "import numpy": [sys.executable, "-c", "import numpy"],
    "import refnorm": [sys.executable, "-c", "import refnorm"],
    "refnorm list": [sys.executable, "-m", "refnorm", "list"],
}
ONCE = {"refnorm check": [sys.executable, "-m", "refnorm", "check"]}


def seconds(command):
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main():
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    for command in COMMANDS.values():
        seconds(command)                            # bytecode and the disk's cache
    measured = {name: [] for name in COMMANDS}
    for _ in range(runs):
        for name, command in COMMANDS.items():
            measured[name].append(seconds(command))
    medians = {name: statistics.median(times) for name, times in measured.items()}
    for name, median in medians.items():
        print(f"{name:16} {median:6.3f} s")
    print(f"{'beyond numpy':16} {medians['import refnorm'] - medians['import numpy']:6.3f} s")
    for name, command in ONCE.items():
        print(f"{name:16} {seconds(command):6.1f} s")


if __name__ == "__main__":
    main()
