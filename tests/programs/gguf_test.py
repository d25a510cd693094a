"""GGUF pairs: the same answers as the folder they were made of, and what is said of files that do not fit."""
import json
import shutil
import unittest

import support
from support import INSPECT, MODEL, PICTURES, QWEN3VL, ProgramTest, run

GGUF = support.SHARED / "gguf"
TEXT, VISION = GGUF / "shapes-vl-bf16.gguf", GGUF / "mmproj-shapes-vl-f16.gguf"
# The converter writes no limits of the picture's size: those of the folder.
LIMITS = ["--image-min-tokens", 9, "--image-max-tokens", 64]
QUESTION = ["--image", PICTURES / "shapes.png", "-p", "Describe the picture.", "--greedy", "-n", 12]


@unittest.skipUnless(GGUF.exists(), f"needs {GGUF}")
class Gguf(ProgramTest):
    def answer(self, *model):
        path = self.folder / "answer.json"
        self.assert_success(run(QWEN3VL, *model, *QUESTION, *LIMITS, "--json", path))
        return json.loads(path.read_text())

    def pair(self, text=TEXT, vision=VISION):
        folder = self.folder / "pair"
        folder.mkdir()
        shutil.copy(text, folder / "model.gguf")
        if vision:
            shutil.copy(vision, folder / "mmproj.gguf")
        return folder

    def inspect(self, *args):
        result = run(INSPECT, *args, "--json")
        self.assert_success(result)
        return json.loads(result.stdout)

    def reject(self, status, *args, parts):
        self.assert_error(run(QWEN3VL, "-m", *args, "-p", "a"), status, *parts)

    def test_answers_are_those_of_the_folder(self):
        expected = self.answer("-m", MODEL)
        pair = self.pair()
        for model in [["-m", TEXT, "--mmproj", VISION], ["-m", pair], ["-m", pair / "model.gguf"]]:
            with self.subTest(model):
                got = self.answer(*model)
                for key in ["prompt_token_ids", "image_grids", "token_ids", "text", "finish_reason"]:
                    self.assertEqual(got[key], expected[key])

    def test_quantized_files_answer(self):
        for name in ["q8_0", "q4_0", "q4_k_m"]:
            with self.subTest(name):
                text = self.answer("-m", GGUF / f"shapes-vl-{name}.gguf", "--mmproj", VISION)["text"]
                self.assertRegex(text, "^There (is|are) ")

    def test_other_architectures(self):
        self.reject(4, GGUF / "moe-bf16.gguf", parts=["moe-bf16.gguf", "general.architecture", "qwen3vlmoe"])
        self.reject(4, GGUF / "qwen3-bf16.gguf", "--mmproj", VISION, parts=["qwen3-bf16.gguf", '"qwen3"', '"qwen3vl"'])

    def test_wrong_pairs(self):
        dense = GGUF / "mmproj-dense-f16.gguf"
        for args in [(TEXT, "--mmproj", dense), (self.pair(vision=dense),)]:
            self.reject(3, *args, parts=["model.gguf" if len(args) == 1 else TEXT.name, "mmproj", "96", "256"])
        self.reject(3, VISION, "--mmproj", TEXT, parts=[VISION.name, TEXT.name, "swapped"])
        self.reject(3, TEXT, "--mmproj", TEXT, parts=[TEXT.name, "vision file"])
        self.reject(3, VISION, parts=[VISION.name, "vision file"])

    def test_missing_files_and_choices(self):
        folder = self.pair(vision=None)
        for path in [folder, folder / "model.gguf"]:
            self.reject(3, path, parts=["model.gguf", "only the text part", "--mmproj"])
        self.reject(3, folder / "other.gguf", parts=["other.gguf", "No such file"])
        self.reject(3, TEXT, "--mmproj", folder / "other.gguf", parts=["other.gguf", "No such file"])
        self.reject(2, TEXT, parts=[TEXT.name, "--mmproj", VISION.name])
        self.reject(2, MODEL, "--mmproj", VISION, parts=["--mmproj", VISION.name])

    def test_damaged_files(self):
        folder = self.pair()
        path = folder / "model.gguf"
        whole = path.read_bytes()
        for size in [0, 3, 24, 4000, len(whole) // 2, len(whole) - 1]:
            with self.subTest(size):
                path.write_bytes(whole[:size])
                self.reject(3, folder, parts=["model.gguf"])
                self.assert_error(run(INSPECT, path), 3, "model.gguf")

    def test_outputs_never_replace_the_model(self):
        folder = self.pair()
        for name in ["model.gguf", "mmproj.gguf"]:
            before = (folder / name).stat().st_mtime_ns
            self.assert_error(run(QWEN3VL, "-m", folder / "model.gguf", "-p", "a", "--json", folder / name), 7, name)
            self.assertEqual((folder / name).stat().st_mtime_ns, before)

    def test_inspecting_a_pair(self):
        folder = self.inspect(MODEL)["model"]
        for args in [(TEXT, "--mmproj", VISION), (self.pair(),)]:
            model = self.inspect(*args)["model"]
            for key in ["architecture", "text", "vision", "tokenizer", "chat"]:
                self.assertEqual(model[key], folder[key])
            self.assertEqual(model["weights"]["tensors"], folder["weights"]["tensors"])
            self.assertEqual(model["weights"]["parameters"], folder["weights"]["parameters"])
        tensors = self.inspect(TEXT, "--mmproj", VISION, "--tensors")["tensors"]
        self.assertEqual(len(tensors), folder["weights"]["tensors"] + 1)  # the patch convolution is in two

    def test_inspecting_one_file(self):
        for path, key, value in [(TEXT, "qwen3vl.block_count", "4"), (VISION, "clip.vision.patch_size", "16"),
                                 (GGUF / "moe-bf16.gguf", "general.architecture", '"qwen3vlmoe"')]:
            model = self.inspect(path)["model"]
            self.assertEqual(model["metadata"][key], value)
            self.assertGreater(model["weights"]["tensors"], 0)
            self.assertEqual(len(self.inspect(path, "--tensors")["tensors"]), model["weights"]["tensors"])
        names = {t["name"]: t["dtype"] for t in self.inspect(GGUF / "shapes-vl-q4_0.gguf", "--tensors")["tensors"]}
        self.assertEqual(names["blk.0.attn_q.weight"], "Q4_0")

    def test_tokens(self):
        path = self.folder / "texts.jsonl"
        path.write_text('"Hello!"\n"<|im_end|> two  spaces\\u00e9"\n')
        expected = run(INSPECT, MODEL, "--tokenize", path)
        self.assert_success(expected)
        for args in [(TEXT,), (TEXT, "--mmproj", VISION), (self.pair(),)]:
            got = run(INSPECT, *args, "--tokenize", path)
            self.assert_success(got)
            self.assertEqual(got.stdout, expected.stdout)


if __name__ == "__main__":
    unittest.main()
