"""Questions about fresh scenes: the score is that of transformers, up to one answer, and what formats make of it.

The rules of scoring are those of shared/golden/make/score.py, copied from there.
"""
import collections
import concurrent.futures
import json
import os
import re
import sys
import unittest

import support
from support import BIN, QWEN3VL, ProgramTest, run

TASKS = support.SHARED / "tasks"
MODEL = support.SHARED / "shapes-vl"
EVAL = BIN / "tessera-eval"


def phrases(text):
    return collections.Counter(re.findall(r"(?:big|small) \w+ \w+ (?:in the center|at the [a-z]+(?: left| right)?|on the \w+)", text))


def boxes(text):
    m = re.search(r"\[\s*\{.*\}\s*\]", text, re.S)
    try:
        return [(b["label"], [float(x) for x in b["bbox_2d"]]) for b in json.loads(m.group(0))]
    except (AttributeError, ValueError, KeyError, TypeError):
        return []


def iou(a, b):
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if w <= 0 or h <= 0:
        return 0.0
    area = lambda r: (r[2] - r[0]) * (r[3] - r[1])
    return w * h / (area(a) + area(b) - w * h)


def score(kind, answer, text):
    if kind == "describe":
        want, got = phrases(answer), phrases(text)
        return sum((want & got).values()) / max(sum(want.values()), sum(got.values()), 1)
    if kind in ("boxes", "box_one"):
        want, got, hit = boxes(answer), boxes(text), 0
        left = list(want)
        for label, box in got:
            best = max((w for w in left if w[0] == label), key=lambda w: iou(w[1], box), default=None)
            if best and iou(best[1], box) >= 0.5:
                left.remove(best)
                hit += 1
        return 2 * hit / max(1, len(want) + len(got))
    return float(answer.strip() == text.strip())


class Tasks(ProgramTest):
    def answer(self, task):
        pictures = [x for name in task["images"] for x in ("--image", TASKS / name)]
        result = run(QWEN3VL, "-m", MODEL, *pictures, "-p", task["prompt"], "--greedy", "-n", 250, "-t", 1)
        self.assert_success(result)
        return result.stdout.decode().removesuffix("\n")

    def test_score_is_that_of_transformers(self):
        tasks = [json.loads(line) for line in (TASKS / "tasks.jsonl").read_text().splitlines()]
        reference = [json.loads(line)["text"] for line in (TASKS / "reference_answers.jsonl").read_text().splitlines()]
        kept = [(t, r) for t, r in zip(tasks, reference, strict=True) if "video" not in t]
        with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            answers = list(pool.map(self.answer, [t for t, _ in kept]))
        ours = sum(score(t["kind"], t["answer"], a) for (t, _), a in zip(kept, answers))
        theirs = sum(score(t["kind"], t["answer"], r) for t, r in kept)
        same = sum(a == r for (_, r), a in zip(kept, answers))
        print(f"{len(kept)} tasks: score {ours / len(kept):.4f}, transformers {theirs / len(kept):.4f}, {same} answers word for word")
        self.assertAlmostEqual(ours, theirs, delta=1.0)


class Quantized(ProgramTest):
    """What a format costs on the whole set of questions."""
    def quantize(self, precision):
        folder = self.folder / precision
        self.assert_success(run(BIN / "tessera-quantize", "-i", MODEL, "-o", folder, "-p", precision))
        text, = folder.glob("shapes-vl-*.gguf")
        vision, = folder.glob("mmproj-*.gguf")
        return text, vision

    def score(self, *model):
        path = self.folder / "score.json"
        self.assert_success(run(EVAL, *model, "--tasks", TASKS, "--json", path))
        return json.loads(path.read_text())["tasks"]

    def agreement(self, text, vision):
        path = self.folder / "kl.json"
        self.assert_success(run(EVAL, "-m", text, "--mmproj", vision, "--kl", MODEL, "--tasks", TASKS, "--json", path))
        return json.loads(path.read_text())["divergence"]["tasks"]["top1_agreement"]

    def test_int8_and_int4_keep_the_score(self):
        whole = self.score("-m", MODEL)
        int8, int4 = self.quantize("int8"), self.quantize("int4")
        for text, vision in (int8, int4):
            found = self.score("-m", text, "--mmproj", vision)
            self.assertEqual(found["count"], whole["count"])
            self.assertGreaterEqual(found["score"], whole["score"] - 3 / 200)
        self.assertGreaterEqual(self.agreement(*int8), 0.99)
        # llama.cpp's file of the same format holds the bytes of the reference encoder.
        reference = self.agreement(support.SHARED / "gguf/shapes-vl-q4_0.gguf", int4[1])
        self.assertGreater(self.agreement(*int4), reference)


if __name__ == "__main__":
    if not TASKS.exists():
        print(f"skipped: needs {TASKS}")
        sys.exit(77)
    unittest.main()
