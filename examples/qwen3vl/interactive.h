// The program without -p and -f: a conversation line by line.
#pragma once

#include <string>
#include <vector>

#include "examples/qwen3vl/conversation.h"

namespace tessera::programs {

// Each line of standard input is a message, or /image FILE (joins the next message), /clear, /quit. What is
// rejected is reported, and the conversation goes on. SIGINT stops an answer; while the program waits for a
// line it ends it. `pictures` join the first message. Returns the exit status.
int run_interactive(Conversation& conversation, std::vector<Picture> pictures,
                    const PreprocessConfig& preprocess);

}  // namespace tessera::programs
