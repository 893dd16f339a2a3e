/* SPDX-License-Identifier: MIT */
/*
 * One super-block of 16 rows, unpacked with a row per lane: raw dwords are transposed
 * first, so whatever a type packs into bits is undone for 16 rows at once and the sums
 * of a row need no horizontal step.
 *
 * Weights come as unsigned bytes, a quarter of the super-block at a time and in the order
 * that the type stores them: four groups of 16, each four vectors. The caller's put()
 * takes them. What must be added to get the type's integers is named at each unpacker.
 */
#ifndef LINNET_KERNELS_X86_ROWS_K_AVX512_H
#define LINNET_KERNELS_X86_ROWS_K_AVX512_H

#include "kernels/blocks.h"
#include "kernels/x86/k_avx512.h"
#include "kernels/x86/simd.h"
#include "kernels/x86/transpose_avx512.h"

#include <immintrin.h>
#include <stdbool.h>
#include <string.h>

struct rows {
	const uint8_t *p[16];	/* the super-block in each row */
	size_t block_bytes;
	const uint8_t *ahead;	/* what the L2 cache is to get next */
	size_t step;		/* bytes that ahead moves per 256 bytes read: 256 or 0 */
};

/* All but the weights; what a type does not have is not written. */
struct head {
	__m512i scale[16];	/* of the sub-blocks; Q2_K, Q3_K: see there */
	__m512i min[8];		/* int16 pairs of neighbours */
	__m512 d, dmin;
};

/* Which groups of a super-block a quarter of it is. */
enum group_order {
	GROUPS_IN_ORDER,	/* neighbours in the type's order */
	GROUPS_BY_NIBBLE,	/* Q6_K: two of the low nibbles, two of the high ones */
	GROUPS_BY_BITS,		/* Q2_K and Q3_K: one of each two bits */
};

/* Group g of quarter s. */
ALWAYS_INLINE int group_of(enum group_order order, int s, int g)
{
	switch (order) {
	case GROUPS_BY_NIBBLE:
		return s / 2 * 8 + s % 2 * 2 + g / 2 * 4 + g % 2;
	case GROUPS_BY_BITS:
		return s / 2 * 8 + s % 2 + 2 * g;
	default:
		return 4 * s + g;
	}
}

/* Weights of quarter s: w[g][i] has elements 4i..4i + 3 of its group g. */
typedef void put_fn(void *ctx, int s, enum group_order order, __m512i w[4][4]);

ALWAYS_INLINE __m512i load_lanes(const uint8_t *p0, const uint8_t *p1, const uint8_t *p2,
				 const uint8_t *p3)
{
	__m512i x = _mm512_castsi128_si512(_mm_loadu_si128((const void *)p0));

	x = _mm512_inserti32x4(x, _mm_loadu_si128((const void *)p1), 1);
	x = _mm512_inserti32x4(x, _mm_loadu_si128((const void *)p2), 2);
	return _mm512_inserti32x4(x, _mm_loadu_si128((const void *)p3), 3);
}

ALWAYS_INLINE __m512i load_halves(const uint8_t *p0, const uint8_t *p1)
{
	return _mm512_inserti64x4(
		_mm512_castsi256_si512(_mm256_loadu_si256((const void *)p0)),
		_mm256_loadu_si256((const void *)p1), 1);
}

/*
 * out[i]: dword i of the 16 bytes at an offset, of all rows.
 *
 * Sixteen streams side by side are more than hardware prefetchers follow. So each call
 * also moves one stream through the rows after these into L2, as many bytes as it reads,
 * and gets what it reads now of the next super-block into L1: of four rows, for calls
 * for the same cache line come in fours.
 */
ALWAYS_INLINE void read16(__m512i out[4], struct rows *r, int offset)
{
	__m512i in[4];

	for (int i = 0; i < 4; i++) {
		in[i] = load_lanes(r->p[i] + offset, r->p[i + 4] + offset, r->p[i + 8] + offset,
				   r->p[i + 12] + offset);
		prefetch_t1(r->ahead + 64 * i);
		prefetch_t0(r->p[offset / 16 % 4 * 4 + i] + offset + r->block_bytes);
	}
	r->ahead += r->step;
	transpose_lanes(out, in);
}

/*
 * out[c][i]: dword i of bytes 16c..16c + 15 of the 32 at an offset, of all rows. Two thirds
 * of the shuffles of two read16(); but where long blocks leave time for these, prefetches
 * that are spread more evenly are of more use.
 */
ALWAYS_INLINE void read32(__m512i out[2][4], struct rows *r, int offset)
{
	__m512i part[2][4];

	UNROLL
	for (int h = 0; h < 2; h++) {
		__m512i in[4];

		for (int i = 0; i < 4; i++) {
			in[i] = load_halves(r->p[8 * h + i] + offset, r->p[8 * h + i + 4] + offset);
			prefetch_t1(r->ahead + 64 * (4 * h + i));
			prefetch_t0(r->p[offset / 32 % 2 * 8 + 4 * h + i] + offset +
				    r->block_bytes);
		}
		transpose_lanes(part[h], in);
	}
	r->ahead += 2 * r->step;
	for (int i = 0; i < 4; i++) {
		out[0][i] = _mm512_shuffle_i32x4(part[0][i], part[1][i], 0x88);
		out[1][i] = _mm512_shuffle_i32x4(part[0][i], part[1][i], 0xdd);
	}
}

/* Low and high halves of dwords, as floats */
ALWAYS_INLINE __m512 low_half(__m512i x)
{
	return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(x));
}

ALWAYS_INLINE __m512 high_half(__m512i x)
{
	return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32(x, 16)));
}

ALWAYS_INLINE __m512i and8(__m512i x, int mask)
{
	return _mm512_and_si512(x, _mm512_set1_epi8((char)mask));
}

/* x >> n & mask of bytes, for masks that keep no bit of a neighbour */
ALWAYS_INLINE __m512i shift_and8(__m512i x, int n, int mask)
{
	return and8(_mm512_srli_epi32(x, (unsigned int)n), mask);
}

/* Bits [from, from + n) of bytes to [to, to + n), the rest 0 */
ALWAYS_INLINE __m512i move_bits(__m512i x, int from, int to, int n)
{
	uint64_t matrix = 0;

	for (int i = 0; i < n; i++)
		matrix |= 1ull << (from + i) << (8 * (7 - to - i));
	return _mm512_gf2p8affine_epi64_epi8(x, _mm512_set1_epi64((int64_t)matrix), 0);
}

/* The low and the high nibbles of x, with bits on top of them */
ALWAYS_INLINE __m512i low_with(__m512i x, __m512i bits)
{
	return _mm512_ternarylogic_epi64(bits, x, _mm512_set1_epi8(15), 0xf8);
}

ALWAYS_INLINE __m512i high_with(__m512i x, __m512i bits)
{
	return low_with(_mm512_srli_epi32(x, 4), bits);
}

/* Byte b of each dword, zero-extended */
ALWAYS_INLINE __m512i byte_of(__m512i x, int b)
{
	return _mm512_and_si512(_mm512_srli_epi32(x, 8 * (unsigned int)b), _mm512_set1_epi32(255));
}

/* ... sign-extended */
ALWAYS_INLINE __m512i signed_byte_of(__m512i x, int b)
{
	return _mm512_srai_epi32(_mm512_slli_epi32(x, 24 - 8 * (unsigned int)b), 24);
}

/* ... in all four bytes */
ALWAYS_INLINE __m512i spread_byte_of(__m512i x, int b)
{
	const __m128i first = _mm_setr_epi8(0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12);

	return _mm512_shuffle_epi8(x, _mm512_broadcast_i32x4(
		_mm_add_epi8(first, _mm_set1_epi8((char)b))));
}

/* Bytes of four minima into two pairs */
ALWAYS_INLINE void widen_mins(__m512i pair[2], __m512i x)
{
	const __m128i first = _mm_setr_epi8(0, -1, 1, -1, 4, -1, 5, -1, 8, -1, 9, -1, 12, -1, 13,
					    -1);
	const __m128i second = _mm_setr_epi8(2, -1, 3, -1, 6, -1, 7, -1, 10, -1, 11, -1, 14, -1,
					     15, -1);

	pair[0] = _mm512_shuffle_epi8(x, _mm512_broadcast_i32x4(first));
	pair[1] = _mm512_shuffle_epi8(x, _mm512_broadcast_i32x4(second));
}

/* Q4_K and Q5_K */
ALWAYS_INLINE void head6(struct head *h, struct rows *r)
{
	__m512i x[4], scale[2], min[2];

	read16(x, r, 0);
	h->d = low_half(x[0]);
	h->dmin = high_half(x[0]);
	scale[0] = and8(x[1], 63);
	min[0] = and8(x[2], 63);
	scale[1] = _mm512_or_si512(and8(x[3], 15), shift_and8(x[1], 2, 0x30));
	min[1] = _mm512_or_si512(shift_and8(x[3], 4, 15), shift_and8(x[2], 2, 0x30));
	UNROLL
	for (int j = 0; j < 8; j++)
		h->scale[j] = byte_of(scale[j / 4], j % 4);
	for (int i = 0; i < 2; i++)
		widen_mins(h->min + 2 * i, min[i]);
}

/* Nothing to add */
ALWAYS_INLINE void head_q4_k(struct head *h, struct rows *r)
{
	head6(h, r);
}

ALWAYS_INLINE void weights_q4_k(struct rows *r, put_fn *put, void *ctx)
{
	UNROLL
	for (int s = 0; s < 4; s++) {
		__m512i x[2][4], w[4][4];

		read32(x, r, 16 + 32 * s);
		for (int c = 0; c < 2; c++)
			for (int i = 0; i < 4; i++) {
				w[c][i] = and8(x[c][i], 15);
				w[c + 2][i] = move_bits(x[c][i], 4, 0, 4);
			}
		put(ctx, s, GROUPS_IN_ORDER, w);
	}
}

/* Nothing to add */
ALWAYS_INLINE void head_q5_k(struct head *h, struct rows *r)
{
	head6(h, r);
}

ALWAYS_INLINE void weights_q5_k(struct rows *r, put_fn *put, void *ctx)
{
	__m512i fifth[2][4];

	read32(fifth, r, 16);
	UNROLL
	for (int s = 0; s < 4; s++) {
		__m512i x[4], w[4][4];

		for (int c = 0; c < 2; c++) {	/* with 32 bytes at once registers run out */
			read16(x, r, 48 + 32 * s + 16 * c);
			for (int i = 0; i < 4; i++) {
				__m512i f = fifth[c][i];

				w[c][i] = low_with(x[i], move_bits(f, 2 * s, 4, 1));
				w[c + 2][i] = high_with(x[i], move_bits(f, 2 * s + 1, 4, 1));
			}
		}
		put(ctx, s, GROUPS_IN_ORDER, w);
	}
}

/* Add -32 */
ALWAYS_INLINE void head_q6_k(struct head *h, struct rows *r)
{
	__m512i x[4];

	read16(x, r, 192);
	UNROLL
	for (int j = 0; j < 16; j++)
		h->scale[j] = signed_byte_of(x[j / 4], j % 4);
	read16(x, r, 194);	/* the block's last 16 bytes end in d */
	h->d = high_half(x[3]);
}

ALWAYS_INLINE void weights_q6_k(struct rows *r, put_fn *put, void *ctx)
{
	UNROLL
	for (int h = 0; h < 2; h++) {
		__m512i top[2][4];

		read16(top[0], r, 128 + 32 * h);
		read16(top[1], r, 144 + 32 * h);
		UNROLL
		for (int s = 0; s < 2; s++) {
			__m512i x[4], w[4][4];

			for (int c = 0; c < 2; c++) {
				read16(x, r, 64 * h + 32 * s + 16 * c);
				for (int i = 0; i < 4; i++) {
					__m512i f = top[c][i];

					w[c][i] = low_with(x[i], move_bits(f, 2 * s, 4, 2));
					w[c + 2][i] = high_with(x[i],
								move_bits(f, 2 * s + 4, 4, 2));
				}
			}
			put(ctx, 2 * h + s, GROUPS_BY_NIBBLE, w);
		}
	}
}

/* Bytes of eight bits each that begin at bit `first` of their dword and `step` further on */
ALWAYS_INLINE __m512i bits_from(__m512i x, int first, int step)
{
	uint64_t at = 0;

	for (int i = 0; i < 8; i++)
		at |= (uint64_t)(i / 4 * 32 + first + i % 4 * step) << (8 * i);
	return _mm512_multishift_epi64_epi8(_mm512_set1_epi64((int64_t)at), x);
}

/* Add -128 */
ALWAYS_INLINE void head_iq4_xs(struct head *h, struct rows *r)
{
	__m512i x[4];

	read16(x, r, 0);
	h->d = low_half(x[0]);
	UNROLL
	for (int i = 0; i < 2; i++) {
		__m512i s = and8(bits_from(x[1], 16 * i, 4), 15);

		/* two bits more from their half, as bits 4 and 5 */
		s = _mm512_ternarylogic_epi64(s, bits_from(x[0], 12 + 8 * i, 2),
					      _mm512_set1_epi8(0x30), 0xf8);
		s = _mm512_sub_epi8(s, _mm512_set1_epi8(32));
		for (int j = 0; j < 4; j++)
			h->scale[4 * i + j] = signed_byte_of(s, j);
	}
}

ALWAYS_INLINE void weights_iq4_xs(struct rows *r, put_fn *put, void *ctx)
{
	/* four times, so that two bits above an index do not matter */
	const __m128i table = _mm_loadu_si128((const void *)linnet_iq4_values);
	const __m512i values = _mm512_broadcast_i32x4(_mm_xor_si128(table, _mm_set1_epi8(-128)));

	UNROLL
	for (int s = 0; s < 4; s++) {
		__m512i x[2][4], w[4][4];

		read32(x, r, 8 + 32 * s);
		for (int c = 0; c < 2; c++)
			for (int i = 0; i < 4; i++) {
				__m512i y = _mm512_srli_epi32(x[c][i], 4);

				w[2 * c][i] = _mm512_permutexvar_epi8(x[c][i], values);
				w[2 * c + 1][i] = _mm512_permutexvar_epi8(y, values);
			}
		put(ctx, s, GROUPS_IN_ORDER, w);
	}
}

/* Q2_K; its scales as bytes too */
ALWAYS_INLINE void head_bytes_q2_k(struct head *h, __m512i scales[4], struct rows *r)
{
	__m512i x[4], tail[4];

	read16(x, r, 0);
	read16(tail, r, 68);		/* the block's last 16 bytes end in d, dmin */
	h->d = low_half(tail[3]);
	h->dmin = high_half(tail[3]);
	for (int i = 0; i < 4; i++) {
		scales[i] = and8(x[i], 15);
		widen_mins(h->min + 2 * i, shift_and8(x[i], 4, 15));
	}
}

/*
 * Bytes b and b + 2 of dwords as pairs of int16, each times 256 in the high byte or as it
 * is in the low one
 */
ALWAYS_INLINE __m512i pair_of(__m512i x, int b, bool high)
{
	const __m128i first = _mm_setr_epi8(0, 0, 2, 2, 4, 4, 6, 6, 8, 8, 10, 10, 12, 12, 14, 14);
	const __m128i zero = _mm_set1_epi16(high ? 0x0080 : (short)0x8000);
	__m128i pick = _mm_or_si128(_mm_add_epi8(first, _mm_set1_epi8((char)b)), zero);

	return _mm512_shuffle_epi8(x, _mm512_broadcast_i32x4(pick));
}

/*
 * Few tokens. Sums of 16 products fit int16 here, so two groups share a multiplication:
 * scale[2s + p] has those of groups 2p and 2p + 1 of quarter s as a pair.
 *
 * Nothing to add. The second of two groups has four times the type's integers, the first
 * one four times the scale.
 */
ALWAYS_INLINE void head_q2_k(struct head *h, struct rows *r)
{
	__m512i scales[4];

	head_bytes_q2_k(h, scales, r);
	for (int i = 0; i < 4; i++)	/* bytes 0 and 1 are those of first groups */
		scales[i] = _mm512_mask_slli_epi16(scales[i], 0x55555555, scales[i], 2);
	UNROLL
	for (int s = 0; s < 4; s++)
		for (int p = 0; p < 2; p++)
			h->scale[2 * s + p] = pair_of(scales[s / 2 * 2 + p], s % 2, false);
}

ALWAYS_INLINE void weights_q2_k(struct rows *r, put_fn *put, void *ctx)
{
	__m512i two[2][4];

	UNROLL
	for (int s = 0; s < 4; s++) {
		__m512i *x = two[s % 2], w[4][4];

		if (s % 2 == 0)
			read32(two, r, 16 + 16 * s);
		for (int i = 0; i < 4; i++) {
			__m512i y = _mm512_srli_epi32(x[i], 4);

			w[0][i] = and8(x[i], 3);
			w[1][i] = and8(x[i], 12);
			w[2][i] = and8(y, 3);
			w[3][i] = and8(y, 12);
		}
		put(ctx, s, GROUPS_BY_BITS, w);
	}
}

/* Q3_K: d, and scales + 32 as bytes */
ALWAYS_INLINE void head_bytes_q3_k(struct head *h, __m512i scales[4], struct rows *r)
{
	__m512i x[4], s[3];

	read16(x, r, 94);		/* the block's last 16 bytes end in scales, d */
	h->d = high_half(x[3]);
	for (int i = 0; i < 3; i++)
		s[i] = _mm512_shrdi_epi32(x[i], x[i + 1], 16);
	scales[0] = _mm512_or_si512(and8(s[0], 15), and8(_mm512_slli_epi32(s[2], 4), 0x30));
	scales[1] = _mm512_or_si512(and8(s[1], 15), and8(_mm512_slli_epi32(s[2], 2), 0x30));
	scales[2] = _mm512_or_si512(shift_and8(s[0], 4, 15), and8(s[2], 0x30));
	scales[3] = _mm512_or_si512(shift_and8(s[1], 4, 15), shift_and8(s[2], 2, 0x30));
}

/* Few tokens: as Q2_K, and all scales times 256. Add -4. */
ALWAYS_INLINE void head_q3_k(struct head *h, struct rows *r)
{
	__m512i scales[4];

	head_bytes_q3_k(h, scales, r);
	for (int i = 0; i < 4; i++)
		scales[i] = _mm512_sub_epi8(scales[i], _mm512_set1_epi8(32));
	UNROLL
	for (int s = 0; s < 4; s++)
		for (int p = 0; p < 2; p++)
			h->scale[2 * s + p] = pair_of(scales[s / 2 * 2 + p], s % 2, true);
}

ALWAYS_INLINE void weights_q3_k(struct rows *r, put_fn *put, void *ctx)
{
	/* Bits 0, 1 and 4, or 2, 3 and 5, of an index; the two above do not matter. */
	const __m512i first = _mm512_add_epi8(_mm512_set1_epi32(0x03020100), _mm512_set_epi64(
		0x0404040404040404, 0x0404040404040404, 0, 0,
		0x0404040404040404, 0x0404040404040404, 0, 0));
	const __m512i second = _mm512_add_epi8(_mm512_broadcast_i32x4(_mm_setr_epi32(
		0, 0x01010101, 0x02020202, 0x03030303)), _mm512_set_epi64(
		0x0404040404040404, 0x0404040404040404, 0x0404040404040404, 0x0404040404040404,
		0, 0, 0, 0));
	__m512i third[2][4], two[2][4];

	read32(third, r, 0);
	UNROLL
	for (int s = 0; s < 4; s++) {
		__m512i *x = two[s % 2], w[4][4];

		if (s % 2 == 0)
			read32(two, r, 32 + 16 * s);
		for (int i = 0; i < 4; i++) {
			const __m512i low = _mm512_set1_epi8(15);
			__m512i t = third[s % 2][i], y = _mm512_srli_epi32(x[i], 4), u;

			u = s / 2 ? _mm512_srli_epi32(t, 2) : _mm512_slli_epi32(t, 2);
			t = s / 2 ? t : _mm512_slli_epi32(t, 4);
			t = _mm512_ternarylogic_epi64(low, x[i], t, 0xca);
			u = _mm512_ternarylogic_epi64(low, y, u, 0xca);
			w[0][i] = _mm512_permutexvar_epi8(t, first);
			w[1][i] = _mm512_permutexvar_epi8(t, second);
			w[2][i] = _mm512_permutexvar_epi8(u, first);
			w[3][i] = _mm512_permutexvar_epi8(u, second);
		}
		put(ctx, s, GROUPS_BY_BITS, w);
	}
}

/* x + y in the bytes that have the bit in `bits` */
ALWAYS_INLINE __m512i add_where(__m512i x, __m512i bits, int bit, __m512i y)
{
	__mmask64 k = _mm512_test_epi8_mask(bits, _mm512_set1_epi8((char)(1 << bit)));

	return _mm512_mask_add_epi8(x, k, x, y);
}

/* Weight times scale, at most 3 * 15. Nothing to add; fills d and minima alone. */
ALWAYS_INLINE void products_q2_k(struct head *h, struct rows *r, put_fn *put, void *ctx)
{
	__m512i scales[4], two[2][4];

	head_bytes_q2_k(h, scales, r);
	UNROLL
	for (int s = 0; s < 4; s++) {
		__m512i *x = two[s % 2], w[4][4];

		if (s % 2 == 0)
			read32(two, r, 16 + 16 * s);
		UNROLL
		for (int k = 0; k < 4; k++) {
			const int j = group_of(GROUPS_BY_BITS, s, k);
			__m512i s1 = spread_byte_of(scales[j / 4], j % 4);
			__m512i s2 = _mm512_add_epi8(s1, s1);

			for (int i = 0; i < 4; i++) {
				w[k][i] = add_where(_mm512_setzero_si512(), x[i], 2 * k, s1);
				w[k][i] = add_where(w[k][i], x[i], 2 * k + 1, s2);
			}
		}
		put(ctx, s, GROUPS_BY_BITS, w);
	}
}

/* (Weight - 4) * (scale - 32), which is in [-124, 128]. Add -124; fills d alone. */
ALWAYS_INLINE void products_q3_k(struct head *h, struct rows *r, put_fn *put, void *ctx)
{
	__m512i scales[4], third[2][4], two[2][4];

	head_bytes_q3_k(h, scales, r);
	for (int i = 0; i < 4; i++)
		scales[i] = _mm512_sub_epi8(scales[i], _mm512_set1_epi8(32));
	read32(third, r, 0);
	UNROLL
	for (int s = 0; s < 4; s++) {
		__m512i *x = two[s % 2], w[4][4];

		if (s % 2 == 0)
			read32(two, r, 32 + 16 * s);
		UNROLL
		for (int k = 0; k < 4; k++) {
			const int j = group_of(GROUPS_BY_BITS, s, k);
			__m512i s1 = spread_byte_of(scales[j / 4], j % 4);
			__m512i s2 = _mm512_add_epi8(s1, s1), s4 = _mm512_add_epi8(s2, s2);
			__m512i none = _mm512_sub_epi8(_mm512_set1_epi8(124), s4);

			for (int i = 0; i < 4; i++) {
				w[k][i] = add_where(none, x[i], 2 * k, s1);
				w[k][i] = add_where(w[k][i], x[i], 2 * k + 1, s2);
				w[k][i] = add_where(w[k][i], third[s % 2][i], s / 2 * 4 + k, s4);
			}
		}
		put(ctx, s, GROUPS_BY_BITS, w);
	}
}

/* Dword i of an array of int16 */
ALWAYS_INLINE __m512i broadcast_pair(const int16_t *p, int i)
{
	int32_t x;

	memcpy(&x, p + 2 * i, sizeof(x));
	return _mm512_set1_epi32(x);
}

/* The contract's step of a chain */
ALWAYS_INLINE __m512 chain(__m512 acc, __m512 d_w, float d_a, __m512i isum)
{
	return _mm512_fmadd_ps(_mm512_mul_ps(d_w, _mm512_set1_ps(d_a)), _mm512_cvtepi32_ps(isum),
			       acc);
}

ALWAYS_INLINE __m512 chain_min(__m512 acc, __m512 d_w, __m512 dmin_w, float d_a, __m512i isum,
			       __m512i msum)
{
	__m512 d = _mm512_mul_ps(d_w, _mm512_set1_ps(d_a));
	__m512 min = _mm512_mul_ps(_mm512_mul_ps(dmin_w, _mm512_set1_ps(d_a)),
				   _mm512_cvtepi32_ps(msum));

	return _mm512_add_ps(acc, _mm512_fmsub_ps(d, _mm512_cvtepi32_ps(isum), min));
}

/* n rows from row on; those that are not there are the last one again. */
ALWAYS_INLINE void rows_start(struct rows *r, const struct linnet_matmul *mm, size_t row,
			      size_t n)
{
	for (size_t i = 0; i < 16; i++)
		r->p[i] = (const uint8_t *)mm->w + (row + (i < n ? i : n - 1)) * mm->row_bytes;
}

ALWAYS_INLINE void rows_next(struct rows *r)
{
	for (int i = 0; i < 16; i++)
		r->p[i] += r->block_bytes;
}

ALWAYS_INLINE __mmask16 row_mask(size_t n)
{
	return n < 16 ? (__mmask16)((1u << n) - 1) : (__mmask16)0xffff;
}

#endif
