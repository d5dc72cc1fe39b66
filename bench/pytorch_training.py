#!/usr/bin/env python3
"""Training GoogLeNet in PyTorch, images a second, to stand beside `maru train`: the same network, batch and precision.

    pytorch_training.py [--batch 128] [--precision fp32 tf32 fp16] [--way eager compile] [--seconds 15] [--bn]

BVLC's GoogLeNet with both auxiliary classifiers, dropout and local response normalisation (--bn: batch normalisation
instead, and no auxiliary classifiers), 200 classes, photos of 224 x 224, SGD with momentum. channels_last; fp16 is
torch.autocast with a GradScaler; `fused` SGD. Photos are random and already on the GPU, u8, normalised there: no time
is spent on loading, which flatters PyTorch. One line of JSON for each way.
"""

import argparse
import json
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

from pytorch_googlenet import INCEPTIONS

CLASSES = 200


def conv(inputs, outputs, kernel, stride, bn):
    layers = [nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=not bn)]
    if bn:
        layers.append(nn.BatchNorm2d(outputs))
    return nn.Sequential(*layers, nn.ReLU(inplace=True))


class Inception(nn.Module):
    def __init__(self, bn, inputs, one, reduce3, three, reduce5, five, project):
        super().__init__()
        self.one = conv(inputs, one, 1, 1, bn)
        self.three = nn.Sequential(conv(inputs, reduce3, 1, 1, bn), conv(reduce3, three, 3, 1, bn))
        self.five = nn.Sequential(conv(inputs, reduce5, 1, 1, bn), conv(reduce5, five, 5, 1, bn))
        self.project = nn.Sequential(nn.MaxPool2d(3, 1, 1), conv(inputs, project, 1, 1, bn))

    def forward(self, x):
        return torch.cat([self.one(x), self.three(x), self.five(x), self.project(x)], 1)


class Auxiliary(nn.Module):
    def __init__(self, inputs):
        super().__init__()
        self.conv = conv(inputs, 128, 1, 1, False)
        self.rest = nn.Sequential(nn.Flatten(), nn.Linear(2048, 1024), nn.ReLU(inplace=True), nn.Dropout(0.7),
                                  nn.Linear(1024, CLASSES))

    def forward(self, x):
        return self.rest(self.conv(F.avg_pool2d(x, 5, 3, ceil_mode=True)))


class GoogLeNet(nn.Module):
    def __init__(self, bn):
        super().__init__()
        pool = lambda: nn.MaxPool2d(3, 2, ceil_mode=True)
        norm = lambda: nn.Identity() if bn else nn.LocalResponseNorm(5, 1e-4, 0.75, 1.0)
        self.register_buffer("mean", torch.tensor([104.0, 117.0, 123.0]).view(1, 3, 1, 1))
        self.stem = nn.Sequential(conv(3, 64, 7, 2, bn), pool(), norm(), conv(64, 64, 1, 1, bn),
                                  conv(64, 192, 3, 1, bn), norm(), pool())
        self.blocks = nn.ModuleDict({name: Inception(bn, *sizes) for name, sizes in INCEPTIONS.items()})
        self.pools = nn.ModuleDict({name: pool() for name in ("3b", "4e")})
        self.auxiliaries = nn.ModuleDict({} if bn else {"4a": Auxiliary(512), "4d": Auxiliary(528)})
        self.classifier = nn.Linear(1024, CLASSES)

    def forward(self, pixels, labels):  # N x 224 x 224 x 3, u8
        x = pixels.permute(0, 3, 1, 2).float() - self.mean
        x = self.stem(x.contiguous(memory_format=torch.channels_last))
        loss = 0
        for name, block in self.blocks.items():
            x = block(x)
            if name in self.auxiliaries:
                loss = loss + 0.3 * F.cross_entropy(self.auxiliaries[name](x).float(), labels)
            if name in self.pools:
                x = self.pools[name](x)
        scores = self.classifier(F.dropout(F.avg_pool2d(x, 7).flatten(1), 0.4, self.training))
        return loss + F.cross_entropy(scores.float(), labels)


def measure(way, precision, batch, seconds, bn):
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.benchmark = True
    torch.manual_seed(1)
    torch.cuda.reset_peak_memory_stats()
    model = GoogLeNet(bn).cuda().to(memory_format=torch.channels_last)
    compute = torch.compile(model) if way == "compile" else model
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, weight_decay=2e-4, fused=True)
    scaler = torch.amp.GradScaler("cuda", enabled=precision == "fp16")
    pixels = torch.randint(0, 256, (batch, 224, 224, 3), dtype=torch.uint8, device="cuda")
    labels = torch.randint(0, CLASSES, (batch,), device="cuda")

    def step():
        with torch.autocast("cuda", torch.float16, enabled=precision == "fp16"):
            loss = compute(pixels, labels)
        optimizer.zero_grad(set_to_none=True)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        return loss

    begun = time.perf_counter()
    for _ in range(20):
        step()
    torch.cuda.synchronize()
    prepare = time.perf_counter() - begun
    begun, count = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds:
        for _ in range(10):
            loss = step()
        loss.item()
        count += 10
    spent = time.perf_counter() - begun
    return {"engine": f"PyTorch {torch.__version__} {way}", "precision": precision, "batch": batch, "bn": bn,
            "steps": count, "prepare_seconds": prepare, "images_per_second": count * batch / spent,
            "device_bytes": torch.cuda.max_memory_reserved()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, nargs="+", default=[128])
    parser.add_argument("--precision", nargs="+", default=["fp16"], choices=["fp32", "tf32", "fp16"])
    parser.add_argument("--way", nargs="+", default=["eager", "compile"], choices=["eager", "compile"])
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--bn", action="store_true")
    given = parser.parse_args()
    for precision in given.precision:
        for batch in given.batch:
            for way in given.way:
                torch._dynamo.reset()
                print(json.dumps(measure(way, precision, batch, given.seconds, given.bn)), flush=True)


if __name__ == "__main__":
    main()
