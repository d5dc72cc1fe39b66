#!/usr/bin/env python3
"""What `maru` says and does where a GPU is there and cannot be used: old_driver_test.py MARU TINY_MODEL MODULE"""

import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

MARU, TINY_MODEL, MODULE = sys.argv[1:4]


def maru(*words, module=MODULE):
    done = subprocess.run([MARU, *map(str, words)], capture_output=True, text=True, timeout=300,
                          env={**os.environ, "MARU_CUDA_MODULE": str(module)})
    return done.returncode, done.stdout, done.stderr


class OldDriver(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.model = pathlib.Path(self.folder.name) / "model"
        subprocess.run([TINY_MODEL, self.model], check=True)

    def tearDown(self):
        self.folder.cleanup()

    def test_auto_goes_on_to_the_next_device_and_says_so(self):
        code, out, err = maru("plan", self.model, "--json")
        self.assertEqual(code, 0, err)
        self.assertIn('"cpu"', out)
        self.assertIn("passed over: [cuda] expected a driver for CUDA 13.0", err)
        self.assertIn("11.4", err)

    def test_by_name_it_is_an_error_with_the_reason(self):
        code, out, err = maru("plan", self.model, "--device", "cuda")
        self.assertEqual(code, 1)
        self.assertEqual(out, "")
        self.assertIn("one of auto, cpu", err)
        self.assertIn("cudaErrorInsufficientDriver", err)

    def test_another_device_by_name_is_no_concern_of_it(self):
        code, _, err = maru("plan", self.model, "--device", "cpu")
        self.assertEqual((code, err), (0, ""))

    def test_a_module_of_something_else_is_refused(self):
        code, _, err = maru("plan", self.model, "--device", "cuda", module=pathlib.Path(self.folder.name) / "none.so")
        self.assertEqual(code, 1)
        self.assertIn("none.so", err)
        text = pathlib.Path(self.folder.name) / "text.so"
        text.write_text("no library")
        code, _, err = maru("plan", self.model, "--device", "cuda", module=text)
        self.assertEqual(code, 1)
        self.assertIn("a module that can be opened", err)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
