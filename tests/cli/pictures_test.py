#!/usr/bin/env python3
"""The shipped network names the shipped pictures: pictures_test.py MARU [FOLDER_OF_THE_REPOSITORY]

Each file of examples/photos is called after its class, which must be the best label.
"""

import json
import os
import pathlib
import subprocess
import sys

# A clear answer, not a lucky one: the least of them has 74 %; rounding to half precision moves a score by far less than this leaves.
LEAST_SCORE = 0.6


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    root = pathlib.Path(sys.argv[2] if len(sys.argv) == 3 else pathlib.Path(__file__).resolve().parents[2])
    model = root / "models" / "googlenet-tiny"
    pictures = sorted((root / "examples" / "photos").glob("*.jpg"))
    if len(pictures) < 5:
        sys.exit(f"expected 5 pictures at least in {root}/examples/photos, got {[picture.name for picture in pictures]}")
    done = subprocess.run([sys.argv[1], "classify", "--json", "--device", "cpu", "--model", model, *pictures], capture_output=True,
                          text=True, timeout=300, env={**os.environ, "NO_COLOR": "1"})
    if done.returncode:
        sys.exit(f"maru classify: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    results = {pathlib.Path(result["image"]).stem: result["top"][0] for result in json.loads(done.stdout)}
    wrong = [picture.stem for picture in pictures if picture.stem not in results]
    for name, best in results.items():
        # A label is an identifier and the names of the class: "n02948072 candle, taper, wax light".
        names = best["label"].split(" ", 1)[1].split(", ")
        right = name in names and best["score"] >= LEAST_SCORE
        print(f"{name}: {best['label']} {best['score']:.3f}{'' if right else '  WRONG'}")
        if not right:
            wrong.append(name)
    if wrong:
        sys.exit(f"expected each picture's own class, with {LEAST_SCORE} or more; wrong: {', '.join(wrong)}")
    return 0


sys.exit(main())
