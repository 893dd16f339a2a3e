/* SPDX-License-Identifier: MIT */
/* Products of BF16 weights, AVX2. */
#include "kernels/x86/mat_avx2.h"
#include "kernels/x86/q32_avx2.h"

#define ELEM_BYTES	2

ALWAYS_INLINE __m256 load8(const uint8_t *p)
{
	return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(load128(p)), 16));
}

#include "kernels/x86/matmul_f32_avx2.h"

void linnet_matmul_bf16_avx2(const struct linnet_matmul *mm)
{
	matmul_f32(mm);
}
