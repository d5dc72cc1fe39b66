#!/usr/bin/env python3
"""Tests of `maru profile`: profile_test.py MARU TINY_MODEL

As cli_test.py, whose helpers it uses. No time is compared with another: machines that run tests are busy.
"""

import html.parser
import json
import os
import pathlib
import sys
import unittest

import cli_test
from cli_test import Case, RED, maru, ppm

FAST = ["--runs", 3, "--no-roof"]


class Page(html.parser.HTMLParser):
    """Words of a page, and addresses of what it would load."""

    def __init__(self, text):
        super().__init__()
        self.words, self.addresses, self.ids = "", [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name in ("href", "src", "xlink:href", "data", "action"):
                self.addresses.append(value)
            if name == "id":
                self.ids.append(value)

    def handle_data(self, data):
        self.words += data


class Profile(Case):
    def profile(self, *words):
        """Text and JSON of a profile of the tiny model."""
        file = self.dir / "profile.json"
        text = self.good("profile", "--model", self.tiny, *FAST, "--json", file, *words)
        return text, json.loads(file.read_text())

    def steps_of_plan(self, *words):
        return json.loads(self.good("plan", self.tiny, *words, "--json"))["steps"]

    def check(self, found):
        self.assertEqual(found["format"], "maru profile 1")
        self.assertGreater(found["run_seconds"]["value"], 0)
        self.assertAlmostEqual(sum(step["share"] for step in found["steps"]), 1, places=6)
        self.assertAlmostEqual(sum(step["seconds"]["value"] for step in found["steps"]), found["sum_seconds"], places=9)
        for step in found["steps"]:
            seconds = step["seconds"]
            self.assertLessEqual(seconds["low"], seconds["value"])
            self.assertLessEqual(seconds["value"], seconds["high"])
            self.assertIsNone(step["joules"])
            self.assertIn(step["kind"], ["kernel", "copy", "wait", "release"])

    def test_one_report_on_standard_output(self):
        found = json.loads(self.good("profile", "--model", self.tiny, *FAST, "--json", "-", cwd=self.dir))
        self.check(found)
        self.assertFalse((self.dir / "-").exists())
        self.bad(2, "profile", "--model", self.tiny, *FAST, "--json", "-", "--html", "-", says=["one of --json"])

    def test_every_step_of_the_plan(self):
        text, found = self.profile("--threads", 1)
        self.check(found)
        planned = [step["name"] for step in self.steps_of_plan("--threads", 1)]
        self.assertEqual([step["name"] for step in found["steps"]], planned)
        self.assertEqual(found["runs"], 3)
        self.assertEqual({step["times"] for step in found["steps"]}, {1}, "the CPU is not waited for")
        self.assertEqual(found["overhead_seconds"], 0)
        self.assertEqual(found["photo"], "noise, 640 x 480")
        self.assertEqual(found["model"]["input"], [1, 3, 8, 8])
        self.assertIn("maru profile --model", found["command"])
        for name in planned:
            self.assertIn(name, text)
        for part in ["a whole run", "share", "energy: n/a", "--energy", "note:"]:
            self.assertIn(part, text)

    def test_photos_tensors_and_batches(self):
        photo = ppm(self.dir / "red.ppm", RED)
        _, found = self.profile("--image", photo, "--batch", 2)
        self.assertEqual((found["photo"], found["model"]["batch"]), ("red.ppm", 2))
        _, found = self.profile("--raw", "--no-optimize")
        self.assertEqual(found["photo"], "raw tensors, noise")
        self.assertEqual([step["name"] for step in found["steps"]],
                         [step["name"] for step in self.steps_of_plan("--raw", "--no-optimize")])
        self.check(found)

    def test_top(self):
        text, found = self.profile("--top", 1)
        longest = max(found["steps"], key=lambda step: step["seconds"]["value"])
        table = text.split("\n\n")[1].splitlines()
        self.assertEqual(len(table), 2)
        self.assertIn(longest["name"], table[1])

    def test_other_devices(self):
        """Devices that work on their own are waited for; copies and waits are steps, too."""
        names = [line.split()[0] for line in self.good("devices").splitlines() if line and not line.startswith(" ")]
        others = [name for name in names if name != "cpu"]
        if not others:
            self.skipTest("no device here but the CPU; pocl-opencl-icd makes one")
        for device in others:
            with self.subTest(device=device):
                _, found = self.profile("--device", device, "--memory", "copy")
                self.check(found)
                self.assertEqual(found["device"], device)
                self.assertTrue(any(step["kind"] == "copy" for step in found["steps"]))
                self.assertGreater(found["overhead_seconds"], 0)

    def test_roof(self):
        file = self.dir / "profile.json"
        text = self.good("profile", "--model", self.tiny, "--runs", 2, "--json", file)
        found = json.loads(file.read_text())
        roof, = found["roofs"]
        self.assertGreater(roof["flops"], 1e8)
        self.assertGreater(roof["bytes"], 1e8)
        self.assertIn("1 x 1 convolution", roof["flops_of"])
        self.assertTrue(any(step["roof_share"] for step in found["steps"]))
        self.assertIn("roof of cpu", text)

    def test_html(self):
        file = self.dir / "report.html"
        _, found = self.profile("--html", file)
        text = file.read_text()
        page = Page(text)
        self.assertEqual(page.addresses, [], "it needs nothing else")
        self.assertEqual(len(page.ids), len(set(page.ids)))
        self.assertNotIn("<script", text)
        for step in found["steps"]:
            self.assertIn(step["name"], page.words)
            self.assertIn(f"{step['share'] * 100:.1f} %", page.words)
        self.assertIn(found["when"], page.words)

    def test_trace(self):
        file = self.dir / "trace.json"
        _, found = self.profile("--trace", file)
        trace = json.loads(file.read_text())
        events = [event for event in trace["traceEvents"] if event["ph"] == "X"]
        self.assertEqual([event["name"] for event in events], [step["name"] for step in found["steps"]])
        rows = {event["tid"]: event["args"]["name"] for event in trace["traceEvents"] if event["name"] == "thread_name"}
        end = 0
        for event, step in zip(events, found["steps"], strict=True):
            self.assertEqual(rows[event["tid"]], step["device"])
            self.assertAlmostEqual(event["ts"], end, places=3)
            self.assertAlmostEqual(event["dur"], step["seconds"]["value"] * 1e6, places=3)
            end = event["ts"] + event["dur"]

    def test_energy_that_nobody_tells(self):
        text, found = self.profile("--energy", "--meter", "none")
        self.assertIsNone(found["meter"])
        self.assertIn("energy: n/a", text)

    def test_energy_that_fails_midway(self):
        """The times are kept, and it is said why there is no energy."""
        count, meter = self.dir / "count", self.dir / "meter.sh"
        count.write_text("0")
        meter.write_text(f"n=$(($(cat {count}) + 1)); echo $n > {count}; test $n -lt 30 && echo $n\n")
        file = self.dir / "profile.json"
        code, text, err = maru("profile", "--model", self.tiny, *FAST, "--energy", "--meter", f"command:sh {meter}",
                               "--json", file)
        self.assertEqual(code, 0, err)
        self.assertIn("energy is n/a", err)
        found = json.loads(file.read_text())
        self.assertIsNone(found["meter"])
        self.assertIn("status 1", found["meter_absences"][0]["why"])
        self.assertGreater(found["run_seconds"]["value"], 0)
        for part in ["a whole run", "energy: n/a", "status 1"]:
            self.assertIn(part, text)

    def test_boards_are_modelled_not_measured(self):
        self.bad(1, "profile", "--model", self.tiny, "--device", "board:tk1", says=["modelled", "maru plan"])

    def test_wrong_options(self):
        self.bad(2, "profile", says=["--model"])
        self.bad(2, "profile", "--model", self.tiny, "--runs", 0, says=["--runs"])
        self.bad(2, "profile", "--model", self.tiny, "--raw", "--image", "x.ppm", says=["--image", "--raw"])
        self.bad(1, "profile", "--model", self.tiny, *FAST, "--image", self.dir / "none.ppm", says=["none.ppm"])
        self.bad(1, "profile", "--model", self.tiny, *FAST, "--energy", "--meter", "sundial", says=["sundial"])

    def test_files_are_whole_or_not_there(self):
        self.bad(1, "profile", "--model", self.tiny, *FAST, "--html", self.dir / "no" / "report.html",
                 says=["report.html"])
        self.assertFalse((self.dir / "no").exists())
        page = self.dir / "page.html"
        code, out, _ = maru("profile", "--model", self.tiny, *FAST, "--json", "/dev/full", "--html", page)
        self.assertEqual(code, 1)
        self.assertIn("a whole run", out)
        page.unlink()
        old = self.dir / "old.json"
        old.write_text("old")
        code, _, _ = maru("profile", "--model", self.tiny, *FAST, "--json", old, "--image", self.dir / "none.ppm")
        self.assertEqual((code, old.read_text()), (1, "old"))
        self.assertEqual([path.name for path in self.dir.iterdir()], ["old.json"], "nothing is left behind")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit("usage: profile_test.py MARU TINY_MODEL [unittest options]")
    cli_test.MARU, cli_test.TINY_MODEL = (str(pathlib.Path(word).resolve()) for word in sys.argv[1:3])
    os.environ.pop("NO_COLOR", None)
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
