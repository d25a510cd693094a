#include "models/files/safetensors.h"

#include <gtest/gtest.h>

#include <cstring>

#include "models/files/checkpoint.h"
#include "tests/golden.h"
#include "tests/models/files/expect_error.h"
#include "tests/models/files/make_safetensors.h"
#include "tests/models/files/temp_dir.h"

// The names S1 … S35 are the rows of reliability.md §3.1.
namespace tessera {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::length_prefix;
using testing::make_safetensors;
using testing::TempDir;

constexpr const char* kTwo =
    R"({"b": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]},
        "a": {"dtype": "BF16", "shape": [2, 1], "data_offsets": [0, 4]}, "__metadata__": {"format": "pt"}} )";

// Expects that a file of these bytes is refused with a message that names the file and holds `parts`.
template <typename... Parts>
void expect_refused(int line, ErrorCode code, const std::string& bytes, Parts... parts) {
  const TempDir dir;
  const std::string path = dir.write("x.safetensors", bytes);
  testing::expect_error(__FILE__, line, code, {"x.safetensors: ", parts...}, [&] { open_checkpoint(path); });
}
#define EXPECT_REFUSED(bytes, ...) expect_refused(__LINE__, ErrorCode::kModel, bytes, __VA_ARGS__)
#define EXPECT_UNSUPPORTED(bytes, ...) expect_refused(__LINE__, ErrorCode::kUnsupported, bytes, __VA_ARGS__)

// A file with the one tensor "t", described by these header fields.
std::string one(const std::string& fields, std::size_t data_bytes = 4) {
  return make_safetensors("{\"t\": {" + fields + "}}", data_bytes);
}

// A file with tensors "a" and "b" of one byte per element at the given offsets.
std::string bytes_at(int a0, int a1, int b0, int b1, std::size_t data_bytes) {
  const auto tensor = [](int begin, int end) {
    return R"({"dtype": "U8", "shape": [)" + std::to_string(end - begin) + R"(], "data_offsets": [)" +
           std::to_string(begin) + ", " + std::to_string(end) + "]}";
  };
  return make_safetensors("{\"a\": " + tensor(a0, a1) + ", \"b\": " + tensor(b0, b1) + "}", data_bytes);
}

TEST(Safetensors, GivesViewsInFileOrder) {
  const TempDir dir;
  const auto file = open_checkpoint(dir.write("x.safetensors", make_safetensors(kTwo, 12)));
  ASSERT_EQ(file->entries().size(), 2u);
  EXPECT_EQ(file->entries()[0].name, "a");
  EXPECT_EQ(file->entries()[0].dtype, "BF16");
  EXPECT_EQ(file->entries()[1].name, "b");
  EXPECT_EQ(file->entries()[1].bytes.size(), 8u);
  EXPECT_EQ(file->entries()[1].file, file->path());
  EXPECT_TRUE(file->warnings().empty());
  const TensorView* a = file->find("a");
  ASSERT_NE(a, nullptr);
  EXPECT_EQ(a->dtype, DType::kBF16);
  EXPECT_EQ(a->shape, (Shape{2, 1}));
  EXPECT_TRUE(a->is_dense());
  EXPECT_EQ(file->find("b")->data[0], std::byte{4});
  EXPECT_EQ(file->find("c"), nullptr);
  file->drop_pages(*a);  // the bytes come back from the file
  EXPECT_EQ(a->data[1], std::byte{1});
}

TEST(Safetensors, RefusesBadHeaderLengths) {
  EXPECT_REFUSED("", "shorter than the 8-byte header length");         // S1
  EXPECT_REFUSED("1234567", "shorter than the 8-byte header length");  // S1
  EXPECT_REFUSED(length_prefix(0) + "{}", "empty header");             // S2
  EXPECT_REFUSED(length_prefix(100) + "{}", "header of 100 bytes in a file of 10 bytes",
                 "incomplete download?");  // S3
  for (const std::uint64_t wraps : {~std::uint64_t{0}, std::uint64_t{1} << 63, ~std::uint64_t{0} - 7}) {
    EXPECT_REFUSED(length_prefix(wraps) + "{}", std::to_string(wraps));  // S5
  }
  const TempDir dir;  // S4: a sparse file, so that the length alone is to blame
  const std::string big = dir.write("big.safetensors", length_prefix(100'000'001) + "{");
  std::filesystem::resize_file(big, 200'000'000);
  EXPECT_TESSERA_ERROR(open_checkpoint(big), kModel, "got 100000001 bytes, limit 100000000");
}

TEST(Safetensors, RefusesBadHeaderText) {
  EXPECT_REFUSED(make_safetensors("{\"\xFF\": 1}", 0), "byte 10", "UTF-8");               // S6
  EXPECT_REFUSED(make_safetensors(" {}", 0), "byte 8: header does not begin with '{'");   // S7
  EXPECT_REFUSED(make_safetensors("{\"a\": ", 0), "byte 13", "unexpected end of input");  // S7
  EXPECT_REFUSED(make_safetensors("{}  x", 0), "byte 12", "expected end of input");       // S7
  EXPECT_REFUSED(make_safetensors(std::string("{}\0", 3), 0), "byte 10: NUL byte");       // S7
  for (const char* top : {"[1]", "\"x\"", "null"}) {
    EXPECT_REFUSED(make_safetensors(top, 0), "does not begin with '{'");  // S8
  }
  const std::string deep(100'000, '[');
  EXPECT_REFUSED(make_safetensors("{\"a\": " + deep, 0), "nesting deeper than 64");             // S9
  EXPECT_REFUSED(make_safetensors("{\"__metadata__\": " + deep, 0), "nesting deeper than 64");  // S9
  EXPECT_REFUSED(make_safetensors(R"({"__metadata__": {"n": 1}})", 0), "__metadata__.n: ",
                 "expected a string");  // S25
  EXPECT_REFUSED(make_safetensors(R"({"__metadata__": [1]})", 0), "__metadata__: ", "expected an object");
}

TEST(Safetensors, RefusesTwoTensorsOfOneName) {  // S10
  const std::string tensor = R"("t": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]})";
  EXPECT_REFUSED(make_safetensors("{" + tensor + ", " + tensor + "}", 4), "t: name occurs twice");
}

TEST(Safetensors, RefusesBadOffsets) {
  const std::string u8 = R"("dtype": "U8", "shape": [4], "data_offsets": )";
  EXPECT_REFUSED(one(u8 + "[4, 0]"), "t.data_offsets: begin 4 is behind end 0");              // S12
  EXPECT_REFUSED(one(u8 + "[-4, 0]"), "t.data_offsets[0]", "got -4");                         // S13
  EXPECT_REFUSED(one(u8 + "[0, 1.5]"), "t.data_offsets[1]", "got 1.5");                       // S13
  EXPECT_REFUSED(one(u8 + "[\"0\", 4]"), "t.data_offsets[0]", "got \"0\"");                   // S13
  EXPECT_REFUSED(one(u8 + "[0, 4, 8]"), "t.data_offsets: wrong length (got 3, expected 2)");  // S13
  EXPECT_REFUSED(one(u8 + "[0, 9223372036854775809]"), "t.data_offsets[1]");                  // S13
  EXPECT_REFUSED(one(u8 + "[0, 1e400]"), "t.data_offsets[1]", "1e400");                       // S13
  EXPECT_REFUSED(one(R"("dtype": "U8", "shape": [4])"), "t.data_offsets: missing");           // S13
  EXPECT_REFUSED(one(R"("shape": [4], "data_offsets": [0, 4])"), "t.dtype: missing");
  EXPECT_REFUSED(one(R"("dtype": "U8", "data_offsets": [0, 4])"), "t.shape: missing");
  EXPECT_REFUSED(make_safetensors(R"({"t": 7})", 0), "t: ", "got 7, expected an object");
}

TEST(Safetensors, RefusesDataThatDoesNotFillTheFile) {
  EXPECT_REFUSED(one(R"("dtype": "U8", "shape": [5], "data_offsets": [0, 5])"),
                 "t: incomplete file: tensor data needs 5 bytes, file has 4");              // S14
  EXPECT_REFUSED(bytes_at(0, 4, 3, 8, 8), "b: overlaps tensor a");                          // S15
  EXPECT_REFUSED(bytes_at(0, 4, 5, 8, 8), "b: hole of 1 bytes");                            // S16
  EXPECT_REFUSED(bytes_at(1, 4, 4, 8, 8), "a: hole of 1 bytes");                            // S16
  EXPECT_REFUSED(bytes_at(0, 4, 4, 8, 9), "trailing data: 1 bytes after the last tensor");  // S17
}

TEST(Safetensors, RefusesShapesThatDoNotMatch) {
  EXPECT_REFUSED(one(R"("dtype": "F32", "shape": [2], "data_offsets": [0, 4])"), "t.data_offsets",
                 "got 4, expected 8 bytes");  // S18
  EXPECT_REFUSED(
      one(R"("dtype": "F32", "shape": [4194305, 4194305, 211106198978564], "data_offsets": [0, 16])", 16),
      "t.shape: size overflows");  // S19
  EXPECT_REFUSED(one(R"("dtype": "U8", "shape": [4294967296, 4294967296, 0], "data_offsets": [0, 0])", 0),
                 "t.shape: size overflows");
  EXPECT_REFUSED(one(R"("dtype": "U8", "shape": [-1], "data_offsets": [0, 4])"), "t.shape[0]", "got -1");
  EXPECT_REFUSED(one(R"("dtype": "U8", "shape": [1,1,1,1,1,1,1,1,4], "data_offsets": [0, 4])"), "t.shape: ",
                 "got 9, limit 6");  // S21
}

TEST(Safetensors, AcceptsEmptyAndScalarTensors) {  // S20
  const TempDir dir;
  const auto file = open_checkpoint(dir.write("x.safetensors", make_safetensors(R"({
      "full": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
      "none": {"dtype": "F32", "shape": [3, 0], "data_offsets": [0, 0]},
      "last": {"dtype": "F16", "shape": [0], "data_offsets": [12, 12]},
      "scalar": {"dtype": "F32", "shape": [], "data_offsets": [8, 12]}})",
                                                                                12)));
  EXPECT_EQ(file->entries().size(), 4u);
  EXPECT_EQ(file->find("none")->shape, (Shape{3, 0}));
  EXPECT_EQ(file->find("scalar")->shape.rank(), 0);
  EXPECT_EQ(file->find("scalar")->data[0], std::byte{8});
}

TEST(Safetensors, RefusesDtypesItDoesNotKnow) {  // S22
  for (const std::string dtype : {"F4", "BF16 ", "f32", "\\u001b[31m"}) {
    EXPECT_UNSUPPORTED(one("\"dtype\": \"" + dtype + R"(", "shape": [2], "data_offsets": [0, 4])"),
                       "t: unknown dtype", "expected F32, F16 or BF16");
  }
}

TEST(Safetensors, ListsDtypesThatServeNoWeightButRefusesTheirUse) {  // S23
  for (const auto& [dtype, bytes] :
       {std::pair{"F64", 8}, {"I64", 8}, {"I32", 4}, {"BOOL", 1}, {"F8_E4M3", 1}}) {
    const TempDir dir;
    const std::string end = std::to_string(bytes);
    const auto file = open_checkpoint(dir.write(
        "x.safetensors",
        one("\"dtype\": \"" + std::string(dtype) + "\", \"shape\": [1], \"data_offsets\": [0, " + end + "]",
            static_cast<std::size_t>(bytes))));
    EXPECT_EQ(file->entries()[0].dtype, dtype);
    EXPECT_FALSE(file->entries()[0].view);
    EXPECT_TESSERA_ERROR(file->find("t"), kUnsupported,
                         "x.safetensors: t: ", "got " + std::string(dtype) + ", expected F32, F16, BF16");
  }
}

TEST(Safetensors, ReadsUnalignedData) {  // S24
  const TempDir dir;
  const auto file = open_checkpoint(dir.write("x.safetensors", make_safetensors(R"({
      "pad": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]},
      "t": {"dtype": "F32", "shape": [1], "data_offsets": [1, 5]}})",
                                                                                5)));
  float value = 0;
  std::memcpy(&value, file->find("t")->data, 4);
  EXPECT_EQ(value, 1.539989614439558e-36f);  // the bytes 01 02 03 04
}

TEST(Safetensors, RefusesTooManyTensorsFast) {  // S26
  std::string header = "{";
  for (int i = 0; i < 1'000'000; ++i) {
    header += '"';
    header += std::to_string(i);
    header += R"(":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},)";
  }
  header.back() = '}';
  EXPECT_REFUSED(make_safetensors(header, 0), "too many tensors (limit 65536)");
}

TEST(Safetensors, EscapesAndLimitsNames) {  // S27
  const std::string rest = R"(": {"dtype": "F4", "shape": [4], "data_offsets": [0, 4]}})";
  EXPECT_UNSUPPORTED(make_safetensors("{\"a\\u0000\\n\\u001b[31m" + rest, 4), "a\\x00\\n\\x1b[31m: unknown");
  EXPECT_REFUSED(make_safetensors("{\"" + std::string(1'000'000, 'n') + rest, 4),
                 "bad tensor name (got 1000000 bytes, expected 1 to 1024)");
  EXPECT_REFUSED(make_safetensors("{\"" + rest, 4), "bad tensor name (got 0 bytes");
}

TEST(Safetensors, SaysWhatAnotherFileLooksLike) {  // S34
  EXPECT_REFUSED("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "Git LFS pointer");
  EXPECT_REFUSED("<!DOCTYPE html><html></html>", "HTML page");
  EXPECT_REFUSED(std::string("PK\x03\x04\0\0\0\0\0\0\0\0", 12), "ZIP archive");
  EXPECT_REFUSED(std::string("\x80\x02}q\0(X\x05\0\0\0\0", 12), "Python pickle");
  EXPECT_REFUSED(std::string("GGUF\x03\0\0\0\0\0\0\0", 12), "GGUF file");
}

TEST(SafetensorsFolder, NeedsAModel) {
  const TempDir dir;
  EXPECT_TESSERA_ERROR(open_checkpoint(dir / "none"), kModel, "none", "No such file");
  EXPECT_TESSERA_ERROR(open_checkpoint(dir.path()), kModel, dir.path(),
                       "neither model.safetensors nor model.safetensors.index.json");
}

// A folder with two shards of one tensor each, "a" and "b", and the given index.
struct Shards {
  explicit Shards(const std::string& weight_map) {
    const char* tensor = R"({"dtype": "F16", "shape": [2], "data_offsets": [0, 4]}})";
    dir.write("m1.safetensors", make_safetensors("{\"a\": " + std::string(tensor), 4));
    dir.write("m2.safetensors", make_safetensors("{\"b\": " + std::string(tensor), 4));
    dir.write("model.safetensors.index.json", "{\"metadata\": {}, \"weight_map\": " + weight_map + "}");
  }
  TempDir dir;
};

TEST(SafetensorsFolder, ReadsShardsAndWarnsOfFilesBesideThem) {
  const Shards shards(R"({"b": "m2.safetensors", "a": "m1.safetensors"})");
  shards.dir.write("model.safetensors", "not read");      // S35
  shards.dir.write("other\x1b.safetensors", "not read");  // S29
  const auto model = open_checkpoint(shards.dir.path());
  ASSERT_EQ(model->entries().size(), 2u);
  EXPECT_EQ(model->entries()[0].name, "a");
  EXPECT_EQ(model->entries()[1].file, shards.dir / "m2.safetensors");
  EXPECT_THAT(
      model->warnings(),
      ElementsAre(HasSubstr("model.safetensors: ignored: the folder has an index, and the index wins"),
                  HasSubstr("other\\x1b.safetensors: ignored")));
}

TEST(SafetensorsFolder, RefusesAnIndexThatTheFilesContradict) {
  EXPECT_TESSERA_ERROR(
      open_checkpoint(Shards(R"({"a": "m1.safetensors", "b": "x.safetensors", "c": "y.st"})").dir.path()),
      kModel, "index.json: weight_map: 2 missing shards: x.safetensors y.st");  // S28
  EXPECT_TESSERA_ERROR(
      open_checkpoint(Shards(R"({"a": "m1.safetensors", "z": "m1.safetensors"})").dir.path()), kModel,
      "m1.safetensors: z: the index places 1 tensors here");  // S31
  const Shards twins(R"({"a": "m1.safetensors", "b": "m2.safetensors", "c": "m3.safetensors"})");
  twins.dir.write("m3.safetensors", make_safetensors(R"({
      "a": {"dtype": "F16", "shape": [2], "data_offsets": [0, 4]},
      "c": {"dtype": "F16", "shape": [2], "data_offsets": [4, 8]}})",
                                                     8));
  EXPECT_TESSERA_ERROR(open_checkpoint(twins.dir.path()), kModel, "m3.safetensors: a: ",
                       "m1.safetensors");  // S11
}

TEST(SafetensorsFolder, RefusesBadIndexes) {
  for (const std::string shard : {"../x", "/etc/passwd", "a/b", "a\\\\b", "a\\u0000b", "..", "."}) {  // S30
    EXPECT_TESSERA_ERROR(open_checkpoint(Shards("{\"a\": \"" + shard + "\"}").dir.path()), kModel,
                         "weight_map.a: not a plain file name");
  }
  EXPECT_TESSERA_ERROR(open_checkpoint(Shards(R"({"a": 7})").dir.path()), kModel, "weight_map.a: ", "got 7");
  EXPECT_TESSERA_ERROR(open_checkpoint(Shards("{}").dir.path()), kModel, "weight_map: names no tensor");
  EXPECT_TESSERA_ERROR(open_checkpoint(Shards("[]").dir.path()), kModel,
                       "weight_map: ", "expected an object");
  EXPECT_TESSERA_ERROR(open_checkpoint(Shards("{").dir.path()), kModel, "weight_map", "line 1");
  EXPECT_TESSERA_ERROR(open_checkpoint(Shards(R"({"a": "x", "a": "x"})").dir.path()), kModel,
                       "duplicate key");
}

// Numbers read with Python's struct and json modules from the same files.
TEST(SafetensorsFolder, ReadsReferenceCheckpoints) {
  TESSERA_REQUIRE_SHARED("checkpoints/untied/config.json");
  const auto dense = open_checkpoint(testing::shared_golden("checkpoints/dense"));
  EXPECT_EQ(dense->entries().size(), 121u);
  EXPECT_EQ(dense->entries().front().name, "model.language_model.embed_tokens.weight");
  EXPECT_EQ(dense->entries().back().name, "model.visual.pos_embed.weight");
  const TensorView* positions = dense->find("model.visual.pos_embed.weight");
  EXPECT_EQ(positions->shape, (Shape{64, 128}));
  EXPECT_EQ(std::memcmp(positions->data, "\x67\x3e\x21\xbe\x88\xbe\x34\x3e", 8), 0);

  const auto untied = open_checkpoint(testing::shared_golden("checkpoints/untied"));
  EXPECT_EQ(untied->entries().size(), 117u);
  const TensorView* head = untied->find("lm_head.weight");
  EXPECT_EQ(head->dtype, DType::kF16);
  EXPECT_EQ(head->shape, (Shape{768, 112}));
  EXPECT_EQ(std::memcmp(head->data, "\x17\xab\x2e\x2f\xaf\xab\x5c\x28", 8), 0);
  EXPECT_TRUE(untied->warnings().empty());
}

}  // namespace
}  // namespace tessera
