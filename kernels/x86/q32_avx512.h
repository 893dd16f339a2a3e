/* SPDX-License-Identifier: MIT */
/*
 * Pieces of the AVX-512 products of the Q32 types. Three forms of unpacked weights:
 *
 *	16 rows of a block: q[k] has elements 4k..4k+3 of row r in dword r
 *	4 blocks of 4 rows: dword r of lane i of q[k] has elements 4k..4k+3 of block i of
 *	row r
 *	4 blocks of a row: lane i of lo and hi has elements 0..15 and 16..31 of block i
 *
 * Weights are unsigned bytes: the type's integer plus a bias, which the products take
 * off again as bias * (sum of the activations).
 */
#ifndef LINNET_KERNELS_X86_Q32_AVX512_H
#define LINNET_KERNELS_X86_Q32_AVX512_H

#include "kernels/x86/act_avx512.h"
#include "kernels/x86/simd.h"
#include "kernels/x86/transpose_avx512.h"

#include <immintrin.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define X16(x) \
	(x), (x) + 1, (x) + 2, (x) + 3, (x) + 4, (x) + 5, (x) + 6, (x) + 7, (x) + 8, (x) + 9, \
	(x) + 10, (x) + 11, (x) + 12, (x) + 13, (x) + 14, (x) + 15
#define FOUR(x)	(x), (x), (x), (x)
/* Where a permutation of two rows, n elements each, finds element x: of both, and both again */
#define PAIRS(n, x) (n) + (x), (x), (n) + (x), (x)

ALWAYS_INLINE __m128i load128(const void *p)
{
	return _mm_loadu_si128(p);
}

ALWAYS_INLINE __m512i low_nibbles(__m512i q)
{
	return _mm512_and_si512(q, _mm512_set1_epi8(15));
}

/* q >> 4 of bytes, in one operation: bit i of the result is bit i + 4 */
ALWAYS_INLINE __m512i high_nibbles(__m512i q)
{
	return _mm512_gf2p8affine_epi64_epi8(q, _mm512_set1_epi64(0x1020408000000000), 0);
}

/* q | (x & 16), bytes */
ALWAYS_INLINE __m512i or_fifth_bit(__m512i q, __m512i x)
{
	return _mm512_ternarylogic_epi64(q, x, _mm512_set1_epi8(16), 0xf8);
}

/*
 * Fifth bits, in two forms. bits has the 32 bits of a block in each dword where they
 * are wanted; first is the bit that the lowest byte takes. Byte j of the result has
 * its bit in bit 4; its other bits are to be ignored.
 */
ALWAYS_INLINE __m512i fifth_bits_of_blocks(__m512i bits, int first)
{
	/* bytes 0..7 of a lane take bits 0..7, bytes 8..15 take 8..15, minus 4 mod 64 */
	const __m512i at = _mm512_broadcast_i32x4(
		_mm_setr_epi8(60, 61, 62, 63, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11));

	return _mm512_multishift_epi64_epi8(_mm512_add_epi8(at, _mm512_set1_epi8((char)first)),
					    bits);
}

ALWAYS_INLINE __m512i fifth_bits_of_rows(__m512i bits, int first)
{
	const __m512i at = _mm512_set1_epi64(0x1f1e1d1c3f3e3d3c);

	return _mm512_multishift_epi64_epi8(_mm512_add_epi8(at, _mm512_set1_epi8((char)first)),
					    bits);
}

/* The nibbles of 4 rows whose lanes are blocks, as q[8] of the second form */
ALWAYS_INLINE void nibbles_of_lanes(__m512i q[8], const __m512i z[4])
{
	__m512i d[4];

	transpose_lanes(d, z);
	UNROLL
	for (int k = 0; k < 4; k++) {
		q[k] = low_nibbles(d[k]);
		q[k + 4] = high_nibbles(d[k]);
	}
}

/* The sums of 4 rows: the lanes are chains. */
ALWAYS_INLINE __m128 sum_chains(__m512 acc)
{
	return _mm_add_ps(_mm_add_ps(_mm_add_ps(
		_mm512_castps512_ps128(acc), _mm512_extractf32x4_ps(acc, 1)),
		_mm512_extractf32x4_ps(acc, 2)), _mm512_extractf32x4_ps(acc, 3));
}

/* 16 bytes at p[r] + at of 16 rows: dword r of d[k] is bytes 4k..4k+3 of row r. */
ALWAYS_INLINE void transpose_rows(__m512i d[4], const uint8_t *const *p, size_t at)
{
	__m512i z[4];

	UNROLL
	for (int i = 0; i < 4; i++) {
		z[i] = _mm512_castsi128_si512(load128(p[i] + at));
		z[i] = _mm512_inserti32x4(z[i], load128(p[i + 4] + at), 1);
		z[i] = _mm512_inserti32x4(z[i], load128(p[i + 8] + at), 2);
		z[i] = _mm512_inserti32x4(z[i], load128(p[i + 12] + at), 3);
	}
	transpose_lanes(d, z);
}

/* Nibbles at p[r] + at of 16 rows, as q[8] of the second form */
ALWAYS_INLINE void nibbles_of_rows(__m512i q[8], const uint8_t *const *p, size_t at)
{
	__m512i d[4];

	transpose_rows(d, p, at);
	UNROLL
	for (int k = 0; k < 4; k++) {
		q[k] = low_nibbles(d[k]);
		q[k + 4] = high_nibbles(d[k]);
	}
}

/* Halves at p[r] + at of 16 rows as floats */
ALWAYS_INLINE __m512 halves_of_rows(const uint8_t *const *p, size_t at)
{
	uint16_t h[16] __attribute__((aligned(32)));

	UNROLL
	for (int r = 0; r < 16; r++)
		memcpy(&h[r], p[r] + at, 2);
	return _mm512_cvtph_ps(_mm256_load_si256((const __m256i *)h));
}

ALWAYS_INLINE __m512i dwords_of_rows(const uint8_t *const *p, size_t at)
{
	uint32_t u[16] __attribute__((aligned(64)));

	UNROLL
	for (int r = 0; r < 16; r++)
		memcpy(&u[r], p[r] + at, 4);
	return _mm512_load_si512(u);
}

#endif
