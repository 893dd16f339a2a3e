/* SPDX-License-Identifier: MIT */
/* Products of F32 weights, AVX-512. */
#include "kernels/x86/mat_avx512.h"
#include "kernels/x86/q32_avx512.h"

#define ELEM_BYTES	4

ALWAYS_INLINE __m512 load16(const uint8_t *p)
{
	return _mm512_loadu_ps(p);
}

ALWAYS_INLINE __m512 load_some(const uint8_t *p, __mmask16 mask)
{
	return _mm512_maskz_loadu_ps(mask, p);
}

#include "kernels/x86/matmul_f32_avx512.h"

void linnet_matmul_f32_avx512(const struct linnet_matmul *mm)
{
	matmul_f32(mm);
}
