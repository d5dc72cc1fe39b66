"""What tools/new_op and tools/new_backend share: names, refusing to overwrite, formatting."""

import argparse
import pathlib
import re
import shutil
import subprocess
import sys


def arguments(doc, what):
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help=f"{what}, in lower_case: file, class and kernel are named for it")
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parent.parent,
                        help="the repository; default: the one this tool is in")
    given = parser.parse_args()
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", given.name):
        sys.exit(f'[{given.name}] expected a name in lower_case, got "{given.name}"; try one like soft_sign')
    return given


def type_name(name):
    return "".join(word.capitalize() for word in name.split("_"))


def write(root, files):
    """files: path below root -> text. Refuses when one is there."""
    for path in files:
        if (root / path).exists():
            sys.exit(f"[{path}] expected no such file, got one; try another name")
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
        print(f"wrote {path}")


def clang_format(root, paths):
    tool = shutil.which("clang-format-14")
    if tool:
        subprocess.run([tool, "-i", *paths], cwd=root, check=True)
    else:
        print("clang-format-14 is not installed: run ./dev format")
