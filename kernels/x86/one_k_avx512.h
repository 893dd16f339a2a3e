/* SPDX-License-Identifier: MIT */
/*
 * What products of the super-block types with a single token share on AVX-512: the walk through
 * a matrix, four super-blocks at a time of rows that are a quarter of the range apart, for four
 * long streams are what memory likes most; and what is done once for a super-block and not for
 * its elements, for 16 of them at once: lane b is super-block b, dword r is stream r.
 */
#ifndef LINNET_KERNELS_X86_ONE_K_AVX512_H
#define LINNET_KERNELS_X86_ONE_K_AVX512_H

#include "kernels/x86/rows_k_avx512.h"

#define SKEW	3	/* rows; keeps the streams off the same cache sets */

/* Into the second cache well ahead, and from there on into the first */
#define FAR	8192
#define NEAR	1024

/* Once: gcc would make it an operand in memory of each user, and most cross a line. */
ALWAYS_INLINE __m512i load512(const void *p)
{
	__m512i x = _mm512_loadu_si512(p);

	__asm__("" : "+v"(x));
	return x;
}

/*
 * The last four bytes of the first n super-blocks of four streams, through memory: the shuffles
 * that would find them are what is scarce, and when they are loaded they have long been stored.
 */
ALWAYS_INLINE void store_tails(uint32_t tails[16], const uint8_t *const p[4], size_t bytes,
			       size_t n)
{
	for (size_t i = 0; i < 16; i++) {	/* the last one again, for nothing */
		const size_t b = i / 4 < n ? i / 4 : n - 1;
		uint32_t x;

		memcpy(&x, p[i % 4] + b * bytes + bytes - sizeof(x), sizeof(x));
		__asm__("" : "+r"(x));
		tails[i] = x;
	}
}

/* x | (bits & mask) */
ALWAYS_INLINE __m512i or_masked(__m512i x, __m512i bits, int mask)
{
	return _mm512_ternarylogic_epi64(x, bits, _mm512_set1_epi8((char)mask), 0xf8);
}

/* (x & mask) | bits */
ALWAYS_INLINE __m512i masked_or(__m512i x, int mask, __m512i bits)
{
	return _mm512_ternarylogic_epi64(bits, x, _mm512_set1_epi8((char)mask), 0xf8);
}

/* Matrices that move n bits: another move in each half of the register */
#define MATRIX1(from, to)	(1ull << (from) << (8 * (7 - (to))))
#define MATRIX2(from, to)	(MATRIX1(from, to) | MATRIX1((from) + 1, (to) + 1))

ALWAYS_INLINE __m512i move_in_halves(__m512i x, uint64_t low, uint64_t high)
{
	const __m512i m = _mm512_inserti64x4(_mm512_set1_epi64((int64_t)low),
					     _mm256_set1_epi64x((int64_t)high), 1);

	return _mm512_gf2p8affine_epi64_epi8(x, m, 0);
}

/* Dword r of lane b: the sum of dwords r of the lanes of x[b] */
ALWAYS_INLINE __m512i sum_of_lanes(const __m512i x[4])
{
	const __m512i a = _mm512_add_epi32(_mm512_shuffle_i32x4(x[0], x[1], 0x44),
					   _mm512_shuffle_i32x4(x[0], x[1], 0xee));
	const __m512i b = _mm512_add_epi32(_mm512_shuffle_i32x4(x[2], x[3], 0x44),
					   _mm512_shuffle_i32x4(x[2], x[3], 0xee));

	return _mm512_add_epi32(_mm512_shuffle_i32x4(a, b, 0x88), _mm512_shuffle_i32x4(a, b, 0xdd));
}

/* Lines of four super-blocks of a stream, a part of them at a time */
ALWAYS_INLINE void prefetch_part(const uint8_t *p, size_t bytes, size_t b)
{
	const size_t lines = (4 * bytes + 63) / 64;

	UNROLL
	for (size_t i = 0; i < (lines + 3) / 4; i++) {
		const size_t line = b + 4 * i;

		if (line < lines) {
			prefetch_t1(p + FAR + 64 * line);
			prefetch_t0(p + NEAR + 64 * line);
		}
	}
}

/* What a type takes to be walked through */
struct one_walk {
	size_t bytes;		/* of a super-block */
	size_t act_bytes;	/* of four super-blocks of the token */
	/* super-block b of the four at act */
	void (*pack)(void *act, size_t b, const struct linnet_act256 *from);
	/* acc + n super-blocks, at most four, of the rows from p[] on */
	__m128 (*step)(__m128 acc, const uint8_t *const p[4], const void *act, size_t n);
};

/* acc + n super-blocks whose sums these are; minima are none, or lessen what scales give */
ALWAYS_INLINE __m128 add_blocks(__m128 acc, size_t n, __m512 d, __m512i isum, bool has_min,
				__m512 dmin, __m512i msum, __m512 d_act)
{
	float o[16] __attribute__((aligned(64))), scale[16] __attribute__((aligned(64)));
	__m512 sum = _mm512_cvtepi32_ps(isum);

	d = _mm512_mul_ps(d, d_act);
	if (has_min)
		sum = _mm512_fmsub_ps(d, sum, _mm512_mul_ps(_mm512_mul_ps(dmin, d_act),
							    _mm512_cvtepi32_ps(msum)));
	_mm512_store_ps(o, sum);
	if (!has_min)
		_mm512_store_ps(scale, d);
	for (size_t b = 0; b < n; b++)
		acc = has_min ? _mm_add_ps(acc, _mm_load_ps(o + 4 * b)) :
				_mm_fmadd_ps(_mm_load_ps(scale + 4 * b), _mm_load_ps(o + 4 * b), acc);
	return acc;
}

ALWAYS_INLINE void walk(const struct linnet_matmul *mm, struct one_walk t)
{
	const size_t n = mm->row1 - mm->row0, blocks = mm->act->n_cols / 256;
	const size_t quarter = (n + 3) / 4 + (n >= 64 ? SKEW : 0);
	const uint8_t *w = (const uint8_t *)mm->w + mm->row0 * mm->row_bytes;
	const struct linnet_act256 *from = mm->act->buf;
	char *act = mm->scratch;

	for (size_t b = 0; b < blocks; b++)
		t.pack(act + b / 4 * t.act_bytes, b % 4, from + b);
	for (size_t r = 0; r < quarter && r < n; r++) {
		const char *a = act;
		const uint8_t *p[4];
		__m128 acc = _mm_setzero_ps();
		float o[4];

		p[0] = w + r * mm->row_bytes;
		for (size_t i = 1; i < 4; i++)	/* the last one again, for nothing */
			p[i] = p[i - 1] + (r + i * quarter < n ? quarter * mm->row_bytes : 0);
		for (size_t b = 0; b < blocks / 4; b++) {
			/* keeps gcc from gathering pointers in vectors */
			__asm__("" : "+r"(p[0]), "+r"(p[1]), "+r"(p[2]), "+r"(p[3]));
			acc = t.step(acc, p, a, 4);
			a += t.act_bytes;
			for (int i = 0; i < 4; i++)
				p[i] += 4 * t.bytes;
		}
		if (blocks % 4)
			acc = t.step(acc, p, a, blocks % 4);
		_mm_storeu_ps(o, acc);
		for (size_t i = 0; i < 4 && r + i * quarter < n; i++) {
			const size_t row = r + i * quarter;

			mm->y[row] = mm->bias ? o[i] + mm->bias[mm->row0 + row] : o[i];
		}
	}
}

#endif
