#!/usr/bin/env python3
"""BVLC GoogLeNet in PyTorch, measured as bench/inference measures maru: the same work, the same figures.

    pytorch_googlenet.py [--batch 1 128] [--precision fp32 tf32 fp16] [--way eager graph reduce-overhead max-autotune]
                         [--runs 300] [--seconds 10]

Work: photos of 224 x 224 as u8 in pinned memory of the CPU, copied to the GPU, normalised there, through the network
with its local response normalisation (channels_last), 1000 scores copied to memory of the CPU. Weights are random, of
the size that keeps activations alive; times and, but for toggling bits, energy do not depend on them. One line of JSON
for each way. Wants PyTorch with CUDA; energy wants pynvml.
"""

import argparse
import json
import resource
import statistics
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

try:
    import pynvml
    pynvml.nvmlInit()
    METER = pynvml.nvmlDeviceGetHandleByIndex(0)
except Exception:  # whatever is missing: no energy
    METER = None

# 1x1; 3x3 reduce, 3x3; 5x5 reduce, 5x5; pool projection (Szegedy et al. 2015, table 1; BVLC's train_val.prototxt)
INCEPTIONS = {
    "3a": (192, 64, 96, 128, 16, 32, 32), "3b": (256, 128, 128, 192, 32, 96, 64),
    "4a": (480, 192, 96, 208, 16, 48, 64), "4b": (512, 160, 112, 224, 24, 64, 64),
    "4c": (512, 128, 128, 256, 24, 64, 64), "4d": (512, 112, 144, 288, 32, 64, 64),
    "4e": (528, 256, 160, 320, 32, 128, 128), "5a": (832, 256, 160, 320, 32, 128, 128),
    "5b": (832, 384, 192, 384, 48, 128, 128),
}


def conv(inputs, outputs, kernel, stride=1):
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2), nn.ReLU(inplace=True))


class Inception(nn.Module):
    def __init__(self, inputs, one, reduce3, three, reduce5, five, project):
        super().__init__()
        self.one = conv(inputs, one, 1)
        self.three = nn.Sequential(conv(inputs, reduce3, 1), conv(reduce3, three, 3))
        self.five = nn.Sequential(conv(inputs, reduce5, 1), conv(reduce5, five, 5))
        self.project = nn.Sequential(nn.MaxPool2d(3, 1, 1), conv(inputs, project, 1))

    def forward(self, x):
        return torch.cat([self.one(x), self.three(x), self.five(x), self.project(x)], 1)


class GoogLeNet(nn.Module):
    def __init__(self, dtype):
        super().__init__()
        pool = lambda: nn.MaxPool2d(3, 2, ceil_mode=True)
        norm = lambda: nn.LocalResponseNorm(5, 1e-4, 0.75, 1.0)
        self.dtype = dtype
        self.register_buffer("mean", torch.tensor([104.0, 117.0, 123.0]).view(1, 3, 1, 1))
        self.stem = nn.Sequential(conv(3, 64, 7, 2), pool(), norm(), conv(64, 64, 1), conv(64, 192, 3), norm(), pool())
        self.blocks = nn.Sequential(*[layer for name, sizes in INCEPTIONS.items() for layer in
                                      [Inception(*sizes)] + ([pool()] if name in ("3b", "4e") else [])])
        self.classifier = nn.Linear(1024, 1000)
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(self, pixels):  # N x 224 x 224 x 3, u8
        x = (pixels.permute(0, 3, 1, 2).float() - self.mean).to(self.dtype)
        x = self.blocks(self.stem(x.contiguous(memory_format=torch.channels_last)))
        x = self.classifier(F.avg_pool2d(x, 7).flatten(1))
        return torch.softmax(x.float(), 1)


def joules():
    return pynvml.nvmlDeviceGetTotalEnergyConsumption(METER) * 1e-3 if METER is not None else None


def measure(way, precision, batch, runs, seconds):
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.benchmark = True
    torch.manual_seed(1)
    torch.cuda.reset_peak_memory_stats()
    dtype = torch.float16 if precision == "fp16" else torch.float32
    model = GoogLeNet(dtype).cuda().eval().to(memory_format=torch.channels_last)
    model.stem.to(dtype), model.blocks.to(dtype), model.classifier.to(dtype)
    pinned = torch.randint(0, 256, (batch, 224, 224, 3), dtype=torch.uint8).pin_memory()
    scores = torch.empty(batch, 1000).pin_memory()
    start = time.perf_counter()
    if way in ("reduce-overhead", "max-autotune"):
        compute = torch.compile(model, mode=way)
    elif way == "graph":
        still = pinned.cuda()
        side = torch.cuda.Stream()
        with torch.cuda.stream(side):
            for _ in range(3):
                model(still)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            result = model(still)

        def compute(_):
            graph.replay()
            return result
    else:
        compute = model

    def once():
        if way == "graph":
            still.copy_(pinned, non_blocking=True)
            scores.copy_(compute(None), non_blocking=True)
        else:
            scores.copy_(compute(pinned.cuda(non_blocking=True)), non_blocking=True)
        torch.cuda.synchronize()

    for _ in range(20):
        once()
    prepare = time.perf_counter() - start
    warm = time.perf_counter()
    while time.perf_counter() - warm < 0.5:
        once()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        once()
        times.append(time.perf_counter() - start)
    energy = None
    if METER is not None and seconds > 0:
        before, start, count = joules(), time.perf_counter(), 0
        while time.perf_counter() - start < seconds:
            once()
            count += 1
        window, spent = time.perf_counter() - start, joules() - before
        energy = {"source": "NVML energy counter", "boundary": "GPU board", "window_seconds": window, "joules": spent,
                  "joules_per_image": spent / count / batch, "watts": spent / window,
                  "images_per_second": count * batch / window}
    median = statistics.median(times)
    quantiles = statistics.quantiles(times, n=10)
    return {"engine": f"PyTorch {torch.__version__} {way}", "precision": precision, "batch": batch, "runs": runs,
            "prepare_seconds": prepare, "median_seconds": median, "p10_seconds": quantiles[0],
            "p90_seconds": quantiles[-1], "images_per_second": batch / median, "energy": energy,
            "device_bytes": torch.cuda.max_memory_reserved(),
            "peak_host_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 128])
    parser.add_argument("--precision", nargs="+", default=["fp32", "tf32", "fp16"], choices=["fp32", "tf32", "fp16"])
    ways = ["eager", "graph", "reduce-overhead", "max-autotune"]
    parser.add_argument("--way", nargs="+", default=ways, choices=ways)
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=10)
    given = parser.parse_args()
    with torch.inference_mode():
        for precision in given.precision:
            for batch in given.batch:
                for way in given.way:
                    torch._dynamo.reset()
                    print(json.dumps(measure(way, precision, batch, given.runs, given.seconds)), flush=True)


if __name__ == "__main__":
    main()
