#include "tensor/trace.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <locale>
#include <map>
#include <nlohmann/json.hpp>

#include "tensor/error.h"
#include "tests/tensor/small_ops.h"

namespace tessera::testing {
namespace {

class TraceTest : public ::testing::Test {
 protected:
  TraceTest() {
    std::string pattern = (std::filesystem::temp_directory_path() / "tessera_trace_XXXXXX").string();
    folder_ = mkdtemp(pattern.data());
    const Tensor x = g_.name(blend(g_, dense(values_, {400, 160}), 2), "first \"quoted\"\\\x1b\n\xff");
    g_.output(g_.name(sum(g_, x, dense(values_, {400, 160})), "second"));
  }
  ~TraceTest() override { std::filesystem::remove_all(folder_); }

  void run(TraceWriter& trace, int threads, int times) {
    Executor executor(threads);
    executor.prepare(std::make_shared<const Plan>(Plan::make(g_, Cpu())));
    for (int i = 0; i < times; ++i) executor.run({}, {.observer = &trace});
  }
  nlohmann::json written(const TraceWriter& trace) const {
    const std::string path = (folder_ / "trace.json").string();
    trace.write(path);
    std::ifstream file(path);
    return nlohmann::json::parse(file);
  }

  std::filesystem::path folder_;
  const std::vector<float> values_ = std::vector<float>(400 * 160, 1.0f);
  Graph g_;
};

TEST_F(TraceTest, HoldsOneEventForEachThreadOfEachStep) {
  TraceWriter trace;
  trace.begin_phase("prefill");
  run(trace, 3, 1);
  trace.begin_phase("decode");
  run(trace, 2, 2);
  std::map<std::string, int> count;
  const auto json = written(trace);
  for (const auto& event : json.at("traceEvents")) {
    EXPECT_EQ(event.at("ph"), "X");
    EXPECT_GE(event.at("ts").get<double>(), 0);
    EXPECT_GE(event.at("dur").get<double>(), 0);
    ++count[event.at("cat").get<std::string>() + " " + event.at("name").get<std::string>() + " " +
            std::to_string(event.at("tid").get<int>())];
  }
  EXPECT_EQ(count, (std::map<std::string, int>{{"prefill blend 0", 1},
                                               {"prefill blend 1", 1},
                                               {"prefill blend 2", 1},
                                               {"prefill sum 0", 1},
                                               {"prefill sum 1", 1},
                                               {"prefill sum 2", 1},
                                               {"decode blend 0", 2},
                                               {"decode blend 1", 2},
                                               {"decode sum 0", 2},
                                               {"decode sum 1", 2}}));
}

TEST_F(TraceTest, DescribesEachStep) {
  TraceWriter trace;
  run(trace, 1, 1);
  const auto events = written(trace).at("traceEvents");
  const auto& args = events.at(0).at("args");
  EXPECT_EQ(args.at("name"), "first \"quoted\"\\\\x1b\\n\\xff");  // what cannot be shown is escaped
  EXPECT_EQ(args.at("kernel"), "blend_ref");
  EXPECT_EQ(args.at("shape"), "[400, 160]");
  EXPECT_EQ(args.at("bytes"), 8 * 400 * 160);
  EXPECT_EQ(args.at("flops"), 2 * 400 * 160);
  EXPECT_EQ(events.at(1).at("args").at("name"), "second");
}

TEST_F(TraceTest, BeginsAtZero) {
  TraceWriter trace;
  run(trace, 2, 1);
  double first = 1;
  const auto json = written(trace);
  for (const auto& event : json.at("traceEvents")) first = std::min(first, event.at("ts").get<double>());
  EXPECT_EQ(first, 0);
}

// A program may have set a locale whose decimal point is a comma and which groups digits.
TEST_F(TraceTest, IsTheSameInAnyLocale) {
  struct German : std::numpunct<char> {
    char do_decimal_point() const override { return ','; }
    char do_thousands_sep() const override { return '.'; }
    std::string do_grouping() const override { return "\1"; }
  };
  TraceWriter trace;
  run(trace, 12, 1);
  const auto plain = written(trace);
  const std::locale before = std::locale::global(std::locale(std::locale::classic(), new German));
  const auto german = written(trace);
  std::locale::global(before);
  EXPECT_EQ(german, plain);
}

TEST_F(TraceTest, OfNothingIsValid) { EXPECT_TRUE(written(TraceWriter()).at("traceEvents").empty()); }

void expect_refused(const TraceWriter& trace, const std::string& path, const std::string& reason) {
  try {
    trace.write(path);
    ADD_FAILURE() << path;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kOutput);
    EXPECT_EQ(error.file(), path);
    EXPECT_EQ(error.reason(), reason);
  }
}

TEST_F(TraceTest, SaysWhenItCannotWrite) {
  TraceWriter trace;
  run(trace, 1, 1);
  const std::string missing = (folder_ / "no" / "trace.json").string();
  expect_refused(trace, missing, "cannot open the trace for writing");
  EXPECT_FALSE(std::filesystem::exists(missing));
  const std::string folder = (folder_ / "empty").string();
  std::filesystem::create_directory(folder);
  expect_refused(trace, folder, "cannot open the trace for writing");
  EXPECT_TRUE(std::filesystem::exists(folder));
}

TEST_F(TraceTest, RemovesNothingThatIsNoFile) {
  if (!std::filesystem::exists("/dev/full")) GTEST_SKIP() << "needs /dev/full";
  TraceWriter trace;
  run(trace, 1, 1);
  const auto link = folder_ / "full";
  std::filesystem::create_symlink("/dev/full", link);
  expect_refused(trace, link.string(), "cannot write the trace");
  EXPECT_TRUE(std::filesystem::is_symlink(link));
}

TEST_F(TraceTest, LeavesNoPartialFile) {
  TraceWriter trace;
  run(trace, 1, 1);
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit small{100, before.rlim_max};
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  setrlimit(RLIMIT_FSIZE, &small);
  const std::string path = (folder_ / "partial.json").string();
  expect_refused(trace, path, "cannot write the trace");
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_FALSE(std::filesystem::exists(path));
}

}  // namespace
}  // namespace tessera::testing
