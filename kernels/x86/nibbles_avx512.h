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

/* 4 blocks as a table of bytes for permutations of two sources: the first 64 and the last 32 */
#define STEP_BYTE(x)	((x) < 64 ? (x) : (x) + 96 - 4 * (int)BLOCK_BYTES)
#define STEP_BYTES4(x)	STEP_BYTE(x), STEP_BYTE((x) + 1), STEP_BYTE((x) + 2), STEP_BYTE((x) + 3)
#define STEP_BYTES16(x)							\
	STEP_BYTES4(x), STEP_BYTES4((x) + 4), STEP_BYTES4((x) + 8), STEP_BYTES4((x) + 12)
#define QUANTS_OF(block) STEP_BYTES16((block) * (int)BLOCK_BYTES + QUANTS_AT)

static const uint8_t nibbles_at[64] __attribute__((aligned(64))) = {
	QUANTS_OF(0), QUANTS_OF(1), QUANTS_OF(2), QUANTS_OF(3),
};

ALWAYS_INLINE __m512i step_head(const uint8_t *p)
{
	__m512i x = _mm512_loadu_si512(p);

	/* loaded once for nibbles and scales: most such loads cross a line */
	__asm__("" : "+v"(x));
	return x;
}

ALWAYS_INLINE __m512i step_tail(const uint8_t *p)
{
	return _mm512_castsi256_si512(_mm256_loadu_si256((const void *)(p + 4 * BLOCK_BYTES - 32)));
}

/* Nibbles of 4 blocks, a block in each lane */
ALWAYS_INLINE __m512i nibbles4(const uint8_t *p)
{
	return _mm512_permutex2var_epi8(step_head(p), _mm512_load_si512(nibbles_at), step_tail(p));
}

#ifndef FIFTH_BITS
#ifdef VALUE
#define VALUES \
	_mm512_broadcast_i32x4(_mm_setr_epi8( \
		VALUE(0), VALUE(1), VALUE(2), VALUE(3), VALUE(4), VALUE(5), VALUE(6), VALUE(7), \
		VALUE(8), VALUE(9), VALUE(10), VALUE(11), VALUE(12), VALUE(13), VALUE(14), \
		VALUE(15)))
#endif

/* What nibbles stand for */
ALWAYS_INLINE __m512i values(__m512i nibbles)
{
#ifdef VALUE
	return _mm512_shuffle_epi8(VALUES, nibbles);
#else
	return nibbles;
#endif
}

/* What low nibbles stand for: four times the same 16 bytes do not see the bits above them */
ALWAYS_INLINE __m512i low_values(__m512i q)
{
#ifdef VALUE
	return _mm512_permutexvar_epi8(q, VALUES);
#else
	return low_nibbles(q);
#endif
}

ALWAYS_INLINE void load4(const uint8_t *p, __m512i *lo, __m512i *hi)
{
	const __m512i q = nibbles4(p);

	*lo = low_values(q);
#ifdef VALUE
	/* not high_nibbles(): shifts have a unit that products do not take */
	*hi = low_values(_mm512_srli_epi16(q, 4));
#else
	*hi = high_nibbles(q);
#endif
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
ALWAYS_INLINE __m512i scales16(const uint8_t *const p[4])
{
	enum { HALVES = BLOCK_BYTES / 2 };
	const __m512i at = _mm512_set_epi16(FOUR(0), FOUR(0), FOUR(0), FOUR(0),
					    PAIRS(32, 3 * HALVES), PAIRS(32, 2 * HALVES),
					    PAIRS(32, HALVES), PAIRS(32, 0));
	const __m512i a = _mm512_maskz_permutex2var_epi16(0x3333, step_head(p[0]), at,
							  step_head(p[1]));
	const __m512i b = _mm512_maskz_permutex2var_epi16(0xcccc, step_head(p[2]), at,
							  step_head(p[3]));

	return _mm512_or_si512(a, b);
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
