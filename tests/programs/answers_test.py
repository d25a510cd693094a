"""Answers of the bundled model are those of transformers: word for word, and in --json number for number."""
import json
import re
import unittest

import support
from support import IMAGES, PICTURES, ProgramTest, ask, case, plain_environment

LOGPROB_BOUND = 2e-3  # float rounding through ten layers
# Keys and values within 1/254 of the largest of 32 move the likeliest tokens of these cases by up to 0.06.
BLOCK_CACHE_LOGPROB_BOUND = 0.15
# The pictures come first and there is one question: what the flags can say.
BY_FLAGS = ["text", "system", "one", "two", "tall", "turned"]


def pictures(messages):
    return [p["image"] for m in messages for p in m["content"] if p["type"] == "image"]


def image_flags(messages):
    return [x for name in pictures(messages) for x in ("--image", IMAGES / name)]


def text_of(message):
    return "".join(p["text"] for p in message["content"] if p["type"] == "text")


class Answers(ProgramTest):
    def assert_equals_reference(self, report, want):
        self.assertEqual(report["prompt_token_ids"], want["prompt_token_ids"])
        self.assertEqual(report["image_grids"], want.get("image_grid_thw", []))
        self.assertEqual(report["token_ids"], want["token_ids"])
        self.assertEqual(report["text"], want["text"])
        self.assertEqual(report["finish_reason"], want["finish_reason"])
        self.assertEqual(len(report["top_logprobs"]), len(want["top_logprobs"]))
        for got_row, want_row in zip(report["top_logprobs"], want["top_logprobs"]):
            self.assertEqual(len(got_row), 8)
            got = {t["id"]: t["logprob"] for t in got_row}
            self.assertEqual(got_row[0]["id"], want_row[0]["id"])
            for t in want_row[:7]:  # the eighth may change places with a ninth that is as likely
                self.assertAlmostEqual(got.get(t["id"], -1e9), t["logprob"], delta=LOGPROB_BOUND)

    def check(self, name, *flags):
        want = case(name)
        report, result = self.report(*flags, "--greedy", "-n", len(want["token_ids"]), "--top-logprobs", 8, "-ctk", "f32",
                                     "-ctv", "f32", env=plain_environment())
        self.assert_equals_reference(report, want)
        self.assertEqual(result.stdout.decode(), want["text"] + "\n")

    def test_cases_by_flags(self):
        for name in BY_FLAGS:
            with self.subTest(name):
                messages = case(name)["messages"]
                system = [x for m in messages if m["role"] == "system" for x in ("-sys", text_of(m))]
                self.check(name, "-p", text_of(messages[-1]), *system, *image_flags(messages))

    def test_cases_as_raw_prompts(self):
        for name in BY_FLAGS + ["between", "turns"]:
            with self.subTest(name):
                want = case(name)
                prompt = self.folder / "prompt.txt"
                prompt.write_text(want["prompt"])
                self.check(name, "--raw", "-f", prompt, *image_flags(want["messages"]))

    def test_answers_from_a_cache_of_blocks(self):
        for name in BY_FLAGS + ["between", "turns"]:
            with self.subTest(name):
                want = case(name)
                prompt = self.folder / "prompt.txt"
                prompt.write_text(want["prompt"])
                report, _ = self.report("--raw", "-f", prompt, *image_flags(want["messages"]), "--greedy", "-n", len(want["token_ids"]),
                                        "--top-logprobs", 8, "-ctk", "q8_0", "-ctv", "q8_0", env=plain_environment())
                self.assertEqual(report["token_ids"], want["token_ids"])
                for got_row, want_row in zip(report["top_logprobs"], want["top_logprobs"]):
                    got, best = {t["id"]: t["logprob"] for t in got_row}, want_row[0]
                    self.assertAlmostEqual(got[best["id"]], best["logprob"], delta=BLOCK_CACHE_LOGPROB_BOUND)

    def test_answers_of_the_bundled_pictures(self):
        """As examples/data/README.md says."""
        for file, question, answer in [
            ("shapes.png", "Describe this image.",
             "There are three shapes: a small purple circle at the bottom left, a big orange cross at the bottom and a big blue "
             "star at the bottom right."),
            ("five.png", "How many shapes are there?", "5"),
            ("circle.png", "Find every red circle and output the box in JSON.",
             '```json\n[{"bbox_2d": [520, 390, 810, 620], "label": "red circle"}]\n```'),
        ]:
            with self.subTest(file):
                result = ask("--image", PICTURES / file, "-p", question, "--greedy")
                self.assert_success(result)
                self.assertEqual(result.stdout.decode(), answer + "\n")

    def test_number_of_threads_changes_nothing(self):
        flags = ["--image", PICTURES / "shapes.png", "-p", "Describe this image.", "--greedy", "--top-logprobs", 5]
        one, _ = self.report(*flags, "-t", 1)
        two, _ = self.report(*flags, "-t", 2)
        self.assertEqual(one["top_logprobs"], two["top_logprobs"])

    def test_seed_repeats_an_answer(self):
        def answers(seed):
            return [self.report("-p", "What do you see?", "--temp", 2, "--top-k", 0, "--top-p", 1, "-n", 20, "--seed", seed)[0]["token_ids"]
                    for _ in range(2)]
        first, again = answers(7)
        self.assertEqual(first, again)
        self.assertNotEqual(first, answers(8)[0])

    def test_members_of_the_report(self):
        report, _ = self.report("--image", PICTURES / "circle.png", "-p", "Find every red circle and output the box in JSON.", "--greedy")
        self.assertEqual(list(report), ["model", "prompt_token_ids", "image_grids", "token_ids", "text", "finish_reason", "top_logprobs",
                                        "boxes", "timings"])
        self.assertEqual(report["model"], str(support.MODEL))
        self.assertEqual(report["top_logprobs"], [])
        # 160 x 224 pixels; [520, 390, 810, 620] in thousandths.
        self.assertEqual(len(report["boxes"]), 1)
        self.assertEqual((report["boxes"][0]["image"], report["boxes"][0]["label"]), (0, "red circle"))
        for got, want in zip(report["boxes"][0]["bbox"], [83.2, 87.36, 129.6, 138.88]):
            self.assertAlmostEqual(got, want, places=6)
        self.assertLessEqual({"load", "preprocess", "encode", "prefill", "decode", "prompt_tokens", "generated_tokens",
                              "prefill_tokens_per_second", "decode_tokens_per_second"}, set(report["timings"]))
        self.assertTrue(all(x >= 0 for x in report["timings"].values()))

    def test_timings_and_picture_sizes_are_said_on_standard_error(self):
        result = ask("--image", PICTURES / "shapes.png", "-p", "Describe this image.", "--greedy")
        self.assertRegex(result.stderr.decode(), r"256 x 192 pixels, seen as 256 x 192, 48 tokens, \d+ MiB and .* s to encode")
        self.assertRegex(result.stderr.decode(), r"prefill 62 tokens in [\d.]+ s")

    def test_a_reduced_picture_is_said(self):
        result = ask("--image", PICTURES / "shapes.png", "-p", "Hi", "-n", 1, "--image-max-tokens", 20)
        self.assertRegex(result.stderr.decode(), r", \d+ tokens \(up to 48 with --image-max-tokens\), \d+ MiB and .* s to encode")


class PictureSize(ProgramTest):
    def tokens(self, *flags):
        report, result = self.report("--image", PICTURES / "shapes.png", "-p", "Hi", "-n", 1, *flags)
        t, h, w = report["image_grids"][0]
        self.assertEqual(report["prompt_token_ids"].count(658), t * h * w // 4)
        return t * h * w // 4

    def test_bounds_on_tokens(self):
        self.assertEqual(self.tokens(), 48)
        self.assertLessEqual(self.tokens("--image-max-tokens", 20), 20)
        self.assertGreaterEqual(self.tokens("--image-min-tokens", 300), 300)
        self.assertLessEqual(self.tokens("--image-max-tokens", 2), 2)  # below the model's own minimum
        within = self.tokens("--image-min-tokens", 60, "--image-max-tokens", 70)
        self.assertTrue(60 <= within <= 70, within)


if __name__ == "__main__":
    unittest.main()
