"""tessera-bench --synthetic SIZE --write DIR: a folder like any other."""
import json
import resource
import unittest

import support
from support import BIN, INSPECT, PICTURES, QWEN3VL, ProgramTest, run

BENCH = str(BIN / "tessera-bench")


class SyntheticFolder(ProgramTest):
    def write(self, *flags, **more):
        return run(BENCH, "--synthetic", "tiny", "--write", self.folder / "tiny", *flags, **more)

    def assert_bench_error(self, result, status, *parts):
        self.assertEqual(result.returncode, status, result.stderr)
        self.assertEqual(result.stdout, b"")
        for part in ("tessera-bench: ", *parts):
            self.assertIn(part, result.stderr.decode())

    def test_is_a_model(self):
        for dtype in ["bf16", "f16", "f32"]:
            with self.subTest(dtype):
                self.folder = self.folder / dtype
                self.folder.mkdir()
                result = self.write("--type", dtype)
                self.assert_success(result)
                self.assertEqual(result.stdout, b"")
                model = self.folder / "tiny"
                result = run(QWEN3VL, "-m", model, "-p", "hi", "-n", "2", "--greedy", "--image", PICTURES / "five.png", "--json",
                             self.folder / "report.json")
                self.assert_success(result)
                report = json.loads((self.folder / "report.json").read_text())
                self.assertEqual(len(report["token_ids"]), 2)
                result = run(INSPECT, model, "--json")
                self.assert_success(result)
                model = json.loads(result.stdout)["model"]
                self.assertEqual((model["text"]["layers"], model["text"]["hidden_size"], model["vision"]["blocks"]), (4, 256, 4))
                self.assertEqual(set(model["weights"]) & {"BF16", "F16", "F32"}, {dtype.upper()})

    def test_goes_through_the_benchmark(self):
        self.assert_success(self.write())
        for cache in ["f16", "bf16", "q8_0"]:
            result = run(BENCH, "-m", self.folder / "tiny", "-p", 4, "-n", 2, "-r", 1, "-t", 1, "-ctk", cache, "-ctv", cache,
                         "--image-size", "0", "-o", "json")
            self.assert_success(result)
            report = json.loads(result.stdout)
            self.assertEqual(report["cache"], cache)
            self.assertEqual([row["test"] for row in report["rows"]], ["load", "pp 4", "tg 2"])

    def test_every_type_runs(self):
        for dtype in ["f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "q4_k", "q5_k", "q6_k", "q4_k_m"]:
            with self.subTest(dtype):
                result = run(BENCH, "--synthetic", "tiny", "--type", dtype, "-p", 4, "-n", 2, "-r", 1, "-t", 1, "--image-size", "64x64",
                             "-o", "json")
                self.assert_success(result)
                self.assertEqual(json.loads(result.stdout)["model"], f"synthetic tiny {dtype}")

    def test_leaves_what_exists(self):
        (self.folder / "tiny").mkdir()
        (self.folder / "tiny/mine").write_text("mine")
        self.assert_bench_error(self.write(), 7, "tiny", "is not empty")
        self.assertEqual([p.name for p in (self.folder / "tiny").iterdir()], ["mine"])

    def test_a_write_that_fails_leaves_nothing(self):
        limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
        self.assert_bench_error(self.write(preexec_fn=limit), 7, "model.safetensors", "File too large")
        self.assertFalse((self.folder / "tiny").exists())

    def test_command_lines(self):
        self.assert_bench_error(self.write("--type", "q4_0"), 2, "--type", "q4_0", "bf16, f16 or f32")
        self.assertFalse((self.folder / "tiny").exists())
        self.assert_bench_error(run(BENCH, "-m", "x", "--write", "y"), 2, "--write")
        self.assert_bench_error(run(BENCH, "--synthetic", "1b", "--write", self.folder / "x"), 2, "--synthetic", "tiny")
        self.assert_bench_error(run(BENCH, "--synthetic", "tiny", "--type", "i32"), 2, "type: unknown", "q6_k")
        self.assert_bench_error(run(BENCH, "--synthetic", "tiny", "-ctk", "q4_0"), 2, "-ctk", "f16, bf16, q8_0 or f32")
        self.assert_bench_error(run(BENCH, "--synthetic", "tiny", "-ctk", ""), 2, "-ctk", "f16, bf16, q8_0 or f32")
        self.assert_bench_error(run(BENCH, "--synthetic", "tiny", "-ctv", "q4_0"), 2, "-ctv", "f16, bf16, q8_0 or f32")
        self.assert_bench_error(run(BENCH, "--synthetic", "tiny", "-ctk", "q8_0", "-ctv", "f16"), 2, "-ctv", "q8_0")


if __name__ == "__main__":
    unittest.main()
