#include "ops/resample/generic.h"

namespace tessera::ops {

void resample_across_rows_ref(const ResampleAcrossRows& row) noexcept { samples_across_rows(row); }

void resample_along_row_ref(const ResampleAlongRow& row) noexcept { pixels_along_row(row, 0, row.n); }

}  // namespace tessera::ops
