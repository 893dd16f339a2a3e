/* SPDX-License-Identifier: MIT */
/*
 * Products of Q8_0 weights, AVX-512. Signed bytes, biased by 128.
 */
#include "kernels/blocks.h"
#include "kernels/x86/mat_avx512.h"
#include "kernels/x86/q32_avx512.h"

#define BLOCK_BYTES	sizeof(struct linnet_block_q8_0)
#define BIAS_SHIFT	7
#define HAS_FINE_STEP	1
/* there is little to compute, so these streams run as fast as a plain read does */
#define ONE_PREFETCH	0

/* + 128, signed to unsigned */
ALWAYS_INLINE __m512i biased(__m512i q)
{
	return _mm512_xor_si512(q, _mm512_set1_epi8((char)0x80));
}

ALWAYS_INLINE __m512i load2(const uint8_t *p, const uint8_t *q)
{
	return _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_loadu_si256((const void *)p)),
				  _mm256_loadu_si256((const void *)q), 1);
}

ALWAYS_INLINE void load4(const uint8_t *p, __m512i *lo, __m512i *hi)
{
	__m512i u = load2(p + 2, p + 36), v = load2(p + 70, p + 104);

	*lo = biased(_mm512_shuffle_i64x2(u, v, 0x88));
	*hi = biased(_mm512_shuffle_i64x2(u, v, 0xdd));
}

ALWAYS_INLINE void load4x4(__m512i q[8], const uint8_t *const p[4])
{
	__m512i lo[4], hi[4];

	UNROLL
	for (int r = 0; r < 4; r++)
		load4(p[r], &lo[r], &hi[r]);
	transpose_lanes(q, lo);
	transpose_lanes(q + 4, hi);
}

ALWAYS_INLINE __m512i scales16(const uint8_t *const p[4])
{
	const __m512i at = _mm512_set_epi16(FOUR(0), FOUR(0), FOUR(0), FOUR(0), FOUR(17),
					    FOUR(0), FOUR(17), FOUR(0));
	__m512i sc = _mm512_setzero_si512();

	UNROLL
	for (int r = 0; r < 4; r++) {
		sc = _mm512_mask_permutexvar_epi16(sc, 0x0011u << r, at, _mm512_loadu_si512(p[r]));
		sc = _mm512_mask_permutexvar_epi16(sc, 0x1100u << r, at,
						   _mm512_loadu_si512(p[r] + 68));
	}
	return sc;
}

ALWAYS_INLINE void scale_floats(__m512i sc, __m512 *d, __m512 *m)
{
	*d = _mm512_cvtph_ps(_mm512_castsi512_si256(sc));
	*m = _mm512_setzero_ps();
}

ALWAYS_INLINE void unpack16(__m512i q[8], __m512 *d, __m512 *m, const uint8_t *const *p, size_t at)
{
	transpose_rows(q, p, at + 2);
	transpose_rows(q + 4, p, at + 18);
	UNROLL
	for (int k = 0; k < 8; k++)
		q[k] = biased(q[k]);
	*d = halves_of_rows(p, at);
	*m = _mm512_setzero_ps();
}

#include "kernels/x86/matmul_q32_avx512.h"

void linnet_matmul_q8_0_avx512(const struct linnet_matmul *mm)
{
	matmul_q32(mm);
}
