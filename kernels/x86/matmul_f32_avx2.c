/* SPDX-License-Identifier: MIT */
/* Products of F32 weights, AVX2. */
#include "kernels/x86/mat_avx2.h"
#include "kernels/x86/q32_avx2.h"

#define ELEM_BYTES	4

ALWAYS_INLINE __m256 load8(const uint8_t *p)
{
	return _mm256_loadu_ps((const float *)p);
}

#include "kernels/x86/matmul_f32_avx2.h"

void linnet_matmul_f32_avx2(const struct linnet_matmul *mm)
{
	matmul_f32(mm);
}
