/* SPDX-License-Identifier: MIT */
/*
 * Products of Q4_1 weights, AVX-512. Nibbles as they are.
 */
#include "kernels/blocks.h"
#include "kernels/x86/mat_avx512.h"

#define BLOCK_BYTES	sizeof(struct linnet_block_q4_1)
#define QUANTS_AT	4
#define HAS_MIN		1

#include "kernels/x86/nibbles_avx512.h"

/* Scale and minimum as one dword */
ALWAYS_INLINE __m512i scales16(const uint8_t *const p[4])
{
	const __m512i at = _mm512_set_epi32(PAIRS(16, 15), PAIRS(16, 10), PAIRS(16, 5),
					    PAIRS(16, 0));
	const __m512i a = _mm512_maskz_permutex2var_epi32(0x3333, step_head(p[0]), at,
							  step_head(p[1]));
	const __m512i b = _mm512_maskz_permutex2var_epi32(0xcccc, step_head(p[2]), at,
							  step_head(p[3]));

	return _mm512_or_si512(a, b);
}

ALWAYS_INLINE void scale_floats(__m512i sc, __m512 *d, __m512 *m)
{
	*d = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(sc));
	*m = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32(sc, 16)));
}

ALWAYS_INLINE void unpack16(__m512i q[8], __m512 *d, __m512 *m, const uint8_t *const *p, size_t at)
{
	values_of_rows(q, p, at);
	scale_floats(dwords_of_rows(p, at), d, m);
}

#include "kernels/x86/matmul_q32_avx512.h"

void linnet_matmul_q4_1_avx512(const struct linnet_matmul *mm)
{
	matmul_q32(mm);
}
