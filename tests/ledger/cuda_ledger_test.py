#!/usr/bin/env python3
"""Does the ledger tell the truth on CUDA? cuda_ledger_test.py MARU CUDA_COPY_COUNTER TINY_MODEL

As ledger_test.py, with CUPTI as the counter (cuda_copy_counter.cpp): all calls of cudaMemcpy* and cuMemcpy* that fifty
photos cost more than forty are ten times what the ledger says of one.
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

import ledger_test
from ledger_test import FEW, MORE, SHARED, classify

MARU = TINY_MODEL = ""


class CudaLedger(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        listed = subprocess.run([MARU, "devices", "--json"], capture_output=True, timeout=300, check=True)
        if "cuda" not in [device["name"] for device in json.loads(listed.stdout)]:
            print("skipped: no CUDA device here")
            sys.exit(77)
        cls.temporary = tempfile.TemporaryDirectory()
        cls.folder = pathlib.Path(cls.temporary.name)
        cls.tiny = cls.folder / "tiny"
        subprocess.run([TINY_MODEL, cls.tiny], check=True)
        cls.photo = cls.folder / "photo.ppm"
        cls.photo.write_bytes(b"P6\n100 400\n255\n" + bytes((255, 0, 0)) * 40000)

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    def check(self, model, photo):
        for policy in ("copy", "zero-copy", "auto"):
            with self.subTest(model=str(model), policy=policy):
                (_, seen_few), (said, seen) = (
                    classify(self.folder, model, photo, times, policy, "cuda", "CUDA_INJECTION64_PATH")
                    for times in (FEW, FEW + MORE))

                def more(kind, what="calls"):
                    return seen[kind][what] - seen_few[kind][what]

                crossings = [copy for copy in said["copies"] if copy["crosses"]]
                self.assertEqual({copy["times"] for copy in crossings} - {FEW + MORE}, set())
                each = sum(copy["bytes"] // copy["times"] for copy in crossings)
                self.assertEqual(more("runtime", "bytes"), MORE * each, "the ledger and CUDA's calls disagree")
                self.assertEqual(more("runtime"), MORE * len(crossings))
                self.assertEqual(more("driver"), MORE * len(crossings))
                self.assertEqual(more("other"), 0)
                if policy == "copy":
                    self.assertGreater(each, 0)
                elif policy == "zero-copy":
                    self.assertEqual(each, 0)
                print(f"{model.name} {policy}: {more('runtime')} cudaMemcpy* of {more('runtime', 'bytes')} bytes, "
                      f"{more('driver')} cuMemcpy*, by {MORE} photos; the ledger says {MORE * each}")

    def test_tiny(self):
        self.check(self.tiny, self.photo)

    def test_googlenet(self):
        model = SHARED / "models/bvlc_googlenet"
        if not model.exists():
            self.skipTest(f"needs {model}")
        self.check(model, SHARED / "photos/cat.jpg")


if __name__ == "__main__":
    MARU, counter, TINY_MODEL = (str(pathlib.Path(word).resolve()) for word in sys.argv[1:4])
    ledger_test.MARU, ledger_test.COPY_COUNTER = MARU, counter
    unittest.main(argv=sys.argv[:1] + sys.argv[4:], verbosity=2)
