// EXPECT_TESSERA_ERROR(statement, code, part...): the statement throws an Error of that code whose message
// holds every part.
#pragma once

#include <gmock/gmock.h>

#include <string>
#include <vector>

#include "tensor/error.h"

namespace tessera::testing {

template <typename Statement>
void expect_error(const char* file, int line, ErrorCode code, const std::vector<std::string>& parts,
                  const Statement& statement) {
  const ::testing::ScopedTrace trace(file, line, "expected an Error");
  try {
    statement();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    for (const std::string& part : parts) EXPECT_THAT(error.what(), ::testing::HasSubstr(part));
    return;
  }
  ADD_FAILURE() << "no Error was thrown";
}

}  // namespace tessera::testing

#define EXPECT_TESSERA_ERROR(statement, code, ...) \
  ::tessera::testing::expect_error(__FILE__, __LINE__, ErrorCode::code, {__VA_ARGS__}, [&] { statement; })
