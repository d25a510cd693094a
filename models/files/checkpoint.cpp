#include "models/files/checkpoint.h"

#include <algorithm>
#include <filesystem>
#include <functional>
#include <numeric>
#include <tuple>
#include <utility>

#include "models/files/safetensors.h"
#include "tensor/error.h"

namespace tessera {

Checkpoint::Checkpoint(std::string path, std::vector<Buffer> memory, std::vector<Entry> entries,
                       std::vector<std::string> warnings)
    : Checkpoint(Parts{std::move(path), std::move(memory), {}, std::move(entries), std::move(warnings)}) {}

Checkpoint::Checkpoint(Parts parts) : parts_(std::move(parts)), by_name_(parts_.entries.size()) {
  const std::vector<Entry>& all = parts_.entries;
  std::iota(by_name_.begin(), by_name_.end(), std::size_t{0});
  std::sort(by_name_.begin(), by_name_.end(), [&](std::size_t a, std::size_t b) {
    return std::tie(all[a].name, a) < std::tie(all[b].name, b);
  });
  const auto twin = std::adjacent_find(by_name_.begin(), by_name_.end(), [&](std::size_t a, std::size_t b) {
    return all[a].name == all[b].name;
  });
  if (twin != by_name_.end()) {
    const Entry& first = all[*twin];
    const Entry& second = all[*(twin + 1)];
    throw Error(ErrorCode::kModel, second.file, second.name, "the same tensor is also in " + first.file);
  }
}

const Checkpoint::Entry* Checkpoint::lookup(std::string_view name) const {
  const std::vector<Entry>& all = parts_.entries;
  const auto at = std::lower_bound(by_name_.begin(), by_name_.end(), name,
                                   [&](std::size_t i, std::string_view n) { return all[i].name < n; });
  return at == by_name_.end() || all[*at].name != name ? nullptr : &all[*at];
}

const TensorView* Checkpoint::find(std::string_view name) const {
  const Entry* const entry = lookup(name);
  if (!entry) return nullptr;
  if (!entry->view) {
    throw Error(ErrorCode::kUnsupported, entry->file, entry->name,
                "dtype cannot be used for a weight (got " + entry->dtype +
                    ", expected F32, F16, BF16 or a block format as Q4_0)");
  }
  return &*entry->view;
}

const Buffer* Checkpoint::mapping(std::span<const std::byte> bytes) const {
  const std::less_equal<const std::byte*> not_after;
  for (const Buffer& buffer : parts_.memory) {
    if (not_after(buffer.data(), bytes.data()) && not_after(bytes.data(), buffer.data() + buffer.size()))
      return &buffer;
  }
  return nullptr;
}

void Checkpoint::drop_pages(const TensorView& view) const {
  drop_pages({view.data, static_cast<std::size_t>(dense_bytes(view.dtype, view.shape))});
}

void Checkpoint::drop_pages(std::span<const std::byte> bytes) const {
  const Buffer* const file = mapping(bytes);
  if (file) file->drop_pages(static_cast<std::size_t>(bytes.data() - file->data()), bytes.size());
}

void Checkpoint::will_need(std::span<const std::byte> bytes) const {
  const Buffer* const file = mapping(bytes);
  if (file) file->will_need(static_cast<std::size_t>(bytes.data() - file->data()), bytes.size());
}

std::unique_ptr<Checkpoint> open_checkpoint(const std::string& path) {
  std::error_code status;
  return std::filesystem::is_directory(path, status) ? open_safetensors_folder(path)
                                                     : open_safetensors_file(path);
}

}  // namespace tessera
