"""Model folders that are missing, damaged or of another kind: one line, the right exit status, quickly."""
import json
import os
import shutil
import struct
import time
import unittest

import support
from support import INSPECT, MODEL, QWEN3VL, ProgramTest, run


class BadModels(ProgramTest):
    def setUp(self):
        super().setUp()
        self.model = self.folder / "model"
        shutil.copytree(MODEL, self.model)

    def reject(self, status, *parts, inspect=True):
        begin = time.monotonic()
        self.assert_error(run(QWEN3VL, "-m", self.model, "-p", "a"), status, *parts)
        if inspect:
            self.assert_error(run(INSPECT, self.model), status, *parts)
        self.assertLess(time.monotonic() - begin, 10)

    def change(self, name, **members):
        path = self.model / name
        content = json.loads(path.read_text())
        for key, value in members.items():
            target = content
            *outer, last = key.split("__")
            for part in outer:
                target = target[part]
            if value is None:
                del target[last]
            else:
                target[last] = value
        path.write_text(json.dumps(content))

    def weights(self):
        return self.model / "model.safetensors"

    def test_missing(self):
        for name in ["config.json", "model.safetensors"]:
            with self.subTest(name):
                os.rename(self.model / name, self.folder / name)
                self.reject(3)
                os.rename(self.folder / name, self.model / name)
        for name in ["tokenizer.json", "vocab.json"]:
            os.remove(self.model / name)
        self.reject(3)
        shutil.rmtree(self.model)
        self.reject(3, "model")

    def test_damaged_configuration(self):
        (self.model / "config.json").write_text("{")
        self.reject(3, "config.json", "line 1")
        (self.model / "config.json").write_bytes(b"\x1b[2J" * 10)
        self.reject(3, "config.json")

    def test_configuration_that_does_not_fit(self):
        self.change("config.json", text_config__num_hidden_layers=-4)
        self.reject(3, "num_hidden_layers")

    def test_configuration_without_a_key(self):
        self.change("config.json", text_config__hidden_size=None)
        self.reject(3, "hidden_size")

    def test_weights_of_other_shapes(self):
        self.change("config.json", text_config__intermediate_size=640)
        self.reject(3, "mlp", "512", "640", inspect=False)

    def test_another_architecture(self):
        self.change("config.json", architectures=["LlamaForCausalLM"], model_type="llama")
        self.assert_error(run(QWEN3VL, "-m", self.model, "-p", "a"), 4, "config.json")
        result = run(INSPECT, self.model)
        self.assert_success(result)
        self.assertIn("not supported", result.stdout.decode())

    def test_cut_weights(self):
        whole = self.weights().read_bytes()
        for size in [0, 4, 100, len(whole) // 2, len(whole) - 1]:
            with self.subTest(size):
                self.weights().write_bytes(whole[:size])
                self.reject(3, "model.safetensors")

    def test_header_that_lies(self):
        whole = self.weights().read_bytes()
        for length in [2**63, 10**9, 99_999_999]:
            with self.subTest(length):
                self.weights().write_bytes(struct.pack("<Q", length) + whole[8:])
                self.reject(3, "model.safetensors")
        (size,) = struct.unpack("<Q", whole[:8])
        self.weights().write_bytes(whole[:8] + b"[" * size + whole[8 + size:])
        self.reject(3, "model.safetensors")

    def test_names_from_files_are_escaped(self):
        whole = self.weights().read_bytes()
        (size,) = struct.unpack("<Q", whole[:8])
        header = json.loads(whole[8:8 + size])
        name = sorted(k for k in header if k != "__metadata__")[0]
        header["\x1b[31m\nerror: injected"] = header.pop(name)
        text = json.dumps(header).encode()
        self.weights().write_bytes(struct.pack("<Q", len(text)) + text + whole[8 + size:])
        self.assert_error(run(QWEN3VL, "-m", self.model, "-p", "a"), 3)
        listing = run(INSPECT, self.model, "--tensors")
        self.assert_success(listing)
        self.assertNotIn(b"\x1b", listing.stdout)

    def test_weights_that_are_not_numbers(self):
        whole = bytearray(self.weights().read_bytes())
        (size,) = struct.unpack("<Q", whole[:8])
        header = json.loads(whole[8:8 + size])
        begin, end = header["model.language_model.norm.weight"]["data_offsets"]
        whole[8 + size + begin:8 + size + end] = b"\xff\x7f" * ((end - begin) // 2)
        self.weights().write_bytes(whole)
        self.reject(3, inspect=False)

    def test_missing_tokens(self):
        for name in ["tokenizer.json", "tokenizer_config.json"]:
            path = self.model / name
            path.write_text(path.read_text().replace("<|image_pad|>", "<|image_pat|>"))
        self.reject(3, "<|image_pad|>", inspect=False)

    def test_cache_that_does_not_fit_into_memory(self):
        self.change("config.json", text_config__max_position_embeddings=2**26)
        self.assert_error(run(QWEN3VL, "-m", self.model, "-p", "a", "-c", 2**26), 6, "memory", "needs", "available")


if __name__ == "__main__":
    unittest.main()
