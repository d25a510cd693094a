"""tessera-eval: perplexity, task scores and divergence, against values that come from elsewhere."""
import json
import math
import os
import pty
import shutil
import signal
import struct
import subprocess
import time
import unittest

import support
from support import BIN, INSPECT, MODEL, PICTURES, ProgramTest, ask, environment, plain_environment, run

EVAL = str(BIN / "tessera-eval")
TEXT = "How many circles are there? Where is the red square?"


def evaluate(*args, **more):
    return run(EVAL, "-m", MODEL, *args, **more)


class EvalTest(ProgramTest):
    def write(self, name, content):
        path = self.folder / name
        path.write_text(content)
        return path

    def tasks(self, *lines):
        folder = self.folder / "tasks"
        folder.mkdir(exist_ok=True)
        (folder / "tasks.jsonl").write_text("".join((x if isinstance(x, str) else json.dumps(x)) + "\n" for x in lines))
        return folder

    def measure(self, *args, **more):
        """The object of --json, and the run."""
        path = self.folder / "eval.json"
        result = evaluate(*args, "--json", path, **more)
        self.assert_success(result)
        return json.loads(path.read_text()), result

    def other_vocabulary(self, rows):
        """The bundled model with fewer rows in its embedding."""
        folder = self.folder / "smaller"
        shutil.copytree(MODEL, folder)
        config = json.loads((folder / "config.json").read_text())
        config["text_config"]["vocab_size"] = rows
        os.chmod(folder, 0o755)
        for name in ("config.json", "model.safetensors"):
            os.chmod(folder / name, 0o644)
        (folder / "config.json").write_text(json.dumps(config))
        data = (folder / "model.safetensors").read_bytes()
        size = struct.unpack("<Q", data[:8])[0]
        header, body, out = json.loads(data[8:8 + size]), data[8 + size:], b""
        for name, entry in sorted(header.items()):
            if name == "__metadata__":
                continue
            begin, end = entry["data_offsets"]
            if name.endswith("embed_tokens.weight"):
                end = begin + (end - begin) // entry["shape"][0] * rows
                entry["shape"][0] = rows
            entry["data_offsets"] = [len(out), len(out) + end - begin]
            out += body[begin:end]
        head = json.dumps(header).encode()
        (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(head)) + head + out)
        return folder


class Perplexity(EvalTest):
    def losses(self, text):
        """-ln p of every token but the first, each from a run of qwen3vl on the text before it."""
        prefixes = [text[:n] for n in range(1, len(text) + 1)]
        lines = self.write("prefixes.jsonl", "".join(json.dumps(p) + "\n" for p in prefixes))
        ids = [json.loads(line)["ids_as_user_text"] for line in run(INSPECT, MODEL, "--tokenize", lines).stdout.splitlines()]
        whole, losses = ids[-1], []
        for count in range(1, len(whole)):
            prefix = prefixes[ids.index(whole[:count])]
            report, _ = self.report("--raw", "-p", prefix, "-n", 1, "--greedy", "--top-logprobs", 768, env=plain_environment())
            self.assertEqual(report["prompt_token_ids"], whole[:count])
            losses.append(-{t["id"]: t["logprob"] for t in report["top_logprobs"][0]}[whole[count]])
        return losses

    def test_short_text_scores_every_token_but_the_first(self):
        losses = self.losses(TEXT)
        n, mean = len(losses), sum(losses) / len(losses)
        variance = sum(x * x for x in losses) / n - mean * mean
        found, result = self.measure("--ppl", self.write("t.txt", TEXT), env=plain_environment())
        self.assertEqual(found["perplexity"]["scored"], n)
        self.assertEqual(found["perplexity"]["tokens"], n + 1)
        self.assertEqual(found["perplexity"]["windows"], 1)
        self.assertAlmostEqual(found["perplexity"]["value"] / math.exp(mean), 1, delta=1e-3)
        self.assertAlmostEqual(found["perplexity"]["error"] / (math.exp(mean) * math.sqrt(variance / (n - 1))), 1, delta=1e-3)
        self.assertIn(f"{found['perplexity']['value']:.4f} ± {found['perplexity']['error']:.4f}", result.stdout.decode())
        self.assertEqual(result.stderr, b"")  # no terminal, no progress

    def test_windows_score_their_second_half(self):
        losses = self.losses(TEXT)
        window = len(losses) + 1  # the whole text is one window
        scored = losses[window // 2:]
        found, _ = self.measure("--ppl", self.write("t.txt", TEXT), "-c", window, env=plain_environment())
        self.assertEqual(found["perplexity"]["scored"], len(scored))
        self.assertAlmostEqual(found["perplexity"]["value"] / math.exp(sum(scored) / len(scored)), 1, delta=1e-3)

    def test_what_is_left_over_is_dropped(self):
        found, _ = self.measure("--ppl", self.write("t.txt", TEXT * 20), "-c", 32)
        p = found["perplexity"]
        self.assertEqual(p["tokens"], 32 * p["windows"])
        self.assertEqual(p["scored"], 15 * p["windows"])

    def test_thread_count_changes_nothing(self):
        text = self.write("t.txt", TEXT * 10)
        values = {self.measure("--ppl", text, "-c", 64, "-t", t)[0]["perplexity"]["value"] for t in (1, 2)}
        self.assertEqual(len(values), 1)

    def test_cache_type(self):
        text = self.write("t.txt", TEXT)
        f16, f32 = (self.measure("--ppl", text, "-ctk", t)[0]["perplexity"]["value"] for t in ("f16", "f32"))
        self.assertNotEqual(f16, f32)
        self.assertAlmostEqual(f16 / f32, 1, delta=0.05)

    def test_bad_texts(self):
        self.assert_error(evaluate("--ppl", self.write("e.txt", "")), 5, "e.txt", "empty")
        self.assert_error(evaluate("--ppl", self.write("a.txt", "a")), 5, "a.txt", "got 1 token, expected at least 2")
        self.assert_error(evaluate("--ppl", self.folder / "none.txt"), 5, "none.txt", "No such file")


class Tasks(EvalTest):
    def question(self, **more):
        return {"images": [str(PICTURES / "circle.png")], "prompt": "How many circles are there?", "answer": "1", "kind": "count"} | more

    def test_answers_are_those_of_qwen3vl(self):
        prompts = ["How many circles are there?", "Describe the picture."]
        told = [ask("--image", PICTURES / "shapes.png", "-p", p, "--greedy").stdout.decode().removesuffix("\n") for p in prompts]
        image = {"images": [str(PICTURES / "shapes.png")]}
        folder = self.tasks(image | {"prompt": prompts[0], "answer": " " + told[0] + "\n", "kind": "count"},
                            image | {"prompt": prompts[1], "answer": "nothing", "kind": "describe"})
        answers = self.folder / "answers.jsonl"
        found, result = self.measure("--tasks", folder, "--answers", answers)
        self.assertEqual([json.loads(line) for line in answers.read_text().splitlines()], [{"text": t} for t in told])
        self.assertEqual(found["tasks"]["score"], 0.5)
        self.assertEqual(found["tasks"]["kinds"], {"count": {"score": 1, "count": 1}, "describe": {"score": 0, "count": 1}})
        table = result.stdout.decode().split()
        self.assertEqual(table, ["kind", "count", "score", "count", "1", "1.0000", "describe", "1", "0.0000", "all", "2", "0.5000"])

    def test_longest_answer(self):
        image = {"images": [str(PICTURES / "shapes.png")]}
        folder, answers = self.tasks(image | {"prompt": "Describe the picture.", "answer": "x"}), self.folder / "a.jsonl"
        self.assert_success(evaluate("--tasks", folder, "-n", 1, "--answers", answers))
        self.assertLess(len(json.loads(answers.read_text())["text"]), 12)

    def test_pictures_lie_beside_the_file(self):
        folder = self.tasks(self.question(images=["c.png"]))
        shutil.copy(PICTURES / "circle.png", folder / "c.png")
        self.assertEqual(self.measure("--tasks", folder)[0]["tasks"]["count"], 1)

    def test_clips_are_left_out_and_counted(self):
        found, result = self.measure("--tasks", self.tasks(self.question(), self.question(video={"frames": []})))
        self.assertEqual((found["tasks"]["count"], found["tasks"]["left_out"]), (1, 1))
        self.assertIn("questions about clips left out: 1", result.stderr.decode())

    def test_bad_lines(self):
        for line, reason in [("{", "no JSON object"), ({"prompt": "a"}, '"answer" is missing'), ({"answer": "a"}, '"prompt" is missing'),
                             (self.question(images=["none.png"]), "No such file"), ("[" * 100000, "no JSON object"),
                             ("\x1b[2J", "no JSON object")]:
            self.assert_error(evaluate("--tasks", self.tasks(self.question(), line)), 5, "tasks.jsonl: line 2", reason)
        self.assert_error(evaluate("--tasks", self.folder), 5, "tasks.jsonl", "No such file")

    def test_bad_picture(self):
        (self.tasks(self.question(images=["bad.png"])) / "bad.png").write_bytes(b"no picture")
        self.assert_error(evaluate("--tasks", self.folder / "tasks"), 5, "bad.png")

    def test_question_too_long(self):
        self.assert_error(evaluate("--tasks", self.tasks(self.question(prompt="many words " * 9000))), 5,
                          "tasks.jsonl: line 1", "does not fit the context")

    @unittest.skipUnless((support.SHARED / "tasks").exists(), "needs shared/golden/tasks")
    def test_float_model_scores_as_transformers(self):
        source = support.SHARED / "tasks"
        lines = [json.loads(line) for line in (source / "tasks.jsonl").read_text().splitlines()]
        reference = [json.loads(line)["text"] for line in (source / "reference_answers.jsonl").read_text().splitlines()]
        kept = [i for i, task in enumerate(lines) if "video" not in task][::8]
        folder = self.tasks(*(lines[i] | {"images": [str(source / name) for name in lines[i]["images"]]} for i in kept))
        answers = self.folder / "answers.jsonl"
        found, _ = self.measure("--tasks", folder, "--answers", answers)
        ours = [json.loads(line)["text"] for line in answers.read_text().splitlines()]
        self.assertEqual(found["tasks"]["count"], len(kept))
        self.assertGreaterEqual(sum(a == reference[i] for a, i in zip(ours, kept, strict=True)), len(kept) - 1)


class Distance(EvalTest):
    def test_from_itself_is_nothing(self):
        folder = self.tasks({"images": [str(PICTURES / "circle.png")], "prompt": "What is it?", "answer": "A red circle."})
        found, result = self.measure("--kl", MODEL, "--ppl", self.write("t.txt", TEXT), "--tasks", folder)
        self.assertEqual(found["reference"], str(MODEL))
        for data in ("text", "tasks"):
            d = found["divergence"][data]
            self.assertGreater(d["positions"], 3)
            self.assertEqual((d["mean"], d["p99"], d["max"], d["top1_agreement"], d["delta_p_mean"], d["delta_p_max"]), (0, 0, 0, 1, 0, 0))
        self.assertEqual(len(result.stdout.splitlines()), 3)
        self.assertIn("100.000", result.stdout.decode())

    def test_from_a_model_with_another_vocabulary_is_refused(self):
        other = self.other_vocabulary(700)
        text = self.write("t.txt", TEXT)
        self.assert_success(run(EVAL, "-m", other, "--ppl", text))
        self.assert_error(run(EVAL, "-m", other, "--kl", MODEL, "--ppl", text), 3, "vocab_size", "got 700, expected 768")

    @unittest.skipUnless((support.SHARED / "checkpoints/dense").exists(), "needs shared/golden/checkpoints")
    def test_from_another_model_is_not_nothing(self):
        other = support.SHARED / "checkpoints/dense"
        found, _ = self.measure("--kl", other, "--ppl", self.write("t.txt", TEXT))
        d = found["divergence"]["text"]
        self.assertLess(d["top1_agreement"], 1)
        self.assertTrue(0 < d["mean"] <= d["p99"] <= d["max"])

class CommandLine(EvalTest):
    def test_mistakes(self):
        text, folder = self.write("t.txt", TEXT), self.tasks({"prompt": "a", "answer": "b"})
        for args, parts in [((), ("--ppl", "one of --ppl and --tasks")), (("--kl", MODEL), ("--kl", "needs --ppl or --tasks")),
                            (("--tasks", folder, "-c", 64), ("-c", "needs --ppl")), (("--ppl", text, "-n", 5), ("-n", "needs --tasks")),
                            (("--ppl", text, "--answers", "a"), ("--answers", "needs --tasks")),
                            (("--tasks", folder, "--kl", MODEL, "-n", 5), ("-n", "not together with --kl")),
                            (("--tasks", folder, "--kl", MODEL, "--answers", "a"), ("--answers", "not together with --kl")),
                            (("--ppl", text, "-c", 2), ("-c", "3 to")), (("--ppl", text, "-c", 2000000000), ("-c", "expected at most")),
                            (("--ppl", text, "-ctk", "q9"), ("-ctk", "unknown type")), (("--ppl", text, "-t", 0), ("-t", "1 to")),
                            (("--ppl", text, "--unknown"), ("--unknown", "unknown flag"))]:
            self.assert_error(evaluate(*args), 2, *parts)

    def test_output_files(self):
        text = self.write("t.txt", TEXT)
        self.assert_error(evaluate("--ppl", text, "--json", self.folder / "no/x.json"), 7, "x.json")
        self.assert_error(evaluate("--ppl", text, "--json", text), 7, "--json", "is an input")
        self.assertEqual(text.read_text(), TEXT)
        tasks = self.tasks({"prompt": "a", "answer": "b"})
        same = self.folder / "x"
        self.assert_error(evaluate("--tasks", tasks, "--json", same, "--answers", same), 2, "--answers", "the same file")

    def test_model_that_is_not_there(self):
        text = self.write("t.txt", TEXT)
        self.assert_error(run(EVAL, "-m", self.folder / "none", "--ppl", text), 3, "none")
        self.assert_error(evaluate("--kl", self.folder / "none", "--ppl", text), 3, "none")

    def test_help_states_the_rules(self):
        text = run(EVAL, "--help").stdout.decode()
        for part in ("--ppl", "--kl", "--tasks", "llama.cpp", "Exit status"):
            self.assertIn(part, text)

    def test_interrupt_ends_with_130(self):
        text = self.write("t.txt", TEXT * 20000)
        with subprocess.Popen([EVAL, "-m", str(MODEL), "--ppl", str(text)], env=environment(), stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE) as process:
            time.sleep(1)
            process.send_signal(signal.SIGINT)
            self.assertEqual(process.wait(30), 130)

    def test_progress_stands_on_a_terminal(self):
        text = self.write("t.txt", TEXT * 20)
        try:
            leader, follower = pty.openpty()
        except OSError as error:
            self.skipTest(f"no pseudo-terminal: {error}")
        with subprocess.Popen([EVAL, "-m", str(MODEL), "--ppl", str(text), "-c", "32"], env=environment(), stdout=subprocess.PIPE,
                              stderr=follower) as process:
            os.close(follower)
            process.wait(60)
        shown = os.read(leader, 1 << 16).decode()
        os.close(leader)
        self.assertIn("window 1 of", shown)
        self.assertIn("perplexity so far", shown)
        self.assertTrue(shown.endswith("\r\x1b[K"))


if __name__ == "__main__":
    unittest.main()
