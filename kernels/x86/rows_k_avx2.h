/* SPDX-License-Identifier: MIT */
/*
 * Rows of the super-block types on AVX2, unpacked. A lane is a row: the packed dwords of
 * eight rows are transposed and then unpacked for all of them at once, so no sum over
 * columns needs a horizontal step.
 *
 * What multiplies them: vpmaddubsw sums two products of an unsigned weight and a signed
 * activation in 16 bits (the traits say how many such sums still fit there), vpmaddwd brings
 * in the scale. An offset of the weights is taken off like a minimum: scales times sums of
 * activations. With VNNI a product of 32 bits brings in the scale.
 */
#ifndef LINNET_KERNELS_X86_ROWS_K_AVX2_H
#define LINNET_KERNELS_X86_ROWS_K_AVX2_H

#include "kernels/blocks.h"
#include "kernels/x86/k_avx2.h"
#include "kernels/x86/simd.h"
#include "kernels/x86/transpose_avx2.h"
#include "kernels/x86/vnni.h"

#include <immintrin.h>
#include <stdbool.h>
#include <string.h>

struct rows {
	const uint8_t *p[8];	/* the super-block in each row */
	size_t block_bytes;
	const uint8_t *ahead;	/* what the L2 cache is to get next */
	size_t step;		/* bytes that ahead moves per 128 bytes read: 128 or 0 */
};

/* All but the weights, as pairs of int16; what a type does not have is not written. */
struct head {
	__m256i scale[16];	/* of group j, twice; of groups 2j and 2j + 1 where sub is 32 */
	__m256i min[8];		/* of neighbours; the scales of types with an offset */
	__m256 d, dmin;
};

/* Weights of group j: w[i] has elements 16j + 4i .. + 3 */
typedef void put_fn(void *ctx, int j, const __m256i w[4]);

ALWAYS_INLINE __m256i load_lanes(const uint8_t *p0, const uint8_t *p1)
{
	return _mm256_inserti128_si256(
		_mm256_castsi128_si256(_mm_loadu_si128((const void *)p0)),
		_mm_loadu_si128((const void *)p1), 1);
}

/*
 * out[i]: dword i of the 16 bytes at an offset, of all rows. Prefetches as much as it
 * reads: of the rows after these into L2, of the next super-block of two rows into L1
 * (calls for the same cache line come in fours).
 */
ALWAYS_INLINE void read16(__m256i out[4], struct rows *r, int offset)
{
	__m256i in[4];

	for (int i = 0; i < 4; i++)
		in[i] = load_lanes(r->p[i] + offset, r->p[i + 4] + offset);
	for (int i = 0; i < 2; i++) {
		prefetch_t1(r->ahead + 64 * i);
		prefetch_t0(r->p[offset / 16 % 4 * 2 + i] + offset + r->block_bytes);
	}
	r->ahead += r->step;
	transpose_lanes(out, in);
}

/* Low and high halves of dwords, as floats */
ALWAYS_INLINE __m256 low_half(__m256i x)
{
	x = _mm256_and_si256(x, _mm256_set1_epi32(0xffff));
	x = _mm256_permute4x64_epi64(_mm256_packus_epi32(x, x), 0x08);
	return _mm256_cvtph_ps(_mm256_castsi256_si128(x));
}

ALWAYS_INLINE __m256 high_half(__m256i x)
{
	return low_half(_mm256_srli_epi32(x, 16));
}

ALWAYS_INLINE __m256i and8(__m256i x, int mask)
{
	return _mm256_and_si256(x, _mm256_set1_epi8((char)mask));
}

/* Bits [from, from + n) of bytes to [to, to + n), the rest 0 */
ALWAYS_INLINE __m256i move_bits(__m256i x, int from, int to, int n)
{
	x = from > to ? _mm256_srli_epi32(x, from - to) : _mm256_slli_epi32(x, to - from);
	return and8(x, ((1 << n) - 1) << to);
}

/* Bytes b0 and b1 of each dword as a pair of int16 */
ALWAYS_INLINE __m256i pair_of(__m256i x, int b0, int b1)
{
	int32_t pick = (int32_t)(0x00800080u | (uint32_t)b0 << 8 | (uint32_t)b1 << 24);
	__m256i first = _mm256_setr_epi32(0, 0x04000400, 0x08000800, 0x0c000c00,
					  0, 0x04000400, 0x08000800, 0x0c000c00);

	x = _mm256_shuffle_epi8(x, _mm256_add_epi8(first, _mm256_set1_epi32(pick)));
	return _mm256_srai_epi16(x, 8);
}

/* Four bytes of scales, minima */
ALWAYS_INLINE void spread_scales(__m256i scale[4], __m256i x)
{
	for (int b = 0; b < 4; b++)
		scale[b] = pair_of(x, b, b);
}

ALWAYS_INLINE void spread_mins(__m256i min[2], __m256i x)
{
	min[0] = pair_of(x, 0, 1);
	min[1] = pair_of(x, 2, 3);
}

/* Q4_K and Q5_K */
ALWAYS_INLINE void head6(struct head *h, struct rows *r)
{
	__m256i x[4];

	read16(x, r, 0);
	h->d = low_half(x[0]);
	h->dmin = high_half(x[0]);
	spread_scales(h->scale, and8(x[1], 63));
	spread_scales(h->scale + 4, _mm256_or_si256(and8(x[3], 15), move_bits(x[1], 6, 4, 2)));
	spread_mins(h->min, and8(x[2], 63));
	spread_mins(h->min + 2,
		    _mm256_or_si256(move_bits(x[3], 4, 0, 4), move_bits(x[2], 6, 4, 2)));
}

ALWAYS_INLINE void head_q4_k(struct head *h, struct rows *r)
{
	head6(h, r);
}

ALWAYS_INLINE void weights_q4_k(struct rows *r, put_fn *put, void *ctx)
{
	UNROLL
	for (int c = 0; c < 8; c++) {
		__m256i x[4], low[4], high[4];

		read16(x, r, 16 + 16 * c);
		for (int i = 0; i < 4; i++) {
			low[i] = and8(x[i], 15);
			high[i] = move_bits(x[i], 4, 0, 4);
		}
		put(ctx, c / 2 * 4 + c % 2, low);
		put(ctx, c / 2 * 4 + c % 2 + 2, high);
	}
}

ALWAYS_INLINE void head_q5_k(struct head *h, struct rows *r)
{
	head6(h, r);
}

ALWAYS_INLINE void weights_q5_k(struct rows *r, put_fn *put, void *ctx)
{
	__m256i fifth[2][4];

	read16(fifth[0], r, 16);
	read16(fifth[1], r, 32);
	UNROLL
	for (int c = 0; c < 8; c++) {
		__m256i x[4], low[4], high[4];

		read16(x, r, 48 + 16 * c);
		for (int i = 0; i < 4; i++) {
			__m256i f = fifth[c % 2][i];

			low[i] = _mm256_or_si256(and8(x[i], 15), move_bits(f, c / 2 * 2, 4, 1));
			high[i] = _mm256_or_si256(move_bits(x[i], 4, 0, 4),
						  move_bits(f, c / 2 * 2 + 1, 4, 1));
		}
		put(ctx, c / 2 * 4 + c % 2, low);
		put(ctx, c / 2 * 4 + c % 2 + 2, high);
	}
}

ALWAYS_INLINE void head_q6_k(struct head *h, struct rows *r)
{
	__m256i x[4];

	read16(x, r, 192);
	for (int i = 0; i < 4; i++) {
		spread_scales(h->scale + 4 * i, x[i]);
		spread_mins(h->min + 2 * i, x[i]);
	}
	read16(x, r, 194);	/* the block's last 16 bytes end in d */
	h->d = high_half(x[3]);
}

ALWAYS_INLINE void weights_q6_k(struct rows *r, put_fn *put, void *ctx)
{
	UNROLL
	for (int h = 0; h < 2; h++) {
		__m256i top[2][4];

		read16(top[0], r, 128 + 32 * h);
		read16(top[1], r, 144 + 32 * h);
		UNROLL
		for (int c = 0; c < 4; c++) {
			__m256i x[4], low[4], high[4];

			read16(x, r, 64 * h + 16 * c);
			for (int i = 0; i < 4; i++) {
				__m256i f = top[c % 2][i];

				low[i] = _mm256_or_si256(and8(x[i], 15),
							 move_bits(f, c / 2 * 2, 4, 2));
				high[i] = _mm256_or_si256(move_bits(x[i], 4, 0, 4),
							  move_bits(f, c / 2 * 2 + 4, 4, 2));
			}
			put(ctx, 8 * h + c, low);
			put(ctx, 8 * h + c + 4, high);
		}
	}
}

ALWAYS_INLINE void head_iq4_xs(struct head *h, struct rows *r)
{
	__m256i x[4];

	read16(x, r, 0);
	h->d = low_half(x[0]);
	UNROLL
	for (int j = 0; j < 8; j++) {
		__m256i low = _mm256_and_si256(_mm256_srli_epi32(x[1], 4 * j),
					       _mm256_set1_epi32(15));
		__m256i high = _mm256_and_si256(_mm256_srli_epi32(x[0], 12 + 2 * j),
						_mm256_set1_epi32(0x30));
		__m256i s = _mm256_or_si256(low, high);

		s = _mm256_or_si256(s, _mm256_slli_epi32(s, 16));
		h->scale[j] = _mm256_sub_epi16(s, _mm256_set1_epi16(32));
	}
	for (int i = 0; i < 4; i++)
		h->min[i] = _mm256_blend_epi16(h->scale[2 * i], h->scale[2 * i + 1], 0xaa);
}

ALWAYS_INLINE void weights_iq4_xs(struct rows *r, put_fn *put, void *ctx)
{
	const __m128i table = _mm_loadu_si128((const void *)linnet_iq4_values);
	const __m256i values = _mm256_broadcastsi128_si256(
		_mm_xor_si128(table, _mm_set1_epi8(LINNET_VNNI ? -128 : 0)));

	UNROLL
	for (int j = 0; j < 8; j++) {
		__m256i x[4], low[4], high[4];

		read16(x, r, 8 + 16 * j);
		for (int i = 0; i < 4; i++) {
			low[i] = _mm256_shuffle_epi8(values, and8(x[i], 15));
			high[i] = _mm256_shuffle_epi8(values, move_bits(x[i], 4, 0, 4));
		}
		put(ctx, 2 * j, low);
		put(ctx, 2 * j + 1, high);
	}
}

ALWAYS_INLINE void head_q2_k(struct head *h, struct rows *r)
{
	__m256i x[4], tail[4];

	read16(x, r, 0);
	read16(tail, r, 68);		/* the block's last 16 bytes end in d, dmin */
	h->d = low_half(tail[3]);
	h->dmin = high_half(tail[3]);
	for (int i = 0; i < 4; i++) {
		spread_scales(h->scale + 4 * i, and8(x[i], 15));
		spread_mins(h->min + 2 * i, move_bits(x[i], 4, 0, 4));
	}
}

ALWAYS_INLINE void weights_q2_k(struct rows *r, put_fn *put, void *ctx)
{
	UNROLL
	for (int c = 0; c < 4; c++) {
		__m256i x[4];

		read16(x, r, 16 + 16 * c);
		UNROLL
		for (int k = 0; k < 4; k++) {
			__m256i w[4];

			for (int i = 0; i < 4; i++)
				w[i] = move_bits(x[i], 2 * k, 0, 2);
			put(ctx, c / 2 * 8 + 2 * k + c % 2, w);
		}
	}
}

ALWAYS_INLINE void head_q3_k(struct head *h, struct rows *r)
{
	__m256i x[4], s[3], scales[4];

	read16(x, r, 94);		/* the block's last 16 bytes end in scales, d */
	h->d = high_half(x[3]);
	for (int i = 0; i < 3; i++)
		s[i] = _mm256_or_si256(_mm256_srli_epi32(x[i], 16),
				       _mm256_slli_epi32(x[i + 1], 16));
	scales[0] = _mm256_or_si256(and8(s[0], 15), move_bits(s[2], 0, 4, 2));
	scales[1] = _mm256_or_si256(and8(s[1], 15), move_bits(s[2], 2, 4, 2));
	scales[2] = _mm256_or_si256(move_bits(s[0], 4, 0, 4), and8(s[2], 0x30));
	scales[3] = _mm256_or_si256(move_bits(s[1], 4, 0, 4), move_bits(s[2], 6, 4, 2));
	for (int i = 0; i < 4; i++) {
		__m256i f = _mm256_sub_epi8(scales[i], _mm256_set1_epi8(32));

		spread_scales(h->scale + 4 * i, f);
		spread_mins(h->min + 2 * i, f);
	}
}

ALWAYS_INLINE void weights_q3_k(struct rows *r, put_fn *put, void *ctx)
{
	__m256i third[2][4];

	read16(third[0], r, 0);
	read16(third[1], r, 16);
	UNROLL
	for (int c = 0; c < 4; c++) {
		__m256i x[4];

		read16(x, r, 32 + 16 * c);
		UNROLL
		for (int k = 0; k < 4; k++) {
			__m256i w[4];

			for (int i = 0; i < 4; i++)
				w[i] = _mm256_or_si256(
					move_bits(x[i], 2 * k, 0, 2),
					move_bits(third[c % 2][i], c / 2 * 4 + k, 2, 1));
			put(ctx, c / 2 * 8 + 2 * k + c % 2, w);
		}
	}
}

/* What a type's integers are. */
struct traits {
	int sub;		/* elements of a sub-block: 16 or 32 */
	int fit;		/* sums of two products that fit 16 bits: 1, 2 or 4 */
	int offset;		/* weights plus this are the integers */
	bool has_min;
	bool is_signed;		/* weights are int8 */
};

static const struct traits traits_q2_k = { .sub = 16, .fit = 4, .has_min = true };
static const struct traits traits_q3_k = { .sub = 16, .fit = 4, .offset = -4 };
static const struct traits traits_q4_k = { .sub = 32, .fit = 4, .has_min = true };
static const struct traits traits_q5_k = { .sub = 32, .fit = 4, .has_min = true };
static const struct traits traits_q6_k = { .sub = 16, .fit = 2, .offset = -32 };
#if LINNET_VNNI
static const struct traits traits_iq4_xs = { .sub = 32, .offset = -128 };
#else
static const struct traits traits_iq4_xs = { .sub = 32, .fit = 1, .is_signed = true };
#endif

/* Minima, or scales, times the sums of activations; stride vectors are between minima. */
ALWAYS_INLINE __m256i min_sum(const __m256i *min, const int stride, const struct linnet_act256 *a,
			      const int sub)
{
	const int16_t *sums = sub == 16 ? a->sum16 : a->sum32;
	__m256i msum = _mm256_setzero_si256();

	UNROLL
	for (int i = 0; i < 128 / sub; i++) {
		int32_t two;

		memcpy(&two, sums + 2 * i, sizeof(two));
		msum = _mm256_add_epi32(msum, _mm256_madd_epi16(min[i * stride],
								_mm256_set1_epi32(two)));
	}
	return msum;
}

/* The contract's step of a chain: d and d_a are factors, isum has its offset applied. */
ALWAYS_INLINE __m256 chain(__m256 acc, __m256 d, float d_a, __m256i isum)
{
	return _mm256_fmadd_ps(_mm256_mul_ps(d, _mm256_set1_ps(d_a)), _mm256_cvtepi32_ps(isum),
			       acc);
}

ALWAYS_INLINE __m256 chain_min(__m256 acc, __m256 d, __m256 dmin, float d_a, __m256i isum,
			       __m256i msum)
{
	const __m256 a = _mm256_set1_ps(d_a);

	return _mm256_add_ps(acc, _mm256_fmsub_ps(_mm256_mul_ps(d, a), _mm256_cvtepi32_ps(isum),
						  _mm256_mul_ps(_mm256_mul_ps(dmin, a),
								_mm256_cvtepi32_ps(msum))));
}

typedef void head_fn(struct head *h, struct rows *r);
typedef void weights_fn(struct rows *r, put_fn *put, void *ctx);

/* Eight rows from row on, fewer at the end: the last one again, for nothing */
ALWAYS_INLINE void rows_start(struct rows *r, const struct linnet_matmul *mm, size_t row,
			      size_t block_bytes)
{
	const size_t last = mm->row1 - 1;

	for (size_t i = 0; i < 8; i++)
		r->p[i] = (const uint8_t *)mm->w + (row + i < last ? row + i : last) * mm->row_bytes;
	r->block_bytes = block_bytes;
}

ALWAYS_INLINE void rows_next(struct rows *r)
{
	for (int i = 0; i < 8; i++)
		r->p[i] += r->block_bytes;
}

/* All ones in the lanes of the rows from row on that there are */
ALWAYS_INLINE __m256i rows_mask(const struct linnet_matmul *mm, size_t row)
{
	const size_t n = row < mm->row1 ? mm->row1 - row : 0;

	return _mm256_cmpgt_epi32(_mm256_set1_epi32(n < 8 ? (int)n : 8),
				  _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

/* The first n_rows were not prefetched by anybody. */
ALWAYS_INLINE void prefetch_first(const struct linnet_matmul *mm, size_t n_rows)
{
	const size_t n = mm->row1 - mm->row0 < n_rows ? mm->row1 - mm->row0 : n_rows;
	const uint8_t *p = (const uint8_t *)mm->w + mm->row0 * mm->row_bytes;

	for (size_t i = 0; i < n * mm->row_bytes; i += 64)
		prefetch_t1(p + i);
}

#endif
