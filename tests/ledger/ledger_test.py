#!/usr/bin/env python3
"""Does the ledger tell the truth? ledger_test.py MARU COPY_COUNTER TINY_MODEL

Runs the real program with a library in front of it that counts copies from outside (copy_counter.c), on
OpenCL, under every memory policy, and compares with what `maru classify -v --json` says. Loading a model copies as well (files, kernels,
weights on their way); what a photo costs is what fifty photos cost more than forty, by ten. (Not one: for a single
photo other kernels are picked.) Between decoded pixels and scores nothing may be copied but what the ledger has.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

MARU = COPY_COUNTER = TINY_MODEL = ""
SHARED = pathlib.Path(os.environ.get("MARU_SHARED") or pathlib.Path(__file__).resolve().parents[3] / "shared")
FEW, MORE = 40, 10
LARGE = 4096


def classify(folder, model, photo, times, policy, device="opencl", inject="LD_PRELOAD"):
    """What the ledger says, and what the counter saw, which gets into the program by the variable `inject`."""
    counted = folder / "counted.json"
    # Short names and one class a photo, so that the answer's own text is little beside a photo.
    (folder / "p").unlink(missing_ok=True)
    (folder / "p").symlink_to(photo)
    done = subprocess.run([MARU, "classify", *["p"] * times, "--model", model, "--device", device, "--memory", policy,
                           "--top", "1", "-v", "--json"], capture_output=True, timeout=600, cwd=folder,
                          env={**os.environ, inject: COPY_COUNTER, "COPY_COUNTER": str(counted)})
    if done.returncode != 0:
        raise AssertionError(done.stderr.decode(errors="replace"))
    return json.loads(done.stdout), json.loads(counted.read_text())


class Ledger(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        listed = subprocess.run([MARU, "devices", "--json"], capture_output=True, timeout=300, check=True)
        opencl = [device for device in json.loads(listed.stdout) if device["name"] == "opencl"]
        if not opencl:
            print("skipped: no OpenCL device here")
            sys.exit(77)
        # Whether there is memory that both sides see.
        cls.shares = any(heap["host_read"] > 0 and heap["device_read"] > 0 for heap in opencl[0]["heaps"])
        cls.temporary = tempfile.TemporaryDirectory()
        cls.folder = pathlib.Path(cls.temporary.name)
        cls.tiny = cls.folder / "tiny"
        subprocess.run([TINY_MODEL, cls.tiny], check=True)
        # Rows of less than 4 KiB, so that the decoder's own are not counted; many of them, so that a copy would be.
        cls.photo = cls.folder / "photo.ppm"
        cls.photo.write_bytes(b"P6\n100 400\n255\n" + bytes((255, 0, 0)) * 40000)
        classify(cls.folder, cls.tiny, cls.photo, 1, "auto")  # kernels are built and memory is measured

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    def check(self, model, photo):
        for policy in ("copy", "zero-copy", "auto") if self.shares else ("copy", "auto"):
            with self.subTest(model=str(model), policy=policy):
                (said_few, seen_few), (said, seen) = (classify(self.folder, model, photo, n, policy)
                                                      for n in (FEW, FEW + MORE))
                self.assertEqual([image["top"] for image in said["images"]], [said_few["images"][0]["top"]] * (FEW + MORE))

                def more(kind, what="bytes"):
                    return seen[kind][what] - seen_few[kind][what]

                crossings = [copy for copy in said["copies"] if copy["crosses"]]
                self.assertEqual({copy["times"] for copy in crossings} - {FEW + MORE}, set())
                each = sum(copy["bytes"] // copy["times"] for copy in crossings)
                large = sum(b for b in (copy["bytes"] // copy["times"] for copy in crossings) if b > LARGE)
                self.assertEqual(more("write") + more("read"), MORE * each, "the ledger and OpenCL's commands disagree")
                self.assertEqual(more("copy"), 0)
                self.assertEqual(more("fill"), 0)
                # PoCL's commands copy by memcpy, so each large one is seen a second time; other drivers' may not be.
                printed = len(json.dumps(said, indent=2))
                self.assertLess(more("memory"), MORE * large + 2 * printed,
                                "memory was copied that no step of the plan says, and that is not the answer's text")
                if policy == "copy":
                    self.assertGreater(each, 0)
                    self.assertEqual({(copy["from"], copy["to"]) for copy in crossings},
                                     {("pinned", "device"), ("device", "pinned")})
                elif self.shares:
                    self.assertEqual(each, 0)

    def test_tiny(self):
        self.check(self.tiny, self.photo)

    def test_googlenet(self):
        model = SHARED / "models/bvlc_googlenet"
        if not model.exists():
            self.skipTest(f"needs {model}")
        self.check(model, SHARED / "photos/cat.jpg")

    def test_squeezenet(self):
        model = SHARED / "models/squeezenet_v1.1"
        if not model.exists():
            self.skipTest(f"needs {model}")
        self.check(model, SHARED / "photos/cat.jpg")

    def test_the_counter_counts(self):
        """Loading weights for `copy` uploads them: the ledger says how many bytes, and the counter saw them."""
        if not self.shares:
            self.skipTest("needs memory that both sides see, to compare with")
        said, seen = classify(self.folder, self.tiny, self.photo, 1, "copy")
        said_shared, seen_shared = classify(self.folder, self.tiny, self.photo, 1, "zero-copy")
        loaded = sum(copy["bytes"] for copy in said["load_copies"])
        run = sum(copy["bytes"] for copy in said["copies"] if copy["crosses"])
        self.assertGreater(loaded, 0)
        self.assertEqual(said_shared["load_copies"], [])
        # Opening the device tries its heaps; that is the same in both.
        more = sum(seen[kind]["bytes"] - seen_shared[kind]["bytes"] for kind in ("write", "read"))
        # An allocation of a buffer writes one byte, to see whether there is memory; policies differ in their number.
        self.assertIn(more - run - loaded, range(-20, 21))


if __name__ == "__main__":
    MARU, COPY_COUNTER, TINY_MODEL = (str(pathlib.Path(word).resolve()) for word in sys.argv[1:4])
    unittest.main(argv=sys.argv[:1] + sys.argv[4:], verbosity=2)
