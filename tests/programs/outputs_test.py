"""What the programs write: pictures, traces, reports; and what happens when it cannot be written (F8, F10, E16, E17)."""
import json
import os
import subprocess
import unittest

import support
from support import IMAGES, MODEL, PICTURES, QWEN3VL, ProgramTest, ask, read_png, run

LOCATE = ["--image", PICTURES / "circle.png", "-p", "Find every red circle and output the box in JSON.", "--greedy"]


class Pictures(ProgramTest):
    def test_boxes_are_drawn_into_the_picture(self):
        path = self.folder / "boxes.png"
        self.assert_success(ask(*LOCATE, "--draw-boxes", path))
        width, height, drawn = read_png(path)
        _, _, before = read_png(PICTURES / "circle.png")
        self.assertEqual((width, height), (160, 224))
        changed = [(i // 3 % width, i // 3 // width) for i in range(0, len(drawn), 3) if drawn[i:i + 3] != before[i:i + 3]]
        # The box is [83.2, 87.36, 129.6, 138.88]: frame within these pixels, label above.
        columns, rows = [x for x, _ in changed], [y for _, y in changed]
        self.assertEqual(min(columns), 83)
        self.assertEqual(max(rows), 138)
        self.assertTrue({(x, 138) for x in range(83, 130)} <= set(changed))
        self.assertTrue(min(rows) >= 87 - 9)
        self.assertFalse({(x, y) for x in range(90, 120) for y in range(95, 130)} & set(changed))

    def test_original_size_is_kept_when_the_model_sees_a_smaller_picture(self):
        path = self.folder / "boxes.png"
        result = ask("--image", IMAGES / "size_5x900.png", "-p", "Hello!", "--greedy", "-n", 3, "--draw-boxes", path)
        self.assert_success(result)
        self.assertIn("warning: no boxes in the answer", result.stderr.decode())
        self.assertEqual(read_png(path)[:2], (5, 900))

    def test_pictures_as_the_model_sees_them(self):
        path = self.folder / "seen.png"
        self.assert_success(ask("--image", PICTURES / "shapes.png", "--image", IMAGES / "size_17x31.png", "-p", "Hello!", "-n", 1,
                                "--show-input", path))
        self.assertEqual(read_png(path), read_png(PICTURES / "shapes.png"))  # 256 x 192 needs no change
        report, _ = self.report("--image", IMAGES / "size_17x31.png", "-p", "Hello!", "-n", 1)
        width, height, _ = read_png(self.folder / "seen-2.png")
        self.assertEqual(report["image_grids"], [[1, height // 16, width // 16]])

    def test_pictures_seen_are_those_of_the_reference(self):
        """Pixel for pixel; a token is 32 x 32 pixels."""
        for line in (IMAGES / "resize.jsonl").read_text().splitlines():
            rule = json.loads(line)
            if not (IMAGES / rule["file"]).exists():
                continue  # the largest did not come along from shared/golden
            with self.subTest(rule["resized"]):
                path = self.folder / "seen.png"
                report, _ = self.report("--image", IMAGES / rule["file"], "--image-min-tokens", rule["min_pixels"] // 1024,
                                        "--image-max-tokens", rule["max_pixels"] // 1024, "-p", "a", "-n", 1, "--show-input", path)
                self.assertEqual(report["image_grids"], [rule["grid_thw"]])
                self.assertEqual(read_png(path), read_png(IMAGES / rule["resized"]))

    def test_trace_loads(self):
        path = self.folder / "trace.json"
        self.assert_success(ask(*LOCATE, "--trace", path))
        events = json.loads(path.read_text())["traceEvents"]
        self.assertTrue({"encode", "prefill", "decode"} <= {e.get("cat") for e in events})
        self.assertTrue(all(e["dur"] >= 0 for e in events if e["ph"] == "X"))
        self.assertIn("matmul", {e["name"] for e in events})


class Failures(ProgramTest):
    def test_paths_that_cannot_be_written(self):
        closed = self.folder / "closed"
        closed.mkdir(mode=0o555)
        for path in [self.folder, self.folder / "none/x", self.folder / ("n" * 300), ""] + ([] if os.getuid() == 0 else [closed / "x"]):
            for flag in ["--json", "--draw-boxes", "--show-input", "--trace"]:
                with self.subTest(flag=flag, path=path):
                    self.assert_error(ask(*LOCATE, flag, path), 7)

    def test_inputs_are_not_overwritten(self):
        picture = self.folder / "a.png"
        picture.write_bytes((PICTURES / "circle.png").read_bytes())
        os.link(picture, self.folder / "hard.png")
        os.symlink(picture, self.folder / "soft.png")
        for name in ["a.png", "hard.png", "soft.png"]:
            self.assert_error(ask("--image", picture, "-p", "a", "--draw-boxes", self.folder / name), 7, "input")
        self.assertEqual(picture.read_bytes(), (PICTURES / "circle.png").read_bytes())
        self.assert_error(ask("-p", "a", "--json", MODEL / "config.json"), 7, "input")

    def test_report_to_a_full_device(self):
        result = ask("-p", "Hello!", "-n", 2, "--json", "/dev/full")
        self.assertEqual(result.returncode, 7)
        self.assertIn("/dev/full: cannot be written: No space left", result.stderr.decode())

    def test_report_to_standard_output(self):
        result = ask("-p", "Hello!", "--greedy", "-n", 1, "--json", "/dev/stdout")
        self.assert_success(result)
        self.assertEqual(json.loads(result.stdout.partition(b"\n")[2])["finish_reason"], "length")

    def test_report_through_links(self):
        old = self.folder / "old.json"
        old.write_text("old")
        link = self.folder / "link.json"
        link.symlink_to("old.json")
        self.assert_success(ask("-p", "Hello!", "-n", 1, "--json", link))
        self.assertTrue(link.is_symlink())
        self.assertEqual(json.loads(old.read_text())["finish_reason"], "length")
        # As /dev/stdout is with standard output in a file, but safe where a mistake replaces it.
        stream = self.folder / "stdout"
        stream.symlink_to("/proc/self/fd/1")
        with open(self.folder / "answer", "wb+") as answer:
            result = subprocess.run([QWEN3VL, "-m", str(MODEL), "-p", "Hello!", "--greedy", "-n", "1", "--json", str(stream)],
                                    stdout=answer, stderr=subprocess.PIPE, env=support.environment())
            answer.seek(0)
            text, _, report = answer.read().partition(b"\n")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertTrue(stream.is_symlink())
        self.assertEqual((text, json.loads(report)["finish_reason"]), (b"Hello", "length"))
        self.assertEqual(sorted(os.listdir(self.folder)), ["answer", "link.json", "old.json", "stdout"])

    def test_failed_report_leaves_no_partial_file(self):
        def limit():
            import resource
            import signal
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
        result = ask("-p", "Hello!", "-n", 2, "--json", self.folder / "report.json", preexec_fn=limit)
        self.assertEqual(result.returncode, 7)
        self.assertEqual(os.listdir(self.folder), [])

    def test_full_standard_output(self):
        with open("/dev/full", "wb") as full:
            for command in [[QWEN3VL, "-m", MODEL, "-p", "Hello!", "--greedy"], [QWEN3VL, "--help"], [support.INSPECT, MODEL]]:
                self.assert_error(run(*command, stdout=full), 7, "standard output")

    def test_closed_standard_output(self):
        self.assert_success(subprocess.run(["bash", "-c", '"$0" -m "$1" -p Hello! --greedy >&-', QWEN3VL, str(MODEL)], stderr=subprocess.PIPE))

    def test_reader_that_leaves(self):
        for setup in ["", "trap '' PIPE; "]:
            with self.subTest(setup):
                result = subprocess.run(
                    ["bash", "-c", setup + '"$0" -m "$1" -p Hello! --temp 1000 --top-k 0 --top-p 1 -n 1000 --seed 1 | head -c 1 >/dev/null; '
                     'exit ${PIPESTATUS[0]}', QWEN3VL, str(MODEL)], stderr=subprocess.PIPE)
                self.assertIn(result.returncode, (0, 141))
                self.assertNotIn(b"error", result.stderr)
                self.assertLess(len(result.stderr.splitlines()), 5)


if __name__ == "__main__":
    unittest.main()
