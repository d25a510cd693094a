// What tessera-quantize says about its work.
#pragma once

#include <string>

#include "models/qwen3vl/quantizer.h"

namespace tessera::programs {

// A table of every tensor: name, formats, bits per weight, NMSE, the worst row and its NMSE.
std::string report_table(const qwen3vl::QuantizeReport& report);
// The same and the timings as one JSON object.
std::string report_json(const qwen3vl::QuantizeReport& report, const std::string& input, double seconds);
// One line: bytes, seconds, speed, and what it was that took the time.
std::string report_summary(const qwen3vl::QuantizeReport& report, double seconds);

}  // namespace tessera::programs
