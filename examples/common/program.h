// What every program does alike: its exit codes, its one line about an error, its output streams.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>

namespace tessera::programs {

// Thrown to end the program with this exit status and nothing more said.
struct ExitNow {
  int status;
};

// Runs `body` and returns the program's exit status: that of body, or after an exception one line
// "error: …" on standard error and the code of reliability.md §3.0.
//
// Standard streams that the caller left closed are opened on /dev/null first, so that no other file takes
// their numbers.
int run_program(const std::function<int()>& body);

// One line "warning: …" on standard error. The text must be printable.
void warn(const std::string& text);
// Text on standard error as it is. What cannot be written is lost.
void note(std::string_view text);
// Text on standard output, at once. Throws Error{kOutput} when it cannot be written, and ExitNow{141} when
// nobody reads any more.
void print(std::string_view text);

bool is_terminal(int descriptor);
// Control characters but \n and \t as \xNN, so that a terminal does not obey them: C0, DEL, and the C1 set of
// U+0080 to U+009F. `text` is valid UTF-8.
std::string escape_for_terminal(std::string_view text);

// Replaces the file in one step: after an error it is as it was before. Of a link the file that it leads to
// is replaced. A path that is there and no regular file (a pipe, a device) is written as it is, one that
// leads to where standard output or standard error go (/dev/stdout) is that stream. Throws Error{kOutput}.
void write_file(const std::string& path, std::string_view content);
// Throws Error{kOutput} if write_file must fail: a folder, no such parent, no right to write. For finding out
// before any work is done.
void check_output_path(const std::string& path);
// The same, and Error{kOutput} naming the flag if the path leads to one of the inputs.
void check_output_path(const std::string& path, const std::string& flag, std::span<const std::string> inputs);
// The same for a folder in which files will be written, and which is made if it is not there.
void check_output_folder(const std::string& path);
// Whether both paths lead to one existing file, through whatever links.
bool same_file(const std::string& a, const std::string& b);
// A whole file, pipes included, of at most max_bytes. Throws Error{kInput}, and ExitNow where a signal is
// noted (signals.h) while a pipe has nothing.
std::string read_input_file(const std::string& path, std::size_t max_bytes);

}  // namespace tessera::programs
