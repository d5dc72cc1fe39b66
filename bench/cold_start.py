#!/usr/bin/env python3
"""Cold start and peak memory: from exec to the first label, one photo, maru beside OpenCV's dnn module.

  bench/cold_start.py MODEL_FOLDER PHOTO [--build build/release] [--pairs 20]

Both programs are started in turns (ABBA), as a user would: files are in the page cache, the process is new.
Time is the wall clock from fork to exit; memory is the kernel's ru_maxrss of the process. Prints medians, the
ratio, and its 95 % interval from 4000 bootstrap draws of whole pairs with a fixed seed.
"""
import argparse
import os
import random
import statistics
import subprocess
import sys
import time


def start(command):
    """Runs a command; returns (seconds, peak bytes, its output)."""
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begin
    if status != 0:
        sys.exit(f"[cold_start] expected {command[0]} to succeed, got status {status}: {process.stderr.read().decode()}")
    return seconds, usage.ru_maxrss * 1024, output.decode()


def interval(a, b):
    rng = random.Random(1)
    ratios = []
    for _ in range(4000):
        picks = [rng.randrange(len(a)) for _ in a]
        ratios.append(statistics.median(b[i] for i in picks) / statistics.median(a[i] for i in picks))
    ratios.sort()
    return ratios[100], ratios[-101]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("photo")
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--pairs", type=int, default=20)
    arguments = parser.parse_args()
    commands = {
        "maru": [f"{arguments.build}/bin/maru", "classify", arguments.photo, "--model", arguments.model, "--top", "1"],
        "OpenCV": [f"{arguments.build}/bench/opencv_dnn", "--once", arguments.model, arguments.photo],
    }
    times = {name: [] for name in commands}
    memory = {name: [] for name in commands}
    for command in commands.values():
        print("  " + start(command)[2].strip().replace("\n", " "))
    for pair in range(arguments.pairs):
        order = list(commands) if pair % 2 == 0 else list(reversed(commands))
        for name in order:
            seconds, peak, _ = start(commands[name])
            times[name].append(seconds)
            memory[name].append(peak)
    print("| | maru | OpenCV | OpenCV / maru (95 %) |")
    print("|---|---|---|---|")
    for what, data, scale, unit in (("exec to label", times, 1e3, "ms"), ("peak memory", memory, 1e-6, "MB")):
        mine, theirs = (statistics.median(data[name]) for name in commands)
        low, high = interval(data["maru"], data["OpenCV"])
        print(f"| {what} | {mine * scale:.1f} {unit} | {theirs * scale:.1f} {unit} "
              f"| {theirs / mine:.2f} ({low:.2f} to {high:.2f}) |")


if __name__ == "__main__":
    main()
