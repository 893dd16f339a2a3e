/* SPDX-License-Identifier: MIT */
/*
 * Products of one Q32 type with a single token, for matmul_q32_avx512.h. The file of a
 * type defines what that header asks for, and
 *
 *	load4(p, &lo, &hi)	4 blocks at p, a block in each lane: elements 0..15 and 16..31
 *	ONE_PREFETCH		0: the processor's own prefetching is faster
 *
 * A step takes 4 rows times 4 blocks. Lane i is block i, and the chain of the summation
 * order at the same time; one conversion, one product of scales and one fma serve 16
 * blocks. Nothing is shared with other tokens, so memory is the limit, and the 4 rows are
 * a quarter of the range apart: four long streams are what it likes most.
 */
#ifndef LINNET_KERNELS_X86_ONE_Q32_AVX512_H
#define LINNET_KERNELS_X86_ONE_Q32_AVX512_H

#include "kernels/x86/q32_avx512.h"

#ifndef ONE_PREFETCH
#define ONE_PREFETCH	1
#endif

/* Into the second cache well ahead, and from there on into the first. One prefetch into
 * the first cache alone has a sharp best distance, another one on every machine. */
#define ONE_FAR		4096
#define ONE_NEAR	1536
#define ONE_BYTES	(4 * BLOCK_BYTES)
#define ONE_SKEW	3	/* rows; keeps the streams off the same cache sets */

/* acc + 4 blocks of the rows at p0 to p3 times a group */
ALWAYS_INLINE __m512 one_step(__m512 acc, const uint8_t *p0, const uint8_t *p1, const uint8_t *p2,
			      const uint8_t *p3, const struct linnet_q32_group *g)
{
	const uint8_t *const p[4] = { p0, p1, p2, p3 };
	const __m512i rep = _mm512_set_epi32(FOUR(3), FOUR(2), FOUR(1), FOUR(0));
	const __m512i meta = _mm512_load_si512(g->nsum);
	const __m512 da = _mm512_castsi512_ps(_mm512_permutexvar_epi32(
		_mm512_add_epi32(rep, _mm512_set1_epi32(4)), meta));
	__m512i alo = _mm512_load_si512(g->q), ahi = _mm512_load_si512(g->q + 64);
	__m512i c[4], start = _mm512_setzero_si512();
	__m512 d, m;

	/* keeps gcc from reading them again for each row */
	__asm__("" : "+v"(alo), "+v"(ahi));
#if !HAS_MIN
	/* in one dword of each lane, as the lanes are summed up */
	start = _mm512_slli_epi32(_mm512_maskz_permutexvar_epi32(0x1111, rep, meta), BIAS_SHIFT);
#endif
	UNROLL
	for (int r = 0; r < 4; r++) {
		__m512i lo, hi;

		load4(p[r], &lo, &hi);
		c[r] = _mm512_dpbusd_epi32(start, lo, alo);
		c[r] = _mm512_dpbusd_epi32(c[r], hi, ahi);
	}
	scale_floats(scales16(p), &d, &m);
	acc = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum_lanes(c[0], c[1], c[2], c[3])),
			      _mm512_mul_ps(d, da), acc);
#if HAS_MIN
	acc = _mm512_fmadd_ps(m, _mm512_castsi512_ps(_mm512_permutexvar_epi32(
		_mm512_add_epi32(rep, _mm512_set1_epi32(8)), meta)), acc);
#endif
	return acc;
}

/* Every line of two steps once */
ALWAYS_INLINE void one_prefetch(const uint8_t *p)
{
	if (!ONE_PREFETCH)
		return;
	UNROLL
	for (size_t at = 0; at < 2 * ONE_BYTES; at += 64) {
		prefetch_t1(p + ONE_FAR + at);
		prefetch_t0(p + ONE_NEAR + at);
	}
}

static void one(const struct linnet_matmul *mm)
{
	const size_t n = mm->row1 - mm->row0, blocks = mm->act->n_cols / 32;
	const size_t quarter = (n + 3) / 4 + (n >= 64 ? ONE_SKEW : 0);
	const uint8_t *w = (const uint8_t *)mm->w + mm->row0 * mm->row_bytes;

	for (size_t r = 0; r < quarter && r < n; r++) {
		const struct linnet_q32_group *g = mm->act->buf;
		const uint8_t *p0 = w + r * mm->row_bytes, *p1 = p0, *p2 = p0, *p3 = p0;
		__m512 acc = _mm512_setzero_ps();
		size_t left = blocks / 4;
		float o[4];

		if (r + quarter < n)
			p1 = p0 + quarter * mm->row_bytes;
		if (r + 2 * quarter < n)
			p2 = p1 + quarter * mm->row_bytes;
		if (r + 3 * quarter < n)
			p3 = p2 + quarter * mm->row_bytes;
		for (; left >= 2; left -= 2, g += 2) {
			/* keeps gcc from gathering pointers in vectors */
			__asm__("" : "+r"(p0), "+r"(p1), "+r"(p2), "+r"(p3));
			one_prefetch(p0);
			one_prefetch(p1);
			acc = one_step(acc, p0, p1, p2, p3, g);
			one_prefetch(p2);
			one_prefetch(p3);
			acc = one_step(acc, p0 + ONE_BYTES, p1 + ONE_BYTES, p2 + ONE_BYTES,
				       p3 + ONE_BYTES, g + 1);
			p0 += 2 * ONE_BYTES;
			p1 += 2 * ONE_BYTES;
			p2 += 2 * ONE_BYTES;
			p3 += 2 * ONE_BYTES;
		}
		if (left) {
			acc = one_step(acc, p0, p1, p2, p3, g++);
			p0 += ONE_BYTES;
			p1 += ONE_BYTES;
			p2 += ONE_BYTES;
			p3 += ONE_BYTES;
		}
		if (blocks % 4) {
			uint8_t tail[4][ONE_BYTES] = { 0 };

			/* missing blocks: d and the activations are 0 */
			memcpy(tail[0], p0, blocks % 4 * BLOCK_BYTES);
			memcpy(tail[1], p1, blocks % 4 * BLOCK_BYTES);
			memcpy(tail[2], p2, blocks % 4 * BLOCK_BYTES);
			memcpy(tail[3], p3, blocks % 4 * BLOCK_BYTES);
			acc = one_step(acc, tail[0], tail[1], tail[2], tail[3], g);
		}
		_mm_storeu_ps(o, sum_chains(acc));
		for (size_t i = 0; i < 4 && r + i * quarter < n; i++) {
			const size_t row = r + i * quarter;

			mm->y[row] = mm->bias ? o[i] + mm->bias[mm->row0 + row] : o[i];
		}
	}
}

#endif
