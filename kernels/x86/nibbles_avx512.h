/* SPDX-License-Identifier: MIT */
/*
 * Blocks whose elements are nibbles, as their Q32 type's AVX-512 products load them. The file
 * of a type defines, before it includes this,
 *
 *	BLOCK_BYTES	of a block
 *	QUANTS_AT	where its 16 bytes of nibbles begin; they are its last
 *	VALUE(i)	the byte that nibble i stands for; nibbles as they are when undefined
 *	HALF_SCALE	a half at the block's start is all else that it has
 *	FIFTH_BITS	the elements have one more bit, which the file sees to
 *
 * and has of what matmul_q32_avx512.h asks for what follows from these.
 */
#ifndef LINNET_KERNELS_X86_NIBBLES_AVX512_H
#define LINNET_KERNELS_X86_NIBBLES_AVX512_H

#include "kernels/x86/q32_avx512.h"

/* Where 64 bytes begin that have the nibbles of blocks 0..2: with the scales, if they may */
enum { NIBBLES_FROM = 2 * BLOCK_BYTES + QUANTS_AT + 16 > 64 ? QUANTS_AT : 0 };

static const uint8_t nibbles_at[64] __attribute__((aligned(64))) = {
	X16(QUANTS_AT - NIBBLES_FROM),
	X16(QUANTS_AT - NIBBLES_FROM + BLOCK_BYTES),
	X16(QUANTS_AT - NIBBLES_FROM + 2 * BLOCK_BYTES),
};

/* Nibbles of 4 blocks, a block in each lane */
ALWAYS_INLINE __m512i nibbles4(const uint8_t *p)
{
	__m512i q = _mm512_permutexvar_epi8(_mm512_load_si512(nibbles_at),
					    _mm512_loadu_si512(p + NIBBLES_FROM));

	return _mm512_mask_broadcast_i32x4(q, 0xf000, load128(p + 3 * BLOCK_BYTES + QUANTS_AT));
}

#ifndef FIFTH_BITS
ALWAYS_INLINE __m512i values(__m512i nibbles)
{
#ifdef VALUE
	const __m512i table = _mm512_broadcast_i32x4(_mm_setr_epi8(
		VALUE(0), VALUE(1), VALUE(2), VALUE(3), VALUE(4), VALUE(5), VALUE(6), VALUE(7),
		VALUE(8), VALUE(9), VALUE(10), VALUE(11), VALUE(12), VALUE(13), VALUE(14),
		VALUE(15)));

	return _mm512_shuffle_epi8(table, nibbles);
#else
	return nibbles;
#endif
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

/* Of a block of 16 rows */
ALWAYS_INLINE void values_of_rows(__m512i q[8], const uint8_t *const *p, size_t at)
{
	nibbles_of_rows(q, p, at + QUANTS_AT);
	UNROLL
	for (int k = 0; k < 8; k++)
		q[k] = values(q[k]);
}
#endif

#ifdef HALF_SCALE
ALWAYS_INLINE __m512i scales4(__m512i sc, const uint8_t *p, int row)
{
	enum { HALVES = BLOCK_BYTES / 2 };
	const __m512i at = _mm512_set_epi16(FOUR(0), FOUR(0), FOUR(0), FOUR(0), FOUR(3 * HALVES),
					    FOUR(2 * HALVES), FOUR(HALVES), FOUR(0));

	return _mm512_mask_permutexvar_epi16(sc, 0x1111u << row, at, _mm512_loadu_si512(p));
}

ALWAYS_INLINE void scale_floats(__m512i sc, __m512 *d, __m512 *m)
{
	*d = _mm512_cvtph_ps(_mm512_castsi512_si256(sc));
	*m = _mm512_setzero_ps();
}

ALWAYS_INLINE void unpack16(__m512i q[8], __m512 *d, __m512 *m, const uint8_t *const *p, size_t at)
{
	values_of_rows(q, p, at);
	*d = halves_of_rows(p, at);
	*m = _mm512_setzero_ps();
}
#endif

#endif
