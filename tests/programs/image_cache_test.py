"""--image-cache, and pictures that were seen before."""
import os
import subprocess
import unittest

import support
from support import PICTURES, ProgramTest, ask

QUESTION = ["--image", PICTURES / "shapes.png", "-p", "Describe this image.", "--greedy"]


class ImageCache(ProgramTest):
    def files(self, folder):
        return sorted(os.listdir(folder))

    def test_a_second_run_encodes_nothing_and_answers_the_same(self):
        cache = self.folder / "cache"
        first, said = self.report(*QUESTION, "--image-cache", cache, "--top-logprobs", 5)
        self.assertIn("to encode", said.stderr.decode())
        names = self.files(cache)
        self.assertEqual(len(names), 1)
        second, said = self.report(*QUESTION, "--image-cache", cache, "--top-logprobs", 5, "-t", 1)
        self.assertIn("48 tokens, encoded before", said.stderr.decode())
        self.assertEqual(second["timings"]["encode"], 0)
        self.assertEqual({**first, "timings": 0}, {**second, "timings": 0})
        self.assertEqual(self.files(cache), names)

    def test_a_folder_is_named_with_or_without_a_slash(self):
        for name in ["cache/", "cache"]:
            said = self.report(*QUESTION, "--image-cache", f"{self.folder}/{name}")[1].stderr.decode()
            self.assertIn("to encode" if name == "cache/" else "encoded before", said)

    def test_another_size_is_another_picture(self):
        cache = self.folder / "cache"
        for flags in [[], ["--image-max-tokens", 20]]:
            self.assertIn("to encode", self.report(*QUESTION, "--image-cache", cache, *flags)[1].stderr.decode())
        self.assertEqual(len(self.files(cache)), 2)

    def test_a_damaged_file_is_replaced(self):
        cache = self.folder / "cache"
        first, _ = self.report(*QUESTION, "--image-cache", cache)
        [name] = self.files(cache)
        whole = (cache / name).read_bytes()
        (cache / name).write_bytes(whole[:-4] + b"\xff\xff\xff\xff")
        second, said = self.report(*QUESTION, "--image-cache", cache)
        self.assertIn("to encode", said.stderr.decode())
        self.assertEqual(first["token_ids"], second["token_ids"])
        self.assertEqual((cache / name).read_bytes(), whole)

    def test_several_runs_at_once(self):
        cache = self.folder / "cache"
        command = [support.QWEN3VL, "-m", str(support.MODEL), *map(str, QUESTION), "-t", "1", "--image-cache", str(cache)]
        runs = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=support.environment()) for _ in range(4)]
        results = [run.communicate(timeout=120) for run in runs]
        self.assertEqual([run.returncode for run in runs], [0] * 4, results)
        self.assertEqual(len({answer for answer, _ in results}), 1)
        self.assertFalse([error for _, error in results if b"warning" in error], results)
        self.assertEqual(len(self.files(cache)), 1)

    def test_a_folder_that_cannot_be_used(self):
        file = self.folder / "file"
        file.write_text("")
        self.assert_error(ask(*QUESTION, "--image-cache", file), 7, str(file), "Not a directory")
        self.assert_error(ask(*QUESTION, "--image-cache", file / "x"), 7, str(file / "x"), "Not a directory")
        self.assert_error(ask(*QUESTION, "--image-cache", self.folder / "no" / "such"), 7, "such", "No such file")
        self.assert_error(ask(*QUESTION, "--image-cache", ""), 7, "No such file")

    def test_a_full_disk_does_not_keep_the_answer_back(self):
        def limit():
            import resource
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
        cache = self.folder / "cache"
        result = ask(*QUESTION, "--image-cache", cache, preexec_fn=limit)
        self.assert_success(result)
        self.assertEqual(result.stdout, ask(*QUESTION).stdout)
        warnings = [line for line in result.stderr.decode().splitlines() if line.startswith("warning: ")]
        self.assertEqual(len(warnings), 1, warnings)
        self.assertIn("--image-cache", warnings[0])
        self.assertEqual(self.files(cache), [])


class SamePictureAgain(ProgramTest):
    def test_in_a_conversation(self):
        lines = [f"/image {PICTURES / 'five.png'}", "How many shapes are there?", "/clear"] * 2
        result = ask("--greedy", stdin="\n".join(lines) + "\n")
        self.assert_success(result)
        self.assertEqual(result.stdout, b"5\n5\n")
        self.assertEqual(result.stderr.count(b"to encode"), 1)
        self.assertEqual(result.stderr.count(b"encoded before"), 1)


if __name__ == "__main__":
    unittest.main()
