"""Conversations through a pipe."""
import unittest

import support
from support import PICTURES, ProgramTest, ask

GREETING = "Hello! Show me a picture of shapes and ask me about it.\n"


class Interactive(ProgramTest):
    def talk(self, *lines, flags=(), end="\n"):
        result = ask("--greedy", *flags, stdin="\n".join(lines) + end)
        self.assert_success(result)
        return result.stdout.decode(), result.stderr.decode()

    def test_end_of_input_leaves(self):
        self.assertEqual(self.talk("", end=""), ("", ""))
        self.assertEqual(self.talk("Hello!", end="")[0], GREETING)

    def test_quit_leaves_at_once(self):
        for word in ["/quit", "/exit"]:
            self.assertEqual(self.talk("Hello!", word, "Hello!")[0], GREETING)

    def test_a_picture_joins_the_next_message(self):
        output, errors = self.talk(f"/image {PICTURES / 'five.png'}", "How many shapes are there?")
        self.assertEqual(output, "5\n")
        self.assertEqual(errors.count("to encode"), 1)

    def test_pictures_of_the_command_line_join_the_first_message(self):
        output, _ = self.talk("How many shapes are there?", flags=["--image", PICTURES / "five.png"])
        self.assertEqual(output, "5\n")

    def test_a_later_turn_uses_the_picture_without_encoding_it_again(self):
        output, errors = self.talk(f"/image {PICTURES / 'shapes.png'}", "How many shapes are there?", "Which shape is orange?")
        self.assertEqual(output, "3\nA cross.\n")
        self.assertEqual(errors.count("to encode"), 1)

    def test_clear_forgets(self):
        output, _ = self.talk(f"/image {PICTURES / 'five.png'}", "How many shapes are there?", "/clear", "Hello!")
        self.assertEqual(output, "5\n" + GREETING)

    def test_clear_also_repeats_random_numbers(self):
        flags = ["--temp", 3, "--top-k", 0, "--top-p", 1, "--seed", 5, "-n", 30]
        result = ask(*flags, stdin="Hello!\n/clear\nHello!\n")
        self.assert_success(result)
        text = result.stdout.decode()
        self.assertEqual(text[:len(text) // 2], text[len(text) // 2:])

    def test_mistakes_do_not_end_the_conversation(self):
        output, errors = self.talk("/image /none.png", "/image", "/bogus", "word " * 3000, "Hello!")
        self.assertEqual(output, GREETING)
        self.assertEqual(errors.count("error: "), 2)
        self.assertEqual(errors.count("warning: unknown command"), 2)
        self.assertIn("/none.png", errors)
        self.assertIn("does not fit the context", errors)

    def test_full_context_is_said(self):
        output, errors = self.talk("Hello!", "Hello!", "/clear", "Hello!", flags=["-c", 20])
        self.assertIn("context", errors)
        self.assertIn("/clear", errors)
        self.assertEqual(output.count("Hello!"), 2)

    def test_system_message(self):
        output, _ = self.talk("Hello!", flags=["-sys", "You are a helpful assistant."])
        self.assertEqual(output, support.case("system")["text"] + "\n")


if __name__ == "__main__":
    unittest.main()
