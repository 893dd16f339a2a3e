/* SPDX-License-Identifier: MIT */
/*
 * Pieces of the AVX2 products of the Q32 types. Two forms of unpacked weights:
 *
 *	2 blocks: w[0] and w[1] have elements 0..15 and 16..31, of a block in each lane
 *	8 rows of a block: q[k] has elements 4k..4k+3 of row r in dword r
 *
 * Weights are unsigned bytes (the type's integer plus a
 * bias, which the products take off again) or, for large integers, signed ones.
 */
#ifndef LINNET_KERNELS_X86_Q32_AVX2_H
#define LINNET_KERNELS_X86_Q32_AVX2_H

#include "kernels/x86/act_avx2.h"
#include "kernels/x86/simd.h"
#include "kernels/x86/transpose_avx2.h"
#include "kernels/x86/vnni.h"

#include <immintrin.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

ALWAYS_INLINE __m128i load128(const void *p)
{
	return _mm_loadu_si128(p);
}

ALWAYS_INLINE __m256i low_nibbles(__m256i q)
{
	return _mm256_and_si256(q, _mm256_set1_epi8(15));
}

/* 16 bytes at p0 and at p1 in the lanes */
ALWAYS_INLINE __m256i lanes(const uint8_t *p0, const uint8_t *p1)
{
	return _mm256_inserti128_si256(_mm256_castsi128_si256(load128(p0)), load128(p1), 1);
}

/* The nibbles at p0 and p1, first form */
ALWAYS_INLINE void nibbles_of_block(__m256i w[2], const uint8_t *p0, const uint8_t *p1)
{
	const __m256i q = lanes(p0, p1);

	w[0] = low_nibbles(q);
	w[1] = low_nibbles(_mm256_srli_epi16(q, 4));
}

/* q with 16 added to byte i when bit bit(i) of x is set, x being the bytes that hold them */
ALWAYS_INLINE __m256i add_fifth_bits(__m256i q, __m256i x, __m256i bit)
{
	const __m256i set = _mm256_cmpeq_epi8(_mm256_and_si256(x, bit), bit);

	return _mm256_or_si256(q, _mm256_and_si256(set, _mm256_set1_epi8(16)));
}

/*
 * Dwords at p0 and p1 that are step bytes apart, four of each, a row in each lane. Dword b is
 * loaded with what precedes it, so blocks need to be as long as b dwords.
 */
ALWAYS_INLINE __m256i dwords4(const uint8_t *p0, const uint8_t *p1, size_t step)
{
	__m256i x = lanes(p0, p1);

	step -= 4;
	x = _mm256_blend_epi32(x, lanes(p0 + step, p1 + step), 0x22);
	x = _mm256_blend_epi32(x, lanes(p0 + 2 * step, p1 + 2 * step), 0x44);
	return _mm256_blend_epi32(x, lanes(p0 + 3 * step, p1 + 3 * step), 0x88);
}

/* The fifth bits of block b, of four whose bits are in the dwords of a lane, on top of w */
ALWAYS_INLINE void fifth_bits_of_block(__m256i w[2], __m256i bits, const int b)
{
	const __m256i bit = _mm256_set1_epi64x((long long)0x8040201008040201);

	/* four bytes of the block's bits, each eight times, are two halves */
	UNROLL
	for (int h = 0; h < 2; h++) {
		const __m128i byte = _mm_set_epi64x(0x0101010101010101 * (4 * b + 2 * h + 1),
						    0x0101010101010101 * (4 * b + 2 * h));

		w[h] = add_fifth_bits(w[h], _mm256_shuffle_epi8(
			bits, _mm256_broadcastsi128_si256(byte)), bit);
	}
}

/* The fifth bits 4k..4k+3 of 8 rows, bits having all 32 of a row in its dword */
ALWAYS_INLINE __m256i fifth_bits_of_rows(__m256i q, __m256i bits, int k)
{
	const __m256i byte = _mm256_setr_epi32(0, 0x04040404, 0x08080808, 0x0c0c0c0c,
					       0, 0x04040404, 0x08080808, 0x0c0c0c0c);
	const __m256i x = _mm256_shuffle_epi8(bits, _mm256_add_epi8(byte,
					      _mm256_set1_epi8((char)(k / 2))));

	return add_fifth_bits(q, x, _mm256_set1_epi32(k % 2 ? (int)0x80402010 : 0x08040201));
}

/* Words that are step bytes apart, four of them, as the low ones; loaded as in the above */
ALWAYS_INLINE __m128i words4(const uint8_t *p, size_t step)
{
	step -= 2;
	return _mm_blend_epi16(_mm_blend_epi16(load128(p), load128(p + step), 0x02),
			       _mm_blend_epi16(load128(p + 2 * step), load128(p + 3 * step), 0x08),
			       0x0c);
}

/* Halves of 4 blocks at p0, and at p1 */
ALWAYS_INLINE __m256 halves4(const uint8_t *p0, const uint8_t *p1, size_t step)
{
	return _mm256_cvtph_ps(_mm_unpacklo_epi64(words4(p0, step), words4(p1, step)));
}

/* Two halves each */
ALWAYS_INLINE void pairs_of_halves4(__m256 *first, __m256 *second, const uint8_t *p0,
				    const uint8_t *p1, size_t step)
{
	const __m256i even = _mm256_broadcastsi128_si256(
		_mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15));
	__m256i x = dwords4(p0, p1, step);

	/* of both rows: first ones, then second ones */
	x = _mm256_permute4x64_epi64(_mm256_shuffle_epi8(x, even), 0xd8);
	*first = _mm256_cvtph_ps(_mm256_castsi256_si128(x));
	*second = _mm256_cvtph_ps(_mm256_extracti128_si256(x, 1));
}

/* 16 bytes at p[r] + at of 8 rows: dword r of d[k] is bytes 4k..4k+3 of row r. */
ALWAYS_INLINE void transpose_rows(__m256i d[4], const uint8_t *const *p, size_t at)
{
	__m256i z[4];

	UNROLL
	for (int i = 0; i < 4; i++)
		z[i] = _mm256_inserti128_si256(_mm256_castsi128_si256(load128(p[i] + at)),
					       load128(p[i + 4] + at), 1);
	transpose_lanes(d, z);
}

/* Nibbles at p[r] + at of 8 rows, as q[8] of the second form */
ALWAYS_INLINE void nibbles_of_rows(__m256i q[8], const uint8_t *const *p, size_t at)
{
	__m256i d[4];

	transpose_rows(d, p, at);
	UNROLL
	for (int k = 0; k < 4; k++) {
		q[k] = low_nibbles(d[k]);
		q[k + 4] = low_nibbles(_mm256_srli_epi16(d[k], 4));
	}
}

/* Not by way of an array: a load of what was just stored in pieces has to wait for them. */
ALWAYS_INLINE __m256 halves_of_rows(const uint8_t *const *p, size_t at)
{
	__m128i all = _mm_setzero_si128();
	uint16_t h[8];

	UNROLL
	for (int r = 0; r < 8; r++)
		memcpy(&h[r], p[r] + at, 2);
	all = _mm_insert_epi16(all, h[0], 0);
	all = _mm_insert_epi16(all, h[1], 1);
	all = _mm_insert_epi16(all, h[2], 2);
	all = _mm_insert_epi16(all, h[3], 3);
	all = _mm_insert_epi16(all, h[4], 4);
	all = _mm_insert_epi16(all, h[5], 5);
	all = _mm_insert_epi16(all, h[6], 6);
	all = _mm_insert_epi16(all, h[7], 7);
	return _mm256_cvtph_ps(all);
}

ALWAYS_INLINE __m256i dwords_of_rows(const uint8_t *const *p, size_t at)
{
	uint32_t u[8] __attribute__((aligned(32)));

	UNROLL
	for (int r = 0; r < 8; r++)
		memcpy(&u[r], p[r] + at, 4);
	return _mm256_load_si256((const __m256i *)u);
}

#endif
