#!/usr/bin/env python3
"""Tests of `maru train`, `maru test` and `maru plot-log`: train_test.py MARU TINY_MODEL

As cli_test.py, whose helpers it uses. The data set is made here: small pictures, mostly red, green or blue,
which a network of two layers tells apart after a few updates.
"""

import csv
import json
import os
import pathlib
import pty
import random
import re
import resource
import signal
import struct
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import unittest
import xml.etree.ElementTree as xml

import cli_test
from cli_test import Case, maru
from profile_test import Page

CLASSES = ["blue", "green", "red"]
# One thread: results are compared to the bit, and machines that run tests are busy.
os.environ["OMP_NUM_THREADS"] = "1"


def photo(path, colour, numbers):
    """A picture of noise in which one channel, 0 for blue, is stronger."""
    width, height = numbers.randint(10, 20), numbers.randint(10, 20)
    pixels = bytearray()
    for _ in range(width * height):
        level = [40, 40, 40]
        level[2 - colour] = 160
        pixels += bytes(max(0, value + numbers.randint(-40, 40)) for value in level)
    path.write_bytes(b"P6\n%d %d\n255\n" % (width, height) + bytes(pixels))


def make_data(folder, each, seed):
    """A folder a class, and the same as a list beside it."""
    numbers = random.Random(seed)
    lines = []
    for label, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for i in range(each):
            photo(folder / name / f"{i:03}.ppm", label, numbers)
            lines.append(f"{name}/{i:03}.ppm {label}")
    (folder / "list.txt").write_text("\n".join(lines) + "\n")
    return folder


DATA = """layer {{ name: "data" type: "ImageData" top: "data" top: "label" include {{ phase: {phase} }}
  transform_param {{ mean_value: 80 scale: 0.01 {mirror} }}
  image_data_param {{ source: "{source}" batch_size: {batch} new_height: 12 new_width: 12 }} }}
"""
LAYERS = """layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" param { lr_mult: 1 } param { lr_mult: 2 decay_mult: 0 }
  convolution_param { num_output: 8 kernel_size: 3 stride: 2 weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "drop" type: "Dropout" bottom: "conv" top: "conv" dropout_param { dropout_ratio: 0.3 } }
layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip"
  inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
"""
LOSSES = """layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
layer { name: "accuracy" type: "Accuracy" bottom: "ip" bottom: "label" top: "top-1" include { phase: TEST } }
"""
DEPLOY = """name: "colours"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 12 dim: 12 } } }
""" + LAYERS + 'layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" }\n'
SOLVER = """net: "{net}"
base_lr: 0.02 lr_policy: "step" gamma: 0.5 stepsize: 15
{type} weight_decay: 0.0005
max_iter: {iterations} display: 5 average_loss: 5
test_interval: 10 test_iter: 2
snapshot: {snapshot} snapshot_prefix: "{prefix}"
random_seed: 7 solver_mode: CPU
"""


def has_cuda(device="cuda"):
    """Whether `maru devices` lists this GPU, as one that CUDA drives."""
    code, out, _ = maru("devices", "--json")
    return code == 0 and device in [one["name"] for one in json.loads(out)]


def table(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def fields(data):
    """Numbers and contents of a protocol buffer's fields; of those with a length alone."""
    def varint(at):
        value = shift = 0
        while True:
            value |= (data[at] & 0x7F) << shift
            shift, at = shift + 7, at + 1
            if data[at - 1] < 0x80:
                return value, at

    at = 0
    while at < len(data):
        key, at = varint(at)
        if key & 7 == 2:
            length, at = varint(at)
            yield key >> 3, data[at:at + length]
            at += length
        elif key & 7 == 0:
            _, at = varint(at)
        else:
            at += 8 if key & 7 == 1 else 4


def blobs(caffemodel):
    """Bytes of the parameters by layer (NetParameter.layer 100, name 1, blobs 7, data 5)."""
    found = {}
    for number, layer in fields(caffemodel.read_bytes()):
        if number == 100:
            parts = list(fields(layer))
            name = next(content for part, content in parts if part == 1).decode()
            found[name] = [dict(fields(content))[5] for part, content in parts if part == 7]
    return found


def floats(caffemodel):
    """All parameters, one after another."""
    data = b"".join(part for _, parts in sorted(blobs(caffemodel).items()) for part in parts)
    return struct.unpack(f"<{len(data) // 4}f", data)


class TrainCase(Case):
    """A data set, and solvers for it."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.data = pathlib.Path(cls.keep.name) / "data"
        cls.train = make_data(cls.data / "train", 30, 1)
        cls.val = make_data(cls.data / "val", 11, 2)

    def net(self, name, layers=LAYERS, losses=LOSSES, batch=10):
        text = 'name: "colours"\n' + DATA.format(phase="TRAIN", mirror="mirror: true", batch=batch,
                                                 source=self.train / "list.txt")
        text += DATA.format(phase="TEST", mirror="", batch=8, source=self.val / "list.txt")
        path = self.dir / f"{name}_net.prototxt"
        path.write_text(text + layers + losses)
        return path

    def solver(self, name="solver", kind="momentum: 0.9", iterations=20, snapshot=10, more="", **net):
        path = self.dir / f"{name}.prototxt"
        path.write_text(SOLVER.format(net=self.net(name, **net), type=kind, iterations=iterations, snapshot=snapshot,
                                      prefix=self.dir / name / "snap") + more)
        return path

    def run_train(self, solver, *words, code=0, says=()):
        """Standard output of a run, of which standard error has only notes."""
        got, out, err = maru("train", "--solver", solver, *words)
        self.assertEqual(got, code, out + err)
        for part in says:
            self.assertIn(part, out + err)
        return out

    def snapshot(self, name, iteration):
        stem = self.dir / name / f"snap_iter_{iteration}"
        return stem.with_suffix(".caffemodel"), stem.with_suffix(".solverstate")

    def assert_same(self, left, right):
        """Two snapshots of one iteration; states name the file with the weights, whose folder differs."""
        self.assertEqual(left[0].read_bytes(), right[0].read_bytes())
        names = [state.parent.name.encode() for state in (left[1], right[1])]
        texts = [pair[1].read_bytes().replace(b"/" + name + b"/snap", b"/NAME/snap")
                 for pair, name in zip((left, right), names)]
        self.assertEqual(texts[0], texts[1])


class Train(TrainCase):
    # Learning.

    def test_learns_and_is_tested(self):
        curves, events = self.dir / "curves.csv", self.dir / "events"
        solver = self.solver(iterations=60, snapshot=30)
        out = self.run_train(solver, "--csv", curves, "--tensorboard", events, "--test-all",
                             "--log", self.dir / "train.log")
        for part in ["90 photos", "33 photos", "memory:", "seed 7", "test at iteration 60", "images/s", "lr 0.02",
                     "finished at iteration 60", "ETA", "waited"]:
            self.assertIn(part, out)
        for line in out.splitlines():
            self.assertIn(line, (self.dir / "train.log").read_text())
        rows = table(curves)
        accuracy = {int(row["iteration"]): float(row["test/top-1"]) for row in rows if row["test/top-1"]}
        self.assertEqual(sorted(accuracy), [0, 10, 20, 30, 40, 50, 60])
        self.assertGreater(accuracy[60], 0.9)
        for share in accuracy.values():  # each of the 33 photos once
            self.assertAlmostEqual(share * 33, round(share * 33), places=4)
        rates = [float(row["lr"]) for row in rows if row["lr"]]
        self.assertAlmostEqual(rates[0], 0.02, places=7)
        self.assertAlmostEqual(rates[-1], 0.02 / 16, places=7)

        event, = events.iterdir()
        data, count = event.read_bytes(), 0
        while data:
            length, = struct.unpack("<Q", data[:8])
            data, count = data[12 + length + 4:], count + 1
        self.assertEqual(count, 1 + len(rows))

        svg = self.dir / "curves.svg"
        self.good("plot-log", curves, "-o", svg)
        text = svg.read_text()
        xml.fromstring(text)
        for part in ["Loss", "Accuracy", "Learning rate", "test/top-1", "100 %"]:
            self.assertIn(part, text)
        self.assertEqual(self.good("plot-log", curves, "-o", "-"), text)

        deploy = self.dir / "deploy.prototxt"
        deploy.write_text(DEPLOY)
        weights, _ = self.snapshot("solver", 60)
        found = json.loads(self.good("test", "--model", deploy, "--weights", weights, "--data", self.val, "--mean", 80,
                                     "--scale", 0.01, "--top", "1,2", "--batch", 7, "--json"))
        self.assertEqual((found["photos"], found["skipped"]), (33, 0))
        self.assertAlmostEqual(found["top"]["1"], accuracy[60], places=6)
        self.assertGreaterEqual(found["top"]["2"], found["top"]["1"])
        self.assertEqual({row["name"] for row in found["classes"]}, set(CLASSES))

    def test_a_mean_image(self):
        """Photos go in as floats then; the level of each pixel that the data layer's mean_value says."""
        mean = self.dir / "mean.binaryproto"
        values = struct.pack("<432f", *[80.0] * 432)
        mean.write_bytes(b"\x08\x01\x10\x03\x18\x0c\x20\x0c\x2a\xc0\x0d" + values)
        plain, image = self.solver("plain", snapshot=0), self.solver("image", snapshot=0)
        net = self.dir / "image_net.prototxt"
        net.write_text(net.read_text().replace("mean_value: 80", f'mean_file: "{mean}"'))
        figures = [json.loads(self.run_train(solver, "--json")) for solver in (plain, image)]
        self.assertEqual([found["tests"][-1]["iteration"] for found in figures], [20, 20])
        # Resized in bytes beforehand or by the device: levels may differ by one.
        self.assertAlmostEqual(figures[0]["loss"], figures[1]["loss"], delta=0.05)

    def test_grey_photos(self):
        """Caffe's LeNet, smaller: one channel, trained, tested and asked for pictures with colours."""
        numbers, lines = random.Random(3), []
        for i in range(60):
            label = i % 2  # stripes that lie, and that stand
            pixels = bytes(max(0, min(255, (200 if (x, y)[1 - label] // 2 % 2 else 50) + numbers.randint(-40, 40)))
                           for y in range(14) for x in range(14))
            (self.dir / f"{i}.pgm").write_bytes(b"P5\n14 14\n255\n" + pixels)
            lines.append(f"{i}.pgm {label}\n")
        (self.dir / "list.txt").write_text("".join(lines))
        data = f"""layer {{ name: "d" type: "ImageData" top: "data" top: "label" transform_param {{ scale: 0.00390625 }}
          image_data_param {{ source: "{self.dir / "list.txt"}" batch_size: 10 is_color: false }} }}
        """
        layers = """layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
          convolution_param { num_output: 4 kernel_size: 5 weight_filler { type: "xavier" } } }
        layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1" pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
        layer { name: "ip" type: "InnerProduct" bottom: "pool1" top: "ip"
          inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }
        """
        solver = self.solver("grey", kind="momentum: 0.9", iterations=60, snapshot=0)
        (self.dir / "grey_net.prototxt").write_text(data + layers + LOSSES)
        found = json.loads(self.run_train(solver, "--json"))
        self.assertEqual(found["tests"][-1]["figures"]["top-1"], 1)
        deploy = self.dir / "deploy.prototxt"
        deploy.write_text('layer { name: "d" type: "Input" top: "data" input_param { shape { dim: 1 dim: 1 dim: 14 dim: 14 } } }\n'
                          + layers + 'layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" }\n')
        weights = self.snapshot("grey", 60)[0]
        model = ["--model", deploy, "--weights", weights, "--mean", 0, "--scale", 0.00390625]
        tested = json.loads(self.good("test", *model, "--data", self.dir / "list.txt", "--top", 1, "--json"))
        self.assertEqual((tested["photos"], tested["top"]["1"]), (60, 1))
        # Blue and yellow are as dark and as light as these stripes.
        stripes = b"".join((b"\xff\xff\x00" if y // 2 % 2 else b"\x00\x00\xff") * 14 for y in range(14))
        (self.dir / "lying.ppm").write_bytes(b"P6\n14 14\n255\n" + stripes)
        answers = json.loads(self.good("classify", *model, "--json", self.dir / "lying.ppm"))
        self.assertEqual(answers[0]["top"][0]["index"], 0)

    def test_a_test_net_has_the_layers_of_its_names(self):
        """Caffe's ShareTrainedLayersWith: trained or frozen, shared or not, whatever the test net's fillers say."""
        shared = LAYERS.replace('bottom: "conv" top: "ip"\n', 'bottom: "conv" top: "ip" param { name: "w" } param { name: "b" }\n')
        twin = shared[shared.index('layer { name: "ip"'):].replace('"ip"', '"twin"')
        layers = (shared + twin).replace("dropout_ratio: 0.3", "dropout_ratio: 0").replace("lr_mult: 1", "lr_mult: 0")
        loss = 'layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "{}" bottom: "label" top: "loss" }}\n'
        data = {phase: DATA.format(phase=phase, mirror="", batch=90, source=self.train / "list.txt")
                for phase in ("TRAIN", "TEST")}
        train, test = self.dir / "train.prototxt", self.dir / "test.prototxt"
        train.write_text(data["TRAIN"] + layers + loss.format("ip") + loss.format("twin").replace('"loss"', '"twin_loss"'))
        only_twin = layers[:layers.index('layer { name: "ip"')] + layers[layers.index('layer { name: "twin"'):]
        test.write_text(data["TEST"] + only_twin.replace("xavier", "constant") + loss.format("twin"))
        solver = self.dir / "solver.prototxt"
        solver.write_text(f'train_net: "{train}" test_net: "{test}" test_iter: 1 test_interval: 5 base_lr: 0.02 lr_policy: "fixed" '
                          f'momentum: 0.9 max_iter: 20 display: 5 random_seed: 7 snapshot_prefix: "{self.dir / "snap"}"\n')
        found = json.loads(self.run_train(solver, "--json"))
        losses = {test["iteration"]: test["figures"]["loss"] for test in found["tests"]}
        self.assertLess(losses[20], 0.7 * losses[0])
        # All photos are in one batch, in another order: the test after an update is the pass before the next.
        csv_file = self.dir / "c.csv"
        self.run_train(solver, "--csv", csv_file)
        rows = {int(row["iteration"]): row for row in table(csv_file) if row["train/loss"]}
        for iteration in (5, 10):
            self.assertAlmostEqual(float(rows[iteration]["train/loss"]), losses[iteration], places=4)

    def test_branches_that_nobody_or_no_loss_reads(self):
        """As in Caffe: parts of a slice and layers may end in Silence, a loss may weigh nothing; all are in the snapshot."""
        layers = LAYERS.replace('name: "ip" type: "InnerProduct" bottom: "conv"', 'name: "ip" type: "InnerProduct" bottom: "part"')
        layers += """layer { name: "cut" type: "Slice" bottom: "conv" top: "part" top: "rest" slice_param { axis: 1 slice_point: 3 } }
        layer { name: "dead" type: "InnerProduct" bottom: "conv" top: "dead" inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }
        layer { name: "quiet" type: "Silence" bottom: "dead" bottom: "rest" }
        layer { name: "aux" type: "InnerProduct" bottom: "conv" top: "aux" inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
        layer { name: "aux_loss" type: "SoftmaxWithLoss" bottom: "aux" bottom: "label" top: "aux_loss" loss_weight: 0 }
        """
        order = layers.index('layer { name: "ip"'), layers.index('layer { name: "cut"')
        layers = layers[:order[0]] + layers[order[1]:] + layers[order[0]:order[1]]
        solver = self.solver("branches", layers=layers, iterations=20, snapshot=10)
        self.run_train(solver)
        first, last = (blobs(self.snapshot("branches", iteration)[0]) for iteration in (10, 20))
        self.assertEqual({"conv", "ip", "dead", "aux"} - set(last), set())
        self.assertNotEqual(first["ip"], last["ip"])
        self.assertEqual(first["aux"][1], last["aux"][1], "a bias of zeros has nothing to decay")

    def test_the_state_of_another_solver(self):
        self.run_train(self.solver("sgd", iterations=10))
        other = self.solver("other", kind='type: "RMSProp" rms_decay: 0.9', iterations=20)
        self.run_train(other, "--snapshot", self.snapshot("sgd", 10)[0], code=1, says=["a .solverstate of Caffe's: this is another"])
        self.run_train(other, "--snapshot", self.snapshot("sgd", 10)[1], code=1,
                       says=["expected what a solver of type rmsprop remembers, got that of sgd"])

    def test_test_alone(self):
        """max_iter: 0, as `caffe test` for a network's own data layers."""
        self.run_train(self.solver("long", iterations=20, snapshot=0))
        weights = self.snapshot("long", 20)[0]
        found = json.loads(self.run_train(self.solver("none", iterations=0, snapshot=0), "--weights", weights, "--json"))
        self.assertEqual([test["iteration"] for test in found["tests"]], [0])

    def test_same_seed_same_result(self):
        for name in ("one", "two"):
            self.run_train(self.solver(name), "--csv", self.dir / f"{name}.csv", "--threads", 1 if name == "one" else 3)
        self.assert_same(self.snapshot("one", 20), self.snapshot("two", 20))
        columns = ["iteration", "epoch", "lr", "loss", "test/top-1"]
        tables = [[[row[name] for name in columns] for row in table(self.dir / f"{run}.csv")]
                  for run in ("one", "two")]
        self.assertEqual(tables[0], tables[1])
        self.run_train(self.solver("three"), "--seed", 8)
        self.assertNotEqual(self.snapshot("one", 20)[0].read_bytes(), self.snapshot("three", 20)[0].read_bytes())

    def test_going_on_is_as_if_never_stopped(self):
        kinds = {"sgd": "momentum: 0.9", "adam": 'type: "Adam" momentum: 0.9', "passes": "momentum: 0.9 iter_size: 2",
                 "adadelta": 'type: "AdaDelta" momentum: 0.95', "augmented": "momentum: 0.9"}
        for kind, words in kinds.items():
            with self.subTest(kind):
                more = ["--augment", "area=0.5:1,brightness=0.2,contrast=0.2"] if kind == "augmented" else []
                whole = self.solver(f"{kind}_whole", words, iterations=10, snapshot=5)
                parts = self.solver(f"{kind}_parts", words, iterations=10, snapshot=5)
                self.run_train(whole, *more, "--csv", self.dir / "whole.csv")
                self.run_train(parts, *more, "--max-iter", 5, "--csv", self.dir / "parts.csv")
                out = self.run_train(parts, *more, "--csv", self.dir / "parts.csv", "--snapshot",
                                     self.snapshot(f"{kind}_parts", 5)[1])
                self.assertIn("going on at iteration 5 of 10", out)
                self.assert_same(self.snapshot(f"{kind}_whole", 10), self.snapshot(f"{kind}_parts", 10))
                last = [table(self.dir / f"{run}.csv")[-1]["loss"] for run in ("whole", "parts")]
                self.assertEqual(last[0], last[1])

    def test_recomputing_saves_memory_and_changes_nothing(self):
        head, tail = LAYERS.split('layer { name: "ip"')
        layers = head
        for i in range(1, 7):
            layers += (f'layer {{ name: "deep{i}" type: "Convolution" bottom: "{"conv" if i == 1 else f"deep{i - 1}"}" '
                       f'top: "deep{i}" convolution_param {{ num_output: 8 kernel_size: 3 pad: 1 '
                       f'weight_filler {{ type: "xavier" }} }} }}\n'
                       f'layer {{ name: "bend{i}" type: "TanH" bottom: "deep{i}" top: "deep{i}" }}\n')
        layers += 'layer { name: "ip"' + tail.replace('bottom: "conv"', 'bottom: "deep6"')
        found = {}
        for name, more in (("kept", []), ("anew", ["--recompute"])):
            solver = self.solver(name, layers=layers)
            found[name] = json.loads(self.run_train(solver, "--json", *more))
        self.assert_same(self.snapshot("kept", 20), self.snapshot("anew", 20))
        self.assertEqual(found["kept"]["recomputed"], 0)
        self.assertGreater(found["anew"]["recomputed"], 0)
        self.assertLess(found["anew"]["bytes"]["arena"], found["kept"]["bytes"]["arena"])

    def test_openmp_says_how_many_threads(self):
        # OpenMP itself tells the size of its teams, of which one thread alone is none.
        telling = {"OMP_DISPLAY_AFFINITY": "TRUE", "OMP_AFFINITY_FORMAT": "a team of %N"}
        for threads, teams in ((1, set()), (3, {"3"})):
            told = subprocess.run([cli_test.MARU, "train", "--solver", self.solver(), "--threads", "1"], text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=True,
                                  env={**os.environ, **telling, "OMP_NUM_THREADS": str(threads)}).stdout
            self.assertEqual(set(re.findall(r"a team of (\d+)", told)), teams, told)

    def test_stops_and_goes_on_by_itself(self):
        solver = self.solver(iterations=1000000, snapshot=0, more="snapshot_after_train: false\n")
        out = self.run_train(solver, "--stop-after", "2s", says=["out of time at iteration"])
        at = int(re.search(r"out of time at iteration (\d+)", out)[1])
        self.assertTrue(self.snapshot("solver", at)[1].exists())
        out = self.run_train(solver, "--resume", "--max-iter", at + 3)
        self.assertIn(f"going on at iteration {at} of {at + 3}", out)
        self.assertFalse(self.snapshot("solver", at + 3)[1].exists(), "as the solver says")

    def test_on_cuda(self):
        """In half precision it learns, and goes on as if never stopped but for rounding."""
        if not has_cuda():
            self.skipTest("there is no CUDA device here")
        for precision in ("fp32", "fp16"):
            for more in ([], ["--recompute"]):
                with self.subTest(precision=precision, more=more):
                    whole, parts = (self.solver(f"{precision}{len(more)}_{name}", iterations=60, snapshot=30)
                                    for name in ("whole", "parts"))
                    words = ["--device", "cuda", "--precision", precision, "--test-all", "--json", *more]
                    found = json.loads(self.run_train(whole, *words))
                    self.run_train(parts, *words, "--max-iter", 30)
                    found_later = json.loads(self.run_train(parts, *words, "--resume"))
                    for figures in (found, found_later):
                        self.assertGreater(figures["tests"][-1]["figures"]["top-1"], 0.9)
                    self.assertAlmostEqual(found["loss"], found_later["loss"], delta=0.02)
                    ends = [floats(self.snapshot(solver.stem, 60)[0]) for solver in (whole, parts)]
                    begin = floats(self.snapshot(whole.stem, 30)[0])
                    moved = max(abs(a - b) for a, b in zip(ends[0], begin, strict=True))
                    apart = max(abs(a - b) for a, b in zip(*ends, strict=True))
                    self.assertGreater(moved, 0)
                    self.assertLess(apart, 0.02 * moved)

    # Signals and kills.

    def start(self, *words, **more):
        return subprocess.Popen([cli_test.MARU, "train", *map(str, words)], stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True, preexec_fn=cli_test.heed_signals, **more)

    def wait_for(self, program, words):
        lines = []
        for line in program.stdout:
            lines.append(line)
            if words in line:
                return
        self.fail("it ended early: " + "".join(lines))

    def test_signals(self):
        solver = self.solver(iterations=10000000, snapshot=0)
        for number in (signal.SIGINT, signal.SIGTERM):
            program = self.start("--solver", solver)
            self.wait_for(program, "iteration 5/")
            program.send_signal(signal.SIGHUP)
            self.wait_for(program, "snapshot ")
            program.send_signal(number)
            out, _ = program.communicate(timeout=120)
            self.assertEqual(program.returncode, 0, out)
            at = re.search(r"stopped at iteration (\d+)", out)[1]
            self.assertTrue(self.snapshot("solver", at)[1].exists())

    def test_killed_at_any_moment(self):
        """A kill while each update writes a snapshot leaves pairs that are whole, and loses one at most."""
        solver = self.solver(iterations=100000, snapshot=1, more="test_initialization: false\n".replace("\n", " "))
        numbers = random.Random(5)
        reached = 0
        for _ in range(6):
            program = self.start("--solver", solver, "--resume")
            self.wait_for(program, "snapshot ")
            time.sleep(numbers.uniform(0, 0.2))
            program.kill()
            out, _ = program.communicate(timeout=120)
            said = [int(number) for number in re.findall(r"snap_iter_(\d+)\.solverstate", out)]
            states = [int(path.stem.split("_")[-1]) for path in (self.dir / "solver").glob("*.solverstate")]
            newest = max(states)
            self.assertGreaterEqual(newest, max(said, default=reached), "what was said to be there is there")
            self.assertGreater(newest, reached)
            reached = newest
            # It goes on from there, and so the pair is whole.
            out = self.run_train(solver, "--resume", "--max-iter", newest + 1)
            self.assertIn(f"going on at iteration {newest} of", out)
            for path in (self.dir / "solver").glob("*_iter_*"):
                if path.suffix in (".caffemodel", ".solverstate") and int(path.stem.split("_")[-1]) < newest:
                    path.unlink()

    # Going on and beginning with other weights.

    def test_fine_tuning(self):
        self.run_train(self.solver("base"))
        weights, state = self.snapshot("base", 20)
        other = LAYERS.replace('"ip"', '"ip_new"').replace("param { lr_mult: 1 } param { lr_mult: 2 decay_mult: 0 }",
                                                          "param { lr_mult: 0 } param { lr_mult: 0 }")
        losses = LOSSES.replace('"ip"', '"ip_new"')
        solver = self.solver("tuned", layers=other, losses=losses)
        out = self.run_train(solver, "--weights", weights, "--json")
        found = json.loads(out)
        self.assertEqual(found["parameters"], 3 * 9 * 8 + 8 + 3 * 200 + 3)
        self.assertEqual(found["trained"], 3 * 200 + 3, "what has a rate of 0 is no state")
        whole = json.loads(self.run_train(self.solver("whole"), "--json"))
        self.assertLess(found["bytes"]["arena"], whole["bytes"]["arena"], "and its gradients are not kept")
        before, after = blobs(weights), blobs(self.snapshot("tuned", 20)[0])
        self.assertEqual(before["conv"], after["conv"])
        self.assertNotEqual(before["ip"], after["ip_new"])
        self.assertEqual([len(part) for part in after["ip_new"]], [4 * 600, 4 * 3])

        for snapshot, says in [(state, ["ip_new"]), (self.dir / "none.solverstate", ["none.solverstate"])]:
            code, _, err = maru("train", "--solver", solver, "--snapshot", snapshot)
            self.assertEqual(code, 1)
            for part in says:
                self.assertIn(part, err)
        # Of the same network, by another kind of solver.
        adam = self.solver("adam", 'type: "Adam" momentum: 0.9')
        code, _, err = maru("train", "--solver", adam, "--snapshot", state)
        self.assertEqual(code, 1)
        self.assertIn("history", err)

    # What goes wrong.

    def test_a_full_disk_costs_no_training(self):
        solver = self.solver(iterations=10, snapshot=5)
        blocked = self.dir / "file"
        blocked.write_text("no folder")
        out = self.run_train(solver, "--prefix", blocked / "snap", code=1,
                             says=["no snapshot:", "could not be written", "test at iteration 10"])
        self.assertIn("finished at iteration 10", out)
        # A disk that is full in the middle of a file.
        def little_room():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))

        done = subprocess.run([cli_test.MARU, "train", "--solver", solver], capture_output=True, text=True, timeout=120,
                              preexec_fn=little_room)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertEqual(done.stderr.count("no snapshot:"), 3, "the last is tried twice: " + done.stderr)
        self.assertIn("finished at iteration 10", done.stdout)
        self.assertEqual(list((self.dir / "solver").iterdir()), [], "nothing is left of them")
        code, out, err = maru("train", "--solver", solver, "--csv", "/dev/full")
        self.assertEqual(code, 1)
        self.assertIn("/dev/full", err)

    def test_where_there_is_no_room_for_both_files_the_older_snapshot_stays(self):
        solver = self.solver(kind='type: "Adam" momentum: 0.9', iterations=10, snapshot=10)
        self.run_train(solver)
        before = [path.read_bytes() for path in self.snapshot("solver", 10)]
        room = (len(before[0]) + len(before[1])) // 2
        self.assertLess(len(before[0]), room)

        def room_for_weights():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))

        done = subprocess.run([cli_test.MARU, "train", "--solver", solver, "--seed", "8"], capture_output=True, text=True,
                              timeout=120, preexec_fn=room_for_weights)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertEqual([path.read_bytes() for path in self.snapshot("solver", 10)], before)

    def test_how_it_ended_is_known_where_nobody_reads(self):
        blocked = self.dir / "file"
        blocked.write_text("no folder")
        for more in ([], ["--json"]):
            with self.subTest(more):
                program = self.start("--solver", self.solver(), "--prefix", blocked / "snap", *more, bufsize=0)
                program.stdout.close()
                self.assertEqual(program.wait(timeout=120), 1)

    def test_a_loss_that_is_no_number(self):
        solver = self.solver(kind="momentum: 0.9", iterations=50, snapshot=1)
        text = solver.read_text().replace("base_lr: 0.02", "base_lr: 1e30")
        solver.write_text(text)
        out = self.run_train(solver, code=1, says=["at iteration", "diverged"])
        states = sorted((self.dir / "solver").glob("*.solverstate"))
        self.assertTrue(states, "the last good snapshot is there")
        self.assertRegex(maru("train", "--solver", solver)[2], r"began with the (result of|parameter) \w+")

    def test_labels_and_photos_that_are_wrong(self):
        bad = self.dir / "bad.txt"
        bad.write_text("red/000.ppm 2\ngreen/000.ppm 3\n")
        solver = self.solver(iterations=3, snapshot=0)
        code, _, err = maru("train", "--solver", solver, "--train-data", bad, "--data-root", self.train)
        self.assertEqual(code, 1)
        for part in ["bad.txt", "2"]:
            self.assertIn(part, err)
        broken = make_data(self.dir / "broken", 4, 3)
        (broken / "red" / "001.ppm").write_bytes(b"P6\n10 10\n255\ncut off")
        code, _, err = maru("train", "--solver", solver, "--train-data", broken, "--max-iter", 6)
        self.assertEqual(code, 0, err)
        self.assertEqual(err.count("001.ppm"), 1, "said once")

    def test_what_is_no_photo(self):
        """A pipe would be waited for, and a file of 20 GB would be read."""
        data = make_data(self.dir / "odd", 4, 3)
        (data / "red" / "001.ppm").unlink()
        os.mkfifo(data / "red" / "001.ppm")
        with (data / "green" / "001.ppm").open("wb") as file:
            file.truncate(20 << 30)
        code, _, err = maru("train", "--solver", self.solver(), "--train-data", data / "list.txt")
        self.assertEqual(code, 0, err)
        for part in ["red/001.ppm] expected a photo, got something that is no file",
                     "green/001.ppm] expected a photo, of 2 GiB at most"]:
            self.assertEqual(err[err.index("skipped:"):].count(part), 1, err)
        self.assertIn("2 of 12 photos cannot be read", err)
        (self.dir / "gone.txt").write_text("no/a.ppm 0\nno/b.ppm 1\n")
        self.bad(1, "train", "--solver", self.solver(), "--train-data", self.dir / "gone.txt", says=["2, none of which can"])

    def test_a_label_that_is_ignored(self):
        def solver(name, ignored):
            loss = f'top: "loss" loss_param {{ ignore_label: {ignored} }}'
            return self.solver(name, losses=LOSSES.replace('top: "loss"', loss))

        lines = (self.train / "list.txt").read_text().splitlines()
        some = self.dir / "some.txt"
        for ignored in (-1, 255):
            some.write_text("\n".join(lines + [f"red/000.ppm {ignored}"]) + "\n")
            self.run_train(solver(f"with{ignored}", ignored), "--train-data", some, "--data-root", self.train)
        some.write_text("\n".join(lines + ["red/000.ppm 7"]) + "\n")
        code, _, err = maru("train", "--solver", solver("other", 255), "--train-data", some, "--data-root", self.train)
        self.assertEqual(code, 1)
        self.assertIn("some.txt:91", err)
        self.assertIn("a label from 0 to 2", err)

    def test_class_folders_that_differ(self):
        val = make_data(self.dir / "val", 3, 5)
        for path in (val / "green").iterdir():
            path.unlink()
        (val / "green").rmdir()
        code, _, err = maru("train", "--solver", self.solver(), "--train-data", self.train, "--test-data", val)
        self.assertEqual(code, 1)
        self.assertIn('none of the name "green"', err)

    def test_fields_of_a_parameter(self):
        solver = self.solver(layers=LAYERS.replace("param { lr_mult: 1 }", "param { lr_mul: 0 }"))
        code, _, err = maru("train", "--solver", solver)
        self.assertEqual(code, 1)
        self.assertIn("expected a field of param, got lr_mul", err)
        self.assertIn("try lr_mult", err)

    def test_tests_of_all_photos_and_their_loss(self):
        solver = self.solver(losses=LOSSES.replace('top: "loss"', 'top: "loss" loss_weight: 0.5'))
        solver.write_text(solver.read_text().replace("test_iter: 2", "test_iter: 0 test_compute_loss: true"))
        found = json.loads(self.run_train(solver, "--json"))
        last = found["tests"][-1]["figures"]
        self.assertAlmostEqual(last["top-1"] * 33, round(last["top-1"] * 33), places=4)
        self.assertAlmostEqual(last["total loss"], last["loss"] / 2, places=6)

    def test_hard_links_in_an_archive(self):
        shard = self.dir / "train.tar"
        with tarfile.open(shard, "w", format=tarfile.GNU_FORMAT) as archive:
            first = {}
            for path in sorted(self.train.rglob("*.ppm")):
                name = str(path.relative_to(self.train))
                info = archive.gettarinfo(path, name)
                if name.endswith("1.ppm"):
                    info.type, info.size, info.linkname = tarfile.LNKTYPE, 0, first[path.parent]
                    archive.addfile(info)
                    continue
                first.setdefault(path.parent, name)
                with path.open("rb") as content:
                    archive.addfile(info, content)
        self.assertIn("90 photos", self.run_train(self.solver(), "--train-data", shard))
        with tarfile.open(shard, "w") as archive:
            archive.add(self.train / "red" / "000.ppm", "red/001.ppm")
            info = tarfile.TarInfo("red/000.ppm")
            info.type, info.linkname = tarfile.LNKTYPE, "nowhere.ppm"
            archive.addfile(info)
        code, _, err = maru("train", "--solver", self.solver("again"), "--train-data", shard)
        self.assertEqual(code, 1)
        self.assertIn('a hard link to a file before it, got one to "nowhere.ppm"', err)

    def test_a_test_that_cannot_be_made_costs_no_training(self):
        val = self.dir / "val"
        make_data(val, 3, 5)
        for path in val.rglob("*.ppm"):
            path.write_bytes(b"P6\n10 10\n255\ncut off")
        solver = self.solver(snapshot=0)
        code, out, err = maru("train", "--solver", solver, "--test-data", val / "list.txt")
        self.assertEqual(code, 1)
        self.assertIn("finished at iteration 20", out)
        self.assertIn("no figures of test: [loader] expected photos that can be read", err)
        self.assertIn("figures of tests are missing", err)
        self.assertTrue(self.snapshot("solver", 20)[1].exists())

    def test_wrong_options(self):
        solver = self.solver()
        for words, says in [([], ["--solver"]),
                            (["--solver", solver, "--stop-after", "soon"], ["--stop-after", "9m"]),
                            (["--solver", solver, "--augment", "miror"], ["--augment", "mirror"]),
                            (["--solver", solver, "--augment", "area=x"], ["area"]),
                            (["--solver", solver, "--snapshot", "a", "--weights", "b"], ["--weights"]),
                            (["--solver", solver, "--snapshot", "a", "--resume"], ["--resume"])]:
            with self.subTest(words):
                self.bad(2, "train", *words, says=says)
        self.bad(1, "train", "--solver", self.dir / "none.prototxt", says=["none.prototxt"])

    def test_threads_spin_shortly_unless_told(self):
        """Programs that share the cores would wait for each other's threads otherwise."""
        solver = self.solver(iterations=10000000, snapshot=0)
        for said, wanted in [({}, "GOMP_SPINCOUNT=10000"), ({"OMP_WAIT_POLICY": "active"}, None),
                             ({"GOMP_SPINCOUNT": "7"}, "GOMP_SPINCOUNT=7")]:
            with self.subTest(said):
                environment = {name: value for name, value in os.environ.items()
                               if name not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")}
                program = self.start("--solver", solver, env={**environment, **said})
                self.wait_for(program, "iteration 5/")
                has = pathlib.Path(f"/proc/{program.pid}/environ").read_text().split("\0")
                name = pathlib.Path(f"/proc/{program.pid}/comm").read_text().strip()
                self.assertEqual(name, pathlib.Path(cli_test.MARU).name, "as `ps` and `nvidia-smi` show it")
                program.kill()
                program.communicate(timeout=120)
                found = [line for line in has if line.startswith("GOMP_SPINCOUNT=")]
                if len(os.sched_getaffinity(0)) > 1 or said:
                    self.assertEqual(found, [wanted] if wanted else [])

    def test_progress_on_a_terminal(self):
        solver = self.solver(iterations=20, snapshot=0)
        ours, theirs = pty.openpty()
        seen = bytearray()

        def collect():
            while True:
                try:
                    part = os.read(ours, 4096)
                except OSError:  # the other side has closed it
                    return
                if not part:
                    return
                seen.extend(part)

        reader = threading.Thread(target=collect)
        reader.start()
        code = subprocess.run([cli_test.MARU, "train", "--solver", solver], stdout=theirs, stderr=theirs,
                              env={**os.environ, "TERM": "xterm"}, timeout=120).returncode
        os.close(theirs)
        reader.join()
        os.close(ours)
        text = seen.decode(errors="replace")
        self.assertEqual(code, 0, text)
        self.assertIn("\r\x1b[K", text)
        self.assertIn("iteration 1/20", text)
        self.assertNotIn("(loss =", text, "lines of their own are for those without a terminal")


class Test(Case):
    """`maru test` on the tiny model, whose classes are known."""

    def data_of(self, rows):
        folder = self.dir / "photos"
        folder.mkdir()
        lines = []
        for i, (colour, label) in enumerate(rows):
            cli_test.ppm(folder / f"{i}.ppm", colour)
            lines.append(f"{i}.ppm {label}")
        (folder / "list.txt").write_text("\n".join(lines) + "\n")
        return folder / "list.txt"

    def labels(self):
        """Which label the tiny model gives to each colour, and how many there are."""
        scores = self.classify(cli_test.ppm(self.dir / "r.ppm", cli_test.RED), cli_test.ppm(self.dir / "g.ppm", cli_test.GREEN),
                               cli_test.ppm(self.dir / "b.ppm", cli_test.BLUE), "--top", 100)
        return [answer["top"][0]["index"] for answer in scores], len(scores[0]["top"])

    def test_counts(self):
        (red, green, blue), _ = self.labels()
        data = self.data_of([(cli_test.RED, red), (cli_test.RED, red), (cli_test.GREEN, green), (cli_test.BLUE, red),
                             (cli_test.BLUE, blue)])
        page, svg, per_class = self.dir / "page.html", self.dir / "map.svg", self.dir / "classes.csv"
        found = json.loads(self.good("test", "--model", self.tiny, "--data", data, "--top", "1", "--batch", 2, "--json",
                                     "--html", page, "--svg", svg, "--per-class", per_class))
        self.assertEqual(found["photos"], 5)
        self.assertAlmostEqual(found["top"]["1"], 0.8)
        self.assertEqual(found["mistakes"], [{"label": red, "taken_for": blue, "times": 1}])
        self.assertEqual(found["classes"][0]["label"], red, "worst first")
        rows = table(per_class)
        self.assertEqual(int(rows[0]["label"]), red)
        self.assertAlmostEqual(float(rows[0]["top-1"]), 2 / 3, places=5)
        xml.fromstring(svg.read_text())
        shown = Page(page.read_text())
        self.assertEqual(shown.addresses, [])
        self.assertIn("80.00 %", shown.words)
        text = self.good("test", "--model", self.tiny, "--data", data)
        for part in ["5 photos", "top-1", "80.00 %", "worst classes", "most frequent mistakes"]:
            self.assertIn(part, text)

    def test_broken_photos_are_left_out(self):
        (red, _, blue), _ = self.labels()
        data = self.data_of([(cli_test.RED, red), (cli_test.RED, red), (cli_test.BLUE, blue)])
        (self.dir / "photos" / "1.ppm").write_bytes(b"P6\n4 4\n255\nshort")
        code, out, err = maru("test", "--model", self.tiny, "--data", data, "--json")
        self.assertEqual(code, 0, err)
        self.assertIn("1.ppm", err)
        found = json.loads(out)
        self.assertEqual((found["photos"], found["skipped"], found["top"]["1"]), (2, 1, 1))
        (self.dir / "photos" / "0.ppm").unlink()
        (self.dir / "photos" / "2.ppm").unlink()
        code, _, err = maru("test", "--model", self.tiny, "--data", data)
        self.assertEqual(code, 1)
        self.assertIn("a photo that can be read", err)

    def test_data_of_another_network(self):
        _, count = self.labels()
        data = self.data_of([(cli_test.RED, count)])
        self.bad(1, "test", "--model", self.tiny, "--data", data, says=["list.txt"])
        folder = self.dir / "folders"
        for i in range(count + 1):
            (folder / f"c{i}").mkdir(parents=True)
            cli_test.ppm(folder / f"c{i}" / "a.ppm", cli_test.RED)
        self.bad(1, "test", "--model", self.tiny, "--data", folder, says=[str(count)])

    def test_wrong_options(self):
        data = self.data_of([(cli_test.RED, 0)])
        self.bad(2, "test", "--model", self.tiny, says=["--data"])
        self.bad(2, "test", "--model", self.tiny, "--data", data, "--top", "0", says=["--top"])
        self.bad(2, "test", "--model", self.tiny, "--data", data, "--centre", "2", says=["--centre"])
        self.bad(1, "test", "--model", self.tiny, "--data", self.dir / "none", says=["none"])


class Mean(TrainCase):
    def test_of_colours_and_of_grey(self):
        image = self.dir / "mean.binaryproto"
        found = json.loads(self.good("mean", "--data", self.train / "list.txt", "--size", "12x14", "-o", image, "--json"))
        self.assertEqual((found["photos"], found["skipped"]), (90, 0))
        self.assertEqual((found["channels"], found["height"], found["width"]), (3, 12, 14))
        for level in found["mean"]:
            self.assertAlmostEqual(level, 80, delta=3)
        parts = dict(fields(image.read_bytes()))
        levels = struct.unpack("<504f", parts[5])
        for channel, level in enumerate(found["mean"]):
            self.assertAlmostEqual(sum(levels[168 * channel:168 * (channel + 1)]) / 168, level, places=3)
        grey = json.loads(self.good("mean", "--data", self.train, "--size", "12x14", "--grey", "--json"))
        blue, green, red = found["mean"]
        self.assertEqual(len(grey["mean"]), 1)
        self.assertAlmostEqual(grey["mean"][0], 0.299 * red + 0.587 * green + 0.114 * blue, delta=0.1)
        self.assertIn("mean: grey", self.good("mean", "--data", self.train, "--size", "12x14", "--grey"))

    def test_what_is_wrong(self):
        self.bad(2, "mean", says=["--data"])
        for size in ("12", "0x0", "-3x4", "1.5x2", "12x14,mirror", "99999x9"):
            self.bad(2, "mean", "--data", self.train, f"--size={size}", says=["--size"])
        self.bad(1, "mean", "--data", self.dir / "none", says=["none"])
        self.bad(1, "mean", "--data", self.train, says=["expected", "x"])  # photos of other sizes
        broken = self.dir / "photos"
        (broken / "a").mkdir(parents=True)
        (broken / "a" / "0.ppm").write_bytes(b"P6\n4 4\n255\nshort")
        self.bad(1, "mean", "--data", broken, says=["0.ppm"])
        cli_test.ppm(broken / "a" / "1.ppm", cli_test.RED)
        code, out, err = maru("mean", "--data", broken, "--json")
        self.assertEqual(code, 0, err)
        self.assertIn("0.ppm", err)
        found = json.loads(out)
        self.assertEqual((found["photos"], found["skipped"]), (1, 1))
        self.bad(1, "mean", "--data", self.train, "--size", "9x9", "-o", self.dir / "no" / "m.binaryproto", says=["m.binaryproto"])


class PlotLog(Case):
    def test_what_is_drawn(self):
        log = self.dir / "a.csv"
        log.write_text("iteration,epoch,seconds,lr,loss,train/loss3,test/top-5,odd\n0,0,0,0.1,5,9,,1\n10,1,1,,,,0.25,2\n")
        svg = self.good("plot-log", log, "-o", "-")
        xml.fromstring(svg)
        self.assertIn("test/top-5", svg)
        self.assertNotIn("train/loss3", svg)
        svg = self.good("plot-log", log, "-o", "-", "--columns", "odd", "--title", "A & B")
        self.assertIn("A &amp; B", svg)
        self.assertIn("odd", svg)
        other = self.dir / "b.csv"
        other.write_text(log.read_text())
        svg = self.good("plot-log", log, other, "-o", "-")
        self.assertIn("a: loss", svg)
        self.assertIn("b: loss", svg)

    def test_what_is_wrong(self):
        log = self.dir / "a.csv"
        self.bad(1, "plot-log", log, "-o", "-", says=["a.csv"])
        log.write_text("iteration,epoch,seconds,lr\n")
        self.bad(1, "plot-log", log, "-o", "-", says=["a figure to draw"])
        log.write_text("iteration,epoch,seconds,lr\n0,0,0,1\n")
        self.bad(1, "plot-log", log, "-o", "-", "--columns", "los", says=["los", "lr"])
        self.bad(2, "plot-log", log, says=["--output"])


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit("usage: train_test.py MARU TINY_MODEL [unittest options]")
    cli_test.MARU, cli_test.TINY_MODEL = (str(pathlib.Path(word).resolve()) for word in sys.argv[1:3])
    os.environ.pop("NO_COLOR", None)
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
