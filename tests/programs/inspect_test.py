"""tessera-inspect: the summary, lists, and tokens."""
import json
import os
import signal
import subprocess
import unittest

import support
from support import INSPECT, MODEL, ProgramTest, run


class Inspect(ProgramTest):
    def read(self, *args):
        result = run(INSPECT, *args, "--json")
        self.assert_success(result)
        return json.loads(result.stdout)

    def test_summary(self):
        model = self.read(MODEL)["model"]
        self.assertEqual(model["architecture"], "Qwen3-VL")
        self.assertEqual((model["text"]["layers"], model["text"]["hidden_size"], model["vision"]["blocks"]), (4, 256, 6))
        self.assertEqual(model["weights"]["bytes"], 2 * model["weights"]["parameters"])
        self.assertEqual(model["weights"]["BF16"]["tensors"], model["weights"]["tensors"])
        self.assertEqual((model["tokenizer"]["tokens"], model["chat"]), (672, "instruct"))
        text = run(INSPECT, MODEL).stdout.decode()
        self.assertRegex(text, r"(?m)^text\.layers +4$")

    def test_tensors(self):
        data = (MODEL / "model.safetensors").read_bytes()
        header = json.loads(data[8:8 + int.from_bytes(data[:8], "little")])
        header.pop("__metadata__", None)
        for path in [MODEL, MODEL / "model.safetensors"]:
            tensors = self.read(path, "--tensors")["tensors"]
            self.assertEqual({t["name"]: (t["dtype"], t["shape"]) for t in tensors},
                             {k: (v["dtype"], v["shape"]) for k, v in header.items()})
        self.assertEqual(len(run(INSPECT, MODEL, "--tensors").stdout.splitlines()), len(header))

    def test_machine(self):
        both = self.read("--kernels", "--cpu")
        levels = {level["level"]: level["usable"] for level in both["cpu"]["levels"]}
        self.assertTrue(levels["scalar"])
        self.assertTrue(levels[both["cpu"]["best"]])
        for op in {k["op"] for k in both["kernels"]}:
            self.assertEqual([k["level"] for k in both["kernels"] if k["op"] == op][-1], "scalar")
        self.assertIn("matmul", {k["op"] for k in both["kernels"]})
        limited = run(INSPECT, "--cpu", "--json", env=support.environment(TESSERA_ISA="scalar"))
        self.assertEqual(json.loads(limited.stdout)["cpu"]["best"], "scalar")

    def test_path_is_needed_for_models(self):
        self.assert_error(run(INSPECT), 2, "PATH")
        self.assert_error(run(INSPECT, "--tensors"), 2, "PATH")
        self.assert_error(run(INSPECT, "--tokenize", "x"), 2, "PATH")
        self.assert_error(run(INSPECT, MODEL, "--bogus"), 2, "--bogus")

    def test_tokens(self):
        path = self.folder / "texts.jsonl"
        path.write_text('"Hello!"\n{"text": "<|im_end|>"}\n""\n')
        result = run(INSPECT, MODEL, "--tokenize", path)
        self.assert_success(result)
        hello, special, empty = map(json.loads, result.stdout.splitlines())
        self.assertEqual(hello["ids"], hello["ids_as_user_text"])
        self.assertEqual(special["ids"], [648])
        self.assertNotIn(648, special["ids_as_user_text"])
        self.assertEqual(empty, {"ids": [], "ids_as_user_text": []})

    def test_tokens_of_the_reference(self):
        folder = support.SHARED / "tokenizer/qwen"
        cases = support.SHARED / "tokenizer/cases.jsonl"
        if not cases.exists():
            cases = folder / "cases.jsonl"
        if not cases.exists():
            self.skipTest("needs ../shared/golden")
        result = run(INSPECT, folder, "--tokenize", cases)
        self.assert_success(result)
        want = [json.loads(line) for line in cases.read_text().splitlines()]
        got = [json.loads(line) for line in result.stdout.splitlines()]
        self.assertEqual(len(got), len(want))
        for w, g in zip(want, got):
            self.assertEqual(g, {"ids": w["ids"], "ids_as_user_text": w.get("ids_as_user_text", w["ids"])})

    def test_lines_that_are_no_texts(self):
        for line in ["x", "1", "{}", '{"text": 1}', "[" * 100000, '"\\ud800"']:
            with self.subTest(line[:20]):
                path = self.folder / "texts.jsonl"
                path.write_text(line + "\n")
                self.assert_error(run(INSPECT, MODEL, "--tokenize", path), 5, "line 1")

    def test_a_pipe_is_no_model(self):
        pipe = self.folder / "pipe"
        os.mkfifo(pipe)
        for flags in [[], ["--tensors"], ["--verify"]]:
            self.assert_error(run(INSPECT, pipe, *flags, timeout=10), 3, str(pipe), "not a regular file")

    def test_bus_error_names_the_model(self):
        pipe = self.folder / "texts.jsonl"
        os.mkfifo(pipe)
        program = subprocess.Popen([INSPECT, str(MODEL), "--tokenize", str(pipe)], stderr=subprocess.PIPE, env=support.environment())
        with open(pipe, "wb"):  # waits until the program reads
            program.send_signal(signal.SIGBUS)
            _, errors = program.communicate(timeout=30)
        self.assertEqual(program.returncode, 3)
        self.assertEqual(errors.decode().count("\n"), 1)
        self.assertIn(str(MODEL), errors.decode())


if __name__ == "__main__":
    unittest.main()
