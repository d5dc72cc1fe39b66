#!/usr/bin/env python3
"""Cold start and peak memory of every memory policy, from a model folder and from a packed file.

  bench/policies_start.py MODEL_FOLDER PHOTO [--maru build/release/bin/maru] [--device opencl] [--rounds 15]

Starts `maru classify` for each policy and each kind of file in turns; files are in the page cache, kernels of the
device in theirs, the process is new. `exec to label`: wall clock from fork to exit. `peak`: ru_maxrss. `base`: the
peak of a network that only averages its input, which is the runtime's own. `over`: (peak - base) / (weights +
arenas + inputs as the plan has them, twice where the policy holds them twice is the policy's own affair). Medians;
the ratio of times is against policy copy from the folder, with its 95 % interval (packed.py).
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

from packed import interval, start

AVERAGE = """name: "base"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 224 dim: 224 } } }
layer { name: "mean" type: "Pooling" bottom: "data" top: "mean" pooling_param { pool: AVE global_pooling: true } }
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("photo")
    parser.add_argument("--maru", default="build/release/bin/maru")
    parser.add_argument("--device", default="opencl")
    parser.add_argument("--rounds", type=int, default=15)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="maru_policies_") as folder:
        packed, base = os.path.join(folder, "model.maru"), os.path.join(folder, "base.prototxt")
        with open(base, "w", encoding="utf-8") as file:
            file.write(AVERAGE)
        start([given.maru, "pack", given.model, "-o", packed, "--device", given.device, "--runs", "1"])

        def classify(model, policy):
            return [given.maru, "classify", given.photo, "--model", model, "--device", given.device, "--memory", policy,
                    "--top", "1", "--json", "-v"]

        ways = [(kind, policy) for kind in ("folder", "packed") for policy in ("copy", "zero-copy", "auto")]
        commands = {(kind, policy): classify(given.model if kind == "folder" else packed, policy) for kind, policy in ways}
        commands |= {("base", policy): classify(base, policy) for policy in ("copy", "zero-copy", "auto")}
        data = {way: {"seconds": [], "peak": [], "load": []} for way in commands}
        for round_ in range(-1, given.rounds):
            for way in list(commands) if round_ % 2 == 0 else list(reversed(commands)):
                seconds, _, peak, output = start(commands[way])
                if round_ >= 0:
                    data[way]["seconds"].append(seconds)
                    data[way]["peak"].append(peak)
                    data[way]["load"].append(json.loads(output)["ms"]["load"])
        planned = {}
        for kind, policy in ways:
            plan = json.loads(subprocess.run([given.maru, "plan", given.model if kind == "folder" else packed, "--device",
                                              given.device, "--memory", policy, "--runs", "1", "--json"],
                                             capture_output=True, check=True).stdout)
            planned[kind, policy] = sum(r["bytes"] for r in plan["regions"] if r["kind"] in ("weights", "arena"))
    median = statistics.median
    first = data["folder", "copy"]["seconds"]
    print("| file | memory | exec to label | against copy, folder (95 %) | load | peak | base | weights + arena | (peak - base) / them |")
    print("|---|---|---|---|---|---|---|---|---|")
    for kind, policy in ways:
        one, own = data[kind, policy], median(data["base", policy]["peak"])
        low, high = interval(one["seconds"], first)
        print(f"| {kind} | {policy} | {median(one['seconds']) * 1e3:.1f} ms | {median(one['seconds']) / median(first):.2f} "
              f"({low:.2f} to {high:.2f}) | {median(one['load']):.1f} ms | {median(one['peak']) / 1e6:.1f} MB | {own / 1e6:.1f} MB "
              f"| {planned[kind, policy] / 1e6:.1f} MB | {(median(one['peak']) - own) / planned[kind, policy]:.2f} |")


if __name__ == "__main__":
    sys.exit(main())
