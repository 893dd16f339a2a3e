/* SPDX-License-Identifier: MIT */
/*
 * What products of the super-block types with a single token share on AVX2: the walk through a
 * matrix. Its steps take super-blocks of four rows that are a quarter of the range apart: four
 * long streams are what memory likes most, and processors prefetch them by themselves.
 */
#ifndef LINNET_KERNELS_X86_ONE_K_AVX2_H
#define LINNET_KERNELS_X86_ONE_K_AVX2_H

#include "kernels/blocks.h"
#include "kernels/x86/k_avx2.h"
#include "kernels/x86/simd.h"
#include "kernels/x86/vnni.h"

#include <immintrin.h>
#include <stdbool.h>
#include <string.h>

#define SKEW	3	/* rows; keeps the streams off the same cache sets */

/* Loaded once: gcc would make it an operand in memory of each of its users. */
#define KEEP(v)	__asm__("" : "+x"(v))

ALWAYS_INLINE __m256i load32(const void *p)
{
	return _mm256_loadu_si256(p);
}

/* sum + products of int16 */
ALWAYS_INLINE __m256i add_products(__m256i sum, __m256i x, __m256i y)
{
#if LINNET_VNNI
	return VNNI_DPWSSD(sum, x, y);
#else
	return _mm256_add_epi32(sum, _mm256_madd_epi16(x, y));
#endif
}

/* What a type takes to be walked through */
struct one_walk {
	size_t bytes;		/* of a super-block */
	size_t act_bytes;	/* of a super-block of a token */
	size_t at_once;		/* super-blocks of a step */
	int tokens;		/* few, if not one */
	void (*pack)(void *act, const struct linnet_act256 *from);
	/* acc[t] + n super-blocks of the rows from p[] on, for as many tokens */
	void (*step)(__m128 acc[], const uint8_t *const p[4], const void *act, size_t n,
		     int tokens);
};

ALWAYS_INLINE void walk(const struct linnet_matmul *mm, struct one_walk k)
{
	const size_t rows = mm->row1 - mm->row0, blocks = mm->act->n_cols / 256;
	const size_t quarter = (rows + 3) / 4 + (rows >= 64 ? SKEW : 0);
	const size_t act_bytes = k.act_bytes * (size_t)k.tokens, rest = blocks % k.at_once;
	const uint8_t *w = (const uint8_t *)mm->w + mm->row0 * mm->row_bytes;
	const struct linnet_act256 *from = mm->act->buf;
	char *act = mm->scratch;

	for (size_t b = 0; b < blocks * (size_t)k.tokens; b++)
		k.pack(act + b * k.act_bytes, from + b);
	for (size_t r = 0; r < quarter && r < rows; r++) {
		const char *a = act;
		const uint8_t *p[4];
		__m128 acc[LINNET_Q256_FEW];

		for (int t = 0; t < k.tokens; t++)
			acc[t] = _mm_setzero_ps();
		p[0] = w + r * mm->row_bytes;
		for (size_t i = 1; i < 4; i++)	/* the last one again, for nothing */
			p[i] = p[i - 1] + (r + i * quarter < rows ? quarter * mm->row_bytes : 0);
		for (size_t b = 0; b < blocks / k.at_once; b++) {
			/* keeps gcc from gathering pointers in vectors */
			__asm__("" : "+r"(p[0]), "+r"(p[1]), "+r"(p[2]), "+r"(p[3]));
			k.step(acc, p, a, k.at_once, k.tokens);
			a += k.at_once * act_bytes;
			for (int i = 0; i < 4; i++)
				p[i] += k.at_once * k.bytes;
		}
		if (rest)
			k.step(acc, p, a, rest, k.tokens);
		for (int t = 0; t < k.tokens; t++) {
			float *y = mm->y + (size_t)t * mm->ldy, o[4];

			_mm_storeu_ps(o, acc[t]);
			for (size_t i = 0; i < 4 && r + i * quarter < rows; i++) {
				const size_t row = r + i * quarter;

				y[row] = mm->bias ? o[i] + mm->bias[mm->row0 + row] : o[i];
			}
		}
	}
}

#endif
