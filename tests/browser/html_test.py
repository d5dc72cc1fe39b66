#!/usr/bin/env python3
"""Tests of reports in a real browser: html_test.py REPORT_SAMPLE [--keep FOLDER]

REPORT_SAMPLE is the helper that writes reports (tests/report_sample_main.cpp). Each is shown wide, on a phone, in the
dark and as it is printed, by Debian's Chromium, and looked at: nothing is wider than the screen, letters are large
enough, colours stand out, drawings have a size, nothing is asked for from elsewhere. --keep keeps the pictures.
Exit code 77 where there is no Chromium.
"""

import itertools
import pathlib
import struct
import subprocess
import sys
import tempfile
import unittest
import zlib

import chromium

SKIP = 77
REPORT_SAMPLE = ""
KEEP = None
PAGES = ["bench.html", "bench_no_meter.html", "bench_unstable.html", "profile.html"]
SCREENS = {"wide": dict(width=1200), "dark": dict(width=1200, dark=True), "phone": dict(width=390, phone=True),
           "small": dict(width=320, phone=True), "dark_phone": dict(width=380, phone=True, dark=True),
           "print": dict(width=794, media="print", dark=True)}
LEAST_LETTERS = 9.5  # CSS pixels, of letters in drawings

# Everything that is shown, with what a reader would complain about.
LOOK = """(() => {
  const shown = e => e.getClientRects().length > 0;
  const rgb = c => (c.match(/[\\d.]+/g) || []).map(Number);
  const light = c => { const [r, g, b] = c.map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
                       return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const contrast = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p); return (x + 0.05) / (y + 0.05); };
  const under = e => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor);
                                                         if (c.length == 3 || c[3] > 0) return c; } return [255, 255, 255]; };
  const faint = new Set();
  for (const e of document.querySelectorAll('body *')) {
    const own = [...e.childNodes].some(n => n.nodeType == 3 && n.data.trim());
    if (!shown(e) || !own || ['STYLE', 'title', 'desc'].includes(e.tagName)) continue;
    const style = getComputedStyle(e), inside = e.namespaceURI.endsWith('svg');
    if (inside && e.classList.contains('on')) continue;  // on bars, below
    const ratio = contrast(rgb(inside ? style.fill : style.color), under(inside ? e.closest('svg') : e));
    if (ratio < 4.5) faint.add(`${e.tagName}.${e.getAttribute('class')} ${ratio.toFixed(2)}`);
  }
  for (const e of document.querySelectorAll('svg rect')) {
    const names = e.getAttribute('class') || '';
    if (!shown(e) || !/\\bw\\d/.test(names) || /shade/.test(names)) continue;
    const ratio = contrast(rgb(getComputedStyle(e).fill), under(e.closest('svg')));
    if (ratio < 4.5) faint.add(`bar ${names} ${ratio.toFixed(2)}`);
  }
  const drawings = [...document.querySelectorAll('svg')].filter(shown);
  return {
    wider: document.documentElement.scrollWidth - WIDTH,  // a phone's innerWidth grows with what is too wide
    out: [...document.querySelectorAll('body *')].filter(e => shown(e) && !e.closest('svg') && !e.closest('.scroll') &&
        e.getBoundingClientRect().right > WIDTH + 1).map(e => e.tagName + ': ' + e.textContent.slice(0, 40)),
    drawings: drawings.map(e => ({id: e.getAttribute('aria-labelledby'), w: e.getBoundingClientRect().width,
        h: e.getBoundingClientRect().height, named: !!e.querySelector('title').textContent && e.getAttribute('role') == 'img',
        // Beyond its own edge nothing of a drawing is seen.
        cut: [...e.querySelectorAll('text')].filter(t => { const a = t.getBoundingClientRect(), b = e.getBoundingClientRect();
             return a.left < b.left - 1 || a.right > b.right + 1 || a.top < b.top - 1 || a.bottom > b.bottom + 1; })
             .map(t => t.textContent)})),
    letters: Math.min(...drawings.flatMap(d => [...d.querySelectorAll('text')].map(t =>
        parseFloat(getComputedStyle(t).fontSize) * d.getBoundingClientRect().width / d.viewBox.baseVal.width))),
    faint: [...faint],
    heads: [...document.querySelectorAll('th')].filter(e => !e.hasAttribute('scope')).length,
    ground: rgb(getComputedStyle(document.body).backgroundColor),
  };
})()"""


def pixels(png):
    """Width, height and rows of a PNG as Chromium writes it: 8 bits, RGB or RGBA, not interlaced."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    at, data = 8, b""
    while at < len(png):
        length, kind = struct.unpack(">I4s", png[at:at + 8])
        if kind == b"IHDR":
            width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", png[at + 8:at + 21])
            assert depth == 8 and colour in (2, 6) and not interlaced
        if kind == b"IDAT":
            data += png[at + 8:at + 8 + length]
        at += 12 + length
    return width, height, zlib.decompress(data), 4 if colour == 6 else 3


def busy_rows(png):
    """The share of rows that are not all of one colour. Filters of rows are relative to the pixel before, or the row
    above: a row of one colour is all zeros but for its filter and first pixel, or where the row above repeats."""
    width, height, data, channels = pixels(png)
    stride = width * channels + 1
    busy = sum(any(data[row * stride + 1 + channels:(row + 1) * stride]) for row in range(height))
    return busy / height


class Reports(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory(prefix="maru_html_")
        cls.addClassCleanup(cls.temporary.cleanup)
        cls.dir = pathlib.Path(cls.temporary.name)
        subprocess.run([REPORT_SAMPLE, cls.dir], check=True)
        cls.browser = chromium.Chromium(chromium.find()).__enter__()
        cls.addClassCleanup(cls.browser.__exit__)

    def test_pages(self):
        for page, (name, screen) in itertools.product(PAGES, SCREENS.items()):
            with self.subTest(page=page, screen=name):
                self.browser.show(self.dir / page, **screen)
                self.check(page, name, self.browser.evaluate(LOOK.replace("WIDTH", str(screen["width"]))))

    def check(self, page, name, look):
        self.assertEqual(self.browser.requests, [(self.dir / page).as_uri()], "it needs nothing else")
        self.assertLessEqual(look["wider"], 0, "nobody scrolls sideways")
        self.assertEqual(look["out"], [])
        self.assertGreaterEqual(len(look["drawings"]), 2)
        for drawing in look["drawings"]:
            self.assertGreater(drawing["w"], 200, drawing)
            self.assertGreater(drawing["h"], 40, drawing)
            self.assertTrue(drawing["named"], drawing)
            self.assertEqual(drawing["cut"], [], drawing["id"])
        self.assertGreaterEqual(look["letters"], 8 if name == "small" else LEAST_LETTERS)
        self.assertEqual(look["faint"], [], "colours that do not stand out")
        self.assertEqual(look["heads"], 0, "heads of a table say of what")
        self.assertEqual(max(look["ground"]) < 64, "dark" in name, look["ground"])
        picture = self.browser.screenshot()
        self.assertGreater(busy_rows(picture), 0.3, "an empty picture")
        if KEEP:
            (KEEP / f"{page.removesuffix('.html')}_{name}.png").write_bytes(picture)

    def test_figure_alone(self):
        for dark in [False, True]:
            with self.subTest(dark=dark):
                self.browser.show(self.dir / "bench.svg", width=900, height=420, dark=dark)
                ground = self.browser.evaluate(
                    "getComputedStyle(document.querySelector('.ground')).fill.match(/\\d+/g).map(Number)")
                self.assertEqual(max(ground) < 64, dark)
                self.assertEqual(self.browser.evaluate(
                    "[...document.querySelectorAll('text')].filter(t => t.getBoundingClientRect().right > "
                    "document.documentElement.getBoundingClientRect().right + 1).map(t => t.textContent)"), [])
                picture = self.browser.screenshot()
                self.assertGreater(busy_rows(picture), 0.3)
                if KEEP:
                    (KEEP / f"figure_{'dark' if dark else 'light'}.png").write_bytes(picture)


class Tools(unittest.TestCase):
    def test_empty_pictures_are_known(self):
        def png(rows):
            def chunk(kind, data):
                return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
            head = struct.pack(">IIBBBBB", 4, len(rows), 8, 2, 0, 0, 0)
            return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"".join(rows))) + \
                chunk(b"IEND", b"")
        blank = b"\1" + b"\xff\xff\xff" + b"\0" * 9
        self.assertEqual(busy_rows(png([blank] * 8)), 0)
        self.assertEqual(busy_rows(png([blank, b"\1" + b"\xff" * 3 + b"\0\0\0\5\5\5\0\0\0"])), 0.5)


if __name__ == "__main__":
    words = sys.argv[1:]
    if "--keep" in words:
        at = words.index("--keep")
        KEEP = pathlib.Path(words[at + 1])
        KEEP.mkdir(parents=True, exist_ok=True)
        del words[at:at + 2]
    if not words:
        sys.exit("usage: html_test.py REPORT_SAMPLE [--keep FOLDER] [unittest options]")
    if chromium.find() is None:
        print(f"skipped: none of {', '.join(chromium.NAMES)} is here; try apt-get install chromium")
        sys.exit(SKIP)
    REPORT_SAMPLE = words[0]
    unittest.main(argv=[sys.argv[0], *words[1:]])
