#!/usr/bin/env python3
"""bench/inference and bench/pytorch_googlenet.py one after the other on one machine: every way, as one table.

    bench/beside_pytorch.py --inference build/release/bench/inference --model models/bvlc_googlenet --photo cat.png
                            [--only maru:fp32:128:zero-copy torch:fp16:1:max-autotune ...] [--prepare SECONDS]
                            [--log ways.jsonl]

A way is engine:precision:batch:how; without --only all 42 are run: maru with auto, copy and zero-copy, PyTorch eager,
with a CUDA graph, and with torch.compile in reduce-overhead and in max-autotune, each in fp32, TF32 and fp16, for 1 and
128 images. Each is a process of its own and appends its line of JSON to the log as soon as it has one, so that a run
that ends early has lost nothing. --prepare: first, all ways of torch.compile that are asked for compile at once, for at
most so many seconds, so that their kernels are on disk when they are measured alone; what they choose by measuring is
measured anew then.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
PRECISIONS, BATCHES = ("fp32", "tf32", "fp16"), (1, 128)
HOW = {"maru": ("auto", "copy", "zero-copy"), "torch": ("eager", "graph", "reduce-overhead", "max-autotune")}
COMPILED = ("reduce-overhead", "max-autotune")


def all_ways():
    return [f"{engine}:{precision}:{batch}:{how}" for precision in PRECISIONS for batch in BATCHES
            for engine in HOW for how in HOW[engine]]


def command(given, way, runs, seconds):
    engine, precision, batch, how = way.split(":")
    same = ["--precision", precision, "--batch", batch, "--runs", str(runs), "--seconds", str(seconds)]
    if engine == "maru":
        return [given.inference, given.model, given.photo, "--device", "cuda", "--memory", how, *same]
    return [sys.executable, str(HERE / "pytorch_googlenet.py"), "--way", how, *same]


def prepare(given, ways, environment):
    compiled = [way for way in ways if way.startswith("torch:") and way.split(":")[3] in COMPILED]
    begun = time.monotonic()
    running = [subprocess.Popen(command(given, way, 2, 0), env=environment, stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL) for way in compiled]
    for way, process in zip(compiled, running):
        try:
            process.wait(max(1, given.prepare - (time.monotonic() - begun)))
            print(f"prepared {way}: rc {process.returncode} after {time.monotonic() - begun:.0f} s", flush=True)
        except subprocess.TimeoutExpired:
            print(f"prepared {way}: not ready after {time.monotonic() - begun:.0f} s", flush=True)
            process.kill()


def row(way, found):
    energy = found["energy"]
    millijoules = "n/a" if energy is None else f"{energy['joules_per_image'] * 1e3:.1f} mJ, {energy['watts']:.0f} W"
    memory = [found.get(name) for name in ("device_bytes", "peak_host_bytes")]
    memory = ", ".join("n/a" if size is None else f"{size / 1e6:.0f} MB" for size in memory)
    milliseconds = [found[name] * 1e3 for name in ("median_seconds", "p10_seconds", "p90_seconds")]
    return (f"| {way} | {found['runs']} | {milliseconds[0]:.3f} ms [{milliseconds[1]:.3f}, {milliseconds[2]:.3f}] "
            f"| {found['images_per_second']:.0f} images/s | {millijoules} | {memory} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inference", required=True, help="the program bench/inference as built")
    parser.add_argument("--model", required=True)
    parser.add_argument("--photo", required=True, help="of 224 x 224 pixels, as PyTorch's side has them")
    parser.add_argument("--only", nargs="+", default=all_ways(), metavar="WAY")
    parser.add_argument("--runs", type=int, default=300, help="0: prepare only")
    parser.add_argument("--seconds", type=float, default=10, help="of the window of energy")
    parser.add_argument("--prepare", type=float, default=0)
    parser.add_argument("--log", default="ways.jsonl")
    given = parser.parse_args()
    for way in given.only:
        if way not in all_ways():
            parser.error(f"expected one of {', '.join(all_ways())}, got {way}")
    # With its pool of processes, the default, kernels are compiled while others are timed.
    environment = {**os.environ, "TORCHINDUCTOR_COMPILE_THREADS": "1"}
    if given.prepare > 0:
        prepare(given, given.only, environment)
    if given.runs == 0:
        return 0
    failed = 0
    for way in given.only:
        begun = time.monotonic()
        done = subprocess.run(command(given, way, given.runs, given.seconds), env=environment, capture_output=True,
                              text=True)
        lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
        if done.returncode != 0 or len(lines) != 1:
            print(f"{way}: rc {done.returncode}: {done.stderr.strip()[-300:]}", flush=True)
            failed += 1
            continue
        found = json.loads(lines[0])
        with open(given.log, "a", encoding="utf-8") as log:
            log.write(json.dumps({"way": way, **found}) + "\n")
        print(row(way, found), f"{time.monotonic() - begun:.0f} s", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
