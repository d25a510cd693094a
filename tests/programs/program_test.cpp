#include "examples/common/program.h"

#include <gtest/gtest.h>

#include <new>

#include "examples/common/pictures.h"
#include "tensor/error.h"

namespace tessera::programs {
namespace {

TEST(Terminal, ControlCharactersAreShownAndNotObeyed) {
  EXPECT_EQ(escape_for_terminal("a\x1b[2Jb\a\b\r"), "a\\x1b[2Jb\\x07\\x08\\x0d");
  EXPECT_EQ(escape_for_terminal(std::string("\0\x7f", 2)), "\\x00\\x7f");
  EXPECT_EQ(escape_for_terminal("\xc2\x9b"
                                "31m\xc2\x80\xc2\x9f"),
            "\\x9b31m\\x80\\x9f");
}

TEST(Terminal, TextStaysAsItIs) {
  const std::string text = "line\n\ttab \\ \xc2\xa0 \xc3\xa9 \xe4\xb8\xad \xf0\x9f\x98\x80 \xef\xbf\xbd";
  EXPECT_EQ(escape_for_terminal(text), text);
}

TEST(Program, ExitStatusIsThatOfTheError) {
  EXPECT_EQ(run_program([] { return 5; }), 5);
  EXPECT_EQ(run_program([]() -> int { throw ExitNow{141}; }), 141);
  EXPECT_EQ(run_program([]() -> int { throw Error(ErrorCode::kUnsupported, "f", "k", "r"); }), 4);
  EXPECT_EQ(run_program([]() -> int { throw std::bad_alloc(); }), 6);
  EXPECT_EQ(run_program([]() -> int { throw std::logic_error("x"); }), 1);
}

TEST(Pictures, AreNumberedFromTheSecondOn) {
  EXPECT_EQ(numbered_path("dir.x/seen.png", 0), "dir.x/seen.png");
  EXPECT_EQ(numbered_path("dir.x/seen.png", 1), "dir.x/seen-2.png");
  EXPECT_EQ(numbered_path("seen", 2), "seen-3");
}

}  // namespace
}  // namespace tessera::programs
