#include "models/files/gguf.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <array>
#include <chrono>
#include <cstring>

#include "models/files/gguf_types.h"
#include "quant/half.h"
#include "tests/golden.h"
#include "tests/models/files/expect_error.h"
#include "tests/models/files/make_gguf.h"
#include "tests/models/files/temp_dir.h"

// The names G1 … G28 are the rows of reliability.md §3.2. Type numbers of values: gguf_metadata.h; of
// tensors: 0 F32, 1 F16, 8 Q8_0, 24 I8.
namespace tessera {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using namespace testing;  // make_gguf.h

// In KiB.
long peak_memory() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

// Expects that a file of these bytes is refused with a message that names the file and holds `parts`, within
// the time and memory of reliability.md §3.0.
template <typename... Parts>
void expect_refused(int line, ErrorCode code, const std::string& bytes, Parts... parts) {
  const TempDir dir;
  const std::string path = dir.write("x.gguf", bytes);
  const auto start = std::chrono::steady_clock::now();
  const long memory = peak_memory();
  testing::expect_error(__FILE__, line, code, {"x.gguf: ", parts...}, [&] { read_gguf(path); });
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(1)) << line;
  EXPECT_LT(peak_memory() - memory, 64 << 10) << line;
}
#define EXPECT_REFUSED(bytes, ...) expect_refused(__LINE__, ErrorCode::kModel, bytes, __VA_ARGS__)
#define EXPECT_UNSUPPORTED(bytes, ...) expect_refused(__LINE__, ErrorCode::kUnsupported, bytes, __VA_ARGS__)

std::string header(std::uint64_t tensors, std::uint64_t keys) {
  return "GGUF" + u32(3) + u64(tensors) + u64(keys);
}

std::string array(std::uint32_t type, std::uint64_t count, const std::string& elements) {
  return u32(type) + u64(count) + elements;
}

constexpr std::uint64_t kHuge[] = {~std::uint64_t{0}, std::uint64_t{1} << 62, std::uint64_t{1} << 40};

// spec/qwen3-vl.md §9.1, "Test file"
TEST(Gguf, ReadsTheFileOfTheSpecification) {
  constexpr std::string_view kHex =
      "4747554603000000010000000000000002000000000000001400000000000000"
      "67656e6572616c2e617263686974656374757265080000000700000000000000"
      "7177656e33766c13000000000000007177656e33766c2e626c6f636b5f636f75"
      "6e74040000001c0000000800000000000000612e776569676874020000000300"
      "0000000000000200000000000000000000000000000000000000000000000000"
      "000000000000803f0000004000004040000080400000a040";
  std::string bytes;
  for (std::size_t i = 0; i < kHex.size(); i += 2) {
    bytes += static_cast<char>(std::stoi(std::string(kHex.substr(i, 2)), nullptr, 16));
  }
  ASSERT_EQ(bytes.size(), 184u);
  const TempDir dir;
  const GgufFile file = read_gguf(dir.write("x.gguf", bytes));
  EXPECT_EQ(file.metadata.items().size(), 2u);
  EXPECT_EQ(file.metadata.string("general.architecture"), "qwen3vl");
  EXPECT_EQ(file.metadata.integer("qwen3vl.block_count", 1, 100), 28);
  ASSERT_EQ(file.checkpoint->entries().size(), 1u);
  EXPECT_TRUE(file.checkpoint->warnings().empty());
  const TensorView* a = file.checkpoint->find("a.weight");
  ASSERT_NE(a, nullptr);
  EXPECT_EQ(a->dtype, DType::kF32);
  EXPECT_EQ(a->shape, (Shape{2, 3}));
  std::array<float, 6> values;
  std::memcpy(values.data(), a->data, sizeof values);
  EXPECT_THAT(values, ElementsAre(0, 1, 2, 3, 4, 5));
}

TEST(Gguf, ReadsVersionTwoAndEmptyFiles) {
  const TempDir dir;
  std::string bytes = make_gguf({}, {tensor("t", {4}, 0, 0)}, 16);
  bytes[4] = 2;
  EXPECT_EQ(read_gguf(dir.write("2.gguf", bytes)).checkpoint->find("t")->shape, Shape{4});
  EXPECT_TRUE(read_gguf(dir.write("0.gguf", header(0, 0))).checkpoint->entries().empty());
}

TEST(Gguf, RefusesOtherFiles) {
  EXPECT_REFUSED("", "not a GGUF file");
  EXPECT_REFUSED("GG\x1b\n" + std::string(40, '\0'), "got \"GG\\x1b\\n\", expected \"GGUF\"");  // G1
  EXPECT_REFUSED("GGUF", "version: incomplete file");                                           // G2
  for (std::size_t cut = 5; cut < 24; ++cut) EXPECT_REFUSED(header(0, 0).substr(0, cut), "incomplete file");
  for (const std::uint32_t version : {0u, 1u, 4u}) {  // G3
    EXPECT_UNSUPPORTED("GGUF" + u32(version) + u64(0) + u64(0),
                       "version: ", "got " + std::to_string(version) + ", expected 2 or 3");
  }
  EXPECT_UNSUPPORTED("GGUF" + u32(0x03000000) + u64(0) + u64(0), "big-endian?");  // G3
  EXPECT_TESSERA_ERROR(read_gguf("/nowhere/x.gguf"), kModel, "/nowhere/x.gguf", "No such file");
}

TEST(Gguf, RefusesAnyCut) {
  const std::string whole = make_gguf(
      {key_value("a", 4, u32(1)), key_value("b", 8, text("xyz")), key_value("c", 9, array(8, 1, text("q")))},
      {tensor("t", {2, 2}, 0, 0)}, 16);
  const TempDir dir;
  for (std::size_t cut = 0; cut < whole.size(); ++cut) {
    const std::string path = dir.write("x.gguf", whole.substr(0, cut));
    EXPECT_TESSERA_ERROR(read_gguf(path), kModel, "x.gguf: ");  // also G20
  }
}

TEST(Gguf, RefusesAbsurdCounts) {  // G4
  for (const std::uint64_t count : kHuge) {
    EXPECT_REFUSED(header(count, 0), "number of tensors", std::to_string(count), "limit 65536");
    EXPECT_REFUSED(header(0, count), "number of keys", std::to_string(count), "limit 65536");
  }
  EXPECT_REFUSED(header(65536, 0), "number of tensors: incomplete file");
  EXPECT_REFUSED(header(0, 65536), "number of keys: incomplete file");
}

TEST(Gguf, RefusesBadKeys) {
  const std::string tail(100, '\0');
  for (const std::uint64_t length : {~std::uint64_t{0}, std::uint64_t{0}, std::uint64_t{65536}}) {  // G5
    EXPECT_REFUSED(header(0, 1) + u64(length) + tail, "key 0", "got " + std::to_string(length),
                   "expected 1 to 65535");
  }
  EXPECT_REFUSED(header(0, 1) + u64(1000) + tail, "key 0: incomplete file", "needs 1000");  // G5
  EXPECT_REFUSED(make_gguf({key_value("k", 4, u32(1)), key_value("k", 4, u32(1))}),
                 "k: key occurs twice");  // G6
  const TempDir dir;
  const GgufFile file = read_gguf(dir.write("x.gguf", make_gguf({key_value("k\xc3\xa4\n", 4, u32(1))})));
  EXPECT_THAT(file.checkpoint->warnings(), ElementsAre(HasSubstr("kä\\n: key is not plain ASCII")));  // G6
}

TEST(Gguf, RefusesBadValues) {
  for (const std::uint32_t type : {13u, 0xFFFFFFFFu, 0x80000000u}) {  // G7
    EXPECT_REFUSED(make_gguf({key_value("k", type, u64(0))}), "k: unknown type",
                   "got " + std::to_string(type));
    EXPECT_REFUSED(make_gguf({key_value("k", 9, array(type, 0, ""))}), "k: unknown type");
  }
  const std::string deep = array(9, 1, array(9, 1, array(4, 1, u32(1))));
  EXPECT_UNSUPPORTED(make_gguf({key_value("k", 9, deep)}), "k: array of arrays");             // G8
  EXPECT_UNSUPPORTED(make_gguf({key_value("k", 9, array(9, 0, ""))}), "k: array of arrays");  // G8
  for (const std::uint32_t type : {0u, 8u, 12u}) {                                            // G9
    EXPECT_REFUSED(make_gguf({key_value("k", 9, array(type, kHuge[1], ""))}), "k: array too long",
                   "limit 67108864");
    EXPECT_REFUSED(make_gguf({key_value("k", 9, array(type, 60'000'000, ""))}), "k: incomplete file");
  }
  EXPECT_REFUSED(make_gguf({key_value("k", 7, "\2")}), "k: bad bool", "got 2");                     // G10
  EXPECT_REFUSED(make_gguf({key_value("k", 9, array(7, 2, "\1\xff"))}), "k: bad bool", "got 255");  // G10
  EXPECT_REFUSED(make_gguf({key_value("k", 8, u64(std::uint64_t{2} << 30))}), "k: bad length",
                 "16777216");  // G23
  EXPECT_REFUSED(make_gguf({key_value("k", 9, array(8, 1, u64(std::uint64_t{2} << 30)))}), "k: bad length");
  EXPECT_REFUSED(make_gguf({key_value("k", 9, array(8, 1'000'000'000, ""))}), "k: array too long");  // G23
}

TEST(Gguf, ChecksTheAlignment) {
  for (const std::uint32_t alignment : {0u, 3u, 13u, 0x80000000u, 131072u}) {  // G11
    EXPECT_REFUSED(make_gguf({key_value("general.alignment", 4, u32(alignment))}),
                   "general.alignment: ", "got " + std::to_string(alignment), "power of two from 1 to 65536");
  }
  EXPECT_REFUSED(make_gguf({key_value("general.alignment", 5, u32(32))}), "general.alignment", "got i32");
  EXPECT_REFUSED(make_gguf({key_value("general.alignment", 8, text("32"))}), "general.alignment",
                 "got string");
  const TempDir dir;
  for (const std::uint32_t alignment : {1u, 4u, 8u, 64u, 4096u}) {
    const std::string bytes =
        make_gguf({key_value("general.alignment", 4, u32(alignment))},
                  {tensor("a", {1}, 24, 0), tensor("b", {1}, 24, alignment)}, alignment + 1, alignment);
    const GgufFile file = read_gguf(dir.write("x.gguf", bytes));
    EXPECT_EQ(file.checkpoint->entries()[1].bytes[0], static_cast<std::byte>(alignment & 0xFF));
    EXPECT_EQ(file.checkpoint->warnings().size(), alignment % 8 == 0 ? 0u : 1u);
  }
}

TEST(Gguf, RefusesBadShapes) {
  const auto one = [](const std::string& info) { return make_gguf({}, {info}, 64); };
  for (const std::uint32_t rank : {5u, 0xFFFFFFFFu}) {  // G12
    EXPECT_REFUSED(one(text("t") + u32(rank) + std::string(100, '\1')), "t: too many dimensions",
                   std::to_string(rank), "limit 4");
  }
  for (const std::uint64_t dim : {std::uint64_t{0}, ~std::uint64_t{0}}) {  // G13
    EXPECT_REFUSED(one(tensor("t", {2, dim}, 0, 0)), "t: bad dimension 1", "got " + std::to_string(dim));
    EXPECT_REFUSED(one(tensor("t", {dim}, 8, 0)), "t: bad dimension 0");
  }
  const std::uint64_t two32 = std::uint64_t{1} << 32, two62 = std::uint64_t{1} << 62;
  EXPECT_REFUSED(one(tensor("t", {two32, two32}, 0, 0)), "t: dimensions overflow");            // G14
  EXPECT_REFUSED(one(tensor("t", {two62, 4}, 0, 0)), "t: dimensions overflow");                // G14
  EXPECT_REFUSED(one(tensor("t", {two32, two32, two32, 2}, 0, 0)), "t: dimensions overflow");  // G14
  EXPECT_REFUSED(one(tensor("t", {0x7FFFFFFFFFFFFFFF}, 24, 0)), "t: dimensions overflow");     // G15
  EXPECT_REFUSED(make_gguf({}, {tensor("a", {0x7FFFFFFFFFFFFFC0}, 24, 0),
                                tensor("b", {0x7FFFFFFFFFFFFFC0}, 24, 0x7FFFFFFFFFFFFFC0)}),
                 "a: dimensions overflow");                                                // G15
  EXPECT_REFUSED(one(tensor("t", {std::uint64_t{1} << 60}, 0, 0)), "t: incomplete file");  // G15
  for (const std::uint32_t type : {0xFFFFFFFFu, 40u, 1000u, 4u, 31u}) {                    // G16
    EXPECT_UNSUPPORTED(one(tensor("t", {32}, type, 0)), "t: unknown tensor type",
                       "got " + std::to_string(type));
  }
  EXPECT_REFUSED(one(tensor("t", {33}, 8, 0)), "t: row is no multiple of the block of Q8_0", "got 33",
                 "expected a multiple of 32");                                // G17
  EXPECT_REFUSED(one(tensor("t", {16, 32}, 8, 0)), "t: row is no multiple");  // G17
}

TEST(Gguf, RefusesBadLayouts) {
  const auto at = [](std::uint64_t a, std::uint64_t b) {  // two tensors of 32 bytes
    return make_gguf({}, {tensor("a", {8}, 0, a), tensor("b", {8}, 0, b)}, 64);
  };
  const TempDir dir;
  EXPECT_EQ(read_gguf(dir.write("x.gguf", at(0, 32))).checkpoint->entries().size(), 2u);
  EXPECT_REFUSED(at(0, 33), "b: offset is no multiple of the alignment 32");  // G18
  EXPECT_REFUSED(at(0, 0), "b: overlaps");
  EXPECT_REFUSED(at(32, 0), "a: hole");
  EXPECT_REFUSED(at(0, 64), "b: incomplete file", "file has 64 bytes of data");
  EXPECT_REFUSED(at(0, ~std::uint64_t{0} - 31), "b: incomplete file");  // offset + size wraps
  EXPECT_REFUSED(at(0, std::uint64_t{1} << 63), "b: incomplete file");
  EXPECT_REFUSED(make_gguf({}, {tensor("a", {8}, 0, 0)}, 31), "a: incomplete file", "31");  // G20
}

TEST(Gguf, RefusesBadNames) {  // G19
  EXPECT_REFUSED(make_gguf({}, {tensor("", {1}, 0, 0)}, 32), "name of tensor 0", "got 0", "expected 1 to 63");
  EXPECT_REFUSED(make_gguf({}, {tensor(std::string(64, 'n'), {1}, 0, 0)}, 32), "name of tensor 0", "got 64");
  EXPECT_REFUSED(make_gguf({}, {tensor("n", {8}, 0, 0), tensor("n", {8}, 0, 32)}, 64), "n: the same tensor");
  const TempDir dir;
  const std::string name(63, 'n');
  EXPECT_TRUE(read_gguf(dir.write("x.gguf", make_gguf({}, {tensor(name, {1}, 0, 0)}, 32)))
                  .checkpoint->contains(name));
}

TEST(Gguf, WarnsOfBytesBehindTheLastTensor) {  // G28
  const TempDir dir;
  for (const std::size_t data : {4u, 31u, 32u}) {
    const GgufFile file = read_gguf(dir.write("x.gguf", make_gguf({}, {tensor("t", {1}, 0, 0)}, data)));
    EXPECT_TRUE(file.checkpoint->warnings().empty()) << data;
  }
  const GgufFile file = read_gguf(dir.write("x.gguf", make_gguf({}, {tensor("t", {1}, 0, 0)}, 40)));
  EXPECT_THAT(file.checkpoint->warnings(), ElementsAre(HasSubstr("8 bytes after the last tensor")));
}

TEST(Gguf, ListsTensorsThatServeNoWeight) {
  const TempDir dir;
  const GgufFile file = read_gguf(
      dir.write("x.gguf", make_gguf({}, {tensor("i", {2}, 26, 0), tensor("q", {256}, 10, 32)}, 128)));
  EXPECT_EQ(file.checkpoint->entries()[0].dtype, "I32");
  EXPECT_EQ(file.checkpoint->entries()[1].dtype, "Q2_K");
  EXPECT_EQ(file.checkpoint->entries()[1].bytes.size(), 84u);
  EXPECT_TESSERA_ERROR(file.checkpoint->find("i"), kUnsupported, "x.gguf: i: ", "got I32");
  EXPECT_TESSERA_ERROR(file.checkpoint->find("q"), kUnsupported, "x.gguf: q: ", "got Q2_K");
}

TEST(Gguf, ReadsTheLargestHeaderInLinearTime) {
  std::vector<std::string> keys, tensors;
  for (std::uint32_t i = 0; i < 65536; ++i) {
    keys.push_back(key_value("key." + std::to_string(i), 4, u32(i)));
    tensors.push_back(tensor("tensor." + std::to_string(i), {1}, 0, std::uint64_t{32} * i));
  }
  const TempDir dir;
  const std::string path = dir.write("x.gguf", make_gguf(keys, tensors, std::size_t{32} << 16));
  const auto start = std::chrono::steady_clock::now();
  const GgufFile file = read_gguf(path);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(2));
  EXPECT_EQ(file.metadata.integer("key.65535", 0, 65535), 65535);
  EXPECT_EQ(file.checkpoint->find("tensor.65535")->data[0], std::byte{0xE0});
}

// The byte sizes that ggml's types and this library's dtypes give are the same.
TEST(Gguf, TypesAgreeWithDtypes) {
  int weights = 0;
  for (std::uint32_t id = 0; id < 64; ++id) {
    const GgmlType* const type = find_ggml_type(id);
    if (!type || !type->dtype()) continue;
    ++weights;
    const DTypeInfo& dtype = info(*type->dtype());
    EXPECT_EQ(type->block_elems, static_cast<std::uint32_t>(dtype.block_elems)) << type->name;
    EXPECT_EQ(type->block_bytes, static_cast<std::uint32_t>(dtype.block_bytes)) << type->name;
    EXPECT_EQ(find_ggml_type(*type->dtype()), type);
  }
  EXPECT_EQ(weights, 11);
  EXPECT_EQ(find_ggml_type(DType::kI32), nullptr);
}

class GgufSplit : public ::testing::Test {
 protected:
  static std::string u16_key(const char* key, std::uint16_t value) {
    return key_value(key, 2, number(value));
  }
  // Part `i` (from 0) of two, with the tensor NAME of one f32 that counts from 0.
  std::string part(std::uint16_t i, const std::string& name, std::uint16_t count = 2,
                   std::uint32_t tensors = 2, const std::string& architecture = "qwen3vl") const {
    std::vector<std::string> keys = {u16_key("split.no", i), u16_key("split.count", count),
                                     key_value("split.tensors.count", 5, u32(tensors))};
    if (i == 0 || architecture != "qwen3vl")
      keys.push_back(key_value("general.architecture", 8, text(architecture)));
    return make_gguf(keys, {tensor(name, {8}, 0, 0)}, 32);
  }
  void write(const std::string& first, const std::string& second) const {
    dir_.write("m-00001-of-00002.gguf", first);
    dir_.write("m-00002-of-00002.gguf", second);
  }
  const TempDir dir_;
  const std::string first_ = dir_ / "m-00001-of-00002.gguf", second_ = dir_ / "m-00002-of-00002.gguf";
};

TEST_F(GgufSplit, ReadsAllPartsFromAnyOfThem) {
  write(part(0, "a"), part(1, "b"));
  for (const std::string& path : {first_, second_}) {
    const GgufFile file = read_gguf(path);
    ASSERT_EQ(file.checkpoint->entries().size(), 2u);
    EXPECT_EQ(file.checkpoint->entries()[0].file, first_);
    EXPECT_EQ(file.checkpoint->entries()[1].file, second_);
    EXPECT_EQ(file.checkpoint->find("b")->data[1], std::byte{1});
    EXPECT_EQ(file.metadata.items().size(), 1u);
    EXPECT_EQ(file.metadata.string("general.architecture"), "qwen3vl");
  }
}

TEST_F(GgufSplit, RefusesPartsThatDoNotBelongTogether) {  // G26
  write(part(0, "a"), part(1, "b"));
  std::filesystem::remove(second_);
  EXPECT_TESSERA_ERROR(read_gguf(first_), kModel, "m-00002-of-00002.gguf: part 2 of 2 is missing");
  write(part(0, "a"), part(1, "b", 3));
  EXPECT_TESSERA_ERROR(read_gguf(first_), kModel, "m-00002-of-00002.gguf: split.count", "got 3");
  write(part(0, "a", 3), part(1, "b", 3));
  EXPECT_TESSERA_ERROR(read_gguf(first_), kModel,
                       "m-00001-of-00002.gguf: split.count: differs from the name");
  write(part(0, "a"), part(0, "b"));
  EXPECT_TESSERA_ERROR(read_gguf(first_), kModel, "m-00002-of-00002.gguf: split.no", "got 0");
  write(part(0, "a"), part(1, "b", 2, 2, "clip"));
  EXPECT_TESSERA_ERROR(read_gguf(first_), kModel, "m-00002-of-00002.gguf: general.architecture",
                       "part of another model (got \"clip\", expected \"qwen3vl\"");
  write(part(0, "a"), part(1, "b", 2, 7));
  EXPECT_TESSERA_ERROR(read_gguf(first_), kModel, "split.tensors.count", "part of another model");
  write(part(0, "a", 2, 7), part(1, "b", 2, 7));
  EXPECT_TESSERA_ERROR(read_gguf(first_), kModel, "split.tensors.count", "got 7, expected 2");
  write(part(0, "a"), part(1, "a"));
  EXPECT_TESSERA_ERROR(read_gguf(first_), kModel, "m-00002-of-00002.gguf: a: the same tensor");
  write(part(0, "a"), make_gguf({}, {tensor("b", {8}, 0, 0)}, 32));
  EXPECT_TESSERA_ERROR(read_gguf(first_), kModel, "m-00002-of-00002.gguf: split.no: missing");
  const std::string renamed = dir_.write("renamed.gguf", part(0, "a"));
  EXPECT_TESSERA_ERROR(read_gguf(renamed), kModel, "split.count: one part of a split file");
  const std::string none = dir_.write("none.gguf", part(0, "a", 0));
  EXPECT_TESSERA_ERROR(read_gguf(none), kModel, "split.count", "got 0, expected 1 to 65535");
}

struct Same {
  const char *gguf, *folder, *name, *source;
};

// The f32, f16 or bf16 element as f32.
float element(const TensorView& view, std::size_t i) {
  if (view.dtype == DType::kF32) {
    float value;
    std::memcpy(&value, view.data + 4 * i, sizeof value);
    return value;
  }
  std::uint16_t bits;
  std::memcpy(&bits, view.data + 2 * i, sizeof bits);
  return view.dtype == DType::kF16 ? quant::f16_to_f32(bits) : quant::bf16_to_f32(bits);
}

// Tensors that a converter only renames hold the numbers of the folder that they came from.
TEST(GgufGolden, HoldsTheTensorsOfTheSourceFolder) {
  TESSERA_REQUIRE_SHARED("gguf");
  constexpr Same kTensors[] = {
      {"dense-bf16", "checkpoints/dense", "token_embd.weight", "model.language_model.embed_tokens.weight"},
      {"dense-bf16", "checkpoints/dense", "blk.3.attn_q.weight",
       "model.language_model.layers.3.self_attn.q_proj.weight"},
      {"dense-bf16", "checkpoints/dense", "blk.0.attn_norm.weight",
       "model.language_model.layers.0.input_layernorm.weight"},
      {"moe-bf16", "checkpoints/moe", "output.weight", "lm_head.weight"},
      {"moe-bf16", "checkpoints/moe", "output_norm.weight", "model.language_model.norm.weight"},
      {"shapes-vl-bf16", "shapes-vl", "blk.1.ffn_down.weight",
       "model.language_model.layers.1.mlp.down_proj.weight"},
      {"shapes-vl-q8_0", "shapes-vl", "output_norm.weight", "model.language_model.norm.weight"},
      {"mmproj-moe-f16", "checkpoints/moe", "mm.2.weight", "model.visual.merger.linear_fc2.weight"},
      {"mmproj-shapes-vl-f16", "shapes-vl", "v.blk.5.attn_qkv.weight",
       "model.visual.blocks.5.attn.qkv.weight"},
      {"mmproj-dense-f16", "checkpoints/dense", "v.position_embd.weight", "model.visual.pos_embed.weight"},
      {"mmproj-shapes-vl-f16", "shapes-vl", "v.blk.5.attn_qkv.bias", "model.visual.blocks.5.attn.qkv.bias"},
  };
  for (const Same& same : kTensors) {
    SCOPED_TRACE(std::string(same.gguf) + ' ' + same.name);
    const GgufFile file = read_gguf(shared_golden("gguf/" + std::string(same.gguf) + ".gguf"));
    const auto folder = open_checkpoint(shared_golden(same.folder));
    const TensorView* const got = file.checkpoint->find(same.name);
    const TensorView* const expected = folder->find(same.source);
    ASSERT_TRUE(got && expected);
    ASSERT_EQ(expected->dtype, DType::kBF16);
    ASSERT_EQ(got->shape, expected->shape);
    for (std::size_t i = 0; i < static_cast<std::size_t>(got->shape.elements()); ++i) {
      const float source = element(*expected, i);
      const bool f16 = got->dtype == DType::kF16;
      ASSERT_EQ(element(*got, i), f16 ? quant::f16_to_f32(quant::f32_to_f16(source)) : source) << i;
    }
  }
}

// Counts and keys as an independent reader (Python's struct module) lists them.
TEST(GgufGolden, ListsEveryFile) {
  TESSERA_REQUIRE_SHARED("gguf");
  const std::pair<const char*, std::size_t> kFiles[] = {
      {"dense-bf16", 46},           {"moe-bf16", 51},         {"qwen3-bf16", 35},
      {"shapes-vl-bf16", 46},       {"shapes-vl-q4_0", 46},   {"shapes-vl-q4_k_m", 46},
      {"shapes-vl-q8_0", 46},       {"mmproj-dense-f16", 76}, {"mmproj-moe-f16", 76},
      {"mmproj-shapes-vl-f16", 100}};
  for (const auto& [name, tensors] : kFiles) {
    SCOPED_TRACE(name);
    const GgufFile file = read_gguf(shared_golden("gguf/" + std::string(name) + ".gguf"));
    EXPECT_EQ(file.checkpoint->entries().size(), tensors);
    EXPECT_TRUE(file.checkpoint->warnings().empty());
    EXPECT_EQ(file.metadata.integer("general.sampling.top_k", 0, 100), 20);
    EXPECT_FLOAT_EQ(static_cast<float>(file.metadata.number("general.sampling.temp", 0, 2)), 0.7f);
    if (file.metadata.string("general.type") == "mmproj") continue;
    const std::vector<std::string> tokens = file.metadata.strings("tokenizer.ggml.tokens");
    EXPECT_EQ(tokens.size(), 768u);
    EXPECT_EQ(tokens[1], "\"");
    EXPECT_EQ(file.metadata.integers("tokenizer.ggml.token_type", 1, 6).size(), 768u);
    EXPECT_FALSE(file.metadata.boolean("tokenizer.ggml.add_bos_token"));
  }
}

}  // namespace
}  // namespace tessera
