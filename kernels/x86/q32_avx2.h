/* SPDX-License-Identifier: MIT */
/*
 * Pieces of the AVX2 products of the Q32 types. Two forms of unpacked weights:
 *
 *	2 blocks of a row: lane i of lo and hi has elements 0..15 and 16..31 of block i
 *	8 rows of a block: q[k] has elements 4k..4k+3 of row r in dword r
 *
 * Weights are unsigned bytes (the type's integer plus a
 * bias, which the products take off again) or, for large integers, signed ones.
 */
#ifndef LINNET_KERNELS_X86_Q32_AVX2_H
#define LINNET_KERNELS_X86_Q32_AVX2_H

#include "kernels/x86/act_avx2.h"
#include "kernels/x86/simd.h"
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

/* 16 bytes at p and at p + step in the lanes */
ALWAYS_INLINE __m256i lanes(const uint8_t *p, size_t step)
{
	return _mm256_inserti128_si256(_mm256_castsi128_si256(load128(p)), load128(p + step), 1);
}

/* The nibbles at p and at p + step, first form */
ALWAYS_INLINE void nibbles_of_blocks(__m256i *lo, __m256i *hi, const uint8_t *p, size_t step)
{
	const __m256i q = lanes(p, step);

	*lo = low_nibbles(q);
	*hi = low_nibbles(_mm256_srli_epi16(q, 4));
}

/* q with 16 added to byte i when bit bit(i) of x is set, x being the bytes that hold them */
ALWAYS_INLINE __m256i add_fifth_bits(__m256i q, __m256i x, __m256i bit)
{
	const __m256i set = _mm256_cmpeq_epi8(_mm256_and_si256(x, bit), bit);

	return _mm256_or_si256(q, _mm256_and_si256(set, _mm256_set1_epi8(16)));
}

/* The fifth bits at p and at p + step on top of two blocks */
ALWAYS_INLINE void fifth_bits_of_blocks(__m256i *lo, __m256i *hi, const uint8_t *p, size_t step)
{
	const __m256i byte = _mm256_broadcastsi128_si256(
		_mm_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1));
	const __m256i bit = _mm256_set1_epi64x((long long)0x8040201008040201);
	int32_t b0, b1;
	__m256i bits;

	memcpy(&b0, p, 4);
	memcpy(&b1, p + step, 4);
	bits = _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_cvtsi32_si128(b0)),
				       _mm_cvtsi32_si128(b1), 1);
	*lo = add_fifth_bits(*lo, _mm256_shuffle_epi8(bits, byte), bit);
	*hi = add_fifth_bits(*hi, _mm256_shuffle_epi8(bits, _mm256_add_epi8(byte,
						      _mm256_set1_epi8(2))), bit);
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

/* Halves at p + at of blocks that are step bytes apart, four of them */
ALWAYS_INLINE __m128 halves4(const uint8_t *p, size_t step)
{
	__m128i all = _mm_setzero_si128();
	uint16_t h[4];

	UNROLL
	for (int i = 0; i < 4; i++)
		memcpy(&h[i], p + (size_t)i * step, 2);
	all = _mm_insert_epi16(all, h[0], 0);
	all = _mm_insert_epi16(all, h[1], 1);
	all = _mm_insert_epi16(all, h[2], 2);
	all = _mm_insert_epi16(all, h[3], 3);
	return _mm_cvtph_ps(all);
}

/* 16 bytes at p[r] + at of 8 rows: dword r of d[k] is bytes 4k..4k+3 of row r. */
ALWAYS_INLINE void transpose_rows(__m256i d[4], const uint8_t *const *p, size_t at)
{
	__m256i z[4], a, b, c, e;

	UNROLL
	for (int i = 0; i < 4; i++)
		z[i] = _mm256_inserti128_si256(_mm256_castsi128_si256(load128(p[i] + at)),
					       load128(p[i + 4] + at), 1);
	a = _mm256_unpacklo_epi32(z[0], z[1]);
	b = _mm256_unpacklo_epi32(z[2], z[3]);
	c = _mm256_unpackhi_epi32(z[0], z[1]);
	e = _mm256_unpackhi_epi32(z[2], z[3]);
	d[0] = _mm256_unpacklo_epi64(a, b);
	d[1] = _mm256_unpackhi_epi64(a, b);
	d[2] = _mm256_unpacklo_epi64(c, e);
	d[3] = _mm256_unpackhi_epi64(c, e);
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
