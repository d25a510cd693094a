"""Makes scores.jsonl: what shared/golden/make/score.py gives for hand-made and for damaged answers.

    PYTHONPATH=shared/golden/make python3 make_scores.py shared/golden/tasks > scores.jsonl
"""
import json
import random
import sys

from score import score

BOX = '{"label": "red circle", "bbox_2d": [100, 100, 300, 300]}'
NEAR = '{"label": "red circle", "bbox_2d": [120, 100, 320, 300]}'
FAR = '{"label": "red circle", "bbox_2d": [500, 500, 700, 700]}'
HALF = '{"label": "red circle", "bbox_2d": [100, 100, 300, 200]}'  # IoU 0.5 exactly
BLUE = '{"label": "blue circle", "bbox_2d": [100, 100, 300, 300]}'
A, B = "big red circle in the center", "small blue star at the top left"

HAND = [
    ("describe", A, A), ("describe", A + ", " + A, A), ("describe", A, A + ", " + A), ("describe", "", ""),
    ("describe", A + " and " + B, B + "; " + A), ("describe", A, "nothing"), ("describe", "nothing", A),
    ("describe", "xbig red circle in the center", A), ("describe", "big red circle in the centered", A),
    ("describe", "big  red circle in the center", A), ("describe", "big red circle\nin the center", A),
    ("describe", "Big red circle in the center", A), ("describe", "big big red circle in the center", A),
    ("describe", "big small red circle in the center", A), ("describe", "big red_1 circle2 on the left", "big red_1 circle2 on the left side"),
    ("describe", "big red circle on the ", A), ("describe", "big red circle at the Top", A),
    ("describe", "small blue star at the top leftover", B), ("describe", "small blue star at the top left right", B),
    ("describe", "small blue star at the top", B), ("describe", "small blue star at the top right", "small blue star at the topright"),
    ("describe", "big r\u00f6t circle in the center", "big r\u00f6t circle in the center"),
    ("describe", "big red circle in the center" * 2, A), ("describe", "big red circle on the big red circle in the center", A),
    ("boxes", f"[{BOX}]", f"[{BOX}]"), ("boxes", f"[{BOX}]", f"[{NEAR}]"), ("boxes", f"[{BOX}]", f"[{FAR}]"),
    ("boxes", f"[{BOX}]", f"[{HALF}]"), ("boxes", f"[{BOX}]", f"[{BLUE}]"), ("boxes", f"[{BOX}, {FAR}]", f"[{NEAR}, {BOX}]"),
    ("boxes", f"[{BOX}, {NEAR}]", f"[{NEAR}, {BOX}]"), ("boxes", f"[{BOX}, {BOX}]", f"[{BOX}]"), ("boxes", f"[{BOX}]", f"[{BOX}, {BOX}]"),
    ("boxes", f"[{BOX}]", f"Here: ```json\n[\n{BOX}\n]\n``` done"), ("boxes", f"[{BOX}]", BOX), ("boxes", f"[{BOX}]", f"[{BOX}"),
    ("boxes", f"[{BOX}]", f"[{BOX}] and [{FAR}]"), ("boxes", f"[{BOX}]", f"[1] [{BOX}]"), ("boxes", f"[{BOX}]", f"[{BOX}] [2]"),
    ("boxes", f"[{BOX}]", f"[[{BOX}]]"), ("boxes", f"[{BOX}]", "[{}]"), ("boxes", f"[{BOX}]", "[{]"), ("boxes", "", ""),
    ("boxes", f"[{BOX}]", f"[{BOX}, 3]"), ("boxes", f"[{BOX}]", f'[{BOX}, {{"label": "x"}}]'),
    ("boxes", f"[{BOX}]", f'[{BOX}, {{"label": "x", "bbox_2d": [1]}}]'), ("boxes", f"[{BOX}]", f'[{BOX}, {{"label": "x", "bbox_2d": null}}]'),
    ("boxes", f"[{BOX}]", '[{"label": "red circle", "bbox_2d": [300, 300, 100, 100]}]'),
    ("boxes", f"[{BOX}]", '[{"label": "red circle", "bbox_2d": [100, 100, 300, 300, 9]}]'),
    ("boxes", f"[{BOX}]", '[{"label": "red circle", "bbox_2d": [100.5, 1e2, 300, 3e2], "more": {"a": [1]}}]'),
    ("boxes", f"[{BOX}]", "\u3000[\t" + BOX + "\r\n]\u00a0"), ("boxes", f"[{BOX}]", "[" * 50 + BOX + "]" * 50),
    ("box_one", f"[{BOX}]", f"[{BOX}]"), ("box_one", f"[{BOX}]", "I see none."),
    ("where", "In the center.", "In the center."), ("where", "In the center.", " \n\u00a0In the center.\t\u3000\u2028"),
    ("where", "In the center.", "in the center."), ("where", "In the center.", "In  the center."), ("", "", " "), ("count", "3", "3."),
    ("count", "\u200b3", "3"), ("count", "3", "\x1c3\x85"),
]


def damaged(rng, text):
    text = list(text)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(text)) if text else 0
        what = rng.randrange(4)
        if what == 0:
            del text[at:at + rng.choice([1, 2, 30])]
        elif what == 1:
            text.insert(at, rng.choice(list("[]{}\",: 159abig\n")))
        elif what == 2:
            text[at:at + 1] = rng.choice(list("[]{}\",: 0357abig\n"))
        else:
            text += text[at:at + 60]
    return "".join(text)


def rows(folder):
    yield from HAND
    rng = random.Random(5)
    tasks = [json.loads(line) for line in open(folder + "/tasks.jsonl")]
    for task in tasks:
        if task["kind"] in ("describe", "boxes", "box_one"):
            yield task["kind"], task["answer"], damaged(rng, task["answer"])
            yield task["kind"], task["answer"], damaged(rng, rng.choice([t for t in tasks if t["kind"] == task["kind"]])["answer"])


for kind, answer, text in rows(sys.argv[1]):
    try:
        print(json.dumps({"kind": kind, "answer": answer, "text": text, "score": score(kind, answer, text)}))
    except IndexError:  # boxes of fewer than four numbers end score.py
        pass
