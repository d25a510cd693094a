"""What the tests of the programs share: running them, reference cases, PNG files without other packages.

Environment: TESSERA_BIN (folder of the programs), TESSERA_SOURCE (the checkout).
"""
import functools
import json
import os
import pathlib
import struct
import subprocess
import tempfile
import unittest
import zlib

BIN = pathlib.Path(os.environ["TESSERA_BIN"])
SOURCE = pathlib.Path(os.environ["TESSERA_SOURCE"])
MODEL = SOURCE / "examples/data/shapes-vl"
PICTURES = SOURCE / "examples/data"
IMAGES = SOURCE / "tests/golden/images"
CASES = SOURCE / "tests/programs/golden"
SHARED = SOURCE.parent / "shared/golden"
QWEN3VL = str(BIN / "qwen3vl")
INSPECT = str(BIN / "tessera-inspect")


def environment(**more):
    return {k: v for k, v in os.environ.items() if not k.startswith("TESSERA_ISA")} | {"LC_ALL": "C"} | more


def run(*args, stdin=subprocess.DEVNULL, env=None, timeout=120, **more):
    """Runs a program; .stdout and .stderr are bytes."""
    if isinstance(stdin, (str, bytes)):
        more["input"] = stdin.encode() if isinstance(stdin, str) else stdin
    else:
        more["stdin"] = stdin
    more.setdefault("stdout", subprocess.PIPE)
    return subprocess.run([str(a) for a in args], stderr=subprocess.PIPE, env=env or environment(), timeout=timeout, **more)


def ask(*args, **more):
    return run(QWEN3VL, "-m", MODEL, *args, **more)


def usable_level(name):
    """Whether this machine offers the instruction set."""
    levels = json.loads(run(INSPECT, "--cpu", "--json").stdout)["cpu"]["levels"]
    return any(level["level"] == name and level["usable"] for level in levels)


@functools.cache
def plain_environment():
    """Of a level that rounds nothing to bfloat16: for numbers that are held against those of f32."""
    return environment(TESSERA_ISA="x86_avx2" if usable_level("x86_avx2") else "scalar")


class ProgramTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def assert_success(self, result):
        self.assertEqual(result.returncode, 0, result.stderr.decode(errors="replace"))

    def assert_error(self, result, status, *parts):
        """One line `error: …` with these parts, nothing on standard output, this exit status."""
        text = result.stderr.decode()
        self.assertEqual(result.returncode, status, text)
        if result.stdout is not None:
            self.assertEqual(result.stdout, b"")
        errors = [line for line in text.splitlines() if line.startswith("error: ")]
        self.assertEqual(len(errors), 1, text)
        for part in parts:
            self.assertIn(part, errors[0])
        self.assertFalse([c for c in text if ord(c) < 32 and c != "\n"], "control characters reach the terminal")

    def report(self, *args, **more):
        """The object of --json, and the run."""
        path = self.folder / "report.json"
        result = ask(*args, "--json", path, **more)
        self.assert_success(result)
        return json.loads(path.read_text()), result


def case(name):
    return json.loads((CASES / f"{name}.json").read_text())


def write_png(path, width, height, pixel=lambda x, y: (255, 255, 255)):
    rows = b"".join(b"\0" + bytes(c for x in range(width) for c in pixel(x, y)) for y in range(height))
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    pathlib.Path(path).write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
                                   + chunk(b"IDAT", zlib.compress(rows, 1)) + chunk(b"IEND", b""))


def read_png(path):
    """(width, height, RGB bytes) of an 8-bit RGB file."""
    data = pathlib.Path(path).read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    packed, at = b"", 8
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + size]
        if kind == b"IHDR":
            width, height, depth, colour = struct.unpack(">IIBB", body[:10])
            assert (depth, colour) == (8, 2)
        if kind == b"IDAT":
            packed += body
        at += 12 + size
    raw, line = zlib.decompress(packed), 3 * width
    out, above = bytearray(), bytearray(line)
    for y in range(height):
        method, row = raw[y * (line + 1)], bytearray(raw[y * (line + 1) + 1:(y + 1) * (line + 1)])
        for i in range(line):
            a, b, c = (row[i - 3] if i >= 3 else 0), above[i], (above[i - 3] if i >= 3 else 0)
            p = a + b - c
            paeth = min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))[2]
            row[i] = (row[i] + (0, a, b, (a + b) // 2, paeth)[method]) & 255
        out += row
        above = row
    return width, height, bytes(out)
