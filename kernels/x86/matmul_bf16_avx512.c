/* SPDX-License-Identifier: MIT */
/* Products of BF16 weights, AVX-512. */
#include "kernels/x86/mat_avx512.h"
#include "kernels/x86/q32_avx512.h"

#define ELEM_BYTES	2

ALWAYS_INLINE __m512 widen(__m256i b)
{
	return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(b), 16));
}

ALWAYS_INLINE __m512 load16(const uint8_t *p)
{
	return widen(_mm256_loadu_si256((const __m256i *)p));
}

ALWAYS_INLINE __m512 load_some(const uint8_t *p, __mmask16 mask)
{
	return widen(_mm256_maskz_loadu_epi16(mask, p));
}

#include "kernels/x86/matmul_f32_avx512.h"

void linnet_matmul_bf16_avx512(const struct linnet_matmul *mm)
{
	matmul_f32(mm);
}
