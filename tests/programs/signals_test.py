"""Ctrl-C and its like: rows E9 and E12 of reliability.md, and stopping inside the encoder."""
import json
import os
import signal
import subprocess
import time
import unittest

import support
from support import IMAGES, MODEL, PICTURES, QWEN3VL, ProgramTest

# Encoding takes many seconds: 1,800 tokens, one thread, plain C++.
SLOW = ["--image", str(IMAGES / "rgb8.png"), "-p", "a", "--image-min-tokens", "1800", "-t", "1"]
# The promise is 100 ms until computing stops; the rest is the process's end, on a machine that does other things too.
STOP_SECONDS = 1.0


class Signals(ProgramTest):
    def start(self, *args, until, **more):
        """Starts the program and waits until standard error holds these bytes."""
        program = subprocess.Popen([QWEN3VL, "-m", str(MODEL), *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   env=support.environment(TESSERA_ISA="scalar"), **more)
        self.addCleanup(program.stdin.close)
        self.addCleanup(program.stdout.close)
        self.addCleanup(program.stderr.close)
        self.addCleanup(program.kill)
        seen = b""
        while until not in seen:
            chunk = os.read(program.stderr.fileno(), 65536)
            self.assertTrue(chunk, seen)
            seen += chunk
        return program

    def stop(self, program, number):
        begin = time.monotonic()
        program.send_signal(number)
        status = program.wait(timeout=30)
        self.assertLess(time.monotonic() - begin, STOP_SECONDS)
        return status

    def test_signal_stops_the_encoder_and_the_report_says_so(self):
        for number, status in [(signal.SIGINT, 130), (signal.SIGTERM, 143)]:
            with self.subTest(number):
                report = self.folder / "report.json"
                program = self.start(*SLOW, "--json", str(report), until=b"to encode\n")
                time.sleep(0.5)
                self.assertEqual(self.stop(program, number), status)
                self.assertEqual(program.stdout.read(), b"")
                content = json.loads(report.read_text())
                self.assertEqual((content["finish_reason"], content["token_ids"]), ("cancelled", []))

    def test_signal_stops_an_answer(self):
        report = self.folder / "report.json"
        program = self.start("-p", "Hello!", "--temp", "1000", "--top-k", "0", "--top-p", "1", "--seed", "1", "--json", str(report), until=b"seed")
        program.stdout.read(1)
        self.assertEqual(self.stop(program, signal.SIGINT), 130)
        content = json.loads(report.read_text())
        self.assertEqual(content["finish_reason"], "cancelled")
        self.assertGreater(len(content["token_ids"]), 0)

    def test_interactive_goes_back_to_its_prompt(self):
        program = self.start("--image", SLOW[1], *SLOW[4:], until=b"seed")
        program.stdin.write(b"What is this?\n")
        program.stdin.flush()
        while b"to encode" not in os.read(program.stderr.fileno(), 65536):
            pass
        time.sleep(0.3)
        program.send_signal(signal.SIGINT)
        self.assertIn(b"stopped", os.read(program.stderr.fileno(), 65536))
        output, _ = program.communicate(b"Hello!\n", timeout=60)
        self.assertEqual(program.returncode, 0)
        self.assertGreater(len(output), 1)

    def test_signal_at_the_prompt_ends_the_program(self):
        for number, status in [(signal.SIGINT, 130), (signal.SIGTERM, 143)]:
            program = self.start(until=b"seed")
            time.sleep(0.2)
            self.assertEqual(self.stop(program, number), status)

    def test_bus_error_names_the_model(self):
        program = self.start(until=b"seed")
        program.send_signal(signal.SIGBUS)
        _, errors = program.communicate(timeout=30)
        self.assertEqual(program.returncode, 3)
        self.assertEqual(errors.decode().count("\n"), 1)
        self.assertIn(str(MODEL), errors.decode())


if __name__ == "__main__":
    unittest.main()
