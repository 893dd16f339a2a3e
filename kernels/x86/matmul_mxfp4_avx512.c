/* SPDX-License-Identifier: MIT */
/*
 * Products of MXFP4 weights, AVX-512. Nibbles pick from the table of doubled values, biased by
 * 16; a power of two is the scale.
 */
#include "kernels/blocks.h"
#include "kernels/x86/mat_avx512.h"

#define BLOCK_BYTES	sizeof(struct linnet_block_mxfp4)
#define QUANTS_AT	1
#define BIAS_SHIFT	4
#define VALUE(i)	((char)(linnet_mxfp4_values[i] + 16))

#include "kernels/x86/nibbles_avx512.h"

/* One byte in each dword */
ALWAYS_INLINE __m512i scales16(const uint8_t *const p[4])
{
	const __m512i at = _mm512_set_epi32(PAIRS(64, 51), PAIRS(64, 34), PAIRS(64, 17),
					    PAIRS(64, 0));
	const __m512i a = _mm512_maskz_permutex2var_epi8(0x0011001100110011, step_head(p[0]), at,
							 step_head(p[1]));
	const __m512i b = _mm512_maskz_permutex2var_epi8(0x1100110011001100, step_head(p[2]), at,
							 step_head(p[3]));

	return _mm512_or_si512(a, b);
}

/* 2^(e - 128), subnormals too */
ALWAYS_INLINE __m512 e8m0_floats(__m512i e)
{
	const __m512i exponent = _mm512_sub_epi32(e, _mm512_set1_epi32(128));

	return _mm512_scalef_ps(_mm512_set1_ps(1), _mm512_cvtepi32_ps(exponent));
}

ALWAYS_INLINE void scale_floats(__m512i sc, __m512 *d, __m512 *m)
{
	*d = e8m0_floats(sc);
	*m = _mm512_setzero_ps();
}

ALWAYS_INLINE void unpack16(__m512i q[8], __m512 *d, __m512 *m, const uint8_t *const *p, size_t at)
{
	uint8_t e[16] __attribute__((aligned(16)));

	values_of_rows(q, p, at);
	UNROLL
	for (int r = 0; r < 16; r++)
		e[r] = p[r][at];
	*d = e8m0_floats(_mm512_cvtepu8_epi32(load128(e)));
	*m = _mm512_setzero_ps();
}

#include "kernels/x86/matmul_q32_avx512.h"

void linnet_matmul_mxfp4_avx512(const struct linnet_matmul *mm)
{
	matmul_q32(mm);
}
