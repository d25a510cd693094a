"""The command line: rows F1 to F7, F10 and F12 to F14 of reliability.md."""
import os
import shutil
import unittest

import support
from support import MODEL, PICTURES, QWEN3VL, ProgramTest, ask, environment, run


class Flags(ProgramTest):
    def test_unknown_flags(self):
        for flag in ["--bogus", "-z", "--mmproj", "--type", "--video", "--fps", "--chunk", "--Greedy", "--bogus=1"]:
            with self.subTest(flag):
                self.assert_error(ask("-p", "a", flag), 2, flag.split("=")[0], "see --help")

    def test_unexpected_argument(self):
        self.assert_error(ask("-p", "a", "stray"), 2, "stray")

    def test_missing_value(self):
        for flag in ["-m", "-p", "-f", "-sys", "--image", "-n", "-c", "-t", "--seed", "--temp", "-ctk", "--json", "--trace"]:
            with self.subTest(flag):
                self.assert_error(run(QWEN3VL, flag), 2, flag, "value")

    def test_flag_given_twice(self):
        for flag, value in [("-p", "a"), ("-n", "5"), ("--temp", "1"), ("--seed", "1"), ("-sys", "a"), ("-ctk", "f16"), ("--json", "x")]:
            with self.subTest(flag):
                self.assert_error(ask(flag, value, flag, value), 2, flag, "twice")
        self.assert_error(ask("--greedy", "--greedy", "-p", "a"), 2, "--greedy", "twice")
        self.assert_error(ask("-n", "5", "--n-predict", "5", "-p", "a"), 2, "--n-predict", "twice")

    def test_missing_model(self):
        self.assert_error(run(QWEN3VL, "-p", "a"), 2, "--model")

    def test_flags_that_do_not_go_together(self):
        for flags, named in [(["-p", "a", "-f", "b"], "-f"), (["--json", "x"], "--json"), (["--raw"], "--raw"),
                             (["-p", "a", "--raw", "-sys", "b"], "-sys"), (["-p", "a", "--top-logprobs", "2"], "--top-logprobs"),
                             (["-p", "a", "--draw-boxes", "x.png"], "--draw-boxes"), (["-p", "a", "--show-input", "x.png"], "--show-input"),
                             (["-p", "a", "-ctk", "f16", "-ctv", "f32"], "-ctv"), (["-p", "a", "-ctk", "q8_0", "-ctv", "f16"], "-ctv"),
                             (["-p", "a", "--image-min-tokens", "9", "--image-max-tokens", "8"], "--image-min-tokens"),
                             (["-p", "a", "--json", "same", "--trace", "same"], "same")]:
            with self.subTest(flags):
                self.assert_error(ask(*flags, cwd=self.folder), 2, named)

    def test_cache_types(self):
        for name in ["q4_0", "Q8_0", "F16", "", "f64"]:
            self.assert_error(ask("-p", "a", "-ctk", name), 2, "-ctk", "f16, bf16, q8_0 or f32")
            self.assert_error(ask("-p", "a", "-ctv", name), 2, "-ctv", "f16, bf16, q8_0 or f32")
        for name in ["f16", "bf16", "q8_0", "f32"]:
            self.assert_success(ask("-p", "a", "-n", "1", "-ctk", name, "-ctv", name))

    def test_integers_must_be_whole_strings(self):
        for flag in ["-n", "-c", "-t", "--seed", "--top-k", "--image-min-tokens", "--image-max-tokens", "--top-logprobs"]:
            for value in ["8x", "", "1e3", "99999999999999999999", "0x10", " 8", "8 ", "+8", "1.0", "--8", "٣"]:
                with self.subTest(flag=flag, value=value):
                    self.assert_error(ask("-p", "a", flag, value), 2, flag, "expected")

    def test_integers_out_of_range(self):
        for flag, values in {"-n": [0, -2, 2**31], "-c": [0, 1, -1, 10**12, 4096], "-t": [0, -4, 100000], "--seed": [-1], "--top-k": [-5, 2**31],
                             "--image-min-tokens": [0, -1, 10**9], "--image-max-tokens": [0, -1, 10**9], "--top-logprobs": [0, -1]}.items():
            for value in values:
                with self.subTest(flag=flag, value=value):
                    self.assert_error(ask("-p", "a", flag, value), 2, flag, f"{value}", "expected")

    def test_context_names_the_models_range(self):
        self.assert_error(ask("-p", "a", "-c", 2049), 2, "-c", "2 to 2048")

    def test_numbers_out_of_range(self):
        for flag, values in {"--temp": ["nan", "inf", "-1", "-nan", "1e400", "", "0,5", "x"], "--top-p": ["0", "1.5", "-1", "nan"],
                             "--min-p": ["-0.1", "1.1", "nan"], "--repeat-penalty": ["0", "-1", "inf"],
                             "--presence-penalty": ["nan", "inf"]}.items():
            for value in values:
                with self.subTest(flag=flag, value=value):
                    self.assert_error(ask("-p", "a", flag, value), 2, flag, "expected")

    def test_more_threads_than_processors_are_clamped(self):
        result = ask("-p", "Hello!", "--greedy", "-n", 2, "-t", 1000)
        self.assert_success(result)
        self.assertRegex(result.stderr.decode(), r"(?m)^warning: -t: 1000 .*running \d+$")

    @unittest.skipUnless(shutil.which("taskset"), "needs taskset")
    def test_threads_default_to_the_processors_allowed(self):
        result = run("taskset", "-c", min(os.sched_getaffinity(0)), QWEN3VL, "-m", MODEL, "-p", "Hello!", "--greedy", "-n", 2, "-t", 2)
        self.assert_success(result)
        self.assertIn("running 1\n", result.stderr.decode())

    def test_no_limit_on_the_answer_is_minus_one(self):
        self.assert_success(ask("-p", "Hello!", "--greedy", "-n", -1))

    def test_values_may_begin_with_a_dash(self):
        for value in ["-sys", "--greedy", "-", "--", "-p"]:
            with self.subTest(value):
                report, _ = self.report("-p", value, "-n", 1, "--greedy")
                want, _ = self.report("-f", self.file("prompt", value), "-n", 1, "--greedy")
                self.assertEqual(report["prompt_token_ids"], want["prompt_token_ids"])

    def file(self, name, text):
        path = self.folder / name
        path.write_text(text)
        return path

    def test_file_of_a_prompt_is_taken_as_it_is(self):
        with_newline, _ = self.report("-f", self.file("a", "Hello!\n"), "-n", 1, "--greedy")
        without, _ = self.report("-p", "Hello!", "-n", 1, "--greedy")
        self.assertNotEqual(with_newline["prompt_token_ids"], without["prompt_token_ids"])
        self.assert_error(ask("-f", self.folder / "none"), 5, "none")
        self.assert_error(ask("-f", self.folder), 5)
        piped, _ = self.report("-f", "/dev/stdin", "-n", 1, "--greedy", stdin="Hello!")
        self.assertEqual(piped["prompt_token_ids"], without["prompt_token_ids"])

    def test_decimal_comma_locale_changes_nothing(self):
        env = environment(LC_ALL="de_DE.UTF-8", LC_NUMERIC="de_DE.UTF-8")
        result = ask("-p", "Hello!", "--temp", "0.5", "--top-p", "0.9", "--seed", "1", env=env)
        same = ask("-p", "Hello!", "--temp", "0.5", "--top-p", "0.9", "--seed", "1")
        self.assert_success(result)
        self.assertEqual(result.stdout, same.stdout)

    def test_forced_level(self):
        self.assert_error(ask("-p", "a", env=environment(TESSERA_ISA="x86_sse9")), 2, "x86_sse9")
        if not support.usable_level("x86_amx"):
            self.assert_error(ask("-p", "a", env=environment(TESSERA_ISA="x86_amx")), 2, "x86_amx")
        scalar = ask("-p", "Hello!", "--greedy", env=environment(TESSERA_ISA="scalar"))
        self.assert_success(scalar)

    def test_odd_model_paths(self):
        for name in ["with space", "ünï-ço∂é", "-m", "--help"]:
            with self.subTest(name):
                os.symlink(MODEL, self.folder / name)
                self.assert_success(run(QWEN3VL, "-m", name, "-p", "Hello!", "--greedy", "-n", 1, cwd=self.folder))
                self.assert_success(run(QWEN3VL, f"--model={name}", "-p", "Hello!", "--greedy", "-n", 1, cwd=self.folder))

    def test_help_and_version(self):
        for program in [QWEN3VL, support.INSPECT]:
            for flag, part in [("--help", "Usage"), ("-h", "Usage"), ("--version", "tessera")]:
                result = run(program, flag)
                self.assert_success(result)
                self.assertIn(part, result.stdout.decode())
                self.assertEqual(result.stderr, b"")

    def test_too_many_pictures(self):
        self.assert_error(ask("-p", "a", *["--image", PICTURES / "shapes.png"] * 65), 5, "64")


if __name__ == "__main__":
    unittest.main()
