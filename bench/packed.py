#!/usr/bin/env python3
"""Cold start and memory of a packed model beside those of the model that it was packed from, on one photo.

  bench/packed.py MODEL_FOLDER PHOTO [--maru build/release/bin/maru] [--pairs 20] [--threads 1] [--pack runs=1]

Packs the model into a temporary folder, then starts `maru classify` with each in turns (ABBA). Files are in the
page cache, the process is new. `exec to label` is the wall clock from fork to exit; `load` is what `classify -v`
says; `peak` is ru_maxrss, `own` the largest sum of anonymous pages, which a packed model's weights are not part
of (sampled from /proc each millisecond, in starts of their own).
Medians, ratios, and their 95 % intervals from 4000 bootstrap draws of whole pairs with a fixed seed.
"""
import argparse
import json
import os
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile
import time


def start(command):
    """Runs a command; returns (seconds, seconds of the CPU, peak bytes, its output)."""
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begin
    if status != 0:
        sys.exit(f"[bench] expected {command[0]} to succeed, got status {status}: {process.stderr.read().decode()}")
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, output.decode()


def anonymous_peak(command):
    """The largest number of bytes of anonymous memory that the process had when it was looked at."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    peak = 0
    while process.poll() is None:
        try:
            for line in pathlib.Path(f"/proc/{process.pid}/status").read_text().splitlines():
                if line.startswith("RssAnon:"):
                    peak = max(peak, int(line.split()[1]) * 1024)
        except OSError:
            break
        time.sleep(0.001)
    process.wait()
    return peak


def interval(a, b):
    rng = random.Random(1)
    ratios = []
    for _ in range(4000):
        picks = [rng.randrange(len(a)) for _ in a]
        ratios.append(statistics.median(a[i] for i in picks) / statistics.median(b[i] for i in picks))
    ratios.sort()
    return ratios[100], ratios[-101]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("photo")
    parser.add_argument("--maru", default="build/release/bin/maru")
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--threads", default="0", help="of both")
    parser.add_argument("--device", default="cpu", help="of both")
    parser.add_argument("--pack", nargs="*", default=[], help="more words for maru pack, such as runs=1 for --runs 1")
    arguments = parser.parse_args()
    words = [part for word in arguments.pack for part in (["--" + word.split("=")[0], *word.split("=")[1:]])]
    same = ["--threads", arguments.threads, "--device", arguments.device]
    with tempfile.TemporaryDirectory(prefix="maru_packed_") as folder:
        packed = os.path.join(folder, "model.maru")
        begin = time.perf_counter()
        size = json.loads(start([arguments.maru, "pack", arguments.model, "-o", packed, "--json",
                                 *same, *words])[3])["bytes"]
        print(f"packed in {time.perf_counter() - begin:.2f} s, {size / 1e6:.1f} MB\n")
        models = {"folder": arguments.model, "packed": packed}
        commands = {name: [arguments.maru, "classify", arguments.photo, "--model", model, "--top", "1", "--json", "-v",
                           *same]
                    for name, model in models.items()}
        data = {what: {name: [] for name in commands} for what in ("exec to label", "CPU time", "load", "peak", "own")}
        best = {name: json.loads(start(command)[3])["images"][0]["top"][0]["index"] for name, command in commands.items()}
        if len(set(best.values())) != 1:
            sys.exit(f"[packed] expected one answer, got {best}")
        for pair in range(arguments.pairs):
            for name in list(commands) if pair % 2 == 0 else list(reversed(commands)):
                seconds, cpu, peak, output = start(commands[name])
                data["exec to label"][name].append(seconds)
                data["CPU time"][name].append(cpu)
                data["load"][name].append(json.loads(output)["ms"]["load"] / 1e3)
                data["peak"][name].append(peak)
                data["own"][name].append(anonymous_peak(commands[name]))
    print("| | folder | packed | folder / packed (95 %) |")
    print("|---|---|---|---|")
    for what, scale, unit in (("exec to label", 1e3, "ms"), ("CPU time", 1e3, "ms"), ("load", 1e3, "ms"), ("peak", 1e-6, "MB"),
                              ("own", 1e-6, "MB")):
        folder, packed = (statistics.median(data[what][name]) for name in ("folder", "packed"))
        low, high = interval(data[what]["folder"], data[what]["packed"])
        print(f"| {what} | {folder * scale:.1f} {unit} | {packed * scale:.1f} {unit} "
              f"| {folder / packed:.2f} ({low:.2f} to {high:.2f}) |")


if __name__ == "__main__":
    main()
