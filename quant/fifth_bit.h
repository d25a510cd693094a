// 32 codes of five bits as Q5_0 and Q5_1 store them: the fifth bits in qh (bit l % 8 of byte l / 8), the
// lower nibbles in qs (byte j: element j low, element j + 16 high).
#pragma once

#include <cstdint>

namespace tessera::quant {

inline void unpack_five_bits(const std::uint8_t* qh, const std::uint8_t* qs, std::uint8_t* q) {
  for (int l = 0; l < 32; ++l) {
    const int low = l < 16 ? qs[l] & 15 : qs[l - 16] >> 4;
    q[l] = static_cast<std::uint8_t>(low | (qh[l / 8] >> l % 8 & 1) << 4);
  }
}

inline void pack_five_bits(const std::uint8_t* q, std::uint8_t* qh, std::uint8_t* qs) {
  for (int j = 0; j < 16; ++j) qs[j] = static_cast<std::uint8_t>((q[j] & 15) | (q[j + 16] & 15) << 4);
  for (int b = 0; b < 4; ++b) {
    int bits = 0;
    for (int i = 0; i < 8; ++i) bits |= (q[8 * b + i] >> 4) << i;
    qh[b] = static_cast<std::uint8_t>(bits);
  }
}

}  // namespace tessera::quant
