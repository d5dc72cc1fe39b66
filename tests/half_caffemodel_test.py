#!/usr/bin/env python3
"""tools/half_caffemodel: what it writes computes the same but for rounding, is smaller, and bad input is an error.

    half_caffemodel_test.py MARU TINY_MODEL
"""

import json
import pathlib
import struct
import subprocess
import sys
import tempfile

TOOL = pathlib.Path(__file__).resolve().parents[1] / "tools" / "half_caffemodel"


def halve(source, target):
    return subprocess.run([sys.executable, TOOL, source, target], capture_output=True, text=True)


def scores(maru, folder, weights):
    done = subprocess.run([maru, "classify", "--json", "--top", "4", "--device", "cpu", "--model", folder, "--weights", weights,
                           folder / "red.ppm"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return {one["index"]: one["score"] for one in json.loads(done.stdout)[0]["top"]}


def varint(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out + bytes([value]))


def field(number, data):
    return varint(number << 3 | 2) + varint(len(data)) + data


def net(values, extents):
    blob = field(7, field(1, b"".join(varint(extent) for extent in extents))) + field(5, struct.pack(f"<{len(values)}f", *values))
    return field(100, field(1, b"conv1") + field(2, b"Convolution") + field(7, blob))


def main():
    maru, tiny_model = sys.argv[1:]
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        subprocess.run([tiny_model, folder], check=True)
        whole = next(folder.glob("*.caffemodel"))
        half = folder / "other" / "half.caffemodel"
        half.parent.mkdir()
        done = halve(whole, half)
        assert done.returncode == 0, done.stderr
        assert half.stat().st_size < whole.stat().st_size
        before, after = scores(maru, folder, whole), scores(maru, folder, half)
        assert before.keys() == after.keys() and len(before) > 1, (before, after)
        # Filters are off by 2^-11 of themselves at most, scores by little more.
        assert all(abs(before[i] - after[i]) < 2e-3 for i in before), (before, after)

        # Rounded to nearest even, and a matrix alone: a vector keeps its bits, however large.
        source, target = folder / "in", folder / "out"
        source.write_bytes(net([1 + 2.0**-11, 1 + 3 * 2.0**-11], [2, 1, 1, 1]))
        assert halve(source, target).returncode == 0 and target.read_bytes() == source.read_bytes()
        source.write_bytes(net([1 + 2.0**-11, 1 + 3 * 2.0**-11, 0.1, -2], [2, 2]))
        assert halve(source, target).returncode == 0
        assert struct.pack("<4e", 1, 1 + 2.0**-9, 0.1, -2) in target.read_bytes()
        source.write_bytes(net([1e8, 1e8], [2]))
        assert halve(source, target).returncode == 0 and target.read_bytes() == source.read_bytes()

        target.unlink()
        for what, data in (("a half can have", net([1e8] * 4, [2, 2])), ("(V2)", b""), ("cut off", whole.read_bytes()[:-3])):
            source.write_bytes(data)
            done = halve(source, target)
            assert done.returncode == 1 and what in done.stderr, (what, done.stderr)
            assert not target.exists() and not list(folder.glob("tmp*"))
    print("half_caffemodel: passed")


if __name__ == "__main__":
    main()
