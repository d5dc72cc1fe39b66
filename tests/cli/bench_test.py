#!/usr/bin/env python3
"""Tests of `maru bench`: bench_test.py MARU TINY_MODEL

Nothing here depends on how fast anything is. Only Python's own library is used.
"""

import csv
import io
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest
import zlib

MARU = TINY_MODEL = ""
FAST = ["--images", "12", "--warmup", "1", "--cold-starts", "0", "--meter", "none"]


def maru(*words, env=None):
    done = subprocess.run([MARU, *map(str, words)], capture_output=True, timeout=300, env={**os.environ, **(env or {})})
    return done.returncode, done.stdout.decode(), done.stderr.decode()


class Bench(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.keep = tempfile.TemporaryDirectory(prefix="maru_bench_")
        cls.tiny = pathlib.Path(cls.keep.name) / "tiny"
        subprocess.run([TINY_MODEL, cls.tiny], check=True)
        cls.has_opencl = any(line.startswith("opencl") for line in maru("devices")[1].splitlines())

    @classmethod
    def tearDownClass(cls):
        cls.keep.cleanup()

    def setUp(self):
        temporary = tempfile.TemporaryDirectory(prefix="maru_bench_")
        self.addCleanup(temporary.cleanup)
        self.dir = pathlib.Path(temporary.name)

    def bench(self, *words, device="cpu"):
        code, out, err = maru("bench", "--model", self.tiny, "--device", device, *FAST, *words)
        self.assertEqual(code, 0, err)
        return out

    def result(self, *words, **more):
        return json.loads(self.bench("--json", "-", *words, **more))

    def bad(self, code, *words, says=()):
        got, out, err = maru("bench", *words)
        self.assertEqual(got, code, err)
        self.assertEqual(out, "")
        self.assertRegex(err, r"\[[^\]]+\] expected [\s\S]+, got [\s\S]+")
        for part in says:
            self.assertIn(part, err)

    def test_text_says_what_was_measured(self):
        out = self.bench("--image", self.tiny / "red.ppm")
        for part in ["machine", "device   cpu", "crc32", "red.ppm, 12 x 10", "A copy, B zero-copy, C auto", "median",
                     "p99", "energy, mJ an image, gross (95 %)", "n/a", "zero-copy / copy", "auto / copy",
                     "do the same here, step by step, since the CPU has one memory", "equal to the last bit",
                     "ledger   passed", "drift", "red 0."]:
            self.assertIn(part, out)

    def test_json_has_it_all(self):
        result = self.result("--image", self.tiny / "red.ppm", "--blocks", "4", "--seed", "3")
        self.assertEqual(result["format"], "maru bench 1")
        self.assertEqual([way["name"] for way in result["ways"]], ["copy", "zero-copy", "auto"])
        self.assertEqual(len(result["blocks"]), 12)
        for block in result["blocks"]:
            self.assertEqual(block["runs"], 3)
            self.assertEqual(len(block["seconds"]), 3)
            self.assertIsNone(block["joules"])
        orders = result["method"]["order"].split()
        self.assertEqual([order[:3] for order in orders], [order[:2:-1] for order in orders])
        for way in result["ways"]:
            self.assertEqual(way["label"], "red")
            self.assertLessEqual(way["min"], way["median"]["value"])
            self.assertLessEqual(way["median"]["low"], way["median"]["high"])
            self.assertIsNone(way["joules"])
            self.assertIsNone(way["cold_start"])
            self.assertIsNotNone(way["stages"]["decode"])
        self.assertIsNone(result["meter"])
        self.assertEqual(result["model"]["input"], [1, 3, 8, 8])
        weights = next(self.tiny.glob("*.caffemodel")).read_bytes()
        self.assertEqual(result["model"]["crc32"], f"{zlib.crc32(weights):08x}")
        self.assertEqual(result["method"]["seed"], 3)
        self.assertIn("maru bench --model", result["command"])

    def test_the_seed_is_the_order(self):
        orders = {seed: self.result("--seed", seed, "--compare", "copy,auto")["method"]["order"] for seed in [1, 2, 3, 4]}
        self.assertGreater(len(set(orders.values())), 1)
        self.assertEqual(orders[1], self.result("--seed", 1, "--compare", "copy,auto")["method"]["order"])
        for order in orders.values():
            self.assertTrue(set(order.split()) <= {"ABBA", "BAAB"}, order)

    def test_ways_batches_and_sizes(self):
        result = self.result("--compare", "zero-copy", "--batch", "3", "--size", "31x17")
        self.assertEqual([way["name"] for way in result["ways"]], ["zero-copy"])
        self.assertEqual(result["model"]["batch"], 3)
        self.assertEqual(result["method"]["photo"], "synthetic, 31 x 17")
        self.assertEqual(result["ratios"], [])
        result = self.result("--image", self.tiny / "red.ppm", "--size", "31x17", "--write-photo")
        self.assertEqual(result["method"]["photo"], "red.ppm, 12 x 10, rescaled to 31 x 17")
        self.assertEqual(result["ways"][0]["label"], "red")
        self.assertIsNone(result["ways"][0]["stages"]["decode"])
        self.assertTrue(any("writing the photo" in note for note in result["notes"]))
        self.assertEqual(sum("no stage has it" in note for note in result["notes"]), 3)

    def test_cold_starts_are_programs_of_their_own(self):
        for photo in [["--image", self.tiny / "red.ppm"], ["--size", "40x30"]]:
            result = self.result("--cold-starts", "2", "--compare", "copy,auto", *photo)
            for way in result["ways"]:
                self.assertGreater(way["cold_start"]["value"], 0)
                self.assertGreater(way["peak_host_bytes"], 1000000)

    def test_opencl_copies_what_its_plan_says(self):
        if not self.has_opencl:
            self.skipTest("no OpenCL device")
        for size, batch in [("12x10", 1), ("13x11", 3), ("640x480", 2)]:
            result = self.result("--size", size, "--batch", batch, device="opencl")
            self.assertEqual([check["verdict"] for check in result["checks"] if check["name"] != "drift"],
                             ["passed", "passed"], result["checks"])
            copy, zero, _ = result["ways"]
            width, height = map(int, size.split("x"))
            self.assertGreaterEqual(copy["crossing_bytes"], width * height * 3)
            self.assertEqual(zero["crossing_bytes"], 0)
            self.assertEqual(zero["stages"]["copy_in"], 0)
            self.assertGreater(copy["stages"]["copy_in"], 0)

    def test_a_meter_is_used(self):
        meter = self.dir / "joules.sh"  # 20 W
        meter.write_text("#!/bin/sh\nexec awk '{printf \"%.3f\\n\", $1 * 20}' /proc/uptime\n")
        meter.chmod(0o755)
        result = self.result("--meter", f"command:{meter}", "--compare", "copy", "--blocks", "1")
        self.assertEqual(result["meter"]["name"], "command")
        self.assertGreater(result["method"]["block_seconds"], 0)
        block = result["blocks"][0]
        seconds = block["end"] - block["begin"]
        self.assertGreaterEqual(seconds, result["method"]["block_seconds"])
        # A tenth; or, where the meter was read late, what it counted meanwhile, on either edge of the window.
        times = [reading["seconds"] for reading in result["power"]]
        apart = max(later - before for before, later in zip(times, times[1:]))
        tolerance = 20 * max(0.1, 2 * apart / result["method"]["block_seconds"])
        self.assertLess(abs(block["joules"] / seconds - 20), tolerance)
        self.assertLess(abs(result["idle_watts"] - 20), tolerance)
        self.assertIsNotNone(result["ways"][0]["joules"])
        self.assertGreater(len(result["power"]), 10)

    def test_a_meter_that_fails_midway_costs_no_times(self):
        calls = self.dir / "calls"
        meter = self.dir / "joules.sh"
        # Five are asked for when it is opened; then before the first window, and within it.
        for good in [8, 65]:
            calls.write_text("")
            meter.write_text(f"#!/bin/sh\necho >>{calls}\nn=$(wc -l <{calls})\n[ $n -le {good} ] && echo $n\n")
            meter.chmod(0o755)
            result = self.result("--meter", f"command:{meter}", "--compare", "copy,auto", "--blocks", "1")
            self.assertIsNone(result["meter"])
            self.assertIsNone(result["idle_watts"])
            self.assertEqual(result["power"], [])
            self.assertEqual([absence["name"] for absence in result["meter_absences"]], ["command"])
            self.assertIn("failed midway", result["meter_absences"][0]["why"])
            self.assertTrue(any("failed midway" in note for note in result["notes"]), result["notes"])
            self.assertEqual(len(result["blocks"]), 2)
            for block in result["blocks"]:
                self.assertIsNone(block["joules"])
            for way in result["ways"]:
                self.assertGreater(way["median"]["value"], 0)
                self.assertIsNone(way["joules"])

    def test_files_are_written_and_nothing_else(self):
        out = self.bench("--json", self.dir / "a.json", "--csv", self.dir / "a.csv")
        self.assertIn("median", out)
        self.assertEqual(sorted(path.name for path in self.dir.iterdir()), ["a.csv", "a.json"])
        result = json.loads((self.dir / "a.json").read_text())
        rows = list(csv.DictReader(io.StringIO((self.dir / "a.csv").read_text())))
        self.assertEqual(len(rows), sum(len(block["seconds"]) for block in result["blocks"]))
        self.assertEqual(float(rows[0]["seconds"]), result["blocks"][0]["seconds"][0])
        self.assertEqual(rows[0]["block_joules"], "")

    def test_a_file_that_cannot_be_written_costs_no_other(self):
        code, out, err = maru("bench", "--model", self.tiny, "--device", "cpu", *FAST, "--json", "/dev/full", "--csv",
                              self.dir / "a.csv")
        self.assertEqual(code, 1, err)
        self.assertIn("/dev/full", err)
        self.assertIn("median", out)
        self.assertTrue((self.dir / "a.csv").is_file())

    def test_html_is_one_page(self):
        self.bench("--html", self.dir / "a.html", "--svg", self.dir / "a.svg", "--compare", "copy,auto")
        figure = (self.dir / "a.svg").read_text()
        self.assertTrue(figure.startswith("<svg") and figure.rstrip().endswith("</svg>"), figure[:80])
        page = (self.dir / "a.html").read_text()
        for part in ["<svg", "copy", "auto", "</html>"]:
            self.assertIn(part, page)
        self.assertNotIn("http-equiv", page)
        self.assertNotIn("<script", page)

    def test_csv_on_standard_output(self):
        rows = list(csv.DictReader(io.StringIO(self.bench("--csv", "-"))))
        self.assertEqual({row["way"] for row in rows}, {"copy", "zero-copy", "auto"})

    def test_markdown_and_paper(self):
        out = self.bench("--markdown", "--paper")
        for part in ["|---|---:|---:|---:|", "published in 2016", "0.58", "0.37", "saved"]:
            self.assertIn(part, out)

    def test_two_results(self):
        before, now = self.dir / "before.json", self.dir / "now.json"
        self.bench("--json", before)
        result = json.loads(before.read_text())
        for block in result["blocks"]:
            block["seconds"] = [0.010 + 0.0001 * run for run in range(len(block["seconds"]))]
        before.write_text(json.dumps(result))
        for block in result["blocks"]:
            block["seconds"] = [2 * seconds for seconds in block["seconds"]]
        result["model"]["precision"] = "fp16"
        now.write_text(json.dumps(result))
        code, out, err = maru("bench", "--compare-files", before, now)
        self.assertEqual(code, 0, err)
        self.assertIn("copy       time 2.000 (2.000 to 2.000), energy n/a", out)
        self.assertIn("precision: fp32 before, fp16 now", err)
        self.assertEqual(maru("bench", "--compare-files", before, now, "--fail-if-slower", "1.05")[0], 1)
        self.assertEqual(maru("bench", "--compare-files", before, now, "--fail-if-slower", "2.5")[0], 0)
        self.assertEqual(maru("bench", "--compare-files", now, before, "--fail-if-slower", "1.05")[0], 0)
        self.assertEqual(maru("bench", "--compare-files", before, before, "--fail-if-slower", "1.05")[0], 0)
        found = json.loads(maru("bench", "--compare-files", before, now, "--json", "-")[1])
        self.assertEqual(found["ways"][0]["seconds"]["value"], 2)

    def test_files_that_are_no_results(self):
        good, other = self.dir / "good.json", self.dir / "other.json"
        self.bench("--json", good)
        other.write_text('{"images": 3}')
        self.bad(1, "--compare-files", good, other, says=["other.json", "maru bench --json"])
        other.write_text(good.read_text()[:1000])
        self.bad(1, "--compare-files", other, good, says=["other.json"])
        self.bad(1, "--compare-files", good, self.dir / "none.json", says=["none.json"])

    def test_wrong_options(self):
        model = ["--model", self.tiny]
        self.bad(2, says=["--model"])
        self.bad(2, *model, "--compare", "copy,fast", says=["copy, zero-copy and auto"])
        self.bad(2, *model, "--compare", "copy,copy", says=["each way once"])
        self.bad(2, *model, "--compare", "", says=["--compare"])
        for size in ["big", "12", "0x5", "12x", "99999999x99999999", "12x10x3"]:
            self.bad(2, *model, "--size", size, says=["WIDTHxHEIGHT"])
        self.bad(2, *model, "--blocks", "0")
        self.bad(2, *model, "--fail-if-slower", "1.05", says=["--compare-files"])
        self.bad(2, *model, "--json", "-", "--csv", "-", says=["one of"])
        self.bad(2, *model, "--json", "-", "--paper", says=["one report"])
        self.bad(2, "--compare-files", "a.json", says=["two files"])
        self.bad(2, *model, "--compare-files", "a.json", "b.json", says=["measures nothing"])
        self.bad(1, *model, "--json", self.dir / "none" / "a.json", says=["--json", "folder that is there"])
        self.bad(1, *model, *FAST, "--meter", "sundial", says=["sundial"])
        self.bad(1, *model, *FAST, "--image", self.dir / "none.jpg", says=["none.jpg"])
        self.bad(1, "--model", self.dir / "none", says=["none"])
        self.bad(1, *model, "--device", "abacus", *FAST, says=["abacus"])

    def test_a_virtual_board_is_not_measured(self):
        self.bad(1, "--model", self.tiny, "--device", "board:tk1", says=["virtual board", "maru plan"])

    def test_nothing_is_left_behind_by_failing(self):
        self.bad(1, "--model", self.tiny, *FAST, "--meter", "command:false", "--json", self.dir / "a.json")
        self.assertEqual(list(self.dir.iterdir()), [])

    def test_help_teaches(self):
        code, out, _ = maru("bench", "--help")
        self.assertEqual(code, 0)
        for part in ["ABBA", "UNSTABLE", "--compare-files", "--fail-if-slower", "--meter", "Examples:"]:
            self.assertIn(part, out)


if __name__ == "__main__":
    MARU, TINY_MODEL = (str(pathlib.Path(word).resolve()) for word in sys.argv[1:3])
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
