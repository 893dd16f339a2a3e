/* SPDX-License-Identifier: MIT */
/*
 * Matrix-vector products of the super-block types, from raw rows at memory speed.
 *
 * A row is read front to back: one stream is what the hardware prefetches best. Four
 * super-blocks at a time are reduced to exact integer sums, which wait in the scratch
 * until 16 rows have theirs. Then they are transposed, so that a lane is a row and the
 * chain of kernels.h runs in it without a horizontal step.
 *
 * Within a super-block, w[v] are the weights 64v..64v + 63 as unsigned bytes. Products
 * with the signed activations are summed in pairs to int16 (at most 2 * 63 * 127) and
 * then times the scales to int32.
 */
#include "kernels/x86/k_avx512.h"

#include <string.h>

#define CHUNK 64		/* super-blocks whose sums wait */
#define AHEAD 8192		/* prefetch distance in bytes */

struct sums {
	int32_t isum[16][CHUNK];
	int32_t msum[16][CHUNK];
	int32_t d[16][CHUNK];	/* d | dmin << 16, halves */
} __attribute__((aligned(64)));

_Static_assert(sizeof(struct sums) <= LINNET_VEC256_SCRATCH, "scratch");

/* Super-blocks of one row: p their weights, a the activations, the slots of their sums. */
struct group {
	const uint8_t *p, *ahead;
	const struct linnet_vec256 *a;
	int32_t *isum, *msum, *d;
	int n;			/* 1..4; only the last of a row has less than 4 */
};

/* Prefetch what super-block k of a group will be when we are there. */
LINNET_INLINE void prefetch_block(const struct group *g, int k, int block)
{
	for (int line = k * block / 64; line < ((k + 1) * block + (k == 3) * 63) / 64; line++)
		linnet_prefetch(g->ahead + line * 64);
}

/* Sums of the dwords of four vectors */
LINNET_INLINE __m128i sum_each(const __m512i e[4])
{
	__m512i t0 = _mm512_add_epi32(_mm512_unpacklo_epi32(e[0], e[1]),
				      _mm512_unpackhi_epi32(e[0], e[1]));
	__m512i t1 = _mm512_add_epi32(_mm512_unpacklo_epi32(e[2], e[3]),
				      _mm512_unpackhi_epi32(e[2], e[3]));
	__m512i u = _mm512_add_epi32(_mm512_unpacklo_epi64(t0, t1), _mm512_unpackhi_epi64(t0, t1));
	__m256i v = _mm256_add_epi32(_mm512_castsi512_si256(u), _mm512_extracti64x4_epi64(u, 1));

	return _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
}

/* Sums of the four dwords of each lane */
LINNET_INLINE __m128i sum_lanes(__m512i x)
{
	x = _mm512_add_epi32(x, _mm512_shuffle_epi32(x, _MM_PERM_CDAB));
	x = _mm512_add_epi32(x, _mm512_shuffle_epi32(x, _MM_PERM_BADC));
	return _mm512_castsi512_si128(_mm512_permutexvar_epi32(
		_mm512_set_epi32(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 12, 8, 4, 0), x));
}

/* Super-block k of a group, or the first again where the group is shorter */
LINNET_INLINE int at(const struct group *g, int k)
{
	return k < g->n ? k : 0;
}

/* The 16 bytes at an offset of each super-block, one lane each */
LINNET_INLINE __m512i load_each(const struct group *g, int block, int offset)
{
	const uint8_t *p = g->p + offset;

	return linnet_load_lanes(p, p + at(g, 1) * block, p + at(g, 2) * block,
				 p + at(g, 3) * block);
}

LINNET_INLINE __m512i load_two(const void *lo, const void *hi)
{
	return _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_loadu_si256(lo)),
				  _mm256_loadu_si256(hi), 1);
}

LINNET_INLINE __m512i sums32_each(const struct group *g)
{
	const struct linnet_vec256 *a = g->a;

	return linnet_load_lanes(a->sum32, a[at(g, 1)].sum32, a[at(g, 2)].sum32, a[at(g, 3)].sum32);
}

/* Products of 64 weights with the activations, times the scales of pairs, added to e */
LINNET_INLINE __m512i dot64(__m512i e, __m512i w, const struct linnet_vec256 *a, int v,
			    __m512i scales)
{
	__m512i pairs = _mm512_maddubs_epi16(w, _mm512_load_si512(a->q + 64 * v));

	return _mm512_dpwssd_epi32(e, pairs, scales);
}

/*
 * Q4_K and Q5_K: eight scales of each lane's super-block, then eight minima, as bytes,
 * from lanes of d, dmin, scales.
 */
LINNET_INLINE __m512i scales6(__m512i head)
{
	/* qwords [0..3 8..11] and [4..7 8..11] of the 12 bytes, for scales and minima */
	const __m512i gather = _mm512_broadcast_i32x4(
		_mm_setr_epi8(4, 5, 6, 7, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15));
	const __m512i low = _mm512_broadcast_i32x4(
		_mm_setr_epi8(0, 8, 16, 24, 32, 40, 48, 56, 0, 8, 16, 24, 36, 44, 52, 60));
	const __m512i high = _mm512_broadcast_i32x4(
		_mm_setr_epi8(0, 0, 0, 0, 2, 10, 18, 26, 0, 0, 0, 0, 2, 10, 18, 26));
	__m512i t = _mm512_shuffle_epi8(head, gather);
	__m512i s = _mm512_and_si512(_mm512_multishift_epi64_epi8(low, t),
				     _mm512_set1_epi64(0x0f0f0f0f3f3f3f3f));

	/* s | (shifted & mask) */
	return _mm512_ternarylogic_epi64(_mm512_multishift_epi64_epi8(high, t),
					 _mm512_set1_epi64(0x3030303000000000), s, 0xea);
}

/* The minima that scales6() leaves in bytes 8..15 of a lane, times the sums of 32 */
LINNET_INLINE __m128i min_sums6(__m512i scales, const struct group *g)
{
	const __m512i widen = _mm512_broadcast_i32x4(
		_mm_setr_epi8(8, -1, 9, -1, 10, -1, 11, -1, 12, -1, 13, -1, 14, -1, 15, -1));

	return sum_lanes(_mm512_madd_epi16(_mm512_shuffle_epi8(scales, widen), sums32_each(g)));
}

/* An int16 in all places of a qword */
LINNET_INLINE int64_t repeat16(unsigned int x)
{
	return (int64_t)(0x0001000100010001u * (uint64_t)x);
}

/* For pshufb: widen byte 2v of a lane for the low half, 2v + 1 for the high */
LINNET_INLINE __m512i pick_pair(int v)
{
	return linnet_halves(repeat16(0x8000 + 2 * v), repeat16(0x8000 + 2 * v + 1));
}

/* Int16s of each lane: first + 4v + lane */
LINNET_INLINE __m512i pick_four(int v, int first)
{
	int64_t i[4];

	for (int lane = 0; lane < 4; lane++)
		i[lane] = repeat16(first + 4 * v + lane);
	return _mm512_set_epi64(i[3], i[3], i[2], i[2], i[1], i[1], i[0], i[0]);
}

LINNET_INLINE __m512i broadcast_lane(__m512i x, int k)
{
	switch (k) {
	case 0:
		return _mm512_shuffle_i32x4(x, x, 0x00);
	case 1:
		return _mm512_shuffle_i32x4(x, x, 0x55);
	case 2:
		return _mm512_shuffle_i32x4(x, x, 0xaa);
	default:
		return _mm512_shuffle_i32x4(x, x, 0xff);
	}
}

/* Dword 0 of each lane */
LINNET_INLINE __m128i first_dwords(__m512i x)
{
	return _mm512_castsi512_si128(_mm512_permutexvar_epi32(
		_mm512_set_epi32(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 12, 8, 4, 0), x));
}

/*
 * Int8 scales of sub-blocks of 16, lane = super-block, times the sums of 16: the part
 * that an offset or a minimum has in the products.
 */
LINNET_INLINE __m128i sum16_products(__m512i scales, const struct group *g)
{
	const struct linnet_vec256 *a = g->a;
	__m512i m01 = _mm512_cvtepi8_epi16(_mm512_castsi512_si256(scales));
	__m512i m23 = _mm512_cvtepi8_epi16(_mm512_extracti64x4_epi64(scales, 1));

	m01 = _mm512_madd_epi16(m01, load_two(a->sum16, a[at(g, 1)].sum16));
	m23 = _mm512_madd_epi16(m23, load_two(a[at(g, 2)].sum16, a[at(g, 3)].sum16));
	return sum_lanes(_mm512_add_epi32(_mm512_shuffle_i32x4(m01, m23, 0x88),
					  _mm512_shuffle_i32x4(m01, m23, 0xdd)));
}

LINNET_INLINE int32_t load_dword(const uint8_t *p)
{
	int32_t x;

	memcpy(&x, p, sizeof(x));
	return x;
}

LINNET_INLINE int32_t load_half(const uint8_t *p)
{
	return p[0] | p[1] << 8;
}

/* The last two bytes of each super-block */
LINNET_INLINE __m128i last_halves(const struct group *g, int block)
{
	const uint8_t *p = g->p + block - 2;

	return _mm_setr_epi32(load_half(p), load_half(p + at(g, 1) * block),
			      load_half(p + at(g, 2) * block), load_half(p + at(g, 3) * block));
}

LINNET_INLINE void store4(int32_t *dst, __m128i x)
{
	_mm_store_si128((__m128i *)dst, x);
}

LINNET_INLINE void group_q4_k(const struct group *g)
{
	const __m512i nibbles = linnet_halves(linnet_move_bits(0, 0, 4), linnet_move_bits(4, 0, 4));
	__m512i head = load_each(g, 144, 0), scales = scales6(head), e[4];

	for (int k = 0; k < 4; k++) {
		const struct linnet_vec256 *a = g->a + k;
		const uint8_t *q = g->p + k * 144 + 16;
		__m512i s = broadcast_lane(scales, k);

		e[k] = _mm512_setzero_si512();
		if (k >= g->n)
			continue;
		prefetch_block(g, k, 144);
		for (int v = 0; v < 4; v++) {
			__m512i w = linnet_affine(linnet_load_twice(q + 32 * v), nibbles);

			e[k] = dot64(e[k], w, a, v, _mm512_shuffle_epi8(s, pick_pair(v)));
		}
	}
	store4(g->isum, sum_each(e));
	store4(g->msum, min_sums6(scales, g));
	store4(g->d, first_dwords(head));
}

LINNET_INLINE void group_q5_k(const struct group *g)
{
	const __m512i nibbles = linnet_halves(linnet_move_bits(0, 0, 4), linnet_move_bits(4, 0, 4));
	__m512i head = load_each(g, 176, 0), scales = scales6(head), e[4];

	for (int k = 0; k < 4; k++) {
		const struct linnet_vec256 *a = g->a + k;
		const uint8_t *q = g->p + k * 176 + 48;
		__m512i s = broadcast_lane(scales, k), high;

		e[k] = _mm512_setzero_si512();
		if (k >= g->n)
			continue;
		prefetch_block(g, k, 176);
		high = linnet_load_twice(q - 32);
		for (int v = 0; v < 4; v++) {
			__m512i fifth = linnet_halves(linnet_move_bits(2 * v, 4, 1),
						      linnet_move_bits(2 * v + 1, 4, 1));
			__m512i w = _mm512_or_si512(
				linnet_affine(linnet_load_twice(q + 32 * v), nibbles),
				linnet_affine(high, fifth));

			e[k] = dot64(e[k], w, a, v, _mm512_shuffle_epi8(s, pick_pair(v)));
		}
	}
	store4(g->isum, sum_each(e));
	store4(g->msum, min_sums6(scales, g));
	store4(g->d, first_dwords(head));
}

/* Two-bit parts of weights 128h + 64u .. + 63 of the bytes 32h.., moved to bit `to` */
LINNET_INLINE __m512i crumbs(__m512i twice, int u, int to)
{
	return linnet_affine(twice, linnet_halves(linnet_move_bits(4 * u, to, 2),
						  linnet_move_bits(4 * u + 2, to, 2)));
}

LINNET_INLINE void group_q6_k(const struct group *g)
{
	const __m512i shift4 = _mm512_set1_epi64(linnet_move_bits(4, 0, 4));
	const __m512i low4 = _mm512_set1_epi8(15);
	__m512i e[4];

	for (int k = 0; k < 4; k++) {
		const struct linnet_vec256 *a = g->a + k;
		const uint8_t *p = g->p + k * 210;
		__m512i s;

		e[k] = _mm512_setzero_si512();
		if (k >= g->n)
			continue;
		prefetch_block(g, k, 210);
		s = _mm512_cvtepi8_epi16(_mm256_broadcastsi128_si256(linnet_load128(p + 192)));
		/* the offset -32 of the weights, as -16 for both halves */
		e[k] = _mm512_madd_epi16(_mm512_mullo_epi16(s, _mm512_set1_epi16(-16)),
					 linnet_load_twice(a->sum16));
		for (int v = 0; v < 4; v++) {
			__m512i low = _mm512_loadu_si512(p + v / 2 * 64);
			__m512i high = crumbs(linnet_load_twice(p + 128 + v / 2 * 32), v % 2, 4);
			__m512i w;

			if (v % 2 == 0)	/* low & 15 | high */
				w = _mm512_ternarylogic_epi64(low, low4, high, 0xea);
			else
				w = _mm512_or_si512(linnet_affine(low, shift4), high);
			e[k] = dot64(e[k], w, a, v, _mm512_permutexvar_epi16(pick_four(v, 0), s));
		}
	}
	store4(g->isum, sum_each(e));
	store4(g->d, last_halves(g, 210));
}

LINNET_INLINE void group_q2_k(const struct group *g)
{
	const __m512i low4 = _mm512_set1_epi8(15);
	__m512i bytes = load_each(g, 84, 0), scales = _mm512_and_si512(bytes, low4);
	__m512i mins = _mm512_and_si512(_mm512_srli_epi16(bytes, 4), low4), e[4];
	const uint8_t *d = g->p + 80;

	for (int k = 0; k < 4; k++) {
		const struct linnet_vec256 *a = g->a + k;
		const uint8_t *q = g->p + k * 84 + 16;
		__m512i s = broadcast_lane(scales, k);

		e[k] = _mm512_setzero_si512();
		if (k >= g->n)
			continue;
		prefetch_block(g, k, 84);
		for (int v = 0; v < 4; v++) {
			__m512i w = crumbs(linnet_load_twice(q + v / 2 * 32), v % 2, 0);

			e[k] = dot64(e[k], w, a, v, _mm512_shuffle_epi8(s, pick_four(v, 0x8000)));
		}
	}
	store4(g->isum, sum_each(e));
	store4(g->msum, sum16_products(mins, g));
	store4(g->d, _mm_setr_epi32(load_dword(d), load_dword(d + at(g, 1) * 84),
				    load_dword(d + at(g, 2) * 84), load_dword(d + at(g, 3) * 84)));
}

/* Sixteen scales - 32 of each lane's super-block, from lanes that end in scales, d */
LINNET_INLINE __m512i scales_q3_k(__m512i tail)
{
	const __m512i gather_low = _mm512_broadcast_i32x4(
		_mm_setr_epi8(2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5, 6, 7, 8, 9));
	const __m512i gather_high = _mm512_broadcast_i32x4(
		_mm_setr_epi8(10, 11, 12, 13, 10, 11, 12, 13, 10, 11, 12, 13, 10, 11, 12, 13));
	const __m512i low = _mm512_broadcast_i32x4(
		_mm_setr_epi8(0, 8, 16, 24, 32, 40, 48, 56, 4, 12, 20, 28, 36, 44, 52, 60));
	/* two bits to 4 and 5; what would be before the qword wraps around in it */
	const __m512i high = _mm512_broadcast_i32x4(
		_mm_setr_epi8(60, 4, 12, 20, 62, 6, 14, 22, 0, 8, 16, 24, 2, 10, 18, 26));
	__m512i l = _mm512_multishift_epi64_epi8(low, _mm512_shuffle_epi8(tail, gather_low));
	__m512i h = _mm512_multishift_epi64_epi8(high, _mm512_shuffle_epi8(tail, gather_high));

	l = _mm512_and_si512(l, _mm512_set1_epi8(15));
	l = _mm512_ternarylogic_epi64(h, _mm512_set1_epi8(0x30), l, 0xea);
	return _mm512_sub_epi8(l, _mm512_set1_epi8(32));
}

LINNET_INLINE void group_q3_k(const struct group *g)
{
	__m512i scales = scales_q3_k(load_each(g, 110, 94)), e[4];
	__m128i isum;

	for (int k = 0; k < 4; k++) {
		const struct linnet_vec256 *a = g->a + k;
		const uint8_t *p = g->p + k * 110;
		__m512i s = broadcast_lane(scales, k), high;

		e[k] = _mm512_setzero_si512();
		if (k >= g->n)
			continue;
		prefetch_block(g, k, 110);
		high = linnet_load_twice(p);
		for (int v = 0; v < 4; v++) {
			__m512i third = linnet_halves(linnet_move_bits(2 * v, 2, 1),
						      linnet_move_bits(2 * v + 1, 2, 1));
			__m512i w = _mm512_or_si512(
				crumbs(linnet_load_twice(p + 32 + v / 2 * 32), v % 2, 0),
				linnet_affine(high, third));
			/* the scale as the high byte, which makes it signed and 256 times as
			 * large: 2^31 is enough for 256 * 7 * 127 * 32 * 256 */
			__m512i pick = _mm512_slli_epi16(pick_four(v, 0), 8);

			pick = _mm512_or_si512(pick, _mm512_set1_epi16(0x80));
			e[k] = dot64(e[k], w, a, v, _mm512_shuffle_epi8(s, pick));
		}
	}
	isum = _mm_srai_epi32(sum_each(e), 8);
	store4(g->isum, _mm_sub_epi32(isum, _mm_slli_epi32(sum16_products(scales, g), 2)));
	store4(g->d, last_halves(g, 110));
}

/* Eight scales - 32 in the low half of each lane, from lanes of d, scales_h, scales_l */
LINNET_INLINE __m512i scales_iq4_xs(__m512i head)
{
	const __m512i low = _mm512_set1_epi64(0x3c3834302c282420);	/* 32 + 4j */
	const __m512i high = _mm512_set1_epi64(0x1a18161412100e0c);	/* 16 + 2j - 4 */
	__m512i l = _mm512_and_si512(_mm512_multishift_epi64_epi8(low, head), _mm512_set1_epi8(15));
	__m512i s = _mm512_ternarylogic_epi64(_mm512_multishift_epi64_epi8(high, head),
					      _mm512_set1_epi8(0x30), l, 0xea);

	return _mm512_sub_epi8(s, _mm512_set1_epi8(32));
}

/* Here a sum of products of four exceeds an int16, so scales meet them in 32 bits. */
LINNET_INLINE void group_iq4_xs(const struct group *g)
{
	const int64_t lo = linnet_move_bits(0, 0, 4), hi = linnet_move_bits(4, 0, 4);
	const __m512i nibbles = _mm512_set_epi64(hi, hi, lo, lo, hi, hi, lo, lo);
	const __m512i values = linnet_iq4_values_plus_128();
	__m512i head = load_each(g, 136, 0);
	/* eight scales of super-block k in qword k */
	__m256i scales = _mm512_castsi512_si256(_mm512_permutexvar_epi64(
		_mm512_set_epi64(0, 0, 0, 0, 6, 4, 2, 0), scales_iq4_xs(head)));
	__m512i e[4];
	__m128i off;
	int64_t s8[4];

	_mm256_storeu_si256((__m256i *)s8, scales);
	for (int k = 0; k < 4; k++) {
		const struct linnet_vec256 *a = g->a + k;
		const uint8_t *q = g->p + k * 136 + 8;
		__m512i s;

		e[k] = _mm512_setzero_si512();
		if (k >= g->n)
			continue;
		prefetch_block(g, k, 136);
		s = _mm512_castsi256_si512(_mm256_cvtepi8_epi32(_mm_cvtsi64_si128(s8[k])));
		for (int v = 0; v < 4; v++) {
			__m512i bytes = _mm512_mask_broadcast_i32x4(
				_mm512_broadcast_i32x4(linnet_load128(q + 32 * v)), 0xff00,
				linnet_load128(q + 32 * v + 16));
			__m512i w = _mm512_shuffle_epi8(values, linnet_affine(bytes, nibbles));
			__m512i dot = _mm512_dpbusd_epi32(_mm512_setzero_si512(), w,
							  _mm512_load_si512(a->q + 64 * v));
			__m512i pick = _mm512_add_epi32(_mm512_set1_epi32(2 * v), linnet_halves(
				0, 0x0000000100000001));

			e[k] = _mm512_add_epi32(e[k], _mm512_mullo_epi32(
				dot, _mm512_permutexvar_epi32(pick, s)));
		}
	}
	off = sum_lanes(_mm512_madd_epi16(_mm512_cvtepi8_epi16(scales), sums32_each(g)));
	store4(g->isum, _mm_sub_epi32(sum_each(e), _mm_slli_epi32(off, 7)));
	store4(g->d, first_dwords(head));
}

/* dst[k]: column k of the 16 rows */
LINNET_INLINE void load_columns(__m512i dst[4], const int32_t (*rows)[CHUNK], size_t column)
{
	__m512i in[4];

	for (int i = 0; i < 4; i++)
		in[i] = linnet_load_lanes(rows[i] + column, rows[i + 4] + column,
					  rows[i + 8] + column, rows[i + 12] + column);
	linnet_transpose_lanes(dst, in);
}

/* Continue the chains of 16 rows by n super-blocks. */
LINNET_INLINE __m512 chains(__m512 acc, const struct sums *s, const struct linnet_vec256 *a,
			    size_t n, bool has_min)
{
	for (size_t b = 0; b < n; b += 4) {
		__m512i isum[4], msum[4], d[4];

		load_columns(isum, s->isum, b);
		load_columns(d, s->d, b);
		if (has_min)
			load_columns(msum, s->msum, b);
		for (int k = 0; k < 4; k++) {
			__m512 d_a;

			if (b + k >= n)
				break;
			d_a = _mm512_set1_ps(a[b + k].d);
			if (has_min)
				acc = linnet_chain_min(acc, linnet_low_half(d[k]),
						       linnet_high_half(d[k]), d_a, isum[k], msum[k]);
			else
				acc = linnet_chain(acc, linnet_low_half(d[k]), d_a, isum[k]);
		}
	}
	return acc;
}

typedef void group_fn(const struct group *g);

LINNET_INLINE void row_sums(struct sums *s, int r, const uint8_t *w, const uint8_t *end,
			    const struct linnet_vec256 *a, size_t n, int block, group_fn *group)
{
	struct group g = { .p = w, .a = a, .isum = s->isum[r], .msum = s->msum[r], .d = s->d[r] };

	for (size_t b = 0; b < n; b += 4) {
		g.ahead = end - g.p > AHEAD ? g.p + AHEAD : g.p;
		if (n - b >= 4) {
			g.n = 4;
			group(&g);
		} else {
			g.n = (int)(n - b);
			group(&g);
		}
		g.p += 4 * block;
		g.a += 4;
		g.isum += 4;
		g.msum += 4;
		g.d += 4;
	}
}

LINNET_INLINE void product(const struct linnet_matmul *mm, int block, group_fn *group,
			   bool has_min)
{
	const uint8_t *end = (const uint8_t *)mm->w + mm->row1 * mm->row_bytes;
	const size_t n_blocks = mm->act->n_cols / 256;
	struct sums *s = mm->scratch;

	for (size_t row = mm->row0; row < mm->row1; row += 16) {
		const uint8_t *w = (const uint8_t *)mm->w + row * mm->row_bytes;
		size_t n_rows = mm->row1 - row < 16 ? mm->row1 - row : 16;
		__mmask16 mask = linnet_row_mask(n_rows);
		__m512 acc = _mm512_setzero_ps();

		for (size_t b = 0; b < n_blocks; b += CHUNK) {
			const struct linnet_vec256 *a = (const struct linnet_vec256 *)mm->act->buf + b;
			size_t n = n_blocks - b < CHUNK ? n_blocks - b : CHUNK;

			for (size_t r = 0; r < n_rows; r++)
				row_sums(s, (int)r, w + r * mm->row_bytes + b * block, end, a, n,
					 block, group);
			acc = chains(acc, s, a, n, has_min);
		}
		if (mm->bias)
			acc = _mm512_add_ps(acc, _mm512_maskz_loadu_ps(mask, mm->bias + row));
		_mm512_mask_storeu_ps(mm->y + (row - mm->row0), mask, acc);
	}
}

void linnet_vec_q2_k_avx512(const struct linnet_matmul *mm)
{
	product(mm, 84, group_q2_k, true);
}

void linnet_vec_q3_k_avx512(const struct linnet_matmul *mm)
{
	product(mm, 110, group_q3_k, false);
}

void linnet_vec_q4_k_avx512(const struct linnet_matmul *mm)
{
	product(mm, 144, group_q4_k, true);
}

void linnet_vec_q5_k_avx512(const struct linnet_matmul *mm)
{
	product(mm, 176, group_q5_k, true);
}

void linnet_vec_q6_k_avx512(const struct linnet_matmul *mm)
{
	product(mm, 210, group_q6_k, false);
}

void linnet_vec_iq4_xs_avx512(const struct linnet_matmul *mm)
{
	product(mm, 136, group_iq4_xs, false);
}
