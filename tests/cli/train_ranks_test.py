#!/usr/bin/env python3
"""Tests of `maru train` started several times, as by mpirun: train_ranks_test.py MARU TINY_MODEL

As train_test.py, whose data and solvers it uses.
"""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import unittest

import cli_test
import train_test
from train_test import floats, has_cuda, table


def free_port():
    """Two in a row are hardly ever asked for between here and there."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Ranks(train_test.TrainCase):
    def start(self, solver, *words, ranks=2, own=(), environments=()):
        """Programs of all ranks; `own` are the words of each, `environments` what each sees beside the usual."""
        port = free_port()
        programs = []
        for rank in range(ranks):
            environment = {**os.environ, "RANK": str(rank), "WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1",
                           "MASTER_PORT": str(port), **(environments[rank] if environments else {})}
            line = [cli_test.MARU, "train", "--solver", solver, *words, *(own[rank] if own else [])]
            programs.append(subprocess.Popen(list(map(str, line)), env=environment, text=True, stdout=subprocess.PIPE,
                                             stderr=subprocess.PIPE, preexec_fn=cli_test.heed_signals))
            self.addCleanup(self.end, programs[-1])
        return programs

    @staticmethod
    def end(program):
        program.kill()
        program.wait()
        program.stdout.close()
        program.stderr.close()

    def finish(self, programs, code=0):
        """Standard output and error of each."""
        said = [program.communicate(timeout=200) for program in programs]
        if any("built without Gloo" in err for _, err in said):
            self.skipTest("this maru was built without Gloo")
        if any("libnccl.so.2: cannot open" in err for _, err in said):
            self.skipTest("libnccl.so.2 is not here")
        for program, (out, err) in zip(programs, said):
            self.assertEqual(program.returncode, code, out + err)
        return said

    def train_by_ranks(self, solver, *words, code=0, **more):
        return self.finish(self.start(solver, *words, **more), code)

    def test_two_are_one_with_the_larger_batch(self):
        alone, both = self.solver("alone", batch=20), self.solver("both", batch=10)
        for more in ([], ["--test-all"]):
            with self.subTest(more):
                whole = json.loads(self.run_train(alone, "--json", *more))
                curves = [self.dir / f"curves{rank}.csv" for rank in (0, 1)]
                for curve in curves:
                    curve.unlink(missing_ok=True)
                (out, _), (other, err) = self.train_by_ranks(both, "--json", *more, own=[["--csv", curve] for curve in curves])
                found = json.loads(out)
                self.assertEqual((found["ranks"], found["batch"], whole["ranks"], whole["batch"]), (2, 10, 1, 20))
                self.assertEqual((other, err), ("", ""), "rank 0 speaks for all")
                self.assertAlmostEqual(found["loss"], whole["loss"], places=4)
                self.assertEqual(found["epoch"], whole["epoch"])
                for ours, theirs in zip(found["tests"], whole["tests"], strict=True):
                    self.assertEqual(ours["iteration"], theirs["iteration"])
                    for name, value in theirs["figures"].items():
                        self.assertAlmostEqual(ours["figures"][name], value, places=4)
                self.assertFalse(curves[1].exists())
                self.assertGreater(len(table(curves[0])), 3)
                for ours, theirs in zip(floats(self.snapshot("both", 20)[0]), floats(self.snapshot("alone", 20)[0]),
                                        strict=True):
                    self.assertAlmostEqual(ours, theirs, delta=1e-4)

    def test_going_on_is_as_if_never_stopped(self):
        whole, parts = (self.solver(name, iterations=10, snapshot=5) for name in ("whole", "parts"))
        self.train_by_ranks(whole)
        self.train_by_ranks(parts, "--max-iter", 5)
        (out, _), _ = self.train_by_ranks(parts, "--resume")
        self.assertIn("going on at iteration 5 of 10", out)
        self.assertIn("10 a pass on each of 2 ranks", out)
        self.assert_same(self.snapshot("whole", 10), self.snapshot("parts", 10))

    def test_two_on_cuda_are_one_with_the_larger_batch(self):
        """On one GPU if need be: NCCL wants a GPU for each rank of a host, so each rank then says that it is a host."""
        if not has_cuda():
            self.skipTest("there is no CUDA device here")
        on_one = [{"CUDA_VISIBLE_DEVICES": "0,0", "NCCL_HOSTID": f"maru{rank}", "NCCL_SOCKET_IFNAME": "lo"} for rank in (0, 1)]
        environments = () if has_cuda("cuda:1") else on_one
        for precision, delta in (("fp32", 1e-4), ("fp16", 2e-3)):
            with self.subTest(precision):
                alone, both = self.solver(f"{precision}_alone", batch=20), self.solver(f"{precision}_both", batch=10)
                words = ["--device", "cuda", "--precision", precision, "--json"]
                whole = json.loads(self.run_train(alone, *words))
                (out, _), _ = self.train_by_ranks(both, *words, environments=environments)
                found = json.loads(out)
                self.assertEqual((found["ranks"], found["batch"]), (2, 10))
                self.assertAlmostEqual(found["loss"], whole["loss"], delta=10 * delta)
                for ours, theirs in zip(floats(self.snapshot(both.stem, 20)[0]), floats(self.snapshot(alone.stem, 20)[0]),
                                        strict=True):
                    self.assertAlmostEqual(ours, theirs, delta=delta)

    def test_they_stop_together(self):
        """Whichever is asked; rank 1 has the snapshot written by rank 0."""
        solver = self.solver(iterations=10000000, snapshot=0)
        programs = self.start(solver)
        for line in programs[0].stdout:
            if "iteration 5/" in line:
                programs[1].send_signal(signal.SIGTERM)
                break
        (out, _), _ = self.finish(programs)
        self.assertIn("stopped at iteration", out)
        self.assertEqual(len(list((self.dir / "solver").glob("*.solverstate"))), 1)
        (out, _), _ = self.train_by_ranks(self.solver("late", iterations=10000000, snapshot=0), own=[[], ["--stop-after", "2s"]])
        self.assertIn("out of time at iteration", out)

    def test_the_same_seed_where_none_is_said(self):
        solver = self.solver()
        solver.write_text(solver.read_text().replace("random_seed: 7", ""))
        (out, _), _ = self.train_by_ranks(solver, "--max-iter", 2)
        self.assertIn("finished at iteration 2", out)

    def test_different_work_is_an_error_on_all(self):
        solver = self.solver()
        said = self.train_by_ranks(solver, own=[[], ["--max-iter", 7]], code=1)
        self.assertIn("got another on rank 1", said[0][1])
        self.assertIn("iteration 0 of 7", said[1][1])
        said = self.train_by_ranks(solver, own=[[], ["--train-data", self.val]], code=1)
        self.assertIn("train on 33 photos", said[1][1])

    def test_one_that_is_killed_ends_all(self):
        programs = self.start(self.solver(iterations=10000000, snapshot=0))
        for line in programs[0].stdout:
            if "iteration 5/" in line:
                programs[1].kill()
                break
        _, err = programs[0].communicate(timeout=200)
        if "built without Gloo" in err:
            self.skipTest("this maru was built without Gloo")
        self.assertEqual(programs[0].returncode, 1, err)
        self.assertIn("rank 1", err)

    def test_a_loss_that_is_no_number(self):
        solver = self.solver(iterations=50, snapshot=1)
        solver.write_text(solver.read_text().replace("base_lr: 0.02", "base_lr: 1e30"))
        said = self.train_by_ranks(solver, code=1)
        for _, err in said:
            self.assertIn("began with the", err)
        self.assertIn("rank 1: ", said[1][1])

    def test_a_snapshot_that_cannot_be_written(self):
        blocked = self.dir / "file"
        blocked.write_text("no folder")
        said = self.train_by_ranks(self.solver(iterations=10, snapshot=5), "--prefix", blocked / "snap", code=1)
        self.assertIn("finished at iteration 10", said[0][0])
        self.assertEqual(said[0][1].count("no snapshot:"), 3)
        self.assertEqual(said[1], ("", ""))

    def test_a_snapshot_that_one_of_them_has_not(self):
        solver = self.solver(iterations=10, snapshot=5)
        self.train_by_ranks(solver, "--max-iter", 5)
        said = self.train_by_ranks(solver, own=[["--snapshot", self.snapshot("solver", 5)[1]], []], code=1)
        self.assertIn("the same beginning on all 2 ranks, got another on rank 1", said[0][1])
        self.assertIn('the beginning of rank 0, with "going on at iteration 5"', said[1][1])

    def test_tests_are_of_what_the_snapshot_has(self):
        """Batch normalisation's statistics are each rank's own; tests and snapshots have those of rank 0."""
        layers = train_test.LAYERS.replace('layer { name: "relu"', """layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" }
layer { name: "relu\"""")
        solver = self.solver(layers=layers)
        (out, _), _ = self.train_by_ranks(solver, "--json", "--test-all")
        again = json.loads(self.run_train(solver, "--json", "--test-all", "--snapshot", self.snapshot("solver", 20)[1]))
        together, alone = (found["tests"][-1] for found in (json.loads(out), again))
        self.assertEqual((together["iteration"], alone["iteration"]), (20, 20))
        self.assertAlmostEqual(together["figures"]["loss"], alone["figures"]["loss"], places=5)

    def test_photos_that_are_wrong_are_named_by_who_met_them(self):
        broken = train_test.make_data(self.dir / "broken", 4, 3)
        (broken / "red" / "001.ppm").write_bytes(b"P6\n10 10\n255\ncut off")
        said = self.train_by_ranks(self.solver(iterations=6, snapshot=0), "--train-data", broken)
        text = said[0][1] + said[1][1]
        self.assertIn("001.ppm", text)
        self.assertEqual("rank 1: skipped" in said[1][1], "001.ppm" in said[1][1])

    def test_half_of_what_is_to_be_said(self):
        code, _, err = cli_test.maru("train", "--solver", self.solver(), env={"WORLD_SIZE": "2"})
        self.assertEqual(code, 1)
        self.assertIn("both RANK and WORLD_SIZE", err)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit("usage: train_ranks_test.py MARU TINY_MODEL [unittest options]")
    cli_test.MARU, cli_test.TINY_MODEL = (str(pathlib.Path(word).resolve()) for word in sys.argv[1:3])
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
