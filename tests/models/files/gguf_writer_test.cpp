#include "models/files/gguf_writer.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <fstream>
#include <iterator>

#include "models/files/gguf.h"
#include "tests/golden.h"
#include "tests/models/files/expect_error.h"
#include "tests/models/files/temp_dir.h"

// Calls of the system that fail when told to. The definitions here stand in for libc's in the whole program.
namespace {

enum class Call { kNone, kWrite, kFsync, kClose, kRename };

struct Fault {
  Call call = Call::kNone;
  int after = 0;  // calls that still succeed
  int error = 0;  // kShort and kKill are no errors of the system
};
constexpr int kShort = 0;  // write one byte
constexpr int kKill = -1;  // SIGKILL
thread_local Fault fault;

bool strikes(Call call) {
  if (fault.call != call || fault.after-- != 0) return false;
  if (fault.error == kKill) raise(SIGKILL);
  return true;
}

}  // namespace

#define TESSERA_INTERPOSE extern "C" __attribute__((visibility("default")))

TESSERA_INTERPOSE ssize_t write(int fd, const void* bytes, size_t count) {
  if (strikes(Call::kWrite)) {
    if (fault.error == kShort) return syscall(SYS_write, fd, bytes, std::min<size_t>(count, 1));
    errno = fault.error;
    return -1;
  }
  return syscall(SYS_write, fd, bytes, count);
}
TESSERA_INTERPOSE int fsync(int fd) {
  if (strikes(Call::kFsync)) {
    errno = fault.error;
    return -1;
  }
  return static_cast<int>(syscall(SYS_fsync, fd));
}
TESSERA_INTERPOSE int close(int fd) {
  const bool fails = strikes(Call::kClose);
  const int closed = static_cast<int>(syscall(SYS_close, fd));
  if (!fails) return closed;
  errno = fault.error;
  return -1;
}
TESSERA_INTERPOSE int renameat2(int from_folder, const char* from, int to_folder, const char* to,
                                unsigned flags) noexcept {
  if (strikes(Call::kRename)) {
    errno = fault.error;
    return -1;
  }
  return static_cast<int>(syscall(SYS_renameat2, from_folder, from, to_folder, to, flags));
}

// The names E5 … E15 and F8 … F10 are rows of reliability.md §3.9 and §3.10.
namespace tessera {
namespace {

using testing::shared_golden;
using testing::TempDir;
namespace fs = std::filesystem;

std::string read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::size_t files_in(const TempDir& dir) {
  return static_cast<std::size_t>(std::distance(fs::directory_iterator(dir.path()), {}));
}

std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

GgufMetadata some_metadata() {
  GgufMetadata metadata;
  metadata.set("general.architecture", GgufValue::of_string("qwen3vl"));
  metadata.set("hashes", GgufValue::of_u64s(std::vector<std::uint64_t>{0, 0}));
  return metadata;
}

const std::vector<GgufTensor> kTensors = {{"a", DType::kF32, {2, 3}}, {"b", DType::kBF16, {5}}};
const std::string kA(24, 'a'), kB(10, 'b');

// Writes kTensors with the bytes kA and kB.
void write_file(GgufWriter& writer) {
  writer.begin(some_metadata(), kTensors);
  writer.append(bytes_of(kA.substr(0, 7)));
  writer.append(bytes_of(kA.substr(7)));
  writer.append(bytes_of(kB));
  writer.finish();
}

constexpr GgufWriter::Options kReplace = {IfExists::kReplace, {}};

TEST(GgufWriter, WritesWhatTheReaderReads) {
  const TempDir dir;
  const std::string path = dir / "x.gguf";
  {
    GgufWriter writer(path, {});
    EXPECT_EQ(writer.partial_path(), path + ".partial-" + std::to_string(getpid()));
    EXPECT_TRUE(fs::exists(writer.partial_path()));
    writer.begin(some_metadata(), kTensors);
    writer.append(bytes_of(kA));
    writer.update("hashes", GgufValue::of_u64s(std::vector<std::uint64_t>{7, 8}));
    writer.append(bytes_of(kB));
    EXPECT_FALSE(fs::exists(path));
    writer.finish();
    EXPECT_EQ(fs::file_size(path), writer.bytes());
  }
  EXPECT_EQ(files_in(dir), 1u);
  const GgufFile file = read_gguf(path);
  EXPECT_TRUE(file.checkpoint->warnings().empty());
  EXPECT_EQ(file.metadata.string("general.architecture"), "qwen3vl");
  EXPECT_THAT(file.metadata.integers("hashes", 0, 9), ::testing::ElementsAre(7, 8));
  const auto entries = file.checkpoint->entries();
  ASSERT_EQ(entries.size(), 2u);
  EXPECT_EQ(entries[0].shape, (Shape{2, 3}));
  EXPECT_EQ(entries[1].dtype, "BF16");
  EXPECT_TRUE(std::ranges::equal(entries[0].bytes, bytes_of(kA)));
  EXPECT_TRUE(std::ranges::equal(entries[1].bytes, bytes_of(kB)));
  EXPECT_EQ(read(path).size() % 32, 0u);
}

// Files of llama.cpp's converter and quantizer come out byte by byte.
TEST(GgufWriterGolden, CopiesFilesByteByByte) {
  TESSERA_REQUIRE_SHARED("gguf");
  const TempDir dir;
  int copied = 0;
  for (const auto& entry : fs::directory_iterator(shared_golden("gguf"))) {
    SCOPED_TRACE(entry.path());
    const GgufFile file = read_gguf(entry.path());
    std::vector<GgufTensor> tensors;
    for (const Checkpoint::Entry& e : file.checkpoint->entries()) {
      tensors.push_back({e.name, e.view.value().dtype, e.shape});
    }
    const std::string copy = dir / entry.path().filename();
    GgufWriter writer(copy, {});
    writer.begin(file.metadata, tensors);
    for (const Checkpoint::Entry& e : file.checkpoint->entries()) writer.append(e.bytes);
    writer.finish();
    EXPECT_TRUE(read(copy) == read(entry.path()));
    ++copied;
  }
  EXPECT_EQ(copied, 10);
}

TEST(GgufWriter, KeepsTheAlignmentOfTheMetadata) {
  const TempDir dir;
  GgufMetadata metadata = some_metadata();
  metadata.set("general.alignment", GgufValue::of_u32(4096));
  GgufWriter writer(dir / "x.gguf", {});
  writer.begin(metadata, kTensors);
  writer.append(bytes_of(kA));
  writer.append(bytes_of(kB));
  writer.finish();
  EXPECT_EQ(fs::file_size(dir / "x.gguf"), 3 * 4096u);
  EXPECT_EQ(read_gguf(dir / "x.gguf").checkpoint->find("b")->shape, Shape{5});
}

TEST(GgufWriter, RefusesTensorsThatAFileCannotHold) {
  const TempDir dir;
  const auto begin = [&](const std::vector<GgufTensor>& tensors) {
    GgufWriter(dir / "x.gguf", {}).begin(GgufMetadata(), tensors);
  };
  EXPECT_TESSERA_ERROR(begin({{"", DType::kF32, {1}}}), kUsage, "x.gguf", "bad name", "got 0");
  EXPECT_TESSERA_ERROR(begin({{std::string(64, 'n'), DType::kF32, {1}}}), kUsage, "got 64");
  EXPECT_TESSERA_ERROR(begin({{"n", DType::kF32, {1}}, {"n", DType::kF32, {1}}}), kUsage, "n: name", "twice");
  EXPECT_TESSERA_ERROR(begin({{"n", DType::kF32, {1, 1, 1, 1, 1}}}), kUsage, "n: bad shape",
                       "[1, 1, 1, 1, 1]");
  EXPECT_TESSERA_ERROR(begin({{"n", DType::kF32, {2, 0}}}), kUsage, "n: bad shape");
  EXPECT_TESSERA_ERROR(begin({{"n", DType::kI32, {2}}}), kUsage, "n: ", "i32");
  EXPECT_EQ(files_in(dir), 0u);
}

TEST(GgufWriter, LeavesNothingWithoutFinish) {
  const TempDir dir;
  const std::string path = dir.write("x.gguf", "old");
  {
    GgufWriter writer(path, kReplace);
    writer.begin(some_metadata(), kTensors);
    writer.append(bytes_of(kA));
    EXPECT_EQ(read(path), "old");
  }
  EXPECT_EQ(files_in(dir), 1u);
  EXPECT_EQ(read(path), "old");
  GgufWriter unfinished(path, kReplace);
  unfinished.begin(some_metadata(), kTensors);
  EXPECT_TESSERA_ERROR(unfinished.finish(), kInternal, "");
}

TEST(GgufWriter, RefusesItsInput) {  // F8
  const TempDir dir;
  const std::string input = dir.write("in.gguf", "input");
  fs::create_hard_link(input, dir / "hard.gguf");
  fs::create_symlink(input, dir / "soft.gguf");
  for (const std::string& path : {input, dir / "hard.gguf", dir / "soft.gguf", dir / "./in.gguf"}) {
    EXPECT_TESSERA_ERROR(GgufWriter(path, {IfExists::kReplace, {dir / "other", input}}), kOutput, path,
                         "is the input file", "in.gguf");
  }
  EXPECT_EQ(files_in(dir), 3u);
  EXPECT_EQ(read(input), "input");
}

TEST(GgufWriter, ReplacesOnlyWhenTold) {  // F9, E11
  const TempDir dir;
  const std::string path = dir / "x.gguf";
  {
    GgufWriter first(path, {});
    write_file(first);
  }
  const std::string before = read(path);
  EXPECT_TESSERA_ERROR(GgufWriter(path, {}), kOutput, path, "exists");
  EXPECT_EQ(read(path), before);
  const GgufFile reader = read_gguf(path);
  GgufWriter second(path, kReplace);
  second.begin(GgufMetadata(), {});
  second.finish();
  EXPECT_EQ(read(path).size(), 32u);
  EXPECT_TRUE(std::ranges::equal(reader.checkpoint->entries()[0].bytes, bytes_of(kA)));
}

TEST(GgufWriter, DoesNotReplaceATargetThatAppearsMeanwhile) {
  const TempDir dir;
  GgufWriter writer(dir / "x.gguf", {});
  dir.write("x.gguf", "new");
  EXPECT_TESSERA_ERROR(write_file(writer), kOutput, "x.gguf", "rename: File exists");
  EXPECT_EQ(read(dir / "x.gguf"), "new");
  EXPECT_EQ(files_in(dir), 1u);
}

TEST(GgufWriter, SaysWhyItCannotCreate) {  // F10, E7
  const TempDir dir;
  fs::create_directory(dir / "folder");
  EXPECT_TESSERA_ERROR(GgufWriter(dir / "folder", kReplace), kOutput, "folder", "is a directory");
  EXPECT_TESSERA_ERROR(GgufWriter(dir / "folder/", kReplace), kOutput, "is a directory");
  EXPECT_TESSERA_ERROR(GgufWriter(dir / "none/x.gguf", {}), kOutput, "none", "No such file or directory");
  EXPECT_TESSERA_ERROR(GgufWriter(dir / std::string(300, 'n'), {}), kOutput, "File name too long");
  EXPECT_TESSERA_ERROR(GgufWriter(dir / std::string(250, 'n'), {}), kOutput, "File name too long");
  EXPECT_TESSERA_ERROR(GgufWriter("/dev/null", kReplace), kOutput, "/dev/null", "no regular file");
  EXPECT_TESSERA_ERROR(GgufWriter("/proc/x.gguf", {}), kOutput, "/proc/x.gguf", "cannot create");
  if (geteuid() != 0) {
    fs::permissions(dir / "folder", fs::perms::owner_read | fs::perms::owner_exec);
    EXPECT_TESSERA_ERROR(GgufWriter(dir / "folder/x.gguf", {}), kOutput, "Permission denied");
  }
  EXPECT_EQ(files_in(dir), 1u);
}

TEST(GgufWriter, ChecksTheFreeSpaceFirst) {  // E5
  const TempDir dir;
  GgufWriter writer(dir / "x.gguf", {});
  const std::vector<GgufTensor> huge = {{"t", DType::kF32, {std::int64_t{1} << 30, std::int64_t{1} << 28}}};
  EXPECT_TESSERA_ERROR(writer.begin(GgufMetadata(), huge), kOutput,
                       "x.gguf: disk full: needs 1152921504606847072 bytes");
  EXPECT_EQ(files_in(dir), 0u);
}

TEST(GgufWriter, ReportsAFullDevice) {  // E5
  const int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
  if (full < 0) GTEST_SKIP() << "needs /dev/full";
  EXPECT_TESSERA_ERROR(write_fully(full, bytes_of(kA), "x.gguf"), kOutput, "x.gguf: disk full", "24 bytes");
  close(full);
}

// Expects that writing over a file with this fault fails with `reason` and leaves the old file alone.
void expect_failure(int line, Fault injected, const std::string& reason) {
  const TempDir dir;
  const std::string path = dir.write("x.gguf", "old");
  GgufWriter writer(path, kReplace);
  fault = injected;
  testing::expect_error(__FILE__, line, ErrorCode::kOutput, {path, reason}, [&] { write_file(writer); });
  EXPECT_LT(fault.after, 0) << "the fault did not strike";
  fault = {};
  EXPECT_EQ(files_in(dir), 1u);
  EXPECT_EQ(read(path), "old");
}

TEST(GgufWriter, LeavesTheOldFileWhenACallFails) {  // E5, E15
  // Header, padding, "a" in two pieces, padding, "b", padding: seven writes.
  for (int k = 0; k < 7; ++k) {
    expect_failure(__LINE__, {Call::kWrite, k, ENOSPC}, "disk full: No space left on device");
    expect_failure(__LINE__, {Call::kWrite, k, EDQUOT}, "disk full: ");
    expect_failure(__LINE__, {Call::kWrite, k, EIO}, "Input/output error");
  }
  expect_failure(__LINE__, {Call::kFsync, 0, EIO}, "fsync: Input/output error");
  expect_failure(__LINE__, {Call::kClose, 0, ENOSPC}, "close: disk full");
  expect_failure(__LINE__, {Call::kRename, 0, EACCES}, "rename: Permission denied");
}

TEST(GgufWriter, TellsWhenTheFolderCannotBeSynced) {
  const TempDir dir;
  GgufWriter writer(dir / "x.gguf", {});
  fault = {Call::kFsync, 1, EIO};
  EXPECT_TESSERA_ERROR(write_file(writer), kOutput, "may not survive a crash", "Input/output error");
  fault = {};
  EXPECT_EQ(read_gguf(dir / "x.gguf").checkpoint->entries().size(), 2u);
}

TEST(GgufWriter, GoesOnAfterShortAndInterruptedWrites) {  // E24
  for (const int error : {kShort, EINTR}) {
    for (int k = 0; k < 7; ++k) {
      const TempDir dir;
      GgufWriter writer(dir / "x.gguf", {});
      fault = {Call::kWrite, k, error};
      write_file(writer);
      fault = {};
      EXPECT_TRUE(std::ranges::equal(read_gguf(dir / "x.gguf").checkpoint->entries()[1].bytes, bytes_of(kB)));
    }
  }
}

TEST(GgufWriter, ReportsTheFileSizeLimit) {  // E6
  const TempDir dir;
  const std::string path = dir.write("x.gguf", "old");
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{100, before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  {
    GgufWriter writer(path, kReplace);
    EXPECT_TESSERA_ERROR(write_file(writer), kOutput, path, "File too large");
  }
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(files_in(dir), 1u);
  EXPECT_EQ(read(path), "old");
}

TEST(GgufWriter, RefusesATargetThatAnotherIsWriting) {  // E10
  const TempDir dir;
  const std::string path = dir / "x.gguf";
  GgufWriter first(path, {});
  EXPECT_TESSERA_ERROR(GgufWriter(path, {}), kOutput, path,
                       "is being written by process " + std::to_string(getpid()));
  const pid_t child = fork();
  if (child == 0) {
    int code = 1;
    try {
      const GgufWriter second(path, kReplace);
    } catch (const Error& error) {
      code = error.code() == ErrorCode::kOutput ? 0 : 2;
    }
    _exit(code);
  }
  int status = -1;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  GgufWriter other(dir / "y.gguf", {});  // another target is free
  write_file(first);
  EXPECT_EQ(read_gguf(path).checkpoint->entries().size(), 2u);
}

// Killed at any call that changes the file, the target is absent or old, and the next run clears up.
TEST(GgufWriter, LeavesTheTargetOldOrAbsentWhenKilled) {  // E8
  std::vector<Fault> kills = {{Call::kFsync, 0, kKill}, {Call::kClose, 0, kKill}, {Call::kRename, 0, kKill}};
  for (int k = 0; k < 7; ++k) kills.push_back({Call::kWrite, k, kKill});
  for (const bool exists : {false, true}) {
    for (const Fault& kill_at : kills) {
      const TempDir dir;
      const std::string path = dir / "x.gguf";
      if (exists) dir.write("x.gguf", "old");
      const pid_t child = fork();
      if (child == 0) {
        GgufWriter writer(path, kReplace);
        fault = kill_at;
        write_file(writer);
        _exit(1);
      }
      int status = 0;
      waitpid(child, &status, 0);
      ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
      EXPECT_EQ(fs::exists(path) ? read(path) : "absent", exists ? "old" : "absent");
      EXPECT_TRUE(fs::exists(path + ".partial-" + std::to_string(child)));
      dir.write("x.gguf.partial-old", "not ours");
      GgufWriter next(path, kReplace);
      write_file(next);
      EXPECT_EQ(files_in(dir), 2u);
      EXPECT_EQ(read_gguf(path).checkpoint->entries().size(), 2u);
    }
  }
}

}  // namespace
}  // namespace tessera
