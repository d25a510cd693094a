#include "tests/tensor/count_allocations.h"

#include <atomic>
#include <cstdlib>
#include <new>

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define THREAD_SANITIZER 1  // its operator new cannot be replaced
#endif
#endif

#ifdef THREAD_SANITIZER

namespace tessera::testing {

std::optional<int> allocations_during(const std::function<void()>&) { return std::nullopt; }

}  // namespace tessera::testing

#else

namespace {

std::atomic<bool> counting{false};
std::atomic<int> allocations{0};

void* counted(std::size_t bytes) noexcept {
  if (counting) ++allocations;
  return std::malloc(bytes ? bytes : 1);
}

}  // namespace

// Every form is replaced, so that sanitizers see no pair of which one half is theirs. They stand in a file of
// their own, where g++ cannot inline one half and warn of the other.
void* operator new(std::size_t bytes) {
  if (void* memory = counted(bytes)) return memory;
  throw std::bad_alloc();
}
void* operator new[](std::size_t bytes) { return operator new(bytes); }
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept { return counted(bytes); }
void* operator new[](std::size_t bytes, const std::nothrow_t&) noexcept { return counted(bytes); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, const std::nothrow_t&) noexcept { std::free(memory); }
void operator delete[](void* memory, const std::nothrow_t&) noexcept { std::free(memory); }

namespace tessera::testing {

std::optional<int> allocations_during(const std::function<void()>& work) {
  allocations = 0;
  counting = true;
  work();
  counting = false;
  return allocations;
}

}  // namespace tessera::testing

#endif
