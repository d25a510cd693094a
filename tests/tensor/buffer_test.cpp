#include "tensor/buffer.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "tensor/error.h"

namespace tessera {
namespace {

class BufferFile : public ::testing::Test {
 protected:
  BufferFile() {
    std::string pattern = (std::filesystem::temp_directory_path() / "tessera_buffer_XXXXXX").string();
    folder_ = mkdtemp(pattern.data());
  }
  ~BufferFile() override { std::filesystem::remove_all(folder_); }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  void expect_refused(const std::string& path, const std::string& reason) const {
    try {
      Buffer::map_file(path);
      ADD_FAILURE() << path;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kModel);
      EXPECT_EQ(error.file(), path);
      EXPECT_EQ(error.reason(), reason);
    }
  }
  std::filesystem::path folder_;
};

TEST(Buffer, IsZeroedAndAligned) {
  const Buffer buffer = Buffer::allocate(100001);
  EXPECT_EQ(buffer.size(), 100001u);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer.data()) % kAlignment, 0u);
  for (std::size_t i = 0; i < buffer.size(); ++i) ASSERT_EQ(buffer.data()[i], std::byte{0});
}

TEST(Buffer, OfHugePagesIsZeroedAndAligned) {
  constexpr std::size_t kHuge = std::size_t{2} << 20;
  for (const std::size_t bytes : {std::size_t{100}, kHuge - 1, kHuge, kHuge + 1, 3 * kHuge - 4097}) {
    const Buffer buffer = Buffer::allocate(bytes, Pages::kHuge);
    EXPECT_EQ(buffer.size(), bytes);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer.data()) % (bytes < kHuge ? kAlignment : kHuge), 0u);
    for (std::size_t i = 0; i < bytes; i += i + 64 < bytes ? 64 : 1)
      ASSERT_EQ(buffer.data()[i], std::byte{0});
    std::memset(buffer.data(), 1, bytes);
  }
}

TEST(Buffer, OfHugePagesLeavesNoSpareMemoryBehind) {
  const auto mapped = [] {  // address space in pages
    std::size_t pages = 0;
    std::ifstream("/proc/self/statm") >> pages;
    return pages;
  };
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  const auto before = static_cast<double>(mapped());
  const std::size_t bytes = (std::size_t{5} << 20) + 1;
  constexpr double kOthers = 64;  // what the heap may take or give back meanwhile; a huge page has 512
  {
    const Buffer buffer = Buffer::allocate(bytes, Pages::kHuge);
    EXPECT_NEAR(static_cast<double>(mapped()) - before, static_cast<double>(bytes / page + 1), kOthers);
  }
  EXPECT_NEAR(static_cast<double>(mapped()), before, kOthers);
}

TEST(Buffer, ThatIsNoFileKeepsItsPages) {
  Buffer buffer = Buffer::allocate(20000);
  std::memset(buffer.data(), 7, buffer.size());
  const Buffer moved = std::move(buffer);
  moved.drop_pages(0, moved.size());
  for (std::size_t i = 0; i < moved.size(); ++i) ASSERT_EQ(moved.data()[i], std::byte{7});
}

TEST(Buffer, OfNothingIsEmpty) {
  EXPECT_EQ(Buffer::allocate(0).data(), nullptr);
  EXPECT_EQ(Buffer().size(), 0u);
}

TEST(Buffer, NamesTheSizeThatDoesNotFit) {
  try {
    Buffer::allocate(std::size_t{1} << 62);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kResource);
    EXPECT_STREQ(error.what(), "memory: cannot allocate 4611686018427387904 bytes");
  }
  EXPECT_THROW(Buffer::allocate(~std::size_t{0}, Pages::kHuge), Error);
}

TEST(Buffer, MovesItsMemory) {
  Buffer a = Buffer::allocate(64);
  std::byte* memory = a.data();
  Buffer b = std::move(a);
  EXPECT_EQ(b.data(), memory);
  Buffer c = Buffer::allocate(128);
  c = std::move(b);
  EXPECT_EQ(c.data(), memory);
  EXPECT_EQ(c.size(), 64u);
}

TEST_F(BufferFile, MapsAWholeFile) {
  std::ofstream(path("a")) << "tessera";
  const Buffer buffer = Buffer::map_file(path("a"));
  ASSERT_EQ(buffer.size(), 7u);
  EXPECT_EQ(std::memcmp(buffer.data(), "tessera", 7), 0);
}

TEST_F(BufferFile, StaysReadableAfterItsPagesWereDropped) {
  std::ofstream(path("a")) << std::string(20000, 'x');
  const Buffer buffer = Buffer::map_file(path("a"));
  buffer.drop_pages(1, 19999);
  buffer.drop_pages(5, 2);
  for (std::size_t i = 0; i < buffer.size(); ++i) ASSERT_EQ(buffer.data()[i], std::byte{'x'});
}

// Bytes of files that this process has mapped and in memory.
std::size_t resident_file_bytes() {
  std::size_t mapped = 0, resident = 0, shared = 0;
  std::ifstream("/proc/self/statm") >> mapped >> resident >> shared;
  return shared * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
}

TEST_F(BufferFile, GivesEveryPageOfWhatIsDroppedBack) {
  constexpr std::size_t kBytes = std::size_t{8} << 20;
  std::ofstream(path("a")) << std::string(kBytes, 'x');
  const Buffer buffer = Buffer::map_file(path("a"));
  const std::size_t before = resident_file_bytes();
  unsigned sum = 0;
  for (std::size_t i = 0; i < kBytes; i += 512) sum += static_cast<unsigned>(buffer.data()[i]);
  EXPECT_EQ(sum, kBytes / 512 * 'x');
  EXPECT_GE(resident_file_bytes(), before + kBytes);
  // In parts that share pages, as tensors do.
  for (std::size_t i = 0; i < kBytes; i += 100000)
    buffer.drop_pages(i, std::min<std::size_t>(100000, kBytes - i));
  EXPECT_LT(resident_file_bytes(), before + kBytes / 16);
}

TEST_F(BufferFile, OfAnEmptyFileIsEmpty) {
  std::ofstream(path("empty")).close();
  EXPECT_EQ(Buffer::map_file(path("empty")).size(), 0u);
}

TEST_F(BufferFile, RefusesWhatIsNoRegularFile) {
  expect_refused(path("missing"), "No such file or directory");
  expect_refused(folder_.string(), "not a regular file");
  ASSERT_EQ(mkfifo(path("fifo").c_str(), 0600), 0);
  expect_refused(path("fifo"), "not a regular file");  // and does not wait for a writer
  expect_refused("/dev/zero", "not a regular file");
}

// Status 0: map_file throws kResource and names the file; another status says what went wrong instead.
[[noreturn]] void map_without_address_space(const std::string& path) {
  const rlimit none{0, 0};
  setrlimit(RLIMIT_AS, &none);
  try {
    Buffer::map_file(path);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kResource) _exit(2);
    _exit(error.file() == path ? 0 : 3);
  }
  _exit(1);
}

TEST_F(BufferFile, WithoutAddressSpaceIsAResourceError) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers need the address space";
#endif
  std::ofstream(path("a")) << std::string(1 << 20, 'x');
  const std::string file = path("a");
  EXPECT_EXIT(map_without_address_space(file), ::testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace tessera
