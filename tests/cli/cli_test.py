#!/usr/bin/env python3
"""Tests of the program `maru`: cli_test.py MARU [TINY_MODEL]

MARU is the program, TINY_MODEL the helper that writes the tiny model (tests/tiny_model_main.cpp); left out,
it is looked for beside MARU and in the tests folder of its build. Only Python's own library is used.
Networks and photos of ../shared (or of $MARU_SHARED) are used where they are.
"""

import ast
import json
import os
import pathlib
import pty
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import unittest
import zlib

MARU = ""
TINY_MODEL = ""
SHARED = pathlib.Path(os.environ.get("MARU_SHARED") or pathlib.Path(__file__).resolve().parents[3] / "shared")
VERBS = ["classify", "run", "info", "plan", "pack", "profile", "devices", "bench", "train", "test"]
RED, GREEN, BLUE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 0, 0)


def maru(*words, env=None, cwd=None):
    """Runs maru; its exit code, standard output and standard error."""
    done = subprocess.run([MARU, *map(str, words)], capture_output=True, timeout=300, cwd=cwd,
                          env={**os.environ, **(env or {})})
    return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")


def heed_signals():
    """For Popen's preexec_fn: a program started by nohup, or by a script behind &, passes on that it ignores these."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def ppm(path, colour, width=12, height=9):
    path.write_bytes(b"P6\n%d %d\n255\n" % (width, height) + bytes(colour) * (width * height))
    return path


def png(path, colour, width=10, height=11):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + bytes(colour) * width for _ in range(height))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) +
                     chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
    return path


def write_npy(path, shape, values, descr="<f4", fortran=False):
    code = {"f4": "f", "f8": "d", "i4": "i", "u1": "B"}[descr[1:]]
    header = repr({"descr": descr, "fortran_order": fortran, "shape": tuple(shape)}).encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    path.write_bytes(b"\x93NUMPY\x01\0" + struct.pack("<H", len(header)) + header +
                     struct.pack(f"<{len(values)}{code}", *values))
    return path


def read_npy(path):
    """Shape and values of a file of f4 in C order."""
    data = path.read_bytes()
    length = struct.unpack("<H", data[8:10])[0]
    header = ast.literal_eval(data[10:10 + length].decode())
    assert data[:8] == b"\x93NUMPY\x01\0" and header["descr"] == "<f4" and not header["fortran_order"]
    values = struct.unpack(f"<{(len(data) - 10 - length) // 4}f", data[10 + length:])
    return list(header["shape"]), list(values)


class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.keep = tempfile.TemporaryDirectory(prefix="maru_cli_")
        cls.tiny = pathlib.Path(cls.keep.name) / "tiny"
        subprocess.run([TINY_MODEL, cls.tiny], check=True)

    @classmethod
    def tearDownClass(cls):
        cls.keep.cleanup()

    def setUp(self):
        temporary = tempfile.TemporaryDirectory(prefix="maru_cli_")
        self.addCleanup(temporary.cleanup)
        self.dir = pathlib.Path(temporary.name)

    def copy_of_tiny(self):
        return pathlib.Path(shutil.copytree(self.tiny, self.dir / "copy"))

    def good(self, *words, **more):
        code, out, err = maru(*words, **more)
        self.assertEqual(code, 0, err)
        self.assertEqual(err, "")
        return out

    def bad(self, code, *words, says=(), **more):
        """An error as all errors are: the code, nothing on standard output, "[where] expected ..., got ..."."""
        got, out, err = maru(*words, **more)
        self.assertEqual(got, code, err)
        self.assertEqual(out, "")
        self.assertRegex(err, r"^\[[^\]]+\] expected [\s\S]+, got [\s\S]+")
        for part in says:
            self.assertIn(part, err)
        return err

    def classify(self, *words):
        """The answers of `maru classify --json` on the tiny model."""
        return json.loads(self.good("classify", *words, "--model", self.tiny, "--json"))

    def best(self, *words):
        return [answer["top"][0]["label"] for answer in self.classify(*words)]


class Words(Case):
    def test_no_verb_prints_help_and_is_wrong(self):
        code, out, err = maru()
        self.assertEqual((code, out), (2, ""))
        for verb in VERBS:
            self.assertIn(verb, err)

    def test_help(self):
        for words in [["help"], ["--help"], ["-h"]]:
            out = self.good(*words)
            for verb in VERBS:
                self.assertIn(verb, out)
        for verb in VERBS:
            out = self.good("help", verb)
            self.assertEqual(out, self.good(verb, "--help"))
            self.assertEqual(out, self.good(verb, "-h"))
            self.assertGreaterEqual(out.count(f"  maru {verb}"), 2, "two examples")
            for part in ["--json", "Exit codes:", "0  done", "1  ", "2  "]:
                self.assertIn(part, out)
            self.assertLessEqual(max(map(len, out.splitlines())), 110)

    def test_version(self):
        self.assertRegex(self.good("--version"), r"^maru \d+\.\d+\.\d+\n$")

    def test_unknown_verb_is_told_the_closest(self):
        self.bad(2, "clasify", says=["classify", "clasify"])
        self.bad(2, "help", "devises", says=["devices"])

    def test_wrong_options(self):
        photo = ppm(self.dir / "a.ppm", RED)
        model = ["--model", self.tiny]
        for words, says in [
            (["classify", photo], ["--model"]),
            (["classify", *model], ["IMAGE"]),
            (["classify", photo, *model, "--topp", "3"], ["--topp", "--top"]),
            (["classify", photo, *model, "--top"], ["--top"]),
            (["classify", photo, *model, "--top", "0"], ["--top", "1 to"]),
            (["classify", photo, *model, "--top", "3x"], ["--top", "3x"]),
            (["classify", photo, *model, "--batch", "0"], ["--batch"]),
            (["classify", photo, *model, "--batch", "99999999999999999999"], ["--batch"]),
            (["classify", photo, *model, "--threads", "-1"], ["--threads"]),
            (["classify", photo, *model, "--memory", "lots"], ["--memory", "zero-copy"]),
            (["classify", photo, *model, "--precision", "fp8"], ["--precision", "fp32, tf32, fp16"]),
            (["classify", photo, *model, "--channels", "bgra"], ["--channels", "rgb"]),
            (["classify", photo, *model, "--resize", "stretch"], ["--resize", "squash"]),
            (["classify", photo, *model, "--mean", "1,2"], ["--mean", "1 or 3"]),
            (["classify", photo, *model, "--mean", "1,x,3"], ["--mean", "x", "FILE.binaryproto"]),
            (["classify", photo, *model, "--mean", ""], ["--mean"]),
            (["classify", photo, *model, "--scale", "nan"], ["--scale"]),
            (["classify", photo, *model, "--json=maybe"], ["[--json]", "no value"]),
            (["run", *model], ["--input"]),
            (["run", *model, "--input", "data="], ["--input", "NAME=FILE"]),
            (["info"], ["MODEL"]),
            (["info", self.tiny, "more"], ["more"]),
            (["plan", self.tiny, "--memory", "mapped"], ["--memory"]),
            (["pack", self.tiny], ["--output"]),
            (["pack", "-o", self.dir / "a.maru"], ["MODEL"]),
            (["info", self.tiny, "--verify"], ["--verify", "packed model"]),
            (["devices", "cpu"], ["cpu"]),
        ]:
            with self.subTest(words=words):
                self.bad(2, *words, says=says)

    def test_later_values_win(self):
        photo = ppm(self.dir / "a.ppm", RED)
        answers = self.classify(photo, "--top", "1", "--top", "2")
        self.assertEqual(len(answers[0]["top"]), 2)


class Classify(Case):
    def test_json_schema(self):
        photo = ppm(self.dir / "a.ppm", RED)
        answers = self.classify(photo)
        self.assertEqual(list(answers[0]), ["image", "top"])
        self.assertEqual(answers[0]["image"], str(photo))
        top = answers[0]["top"]
        self.assertEqual([list(entry) for entry in top], [["index", "label", "score"]] * 4)
        self.assertEqual((top[0]["index"], top[0]["label"]), (0, "red"))
        self.assertAlmostEqual(sum(entry["score"] for entry in top), 1, places=5)
        self.assertEqual(top, sorted(top, key=lambda entry: -entry["score"]))

    def test_text(self):
        photo = ppm(self.dir / "a.ppm", BLUE)
        out = self.good("classify", photo, "--model", self.tiny, "--top", 2).splitlines()
        self.assertEqual(out[0], str(photo))
        self.assertRegex(out[1], r"^  1  \d\d\.\d %  blue$")
        self.assertRegex(out[2], r"^  2 +\d+\.\d %  \w+$")
        self.assertEqual(len(out), 3)

    def test_formats_and_colours(self):
        photos = [ppm(self.dir / "1.ppm", RED), png(self.dir / "2.png", GREEN), ppm(self.dir / "3.ppm", BLUE),
                  png(self.dir / "4.png", BLACK)]
        self.assertEqual(self.best(*photos), ["red", "green", "blue", "dark"])

    def test_batches_of_every_size_agree(self):
        colours = [RED, GREEN, BLUE, BLACK, RED, BLUE, GREEN]
        photos = [ppm(self.dir / f"{i}.ppm", colour, 5 + i, 9 + i) for i, colour in enumerate(colours)]
        one = self.classify(*photos)
        for batch in [2, 3, 7, 8]:
            many = self.classify(*photos, "--batch", batch)
            self.assertEqual([a["image"] for a in many], [a["image"] for a in one])
            for a, b in zip(one, many):
                self.assertEqual([e["label"] for e in a["top"]], [e["label"] for e in b["top"]])
                for e, f in zip(a["top"], b["top"]):
                    self.assertAlmostEqual(e["score"], f["score"], places=5)

    def test_folder_takes_its_photos_sorted_and_not_deeper(self):
        ppm(self.dir / "b.PPM", RED)
        png(self.dir / "a.png", GREEN)
        (self.dir / "notes.txt").write_text("no photo")
        (self.dir / "deeper").mkdir()
        ppm(self.dir / "deeper" / "c.ppm", BLUE)
        answers = self.classify(self.dir)
        self.assertEqual([a["image"] for a in answers], [str(self.dir / "a.png"), str(self.dir / "b.PPM")])

    def test_folder_without_photos(self):
        (self.dir / "notes.txt").write_text("no photo")
        self.bad(1, "classify", self.dir, "--model", self.tiny, says=[str(self.dir), "none"])

    def test_pattern(self):
        for name in ["a1.ppm", "a2.ppm", "b1.ppm"]:
            ppm(self.dir / name, RED)
        answers = self.classify(self.dir / "a*.ppm")
        self.assertEqual([pathlib.Path(a["image"]).name for a in answers], ["a1.ppm", "a2.ppm"])
        self.bad(1, "classify", self.dir / "z*.ppm", "--model", self.tiny, says=["z*.ppm"])
        # A file that is called like a pattern is a file.
        odd = ppm(self.dir / "odd[1]*.ppm", BLUE)
        self.assertEqual(self.best(odd), ["blue"])

    def test_bad_photo_among_good_ones(self):
        first, last = ppm(self.dir / "1.ppm", RED), ppm(self.dir / "4.ppm", BLUE)
        text, empty = self.dir / "2.jpg", self.dir / "3.png"
        text.write_text("This is a note.")
        empty.write_bytes(b"")
        missing = self.dir / "missing.jpg"
        for batch in [1, 2, 8]:
            with self.subTest(batch=batch):
                words = ["classify", first, text, empty, missing, last, "--model", self.tiny, "--batch", batch]
                code, out, err = maru(*words, "--json")
                self.assertEqual(code, 1)
                answers = json.loads(out)
                self.assertEqual([list(a) for a in answers],
                                 [["image", "top"]] + [["image", "error"]] * 3 + [["image", "top"]])
                self.assertEqual([answers[i]["top"][0]["label"] for i in (0, 4)], ["red", "blue"])
                for file in [text, empty, missing]:
                    self.assertIn(f"[{file}] expected", err)
                self.assertEqual([a["error"] for a in answers[1:4]], err.splitlines())
                code, out, err = maru(*words)
                self.assertEqual(code, 1)
                self.assertEqual(len(out.splitlines()), 2 * 5)
        code, out, _ = maru("classify", text, "--model", self.tiny)
        self.assertEqual((code, out), (1, ""))

    def test_truncated_photo_does_not_leave_its_half_behind(self):
        whole, half = ppm(self.dir / "1.ppm", RED), self.dir / "2.ppm"
        half.write_bytes(ppm(self.dir / "3.ppm", BLUE).read_bytes()[:-20])
        code, out, _ = maru("classify", half, whole, "--model", self.tiny, "--json")
        self.assertEqual(code, 1)
        self.assertEqual(json.loads(out)[1]["top"][0]["label"], "red")

    def test_preprocessing_flags_change_only_their_field(self):
        photo = ppm(self.dir / "a.ppm", RED)
        card = self.classify(photo)
        self.assertEqual(self.best(photo, "--channels", "rgb"), ["blue"])
        # The card's own values change nothing.
        for words in [["--mean", "128"], ["--mean", "128,128,128"], ["--scale", "0.0078125"], ["--resize", "squash"],
                      ["--channels", "bgr"]]:
            self.assertEqual(self.classify(photo, *words), card, words)
        softer = self.classify(photo, "--scale", "0.001")
        self.assertLess(softer[0]["top"][0]["score"], card[0]["top"][0]["score"])
        self.assertEqual(self.best(photo, "--mean", "300"), ["dark"])
        self.assertEqual(self.classify(photo, "--mean", "-1,2,255", "--scale", "-1"),  # values, not options
                         self.classify(photo, "--mean=-1,2,255", "--scale=-1"))

    def test_a_misspelt_field_of_the_card_is_an_error(self):
        photo = ppm(self.dir / "a.ppm", RED)
        copy = self.copy_of_tiny()
        card = json.loads((copy / "model.json").read_text())
        for wrong in ({**card, "preprocesing": {}}, {**card, "preprocessing": {**card["preprocessing"], "chanels": "rgb"}}):
            (copy / "model.json").write_text(json.dumps(wrong))
            self.bad(1, "classify", photo, "--model", copy, says=["model.json", "a field of a card", "try "])
        (copy / "model.json").write_text(json.dumps({**card, "licence": "of somebody's own"}))
        self.good("classify", photo, "--model", copy)

    def test_a_mean_of_caffes_gives_its_channels_means(self):
        (self.dir / "photos" / "a").mkdir(parents=True)
        photo = ppm(self.dir / "photos" / "a" / "a.ppm", (200, 20, 110))
        image = self.dir / "mean.binaryproto"
        means = json.loads(self.good("mean", "--data", self.dir / "photos", "-o", image, "--json"))["mean"]
        self.assertEqual(means, [110, 20, 200])
        for channels, numbers in (("bgr", means), ("rgb", means[::-1])):
            of_file, of_numbers = (self.classify(photo, "--channels", channels, "--scale", "1", "--mean", mean)
                                   for mean in (image, ",".join(map(str, numbers))))
            self.assertEqual(of_file, of_numbers)
        self.assertNotEqual(of_file, self.classify(photo, "--channels", "rgb", "--scale", "1", "--mean", ",".join(map(str, means))))
        model = ["--model", self.tiny]
        self.bad(1, "classify", photo, *model, "--mean", self.dir / "none.binaryproto", says=["none.binaryproto"])
        (self.dir / "bad.binaryproto").write_text("110,20,200")
        self.bad(1, "classify", photo, *model, "--mean", self.dir / "bad.binaryproto", says=["bad.binaryproto", "compute_image_mean"])

    def test_resize_crop_takes_the_middle(self):
        photo = self.dir / "wide.ppm"  # blue at both ends, red in the middle
        row = bytes(BLUE) * 20 + bytes(RED) * 20 + bytes(BLUE) * 20
        photo.write_bytes(b"P6\n60 20\n255\n" + row * 20)
        self.assertEqual(self.best(photo), ["blue"])
        self.assertEqual(self.best(photo, "--resize", "crop"), ["red"])

    def test_verbose(self):
        photos = [ppm(self.dir / f"{i}.ppm", RED) for i in range(3)]
        code, out, err = maru("classify", *photos, "--model", self.tiny, "-v")
        self.assertEqual(code, 0)
        self.assertEqual(len(out.splitlines()), 3 * 5)
        for part in ["load", "decode", "run", " ms", "cop"]:
            self.assertIn(part, err)
        report = json.loads(self.good("classify", *photos, "--model", self.tiny, "-v", "--json", "--batch", 2))
        self.assertEqual(list(report), ["images", "ms", "runs", "arena_bytes", "load_copies", "copies"])
        self.assertEqual(list(report["ms"]), ["load", "session", "decode", "run"])
        self.assertEqual(report["runs"], 2)
        self.assertEqual(list(report["images"][0]), ["image", "top", "ms"])
        self.assertEqual(list(report["images"][0]["ms"]), ["decode", "run"])
        for copy in report["copies"]:
            self.assertEqual(list(copy), ["step", "tensor", "cause", "from", "to", "crosses", "times", "bytes", "ms"])

    def test_memory_policies_agree(self):
        photo = png(self.dir / "a.png", GREEN)
        answers = [self.classify(photo, "--memory", policy, "--device", "cpu") for policy in ["auto", "copy", "zero-copy"]]
        self.assertEqual(answers[0], answers[1])
        self.assertEqual(answers[0], answers[2])

    def test_precisions(self):
        photo = png(self.dir / "a.png", GREEN)
        for precision in ("tf32", "fp16"):
            self.bad(1, "classify", photo, "--model", self.tiny, "--device", "cpu", "--precision", precision,
                     says=["[precision] expected fp32", "device cpu", f"got {precision}; try"])
        if '"opencl"' not in self.good("devices", "--json"):
            self.skipTest("no OpenCL device here")
        half = ["--device", "opencl", "--precision", "fp16"]
        single = self.classify(photo, "--device", "opencl", "--precision", "fp32")[0]["top"]
        for a, b in zip(self.classify(photo, *half)[0]["top"], single):
            self.assertEqual(a["label"], b["label"])
            self.assertAlmostEqual(a["score"], b["score"], delta=5e-3)
        report = json.loads(self.good("classify", photo, "--model", self.tiny, "-v", "--json", *half))
        self.assertEqual(report["precision"], "fp16")
        self.assertEqual(json.loads(self.good("plan", self.tiny, "--json", *half))["precision"], "fp16")
        self.assertIn(", in fp16", self.good("plan", self.tiny, *half))
        self.assertNotIn("precision", json.loads(self.good("plan", self.tiny, "--json")))
        # "auto" is a device that computes in it.
        self.assertIn(" on opencl", self.good("plan", self.tiny, "--precision", "fp16"))
        self.assertIn("in fp16", maru("classify", photo, "--model", self.tiny, "-v", *half)[2])

    def test_unoptimized_agrees(self):
        photo = png(self.dir / "a.png", GREEN)
        for a, b in zip(self.classify(photo)[0]["top"], self.classify(photo, "--no-optimize")[0]["top"]):
            self.assertEqual(a["label"], b["label"])
            self.assertAlmostEqual(a["score"], b["score"], places=5)

    def test_what_is_wrong_with_the_model(self):
        photo = ppm(self.dir / "a.ppm", RED)
        self.bad(1, "classify", photo, "--model", self.dir / "nowhere", says=["nowhere"])
        self.bad(1, "classify", photo, "--model", self.tiny, "--device", "abacus", says=["abacus", "cpu"])
        self.bad(1, "classify", photo, "--model", self.tiny, "--weights", self.dir / "no.caffemodel",
                 says=["no.caffemodel"])
        copy = self.copy_of_tiny()
        (copy / "labels.txt").write_text("red\ngreen\nblue\n")
        self.bad(1, "classify", photo, "--model", copy, says=["labels.txt", "4", "3"])
        labels = self.dir / "mine.txt"
        labels.write_text("rot\ngrün\nblau\ndunkel\n")
        answers = json.loads(self.good("classify", photo, "--model", copy, "--labels", labels, "--json"))
        self.assertEqual(answers[0]["top"][0]["label"], "rot")
        network = copy / "deploy.prototxt"
        network.write_text(network.read_text().replace('name: "conv" type', 'name: "conv9" type'))
        self.bad(1, "classify", photo, "--model", copy, "--labels", labels, says=["conv9"])
        (copy / "tiny.caffemodel").write_bytes((copy / "tiny.caffemodel").read_bytes()[:300])
        self.bad(1, "classify", photo, "--model", copy, says=["tiny.caffemodel"])
        (copy / "model.json").write_text('{"name": ')
        self.bad(1, "classify", photo, "--model", copy, says=["model.json"])
        deep = "[" * 400000 + "]" * 400000
        (copy / "model.json").write_text(f'{{"preprocessing": {deep}}}')
        self.bad(1, "classify", photo, "--model", copy, says=["model.json", "got a list of 1"])

    def test_without_labels(self):
        copy = self.copy_of_tiny()
        (copy / "labels.txt").unlink()
        (copy / "model.json").write_text('{"preprocessing": {"mean": [128], "scale": 0.0078125}}')
        photo = ppm(self.dir / "a.ppm", BLUE)
        top = json.loads(self.good("classify", photo, "--model", copy, "--json"))[0]["top"]
        self.assertEqual((top[0]["index"], top[0]["label"]), (2, None))
        self.assertRegex(self.good("classify", photo, "--model", copy), r"%  class 2\n")

    def test_names_that_are_not_utf8(self):
        photo = ppm(pathlib.Path(os.fsdecode(os.fsencode(str(self.dir)) + b"/caf\xe9.ppm")), RED)
        self.assertEqual(len(self.classify(photo)), 1)

    def test_files_after_two_dashes(self):
        ppm(self.dir / "--odd.ppm", RED)
        out = self.good("classify", "--model", self.tiny, "--json", "--", "--odd.ppm", cwd=self.dir)
        self.assertEqual(json.loads(out)[0]["top"][0]["label"], "red")


class Run(Case):
    def setUp(self):
        super().setUp()
        self.model = ["--model", self.tiny]

    def input(self, batch=1, descr="<f4", **more):
        values = [(i * 7 % 5) - 2 if descr != "|u1" else i * 7 % 5 for i in range(batch * 3 * 8 * 8)]
        return write_npy(self.dir / "in.npy", (batch, 3, 8, 8), values, descr, **more)

    def test_outputs_and_inner_values(self):
        prob, conv = self.dir / "prob.npy", self.dir / "conv.npy"
        out = self.good("run", *self.model, "--input", f"data={self.input()}", "--output", f"prob={prob}",
                        f"conv={conv}", "--json")
        shape, values = read_npy(prob)
        self.assertEqual(shape, [1, 4])
        self.assertAlmostEqual(sum(values), 1, places=5)
        self.assertEqual(read_npy(conv)[0], [1, 4, 8, 8])
        report = json.loads(out)["outputs"]
        self.assertEqual([list(entry) for entry in report], [["name", "dtype", "shape", "min", "max", "file"]] * 2)
        self.assertEqual(report[0]["shape"], shape)
        self.assertAlmostEqual(report[0]["max"], max(values), places=6)
        self.assertEqual(report[0]["file"], str(prob))
        self.assertEqual([p.name for p in self.dir.iterdir() if p.name.endswith(".tmp")], [])

    def test_optimized_or_not_inner_values_agree(self):
        files = [self.dir / "a.npy", self.dir / "b.npy"]
        for file, words in zip(files, [[], ["--no-optimize"]]):
            self.good("run", *self.model, "-i", self.input(), "-o", f"pool={file}", *words)
        a, b = read_npy(files[0]), read_npy(files[1])
        self.assertEqual(a[0], b[0])
        for x, y in zip(a[1], b[1]):
            self.assertAlmostEqual(x, y, places=5)

    def test_names_may_be_left_out_and_the_batch_follows_the_input(self):
        prob = self.dir / "prob.npy"
        self.good("run", *self.model, "--input", self.input(3), "--output", prob)
        shape, values = read_npy(prob)
        self.assertEqual(shape, [3, 4])
        self.assertEqual(len(values), 12)
        out = self.good("run", *self.model, "--input", self.input(3))
        self.assertIn("prob", out)
        self.assertIn("3x4", out)

    def test_other_types_become_f32(self):
        prob = self.dir / "prob.npy"
        self.good("run", *self.model, "--input", self.input(), "--output", prob)
        expected = read_npy(prob)
        for descr in ["<f8", "<i4"]:
            self.good("run", *self.model, "--input", self.input(descr=descr), "--output", prob)
            self.assertEqual(read_npy(prob), expected)
        self.good("run", *self.model, "--input", self.input(descr="|u1"), "--output", prob)

    def test_wrong_shapes(self):
        def bad(shape, *more, says):
            count = 1
            for extent in shape:
                count *= extent
            file = write_npy(self.dir / "in.npy", shape, [0] * count)
            self.bad(1, "run", *self.model, "--input", file, *more, says=[str(file), *says])

        bad((1, 3, 8, 9), says=["1x3x8x8", "1x3x8x9"])
        bad((3, 8, 8), says=["array[None]"])
        bad((1, 8, 8, 3), says=["transpose(0, 3, 1, 2)"])
        bad((2, 3, 8, 8), "--batch", 4, says=["--batch 2"])
        bad((), says=["1x3x8x8"])

    def test_bad_files(self):
        file = self.dir / "in.npy"
        for content in [b"", b"a note", b"\x93NUMPY", b"\x93NUMPY\x01\0\xff\xff{", self.input().read_bytes()[:-1],
                        self.input().read_bytes() + b"x", b"PK\x03\x04" + b"\0" * 50]:
            file.write_bytes(content)
            self.bad(1, "run", *self.model, "--input", file, says=[str(file)])
        self.bad(1, "run", *self.model, "--input", self.input(fortran=True), says=["Fortran"])
        self.bad(1, "run", *self.model, "--input", self.dir / "missing.npy", says=["missing.npy"])
        self.bad(1, "run", *self.model, "--input", self.input(), "--output", self.dir / "no" / "out.npy",
                 says=["out.npy"])

    def test_unknown_names(self):
        self.bad(1, "run", *self.model, "--input", f"dataa={self.input()}", says=["dataa", "try data"])
        err = self.bad(1, "run", *self.model, "--input", self.input(), "--output", f"prod={self.dir / 'p.npy'}",
                       says=["prod"])
        self.assertRegex(err, r"try .*prob")
        self.bad(2, "run", *self.model, "--input", self.input(), "--output", "prob=a.npy", "prob=b.npy", says=["twice"])

    def test_nothing_is_written_over_a_full_disk(self):
        if not os.path.exists("/dev/full"):
            self.skipTest("no /dev/full here")
        self.bad(1, "run", *self.model, "--input", self.input(), "--output", "prob=/dev/full", says=["/dev/full"])


class Look(Case):
    def test_info(self):
        out = self.good("info", self.tiny)
        for part in ["conv", "1x4x8x8", "colour", "112", "260", "372", "inputs", "prob", "tiny.caffemodel"]:
            self.assertIn(part, out)
        document = json.loads(self.good("info", self.tiny, "--json"))
        self.assertEqual(list(document), ["name", "network", "weights", "labels", "inputs", "outputs", "layers",
                                          "parameters", "flops", "bytes", "notes"])
        self.assertEqual(document["name"], "tiny")
        self.assertEqual(document["inputs"], [{"name": "data", "dtype": "f32", "shape": [1, 3, 8, 8]}])
        self.assertEqual(document["outputs"], [{"name": "prob", "dtype": "f32", "shape": [1, 4]}])
        self.assertEqual(document["parameters"], 4 * 3 * 9 + 4 + 64 * 4 + 4)
        layer = next(layer for layer in document["layers"] if layer["name"] == "conv")
        self.assertEqual(list(layer), ["name", "op", "attributes", "src", "dst", "parameters", "flops", "bytes"])
        self.assertAlmostEqual(layer["flops"], 2 * 4 * 64 * 27, delta=4 * 64)
        batch = json.loads(self.good("info", self.tiny, "--json", "--batch", 0))
        self.assertEqual(batch["inputs"][0]["shape"], [2, 3, 8, 8])

    def test_info_without_weights(self):
        copy = self.copy_of_tiny()
        (copy / "tiny.caffemodel").unlink()
        (copy / "model.json").unlink()
        document = json.loads(self.good("info", copy, "--json"))
        self.assertIsNone(document["weights"])
        self.assertEqual(document["parameters"], 372)
        self.assertIn("none found", self.good("info", copy / "deploy.prototxt"))

    def test_plan(self):
        text = self.good("plan", self.tiny)
        self.assertIn("conv", text)
        document = json.loads(self.good("plan", self.tiny, "--json"))
        self.assertIsInstance(document, dict)
        self.assertIn("steps", document)
        self.assertNotEqual(self.good("plan", self.tiny, "--raw"), text)
        self.assertIn("pool", self.good("plan", self.tiny, "--output", "pool", "--no-optimize", "--memory", "copy"))
        code, _, error = maru("plan", self.tiny, "--check")
        self.assertEqual(code, 0)
        self.assertIn("proven: ", error)
        err = self.bad(1, "plan", self.tiny, "--output", "poul", says=["poul"])
        self.assertRegex(err, r"try .*pool")
        self.bad(1, "plan", self.dir, says=[str(self.dir)])

    def test_a_virtual_board_is_modelled(self):
        if "board:tk1" not in self.good("devices", "--boards"):
            self.skipTest("this build has no virtual boards")
        self.assertNotIn("board:", self.good("devices"))
        self.assertIn("modelled", self.good("plan", self.tiny, "--raw", "--device", "board:orin"))
        cost = json.loads(self.good("plan", self.tiny, "--raw", "--device", "board:orin", "--json"))["modelled"]
        self.assertEqual(cost["class"], "modelled")
        self.assertLess(cost["best"]["total_seconds"], cost["expected"]["total_seconds"])
        self.assertLess(cost["expected"]["total_seconds"], cost["worst"]["total_seconds"])
        self.assertAlmostEqual(sum(cost["expected"]["terms"].values()), cost["expected"]["total_seconds"])
        self.assertNotIn("modelled", json.loads(self.good("plan", self.tiny, "--json")))
        table = self.good("plan", self.tiny, "--raw", "--device", "board:tk1", "--policies")
        for word in ("modelled, not measured", "copy", "zero-copy", "auto", "uncached_reads"):
            self.assertIn(word, table)
        ways = json.loads(self.good("plan", self.tiny, "--raw", "--device", "board:tk1", "--policies", "--json"))
        self.assertEqual(sorted(ways), ["auto", "copy", "zero-copy"])
        self.bad(1, "plan", self.tiny, "--policies", "--device", "cpu", says=["--policies", "board"])
        self.bad(1, "plan", self.tiny, "--device", "board:tk9", says=["board:tk1"])

    def test_devices(self):
        own_cache = {"MARU_CACHE_DIR": str(self.dir)}
        self.assertIn("cpu", self.good("devices", env=own_cache))
        listed = json.loads(self.good("devices", "--json", env=own_cache))
        for device in listed:
            self.assertEqual(list(device), ["name", "description", "launch_seconds", "wait_seconds", "upload", "download", "heaps"])
            for heap in device["heaps"]:
                self.assertEqual(list(heap), ["name", "traits", "host_read", "host_write", "device_read", "device_write",
                                              "map_seconds"])
                for side in ("host", "device"):
                    sees = f"{side} cached" in heap["traits"] or f"{side} uncached" in heap["traits"]
                    self.assertEqual(heap[f"{side}_read"] > 0, sees, heap)
                    self.assertEqual(heap[f"{side}_write"] > 0, sees, heap)
        # What was measured is kept, until it is to be measured again.
        self.assertEqual(json.loads(self.good("devices", "--json", env=own_cache)), listed)
        self.assertNotEqual(json.loads(self.good("devices", "--refresh", "--json", env=own_cache)), listed)


class Pack(Case):
    def setUp(self):
        super().setUp()
        self.file = self.dir / "tiny.maru"

    def pack(self, *words):
        return self.good("pack", self.tiny, "-o", self.file, *words)

    def test_says_what_was_written(self):
        text = self.pack()
        for part in [str(self.file), "cpu", "--batch 1", "weights.0", "labels"]:
            self.assertIn(part, text)
        document = json.loads(self.pack("--force", "--json", "--threads", 2))
        self.assertEqual(list(document), ["file", "bytes", "maru", "device", "description", "batch", "threads",
                                          "optimized", "sections"])
        self.assertEqual(document["bytes"], self.file.stat().st_size)
        self.assertEqual(document["threads"], 2)
        self.assertEqual([section["name"] for section in document["sections"]],
                         ["model", "graph", "plan", "labels", "weights.0"])
        self.assertEqual(list(document["sections"][0]), ["name", "offset", "bytes", "crc32"])
        # The format, read by somebody else: docs/format.md.
        data = self.file.read_bytes()
        self.assertEqual(data[:8], b"\x89MARU\r\n\x1a")
        version, order, size, count, check = struct.unpack_from("<IIQII", data, 8)
        self.assertEqual((version, order, size, count), (1, 0x01020304, len(data), 5))
        head = data[:64 + 64 * count]
        self.assertEqual(zlib.crc32(head[:28] + bytes(4) + head[32:]), check)
        for i, section in enumerate(document["sections"]):
            name, offset, length, crc = struct.unpack_from("<40sQQI", data, 64 + 64 * i)
            self.assertEqual(name.rstrip(b"\0").decode(), section["name"])
            self.assertEqual((offset, length), (section["offset"], section["bytes"]))
            self.assertEqual(zlib.crc32(data[offset:offset + length]), crc)
            self.assertEqual(f"{crc:08x}", section["crc32"])
            if i < 3:
                json.loads(data[offset:offset + length])
        self.assertEqual(data[document["sections"][3]["offset"]:][:4], b"red\n")
        self.assertEqual(document["sections"][4]["offset"] % 65536, 0)

    def test_precision_is_kept(self):
        if '"opencl"' not in self.good("devices", "--json"):
            self.skipTest("no OpenCL device here")
        document = json.loads(self.pack("--device", "opencl", "--precision", "fp16", "--json"))
        self.assertEqual(document["precision"], "fp16")
        self.assertIn("--precision fp16", self.good("info", self.file))
        photo = png(self.dir / "a.png", GREEN)
        answers = json.loads(self.good("classify", photo, "--model", self.file, "--json"))
        self.assertEqual(answers[0]["top"][0]["label"], "green")
        self.bad(1, "classify", photo, "--model", self.file, "--precision", "fp32",
                 says=["expected fp16, in which it was packed, got fp32", "maru pack --precision fp32"])

    def test_every_verb_takes_it(self):
        self.pack()
        photo = ppm(self.dir / "a.ppm", GREEN)
        want = self.good("classify", photo, "--model", self.tiny, "--json")
        self.assertEqual(self.good("classify", photo, "--model", self.file, "--json"), want)
        self.assertEqual(self.good("classify", photo, "--model", self.file, "--mean", 128, "--json"), want)
        tensor = write_npy(self.dir / "in.npy", (2, 3, 8, 8), [(i * 7 % 5) - 2 for i in range(384)])
        outs = [self.dir / "a.npy", self.dir / "b.npy"]
        for model, out in zip([self.tiny, self.file], outs):
            self.good("run", "--model", model, "-i", tensor, "-o", f"prob={out}", f"pool={self.dir / 'p.npy'}")
        self.assertEqual(outs[0].read_bytes(), outs[1].read_bytes())
        self.assertIn("the pages of tiny.maru", self.good("plan", self.file))
        document = json.loads(self.good("info", self.file, "--verify", "--json"))
        self.assertEqual(document["parameters"], 372)
        self.assertEqual(document["packed"]["device"], "cpu")
        text = self.good("info", self.file, "--verify")
        self.assertIn("every checksum is right", text)
        self.assertNotIn("checksum is", self.good("info", self.file))

    def test_nothing_is_replaced_unless_forced(self):
        self.file.write_text("a note")
        self.bad(1, "pack", self.tiny, "-o", self.file, says=["--force"])
        self.assertEqual(self.file.read_text(), "a note")
        self.pack("--force")
        self.good("info", self.file, "--verify")
        self.assertEqual([path.name for path in self.dir.iterdir()], ["tiny.maru"])
        self.bad(1, "pack", self.file, "-o", self.dir / "b.maru", says=["a packed model"])
        self.bad(1, "pack", self.tiny, "-o", self.dir / "no" / "b.maru", says=["b.maru"])
        self.bad(1, "pack", self.dir, "-o", self.dir / "b.maru", says=[str(self.dir)])

    def test_damage(self):
        self.pack()
        data = self.file.read_bytes()
        photo = ppm(self.dir / "a.ppm", RED)
        for broken, says in [(data[:1000], "as its header says"), (b"PK" + data[2:], "another kind"),
                             (data[:400] + b"?" + data[401:], "section model")]:
            self.file.write_bytes(broken)
            self.bad(1, "classify", photo, "--model", self.file, says=["tiny.maru", says])
            self.bad(1, "info", self.file, says=["tiny.maru", says])
        self.file.write_bytes(data[:65536] + b"??" + data[65538:])
        self.bad(1, "info", self.file, "--verify", says=["weights.0", "checksum"])

    def test_killed_while_packing_leaves_no_broken_file(self):
        for delay in [0.0, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.06]:
            process = subprocess.Popen([MARU, "pack", self.tiny, "-o", self.file], stdout=subprocess.DEVNULL,
                                       stderr=subprocess.DEVNULL)
            try:
                process.wait(timeout=delay)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if self.file.exists():
                self.good("info", self.file, "--verify")
                self.file.unlink()

    def test_inner_values_to_keep(self):
        self.pack("--keep", "pool", "--no-optimize")
        outputs = json.loads(self.good("info", self.file, "--json"))["outputs"]
        self.assertEqual([output["name"] for output in outputs], ["prob", "pool"])
        self.bad(1, "pack", self.tiny, "-o", self.dir / "b.maru", "--keep", "poul", says=["poul", "pool"])


class Streams(Case):
    def test_reader_that_leaves_early(self):
        # SIGPIPE as a shell leaves it, and ignored as some parents do.
        for ignored in [False, True]:
            process = subprocess.Popen([MARU, "plan", self.tiny, "--json"], stdout=subprocess.PIPE,
                                       stderr=subprocess.PIPE, restore_signals=not ignored)
            process.stdout.close()
            self.assertEqual(process.stderr.read(), b"")
            process.stderr.close()
            self.assertEqual(process.wait(timeout=60), 0)

    def test_full_disk(self):
        if not os.path.exists("/dev/full"):
            self.skipTest("no /dev/full here")
        with open("/dev/full", "w") as full:
            done = subprocess.run([MARU, "devices"], stdout=full, stderr=subprocess.PIPE, timeout=60)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"standard output", done.stderr)

    def test_nobody_listens_to_errors(self):
        if not os.path.exists("/dev/full"):
            self.skipTest("no /dev/full here")
        with open("/dev/full", "w") as full:
            done = subprocess.run([MARU, "plan", "nowhere"], stdout=subprocess.PIPE, stderr=full, timeout=60)
        self.assertEqual((done.returncode, done.stdout), (1, b""))

    def on_terminal(self, *words, env=None):
        """Standard output and standard error of maru, both a terminal."""
        main, end = pty.openpty()
        process = subprocess.Popen([MARU, *map(str, words)], stdout=end, stderr=end,
                                   env={**os.environ, "TERM": "xterm", **(env or {})})
        os.close(end)
        chunks = []

        def drain():
            while True:
                try:
                    chunk = os.read(main, 4096)
                except OSError:  # Linux ends a pty so
                    return
                if not chunk:
                    return
                chunks.append(chunk)

        reader = threading.Thread(target=drain)
        reader.start()
        self.assertEqual(process.wait(timeout=60), 0)
        reader.join()
        os.close(main)
        return b"".join(chunks).decode()

    def test_colour_and_progress_only_on_a_terminal(self):
        photos = [ppm(self.dir / f"{i}.ppm", RED) for i in range(3)]
        words = ["classify", *photos, "--model", self.tiny]
        self.assertNotIn("\x1b", self.good(*words))
        shown = self.on_terminal(*words)
        self.assertIn("\x1b[1m", shown)
        self.assertIn("3/3", shown)
        plain = self.on_terminal(*words, env={"NO_COLOR": "1"})
        self.assertNotIn("\x1b[1m", plain)
        self.assertNotIn("1/1", self.on_terminal("classify", photos[0], "--model", self.tiny))


@unittest.skipUnless((SHARED / "models").is_dir(), f"no networks in {SHARED / 'models'}")
class RealNetworks(Case):
    def classify_shared(self, photos, model):
        return json.loads(self.good("classify", *photos, "--model", SHARED / "models" / model, "--json", "--batch", 4))

    def check(self, model, golden):
        """Caffe's own best class for each photo of golden/, and nearly always the photo's true class among five."""
        wanted = {}
        for line in (SHARED / "golden" / golden / "photos.txt").read_text().splitlines():
            number, photo, _ = line.split()
            _, scores = read_npy(SHARED / "golden" / golden / "outputs" / f"{number}.npy")
            wanted[SHARED / "photos" / photo] = scores.index(max(scores))
        synsets = (SHARED / "models" / model / "synset_words.txt").read_text().splitlines()
        for answer, (photo, index) in zip(self.classify_shared(wanted, model), wanted.items(), strict=True):
            self.assertEqual(answer["image"], str(photo))
            self.assertEqual(answer["top"][0]["index"], index, photo.name)
            self.assertEqual(answer["top"][0]["label"], synsets[index])
        photos = sorted((SHARED / "photos").glob("n*.JPEG"))
        found = 0
        for photo, answer in zip(photos, self.classify_shared(photos, model), strict=True):
            found += any(entry["label"].startswith(photo.name.split("_")[0] + " ") for entry in answer["top"])
        # Caffe has 94 % (GoogLeNet) and 87 % (SqueezeNet) over 1000 photos.
        self.assertGreaterEqual(found / len(photos), 0.87)

    def check_golden(self, model, golden):
        for number in ["00", "01"]:
            prob = self.dir / "prob.npy"
            self.good("run", "--model", SHARED / "models" / model, "--input",
                      SHARED / "golden" / golden / "inputs" / f"{number}.npy", "--output", f"prob={prob}")
            _, got = read_npy(prob)
            _, wanted = read_npy(SHARED / "golden" / golden / "outputs" / f"{number}.npy")
            self.assertEqual(len(got), len(wanted))
            self.assertLess(max(abs(a - b) for a, b in zip(got, wanted)), 1e-5)

    def test_googlenet(self):
        self.check("bvlc_googlenet", "googlenet")

    def test_squeezenet(self):
        self.check("squeezenet_v1.1", "squeezenet_v1.1")

    def test_raw_googlenet(self):
        self.check_golden("bvlc_googlenet", "googlenet")

    def test_raw_squeezenet(self):
        self.check_golden("squeezenet_v1.1", "squeezenet_v1.1")


def find_helper(program):
    """The tiny_model of the build that `program` is of."""
    for folder in [program.parent, *list(program.parents)[1:4]]:
        for candidate in [folder / "tiny_model", folder / "bin" / "tiny_model", folder / "tests" / "tiny_model"]:
            if candidate.is_file():
                return candidate
    sys.exit(f"[{program}] expected tiny_model in its build, got none; try cli_test.py MARU TINY_MODEL")


if __name__ == "__main__":
    paths = [pathlib.Path(word).resolve() for word in sys.argv[1:] if not word.startswith("-") and os.path.isfile(word)]
    if not paths:
        sys.exit("usage: cli_test.py MARU [TINY_MODEL] [unittest options]")
    MARU = str(paths[0])
    TINY_MODEL = str(paths[1] if len(paths) > 1 else find_helper(paths[0]))
    # A machine's own settings must not change what is tested.
    os.environ.pop("NO_COLOR", None)
    unittest.main(argv=[sys.argv[0], *sys.argv[1 + len(paths):]])
