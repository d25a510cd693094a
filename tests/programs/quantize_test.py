"""tessera-quantize and tessera-inspect --verify: rows F8 to F11, E5 to E10, W1, G27 and E21 of reliability.md."""
import json
import os
import pathlib
import resource
import shutil
import signal
import struct
import subprocess
import time
import unittest

import support
from support import BIN, INSPECT, MODEL, QWEN3VL, SHARED, ProgramTest, run

QUANTIZE = str(BIN / "tessera-quantize")
TEXT, MMPROJ = "shapes-vl-Q8_0.gguf", "mmproj-shapes-vl-Q8_0.gguf"
STOP_SECONDS = 1.0


def tensors_of_safetensors(path):
    data = pathlib.Path(path).read_bytes()
    size = struct.unpack_from("<Q", data)[0]
    return 8 + size, json.loads(data[8:8 + size])


class Quantize(ProgramTest):
    def setUp(self):
        super().setUp()
        self.out = self.folder / "out"

    def quantize(self, *args, model=MODEL, out=None, **more):
        return run(QUANTIZE, "-i", model, "-o", out or self.out, *args, **more)

    def names(self, folder=None):
        folder = folder or self.out
        return sorted(os.listdir(folder)) if folder.exists() else None

    def copy_of_model(self):
        model = self.folder / "shapes-vl"
        shutil.copytree(MODEL, model)
        return model


class Results(Quantize):
    def test_writes_a_pair_that_answers(self):
        result = self.quantize("-p", "int8")
        self.assert_success(result)
        self.assertEqual(self.names(), sorted([TEXT, MMPROJ]))
        table = result.stdout.decode().splitlines()
        self.assertEqual(table[0].split()[:4], ["tensor", "shape", "from", "to"])
        self.assertEqual(len(table), 1 + 46 + 100)  # the tensors of spec 9.2 and 9.3 for this model
        self.assertIn("MB/s", result.stderr.decode())
        ask = ["--image", support.PICTURES / "shapes.png", "-p", "Describe the picture.", "--greedy"]
        stored = run(QWEN3VL, "-m", self.out, *ask)
        direct = run(QWEN3VL, "-m", MODEL, "--type", "q8_0", *ask)
        self.assert_success(stored)
        self.assert_success(direct)
        self.assertTrue(stored.stdout)
        self.assertEqual(stored.stdout, direct.stdout)

    def test_one_file_alone(self):
        self.assert_success(self.quantize("-p", "bf16", "--skip-vision"))
        self.assertEqual(self.names(), ["shapes-vl-BF16.gguf"])
        self.assert_success(self.quantize("-p", "int4", "--vision-type", "f16", "--skip-text"))
        self.assertEqual(self.names(), ["mmproj-shapes-vl-F16.gguf", "shapes-vl-BF16.gguf"])

    def test_a_gguf_pair_is_an_input_too(self):
        self.assert_success(self.quantize("-p", "bf16", "--vision-type", "f32"))
        (self.out / "shapes-vl-BF16.gguf").rename(self.out / "m.gguf")
        again, direct = self.folder / "again", self.folder / "direct"
        self.assert_success(self.quantize("-p", "int8", model=self.out / "m.gguf", out=again))
        self.assert_success(self.quantize("-p", "int8", out=direct))
        report = [run(INSPECT, path, "--tensors", "--json") for path in (again / "m-Q8_0.gguf", direct / TEXT)]
        self.assertEqual(*[[{k: v for k, v in t.items() if k != "file"} for t in json.loads(r.stdout)["tensors"]] for r in report])
        for old, new in [("m-Q8_0.gguf", TEXT), ("mmproj-m-Q8_0.gguf", MMPROJ)]:
            a, b = (again / old).read_bytes(), (direct / new).read_bytes()
            self.assertEqual(a[-1_000_000:], b[-1_000_000:])

    def test_the_files_of_a_pair_may_lie_apart(self):
        self.assert_success(self.quantize("-p", "bf16", "--vision-type", "f32"))
        vision = self.folder / "mmproj.gguf"
        (self.out / "mmproj-shapes-vl-F32.gguf").rename(vision)
        text, again = self.out / "shapes-vl-BF16.gguf", self.folder / "again"
        self.assert_error(self.quantize("-p", "int8", model=text, out=again), 3, "--mmproj")
        self.assert_success(self.quantize("-p", "int8", "--mmproj", vision, model=text, out=again))
        self.assertEqual(self.names(again), ["mmproj-shapes-vl-BF16-Q8_0.gguf", "shapes-vl-BF16-Q8_0.gguf"])

    def test_report_has_every_tensor(self):
        report = self.folder / "report.json"
        self.assert_success(self.quantize("--type", "q4_k_m", "--skip-vision", "--report", report))
        content = json.loads(report.read_text())
        tensors = {t["name"]: t for t in content["files"][0]["tensors"]}
        self.assertEqual(len(tensors), 46)
        down = tensors["blk.0.ffn_down.weight"]
        self.assertEqual((down["from"], down["to"], down["shape"], down["bits_per_weight"]), ("bf16", "q4_k", [256, 512], 4.5))
        self.assertTrue(1e-3 < down["nmse"] < 7e-3 and down["nmse"] < down["worst_row_nmse"])
        self.assertEqual(tensors["output_norm.weight"]["nmse"], 0)
        self.assertEqual(content["files"][0]["bytes"], os.path.getsize(self.out / "shapes-vl-Q4_K_M.gguf"))

    def test_calibration_with_text_and_with_pictures(self):
        text = self.folder / "text.txt"
        text.write_text("How many circles are there? There are three red circles and a blue square. " * 8)
        questions = self.folder / "set.jsonl"
        questions.write_text(json.dumps({"images": [str(support.PICTURES / "shapes.png")], "prompt": "Describe the picture."}) + "\n")
        size = None
        for data in (None, text, questions):
            result = self.quantize("-p", "int4", "--vision-type", "q4_0", "--force", *(["--calibrate", data] if data else []))
            self.assert_success(result)
            content = b"".join((self.out / n).read_bytes() for n in self.names())
            self.assertNotEqual(content, size)
            size = content
        self.assert_error(self.quantize("-p", "bf16", "--calibrate", text, "--force"), 2, "--calibrate", "of no use")
        self.assert_error(self.quantize("-p", "int4", "--calibrate", self.folder / "none.txt", "--force"), 5, "none.txt")
        self.assertEqual(b"".join((self.out / n).read_bytes() for n in self.names()), size)


class CommandLine(Quantize):
    def test_types(self):  # F11
        for args, status, part in [(["-p", "int3"], 2, "-p"), (["--type", "q9"], 2, "q9"), (["--type", "q5_0"], 4, "q5_0 is only read"),
                                   (["-p", "int8", "--vision-type", "q4_k_m"], 2, "mix"), (["-p", "int8", "--vision-type", "q9"], 2, "vision type"), ([], 2, "-p"),
                                   (["-p", "int8", "--skip-text", "--skip-vision"], 2, "--skip-text"), (["-p", "int8", "-t", "0"], 2, "-t")]:
            with self.subTest(args):
                self.assert_error(self.quantize(*args), status, part)
                self.assertIsNone(self.names())
        result = run(QUANTIZE, "--help")
        self.assert_success(result)
        self.assertIn(b"q4_k_m", result.stdout)

    def test_input_that_is_no_model(self):
        for path, status in [(self.folder / "none", 3), (self.folder, 3), (MODEL / "config.json", 3)]:
            with self.subTest(path):
                self.assert_error(self.quantize("-p", "int8", model=path), status)
                self.assertIsNone(self.names())

    def test_weight_that_is_no_number(self):  # W1
        model = self.copy_of_model()
        begin, tensors = tensors_of_safetensors(model / "model.safetensors")
        name = "model.language_model.layers.3.mlp.up_proj.weight"
        with open(model / "model.safetensors", "r+b") as file:
            file.seek(begin + tensors[name]["data_offsets"][0] + 2 * (9 * 256 + 4))
            file.write(b"\x80\x7f")  # infinity
        self.assert_error(self.quantize("-p", "int4", model=model), 3, name, "row 9, column 4")
        self.assertIsNone(self.names())
        self.assert_error(run(INSPECT, model, "--verify"), 3, name, "row 9, column 4")


class Outputs(Quantize):
    def test_existing_files_stay_without_force(self):  # F9
        self.out.mkdir()
        (self.out / MMPROJ).write_text("old")
        self.assert_error(self.quantize("-p", "int8"), 7, MMPROJ, "--force")
        self.assertEqual(self.names(), [MMPROJ])
        self.assertEqual((self.out / MMPROJ).read_text(), "old")
        self.assert_success(self.quantize("-p", "int8", "--force"))
        self.assertEqual(self.names(), sorted([TEXT, MMPROJ]))

    def test_an_input_is_never_an_output(self):  # F8
        model = self.copy_of_model()
        before = (model / "model.safetensors").read_bytes()
        for link in (os.link, os.symlink):
            self.out.mkdir(exist_ok=True)
            (self.out / TEXT).unlink(missing_ok=True)
            link(model / "model.safetensors", self.out / TEXT)
            self.assert_error(self.quantize("-p", "int8", "--force", model=model), 7, TEXT, "input")
            self.assertEqual((model / "model.safetensors").read_bytes(), before)
            self.assertEqual(self.names(), [TEXT])

    def test_the_report_replaces_nothing_of_the_model(self):
        model = self.copy_of_model()
        text = self.folder / "text.txt"
        text.write_text("How many circles are there?")
        before = {p: p.read_bytes() for p in [*model.iterdir(), text]}
        self.out.mkdir()
        os.link(model / "model.safetensors", self.out / "link.json")
        for report, status in [(model / "model.safetensors", 7), (model / "config.json", 7), (self.out / "link.json", 7), (text, 7),
                               (self.out / TEXT, 2), (self.out / ".." / "out" / MMPROJ, 2)]:
            with self.subTest(report):
                self.assert_error(self.quantize("-p", "int8", "--report", report, "--calibrate", text, model=model), status, "--report")
                self.assertEqual({p: p.read_bytes() for p in before}, before)
                self.assertEqual(self.names(), ["link.json"])

    def test_paths_that_cannot_be(self):  # F10
        (self.folder / "file").write_text("")
        (self.out / TEXT).mkdir(parents=True)
        for out, part in [(self.folder / "file", "Not a directory"), (self.folder / "none" / "out", "No such file"),
                          (self.folder / ("x" * 300), "too long"), (self.out, "directory")]:
            with self.subTest(out):
                self.assert_error(self.quantize("-p", "int8", "--force", out=out), 7, part)
        self.assert_error(self.quantize("-p", "int8", "--report", self.folder / "none" / "r.json", out=self.folder / "new"), 7, "r.json")
        self.assertIsNone(self.names(self.folder / "new"))

    def mount(self, options):
        self.out.mkdir()
        if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(self.out)], stderr=subprocess.DEVNULL).returncode:
            self.skipTest("needs the right to mount")
        self.addCleanup(subprocess.run, ["umount", str(self.out)])

    def test_read_only_folder(self):  # E7
        if os.geteuid() == 0:
            self.mount("ro")
        else:
            self.out.mkdir(mode=0o500)
        self.assert_error(self.quantize("-p", "int8"), 7, "Read-only" if os.geteuid() == 0 else "Permission denied")

    def test_full_disk(self):  # E5
        self.mount("size=2m")
        self.assert_error(self.quantize("-p", "int8"), 7, "disk full", "needs")
        self.assertEqual(self.names(), [])

    def test_file_size_limit(self):  # E6
        limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
        self.assert_error(self.quantize("-p", "int8", preexec_fn=limit), 7, "File too large")
        self.assertIsNone(self.names())


class Interruptions(Quantize):
    ARGS = ["--type", "q4_k", "--vision-type", "q4_k", "--force", "-t", "1"]

    def start(self, *args):
        program = subprocess.Popen([QUANTIZE, "-i", str(MODEL), "-o", str(self.out), *args], stdout=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE, env=support.environment())
        self.addCleanup(program.stderr.close)
        self.addCleanup(program.kill)
        return program

    def wait_for_partial(self, program):
        while not [n for n in self.names() or [] if ".partial-" in n]:
            self.assertIsNone(program.poll(), "ended before it could be stopped")
            time.sleep(0.002)

    def seconds(self):
        begin = time.monotonic()
        self.assert_success(self.quantize(*self.ARGS))
        return time.monotonic() - begin

    def test_signals_leave_nothing(self):  # E9
        for number, status in [(signal.SIGINT, 130), (signal.SIGTERM, 143)]:
            for old in (False, True):
                with self.subTest((number, old)):
                    shutil.rmtree(self.out, ignore_errors=True)
                    if old:
                        self.out.mkdir()
                        (self.out / "shapes-vl-Q4_K.gguf").write_text("old")
                    program = self.start(*self.ARGS)
                    self.wait_for_partial(program)
                    begin = time.monotonic()
                    program.send_signal(number)
                    self.assertEqual(program.wait(timeout=30), status)
                    self.assertLess(time.monotonic() - begin, STOP_SECONDS)
                    self.assertEqual(self.names(), ["shapes-vl-Q4_K.gguf"] if old else None)
                    if old:
                        self.assertEqual((self.out / "shapes-vl-Q4_K.gguf").read_text(), "old")

    def test_signals_while_waiting_for_calibration_data_leave_nothing(self):  # E9
        data = self.folder / "data.txt"
        os.mkfifo(data)
        for written in (False, True):
            with self.subTest(written):
                program = self.start(*self.ARGS, "--calibrate", data)
                writer = os.fdopen(os.open(data, os.O_RDWR), "wb", buffering=0) if written else None
                while self.names() is None:
                    self.assertIsNone(program.poll(), "ended before it could be stopped")
                    time.sleep(0.002)
                time.sleep(0.3)  # loads the model
                program.send_signal(signal.SIGTERM)
                self.assertEqual(program.wait(timeout=30), 143)
                self.assertIsNone(self.names())
                if writer:
                    writer.close()

    def test_a_second_signal_while_calibrating_leaves_no_folder(self):  # E9
        data = self.folder / "data.txt"
        data.write_text("How many circles are there? " * 20000)
        program = self.start(*self.ARGS, "--calibrate", data)
        while self.names() is None:
            self.assertIsNone(program.poll(), "ended before it could be stopped")
            time.sleep(0.002)
        program.send_signal(signal.SIGINT)
        program.send_signal(signal.SIGTERM)
        self.assertIn(program.wait(timeout=30), (130, 143))
        self.assertIsNone(self.names())

    def test_killed_at_any_moment_leaves_old_or_new(self):  # E8
        whole = self.seconds()
        new = {n: (self.out / n).read_bytes() for n in self.names()}
        for i in range(12):
            for name in new:
                (self.out / name).write_text("old")
            program = self.start(*self.ARGS)
            time.sleep(whole * (i + 1) / 11)
            program.kill()
            program.wait()
            for name in new:
                self.assertIn((self.out / name).read_bytes(), (b"old", new[name]), (i, name))
        # What the killed ones left goes away with the next run.
        self.seconds()
        self.assertEqual({n: (self.out / n).read_bytes() for n in self.names()}, new)

    def test_the_second_writer_of_a_target_gives_way(self):  # E10
        first = self.start(*self.ARGS)
        self.wait_for_partial(first)
        second = self.quantize(*self.ARGS)
        self.assert_error(second, 7, "is being written by process " + str(first.pid))
        self.assertEqual(first.wait(timeout=120), 0, first.stderr.read())
        self.assertEqual(self.names(), ["mmproj-shapes-vl-Q4_K.gguf", "shapes-vl-Q4_K.gguf"])
        self.assert_success(run(INSPECT, self.out, "--verify"))


class Verify(Quantize):
    def test_a_pair_is_right_and_a_flipped_byte_is_named(self):  # E21
        self.assert_success(self.quantize("-p", "int8"))
        result = run(INSPECT, self.out, "--verify", "--json")
        self.assert_success(result)
        checked = json.loads(result.stdout)["verify"]
        self.assertEqual([pathlib.Path(c["file"]).name for c in checked], [TEXT, MMPROJ])
        self.assertEqual({(c["hashes"], c["numbers"]) for c in checked}, {("right", "finite")})
        for name in (TEXT, MMPROJ):
            path = self.out / name
            data = bytearray(path.read_bytes())
            data[-5000] ^= 1
            path.write_bytes(data)
            for target in (path, self.out):
                self.assert_error(run(INSPECT, target, "--verify"), 3, name, ".weight: bytes are not those that were written")
            data[-5000] ^= 1
            path.write_bytes(data)

    def test_files_without_hashes_say_so(self):
        result = run(INSPECT, MODEL, "--verify")
        self.assert_success(result)
        self.assertIn(b"none stored", result.stdout)
        theirs = SHARED / "gguf/shapes-vl-q4_0.gguf"
        if theirs.exists():
            result = run(INSPECT, theirs, "--verify")
            self.assert_success(result)
            self.assertIn(b"none stored", result.stdout)


if __name__ == "__main__":
    unittest.main()
