#!/usr/bin/env python3
"""The convolutions of bench/kernels/cuda_conv beside cuDNN's, layer by layer, in the same run.

    bench/kernels/cuda_conv.py build/release/bench/kernels/cuda_conv f16:1 f16:128 [tf32:1 f32:1 ...]

cuDNN by PyTorch: channels_last, algorithms chosen by measuring, many calls in one CUDA graph, both the
convolution alone and with bias and ReLU; the faster one counts.
"""

import pathlib
import re
import statistics
import subprocess
import sys

import torch

LAYER = re.compile(r'\{"(\w+)", ' + ", ".join([r"(\d+)"] * 7) + r"\}")
ROW = re.compile(r"^(\w+) +x\d+ +([\d.]+) us", re.MULTILINE)


def layers():
    text = pathlib.Path(__file__).with_suffix(".cpp").read_text()
    return [(name, *map(int, numbers)) for name, *numbers in LAYER.findall(text)]


def microseconds(call, times, rounds=7):
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            call()
        stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            for _ in range(times):
                call()
        graph.replay()
        found = []
        for _ in range(rounds):
            begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            begin.record(stream)
            graph.replay()
            end.record(stream)
            stream.synchronize()
            found.append(begin.elapsed_time(end) * 1e3 / times)
    return statistics.median(found)


def cudnn(layer, kind, batch):
    _, inputs, size, outputs, kernel, stride, pad, _ = layer
    dtype = torch.float16 if kind == "f16" else torch.float32

    def tensor(*shape):
        return torch.randn(*shape, device="cuda", dtype=dtype)

    src = tensor(batch, inputs, size, size).contiguous(memory_format=torch.channels_last)
    weights = (tensor(outputs, inputs, kernel, kernel) * 0.1).contiguous(memory_format=torch.channels_last)
    bias, stride, pad, times = tensor(outputs), [stride] * 2, [pad] * 2, 30 if batch == 1 else 4
    alone = microseconds(lambda: torch.conv2d(src, weights, None, stride, pad), times)
    fused = microseconds(
        lambda: torch.ops.aten.cudnn_convolution_relu(src, weights, bias, stride, pad, [1, 1], 1), times
    )
    return min(alone, fused)


def main():
    program, *runs = sys.argv[1:]
    torch.backends.cudnn.benchmark = True
    print(torch.cuda.get_device_name(), "PyTorch", torch.__version__, "cuDNN", torch.backends.cudnn.version())
    for run in runs:
        kind, batch = run.split(":")
        torch.backends.cudnn.allow_tf32 = kind == "tf32"
        text = subprocess.run([program, kind, batch], check=True, capture_output=True, text=True).stdout
        ours = {name: float(time) for name, time in ROW.findall(text)}
        sums = [0.0, 0.0]
        for layer in layers():
            name, count = layer[0], layer[-1]
            theirs = cudnn(layer, kind, int(batch))
            sums[0] += count * ours[name]
            sums[1] += count * theirs
            print(f"{run} {name:4} {ours[name]:9.2f} us, cuDNN {theirs:9.2f} us: {ours[name] / theirs:.2f}")
        print(f"{run} all  {sums[0]:9.1f} us, cuDNN {sums[1]:9.1f} us: {sums[0] / sums[1]:.2f}", flush=True)


if __name__ == "__main__":
    main()
