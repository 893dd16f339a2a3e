/* SPDX-License-Identifier: MIT */
/*
 * Products of IQ4_NL weights, AVX-512. Nibbles pick from the table of values, biased by 128.
 */
#include "kernels/blocks.h"
#include "kernels/x86/mat_avx512.h"
#include "kernels/x86/q32_avx512.h"

#define BLOCK_BYTES	sizeof(struct linnet_block_iq4_nl)
#define BIAS_SHIFT	7

#define V(i)		((char)(linnet_iq4_values[i] + 128))

/* The values of nibbles */
ALWAYS_INLINE __m512i values(__m512i nibbles)
{
	const __m512i table = _mm512_broadcast_i32x4(_mm_setr_epi8(
		V(0), V(1), V(2), V(3), V(4), V(5), V(6), V(7),
		V(8), V(9), V(10), V(11), V(12), V(13), V(14), V(15)));

	return _mm512_shuffle_epi8(table, nibbles);
}

/* Nibbles of blocks 0..2 in the 64 bytes at p */
static const uint8_t nibbles_at[64] __attribute__((aligned(64))) = {
	X16(2), X16(20), X16(38),
};

/* Nibbles of 4 blocks, a block in each lane */
ALWAYS_INLINE __m512i nibbles4(const uint8_t *p)
{
	__m512i q = _mm512_permutexvar_epi8(_mm512_load_si512(nibbles_at),
					    _mm512_loadu_si512(p));

	return _mm512_mask_broadcast_i32x4(q, 0xf000, load128(p + 56));
}

ALWAYS_INLINE void load4(const uint8_t *p, __m512i *lo, __m512i *hi)
{
	const __m512i q = nibbles4(p);

	*lo = values(low_nibbles(q));
	*hi = values(high_nibbles(q));
}

ALWAYS_INLINE void load4x4(__m512i q[8], const uint8_t *const p[4])
{
	__m512i z[4];

	UNROLL
	for (int r = 0; r < 4; r++)
		z[r] = nibbles4(p[r]);
	nibbles_of_lanes(q, z);
	UNROLL
	for (int k = 0; k < 8; k++)
		q[k] = values(q[k]);
}

ALWAYS_INLINE __m512i scales4(__m512i sc, const uint8_t *p, int row)
{
	const __m512i at = _mm512_set_epi16(FOUR(0), FOUR(0), FOUR(0), FOUR(0), FOUR(27),
					    FOUR(18), FOUR(9), FOUR(0));

	return _mm512_mask_permutexvar_epi16(sc, 0x1111u << row, at, _mm512_loadu_si512(p));
}

ALWAYS_INLINE void scale_floats(__m512i sc, __m512 *d, __m512 *m)
{
	*d = _mm512_cvtph_ps(_mm512_castsi512_si256(sc));
	*m = _mm512_setzero_ps();
}

ALWAYS_INLINE void unpack16(__m512i q[8], __m512 *d, __m512 *m, const uint8_t *const *p, size_t at)
{
	nibbles_of_rows(q, p, at + 2);
	UNROLL
	for (int k = 0; k < 8; k++)
		q[k] = values(q[k]);
	*d = halves_of_rows(p, at);
	*m = _mm512_setzero_ps();
}

#include "kernels/x86/matmul_q32_avx512.h"

void linnet_matmul_iq4_nl_avx512(const struct linnet_matmul *mm)
{
	matmul_q32(mm);
}
