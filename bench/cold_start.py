#!/usr/bin/env python3
"""Cold start and peak memory: from exec to the first label, one photo, maru beside OpenCV's dnn module.

  bench/cold_start.py MODEL_FOLDER PHOTO [--build build/release] [--pairs 20]

Both programs are started in turns (ABBA), as a user would: files are in the page cache, the process is new.
Time is the wall clock from fork to exit; memory is the kernel's ru_maxrss of the process. Prints medians, the
ratio, and its 95 % interval from 4000 bootstrap draws of whole pairs with a fixed seed.
"""
import argparse
import statistics

from packed import interval, start


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
        print("  " + start(command)[3].strip().replace("\n", " "))
    for pair in range(arguments.pairs):
        order = list(commands) if pair % 2 == 0 else list(reversed(commands))
        for name in order:
            seconds, _, peak, _ = start(commands[name])
            times[name].append(seconds)
            memory[name].append(peak)
    print("| | maru | OpenCV | OpenCV / maru (95 %) |")
    print("|---|---|---|---|")
    for what, data, scale, unit in (("exec to label", times, 1e3, "ms"), ("peak memory", memory, 1e-6, "MB")):
        mine, theirs = (statistics.median(data[name]) for name in commands)
        low, high = interval(data["OpenCV"], data["maru"])
        print(f"| {what} | {mine * scale:.1f} {unit} | {theirs * scale:.1f} {unit} "
              f"| {theirs / mine:.2f} ({low:.2f} to {high:.2f}) |")


if __name__ == "__main__":
    main()
