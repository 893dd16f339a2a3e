/* SPDX-License-Identifier: MIT */
/*
 * Products of the super-block types with a single token. A step takes four super-blocks of
 * four rows, which are a quarter of the range apart: four long streams are what memory likes
 * most.
 *
 * A row's super-block meets the token as it lies, in vectors of 64 elements. Each dword is then
 * the sum of four products, which fits 16 bits: two vectors are packed into one, and a scale for
 * each word brings them together in one vector of dwords. What is done once for a row and not
 * for its elements, finding scales and minima, factors, and summing up dwords, is done for 16
 * super-blocks at once: lane b is super-block b, dword r is row r.
 */
#include "kernels/blocks.h"
#include "kernels/x86/rows_k_avx512.h"

#define SKEW	3	/* rows; keeps the streams off the same cache sets */

/* Into the second cache well ahead, and from there on into the first */
#define FAR	8192
#define NEAR	1024

/* Four super-blocks of the token. q and sum are in the order that the weights' type wants. */
struct one_act {
	uint8_t q[4][256];
	int16_t sum[64];	/* sums of activations: for minima, or offsets */
	int32_t start[4][32];	/* IQ4_XS: what its dwords begin with */
	float d[16];
} __attribute__((aligned(64)));

_Static_assert(sizeof(struct one_act) == LINNET_Q256_ONE, "room in the scratch");

/* What a step knows of its 16 super-blocks before it looks at weights */
struct factors {
	uint8_t scale[4][4][16];	/* row, super-block: bytes */
	uint32_t tail[16];		/* Q2_K, Q6_K: the blocks' last four bytes */
	__m512 d, dmin;
	__m512i msum;
} __attribute__((aligned(64)));

typedef void pack_fn(struct one_act *a, size_t b, const struct linnet_act256 *from);
/* Super-block b of row r is at p[r] + at[b]. */
typedef void factors_fn(struct factors *f, const uint8_t *const p[4], const size_t at[4],
			const struct one_act *a);
/* Dwords whose sum is that of the super-block at p, whose scales are at sc */
typedef __m512i dot_fn(const uint8_t *p, const uint8_t *sc, const __m512i q[4],
		       const struct one_act *a, size_t b);

/* Where a shuffle of bytes finds the words of a lane: x four times, y four times */
#define NO		(-1)	/* nowhere: 0 */
#define WORDS2(x, y)	x, NO, x, NO, x, NO, x, NO, y, NO, y, NO, y, NO, y, NO
#define LANES(a, b, c, d)							\
	_mm512_inserti64x4(_mm512_castsi256_si512(_mm256_setr_epi8(a, b)),	\
			   _mm256_setr_epi8(c, d), 1)

/* The token: 16 bytes from each of these places. */
static const uint8_t by_half[16] = {		/* 32 elements from two halves of 128 */
	0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15,
};
static const uint8_t by_nibble[16] = {		/* low nibbles of 64 bytes, then high ones */
	0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15,
};
static const uint8_t by_block[16] = {		/* ... of blocks of 16 bytes */
	0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15,
};

ALWAYS_INLINE void pack_q(struct one_act *a, size_t b, const struct linnet_act256 *from,
			  const uint8_t order[16])
{
	for (int i = 0; i < 16; i++)
		memcpy(a->q[b] + 16 * i, from->q + 4 * order[i], 16);
	for (int i = 0; i < 4; i++)
		a->d[4 * b + i] = from->d;
}

/* Once: gcc would make it an operand in memory of each user, and most cross a line. */
ALWAYS_INLINE __m512i load512(const void *p)
{
	__m512i x = _mm512_loadu_si512(p);

	__asm__("" : "+v"(x));
	return x;
}

/* 16 bytes of the super-blocks of a row */
ALWAYS_INLINE __m512i load_blocks(const uint8_t *p, const size_t at[4])
{
	return load_lanes(p + at[0], p + at[1], p + at[2], p + at[3]);
}

/* 32 bytes, twice */
ALWAYS_INLINE __m512i load_twice(const uint8_t *p)
{
	return _mm512_broadcast_i64x4(_mm256_loadu_si256((const void *)p));
}

/* Dword 0, or 3, of the lanes of four rows */
ALWAYS_INLINE __m512i first_dwords(const __m512i x[4])
{
	return _mm512_unpacklo_epi64(_mm512_unpacklo_epi32(x[0], x[1]),
				     _mm512_unpacklo_epi32(x[2], x[3]));
}

ALWAYS_INLINE __m512i last_dwords(const __m512i x[4])
{
	return _mm512_unpackhi_epi64(_mm512_unpackhi_epi32(x[0], x[1]),
				     _mm512_unpackhi_epi32(x[2], x[3]));
}

/*
 * Four bytes of each super-block, through memory: the shuffles that would find them are what is
 * scarce, and when they are loaded they have long been stored.
 */
ALWAYS_INLINE void store_tails(struct factors *f, const uint8_t *const p[4], const size_t at[4],
			       size_t tail)
{
	for (int i = 0; i < 16; i++) {
		uint32_t x;

		memcpy(&x, p[i % 4] + at[i / 4] + tail, sizeof(x));
		__asm__("" : "+r"(x));
		f->tail[i] = x;
	}
}

/* The same bytes of each lane; those at NO are 0 */
ALWAYS_INLINE __m512i pick16(__m512i x, __m128i from)
{
	return _mm512_shuffle_epi8(x, _mm512_broadcast_i32x4(from));
}

/* Eight bits from bit at[i] of the quadword that byte i is in */
ALWAYS_INLINE __m512i pick_bits(__m512i x, __m128i at)
{
	return _mm512_multishift_epi64_epi8(_mm512_broadcast_i32x4(at), x);
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

ALWAYS_INLINE __m512i dot64(__m512i w, __m512i q)
{
	return _mm512_dpbusd_epi32(_mm512_setzero_si512(), w, q);
}

/* Two vectors' sums of products as words, four of one and four of the other in each lane */
ALWAYS_INLINE __m512i dots128(__m512i w0, __m512i q0, __m512i w1, __m512i q1)
{
	return _mm512_packs_epi32(dot64(w0, q0), dot64(w1, q1));
}

/*
 * Scales for such words. Lane l of the first vector is one sub-block of 16, and of the second;
 * those of a type whose parts are two bits of each byte, and for Q6_K.
 */
#define TWO_BITS(j)	0 + 2 * (j), 1 + 2 * (j), 8 + 2 * (j), 9 + 2 * (j)
#define SCALES4(x, y)	x, x, x, x, y, y, y, y
#define SCALES_(a0, a1, a2, a3, b0, b1, b2, b3) \
	{ SCALES4(a0, b0), SCALES4(a1, b1), SCALES4(a2, b2), SCALES4(a3, b3) }
#define SCALES(...)	SCALES_(__VA_ARGS__)

static const int16_t scales_of_two_bits[2][32] __attribute__((aligned(64))) = {
	SCALES(TWO_BITS(0), TWO_BITS(2)), SCALES(TWO_BITS(1), TWO_BITS(3)),
};
static const int16_t scales_of_q6[2][32] __attribute__((aligned(64))) = {
	SCALES(0, 1, 2, 3, 4, 5, 6, 7), SCALES(8, 9, 10, 11, 12, 13, 14, 15),
};

ALWAYS_INLINE __m256i signed_words(const uint8_t *sc)
{
	return _mm256_cvtepi8_epi16(_mm_loadu_si128((const void *)sc));
}

ALWAYS_INLINE __m512i spread_words(__m256i words, const int16_t order[32])
{
	return _mm512_permutexvar_epi16(_mm512_load_si512(order), _mm512_castsi256_si512(words));
}

/* The sum of sixteen signed words times their sub-blocks' sums of activations */
ALWAYS_INLINE __m512i offsets(__m256i scales, const struct one_act *a, size_t b)
{
	return _mm512_zextsi256_si512(_mm256_madd_epi16(
		scales, _mm256_load_si256((const __m256i *)(a->sum + 16 * b))));
}

ALWAYS_INLINE void pack_sum16(struct one_act *a, size_t b, const struct linnet_act256 *from,
			      int factor)
{
	for (int i = 0; i < 16; i++)
		a->sum[16 * b + i] = (int16_t)(factor * from->sum16[i]);
}

/* Q2_K: the parts in bits 2 and 3 of a byte, and 6 and 7, count four times. */
ALWAYS_INLINE void pack_q2_k(struct one_act *a, size_t b, const struct linnet_act256 *from)
{
	pack_q(a, b, from, by_half);
	memcpy(a->sum + 8 * b, from->sum16, 16);
	memcpy(a->sum + 32 + 8 * b, from->sum16 + 8, 16);
}

ALWAYS_INLINE void factors_q2_k(struct factors *f, const uint8_t *const p[4],
				const size_t at[4], const struct one_act *a)
{
	const __m512i zero = _mm512_setzero_si512();
	__m512i m[4];

	store_tails(f, p, at, 80);
	UNROLL
	for (int r = 0; r < 4; r++) {
		__m512i x = load_blocks(p[r], at), min = shift_and8(x, 4, 15);

		_mm512_store_si512(f->scale[r], and8(x, 15));
		m[r] = _mm512_madd_epi16(_mm512_unpacklo_epi8(min, zero), load512(a->sum));
		m[r] = _mm512_dpwssd_epi32(m[r], _mm512_unpackhi_epi8(min, zero),
					   load512(a->sum + 32));
	}
	f->msum = sum_lanes(m[0], m[1], m[2], m[3]);
}

ALWAYS_INLINE __m512i dot_q2_k(const uint8_t *p, const uint8_t *sc, const __m512i q[4],
			       const struct one_act *a, size_t b)
{
	const __m512i even = LANES(WORDS2(0, 4), WORDS2(1, 5), WORDS2(8, 12), WORDS2(9, 13));
	const __m512i odd = LANES(WORDS2(2, 6), WORDS2(3, 7), WORDS2(10, 14), WORDS2(11, 15));
	const __m512i scales = _mm512_broadcast_i32x4(_mm_load_si128((const __m128i *)sc));
	__m512i x = load512(p + 16), y = _mm512_srli_epi16(x, 4), sum;

	(void)a;
	(void)b;
	sum = _mm512_madd_epi16(dots128(and8(x, 3), q[0], and8(y, 3), q[2]),
				_mm512_shuffle_epi8(scales, even));
	return _mm512_dpwssd_epi32(_mm512_slli_epi32(sum, 2),
				   dots128(and8(x, 12), q[1], and8(y, 12), q[3]),
				   _mm512_shuffle_epi8(scales, odd));
}

/* Q3_K: as Q2_K, with a third bit on top of each part */
ALWAYS_INLINE void pack_q3_k(struct one_act *a, size_t b, const struct linnet_act256 *from)
{
	pack_q(a, b, from, by_half);
	pack_sum16(a, b, from, -4);
}

ALWAYS_INLINE void factors_q3_k(struct factors *f, const uint8_t *const p[4],
				const size_t at[4], const struct one_act *a)
{
	/* 16 nibbles in bytes 2 to 9 of the tail, two bits for each scale in 10 to 13, then d */
	const __m128i low = _mm_setr_epi8(2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5, 6, 7, 8, 9);
	const __m128i low_bits = _mm_setr_epi8(0, 8, 16, 24, 32, 40, 48, 56,
					       4, 12, 20, 28, 36, 44, 52, 60);
	const __m128i high = _mm_setr_epi8(10, 11, 12, 13, 10, 11, 12, 13,
					   10, 11, 12, 13, 10, 11, 12, 13);
	const __m128i high_bits = _mm_setr_epi8(60, 4, 12, 20, 30, 38, 46, 54,
						0, 8, 16, 24, 34, 42, 50, 58);
	__m512i x[4];

	(void)a;
	UNROLL
	for (int r = 0; r < 4; r++) {
		__m512i s;

		x[r] = load_blocks(p[r] + 94, at);
		s = and8(pick_bits(pick16(x[r], low), low_bits), 15);
		s = or_masked(s, pick_bits(pick16(x[r], high), high_bits), 0x30);
		_mm512_store_si512(f->scale[r], _mm512_sub_epi8(s, _mm512_set1_epi8(32)));
	}
	f->d = high_half(last_dwords(x));
}

ALWAYS_INLINE __m512i dot_q3_k(const uint8_t *p, const uint8_t *sc, const __m512i q[4],
			       const struct one_act *a, size_t b)
{
	const __m256i scales = signed_words(sc);
	__m512i third = load_twice(p), x = load512(p + 32), y = _mm512_srli_epi16(x, 4), w[4], sum;

	w[0] = masked_or(x, 3, move_in_halves(third, MATRIX1(0, 2), MATRIX1(4, 2)));
	w[1] = masked_or(x, 12, move_in_halves(third, MATRIX1(1, 4), MATRIX1(5, 4)));
	w[2] = masked_or(y, 3, move_in_halves(third, MATRIX1(2, 2), MATRIX1(6, 2)));
	w[3] = masked_or(y, 12, move_in_halves(third, MATRIX1(3, 4), MATRIX1(7, 4)));
	sum = _mm512_dpwssd_epi32(offsets(scales, a, b), dots128(w[0], q[0], w[2], q[2]),
				  spread_words(scales, scales_of_two_bits[0]));
	return _mm512_dpwssd_epi32(_mm512_slli_epi32(sum, 2),
				   dots128(w[1], q[1], w[3], q[3]),
				   spread_words(scales, scales_of_two_bits[1]));
}

/* Q4_K and Q5_K */
ALWAYS_INLINE void pack_q4_k(struct one_act *a, size_t b, const struct linnet_act256 *from)
{
	pack_q(a, b, from, by_nibble);
	memcpy(a->sum + 8 * b, from->sum32, 16);
}

/* 8 scales, then 8 minima */
ALWAYS_INLINE void factors_q4_k(struct factors *f, const uint8_t *const p[4],
				const size_t at[4], const struct one_act *a)
{
	const __m128i low = _mm_setr_epi8(4, 5, 6, 7, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15);
	const __m128i low_bits = _mm_setr_epi8(0, 8, 16, 24, 32, 40, 48, 56,
					       0, 8, 16, 24, 36, 44, 52, 60);
	const __m512i low_mask = _mm512_set1_epi64(0x0f0f0f0f3f3f3f3f);
	const __m128i high = _mm_setr_epi8(NO, NO, NO, NO, 4, 5, 6, 7,
					   NO, NO, NO, NO, 8, 9, 10, 11);
	__m512i x[4], m[4];

	UNROLL
	for (int r = 0; r < 4; r++) {
		__m512i s;

		x[r] = load_blocks(p[r], at);
		s = _mm512_and_si512(pick_bits(pick16(x[r], low), low_bits), low_mask);
		s = or_masked(s, _mm512_srli_epi16(pick16(x[r], high), 2), 0x30);
		_mm512_store_si512(f->scale[r], s);
		m[r] = _mm512_madd_epi16(_mm512_unpackhi_epi8(s, _mm512_setzero_si512()),
					 load512(a->sum));
	}
	f->msum = sum_lanes(m[0], m[1], m[2], m[3]);
	f->d = low_half(first_dwords(x));
	f->dmin = high_half(first_dwords(x));
}

/* Sums of a row, whose first weights are w[0] and w[1], low and high nibbles */
ALWAYS_INLINE __m512i scale32(const __m512i w[4], const __m512i q[4], const uint8_t *sc)
{
	const __m512i first = LANES(WORDS2(0, 1), WORDS2(0, 1), WORDS2(2, 3), WORDS2(2, 3));
	const __m512i second = LANES(WORDS2(4, 5), WORDS2(4, 5), WORDS2(6, 7), WORDS2(6, 7));
	__m512i scales, sum;
	int64_t eight;

	memcpy(&eight, sc, sizeof(eight));
	scales = _mm512_set1_epi64(eight);
	sum = _mm512_madd_epi16(dots128(w[0], q[0], w[1], q[1]),
				_mm512_shuffle_epi8(scales, first));
	return _mm512_dpwssd_epi32(sum, dots128(w[2], q[2], w[3], q[3]),
				   _mm512_shuffle_epi8(scales, second));
}

ALWAYS_INLINE __m512i dot_q4_k(const uint8_t *p, const uint8_t *sc, const __m512i q[4],
			       const struct one_act *a, size_t b)
{
	__m512i w[4];

	(void)a;
	(void)b;
	for (int i = 0; i < 2; i++) {
		__m512i x = load512(p + 16 + 64 * i);

		w[2 * i] = and8(x, 15);
		w[2 * i + 1] = move_bits(x, 4, 0, 4);
	}
	return scale32(w, q, sc);
}

ALWAYS_INLINE __m512i dot_q5_k(const uint8_t *p, const uint8_t *sc, const __m512i q[4],
			       const struct one_act *a, size_t b)
{
	const __m512i fifth = load_twice(p + 16);
	__m512i w[4];

	(void)a;
	(void)b;
	UNROLL
	for (int i = 0; i < 2; i++) {
		__m512i x = load512(p + 48 + 64 * i), y = _mm512_srli_epi16(x, 4);

		w[2 * i] = masked_or(x, 15, move_in_halves(fifth, MATRIX1(4 * i, 4),
							   MATRIX1(4 * i + 2, 4)));
		w[2 * i + 1] = masked_or(y, 15, move_in_halves(fifth, MATRIX1(4 * i + 1, 4),
							       MATRIX1(4 * i + 3, 4)));
	}
	return scale32(w, q, sc);
}

ALWAYS_INLINE void pack_q6_k(struct one_act *a, size_t b, const struct linnet_act256 *from)
{
	static const uint8_t in_order[16] = {
		0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15,
	};

	pack_q(a, b, from, in_order);
	pack_sum16(a, b, from, -16);	/* half of it: all does not fit */
}

ALWAYS_INLINE void factors_q6_k(struct factors *f, const uint8_t *const p[4],
				const size_t at[4], const struct one_act *a)
{
	(void)a;
	store_tails(f, p, at, 206);
}

ALWAYS_INLINE __m512i dot_q6_k(const uint8_t *p, const uint8_t *sc, const __m512i q[4],
			       const struct one_act *a, size_t b)
{
	const __m256i scales = signed_words(p + 192);
	__m512i sum = offsets(scales, a, b);

	(void)sc;
	sum = _mm512_add_epi32(sum, sum);
	UNROLL
	for (int i = 0; i < 2; i++) {
		__m512i x = load512(p + 64 * i), y = _mm512_srli_epi16(x, 4);
		const __m512i top = load_twice(p + 128 + 32 * i);

		x = masked_or(x, 15, move_in_halves(top, MATRIX2(0, 4), MATRIX2(2, 4)));
		y = masked_or(y, 15, move_in_halves(top, MATRIX2(4, 4), MATRIX2(6, 4)));
		sum = _mm512_dpwssd_epi32(sum, dots128(x, q[2 * i], y, q[2 * i + 1]),
					  spread_words(scales, scales_of_q6[i]));
	}
	return sum;
}

/* IQ4_XS: values are biased by 128, and their products do not fit words. */
ALWAYS_INLINE void pack_iq4_xs(struct one_act *a, size_t b, const struct linnet_act256 *from)
{
	pack_q(a, b, from, by_block);
	memset(a->start[b], 0, sizeof(a->start[b]));
	for (int i = 0; i < 8; i++)
		a->start[b][4 * i] = from->off32[i];
}

ALWAYS_INLINE void factors_iq4_xs(struct factors *f, const uint8_t *const p[4],
				  const size_t at[4], const struct one_act *a)
{
	/* nibbles from bit 32 on, and as bits 4 and 5 those from bit 16 on */
	const __m128i low_bits = _mm_set1_epi64x(0x3c3834302c282420);
	const __m128i high_bits = _mm_set1_epi64x(0x1a18161412100e0c);
	__m512i x[4];

	(void)a;
	UNROLL
	for (int r = 0; r < 4; r++) {
		__m512i s;

		x[r] = load_blocks(p[r], at);
		s = and8(pick_bits(x[r], low_bits), 15);
		s = or_masked(s, pick_bits(x[r], high_bits), 0x30);
		_mm512_store_si512(f->scale[r], _mm512_sub_epi8(s, _mm512_set1_epi8(32)));
	}
	f->d = low_half(first_dwords(x));
}

ALWAYS_INLINE __m512i dot_iq4_xs(const uint8_t *p, const uint8_t *sc, const __m512i q[4],
				 const struct one_act *a, size_t b)
{
	/* four times, so that two bits above an index do not matter */
	const __m512i values = _mm512_broadcast_i32x4(_mm_xor_si128(
		_mm_loadu_si128((const void *)linnet_iq4_values), _mm_set1_epi8(-128)));
	const __m512i lanes = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
	const __m512i scales = _mm512_castsi256_si512(_mm256_cvtepi8_epi32(
		_mm_loadl_epi64((const void *)sc)));
	__m512i sum[2];

	UNROLL
	for (int i = 0; i < 2; i++) {
		__m512i x = load512(p + 8 + 64 * i), y = _mm512_srli_epi16(x, 4);

		sum[i] = _mm512_dpbusd_epi32(load512(a->start[b] + 16 * i),
					     _mm512_permutexvar_epi8(x, values), q[2 * i]);
		sum[i] = _mm512_dpbusd_epi32(sum[i], _mm512_permutexvar_epi8(y, values),
					     q[2 * i + 1]);
		sum[i] = _mm512_mullo_epi32(sum[i], _mm512_permutexvar_epi32(
			_mm512_add_epi32(lanes, _mm512_set1_epi32(4 * i)), scales));
	}
	return _mm512_add_epi32(sum[0], sum[1]);
}

struct one_type {
	size_t bytes;		/* of a super-block */
	unsigned int shift;	/* sums are this many bits too high */
	bool has_min;
	bool tail;		/* d, or d and dmin, are in factors.tail */
	pack_fn *pack;
	factors_fn *factors;
	dot_fn *dot;
};

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

/* acc + n super-blocks, at most four */
ALWAYS_INLINE __m128 step(__m128 acc, const uint8_t *const p[4], const struct one_act *a, size_t n,
			  struct one_type t)
{
	size_t at[4];
	struct factors f;
	__m512i isum[4];
	__m512 d, sum;
	float o[16] __attribute__((aligned(64)));

	for (size_t b = 0; b < 4; b++) {	/* the last one again, for nothing */
		at[b] = (b < n ? b : n - 1) * t.bytes;
		isum[b] = _mm512_setzero_si512();
	}
	t.factors(&f, p, at, a);
	/* to be loaded from there, not taken out of registers: shuffles are what is scarce */
	__asm__("" : "+m"(f.scale), "+m"(f.tail));
	UNROLL
	for (size_t b = 0; b < 4; b++) {
		__m512i q[4], x[4];

		if (b >= n)
			continue;

		for (int i = 0; i < 4; i++) {
			q[i] = _mm512_load_si512(a->q[b] + 64 * i);
			/* loaded once, not as an operand of each of its users */
			__asm__("" : "+v"(q[i]));
		}
		UNROLL
		for (int r = 0; r < 4; r++) {
			x[r] = t.dot(p[r] + b * t.bytes, f.scale[r][b], q, a, b);
			prefetch_part(p[r], t.bytes, b);
		}
		isum[b] = sum_lanes(x[0], x[1], x[2], x[3]);
	}
	if (t.tail) {
		f.d = t.has_min ? low_half(load512(f.tail)) : high_half(load512(f.tail));
		f.dmin = high_half(load512(f.tail));
	}
	sum = _mm512_cvtepi32_ps(_mm512_srai_epi32(sum_of_lanes(isum), t.shift));
	d = _mm512_mul_ps(f.d, _mm512_load_ps(a->d));
	if (t.has_min)
		sum = _mm512_fmsub_ps(d, sum, _mm512_mul_ps(
			_mm512_mul_ps(f.dmin, _mm512_load_ps(a->d)), _mm512_cvtepi32_ps(f.msum)));
	_mm512_store_ps(o, sum);
	if (t.has_min) {
		for (size_t b = 0; b < n; b++)
			acc = _mm_add_ps(acc, _mm_load_ps(o + 4 * b));
	} else {
		float scale[16] __attribute__((aligned(64)));

		_mm512_store_ps(scale, d);
		for (size_t b = 0; b < n; b++)
			acc = _mm_fmadd_ps(_mm_load_ps(scale + 4 * b), _mm_load_ps(o + 4 * b), acc);
	}
	return acc;
}

ALWAYS_INLINE void product(const struct linnet_matmul *mm, struct one_type t)
{
	const size_t n = mm->row1 - mm->row0, blocks = mm->act->n_cols / 256;
	const size_t quarter = (n + 3) / 4 + (n >= 64 ? SKEW : 0);
	const uint8_t *w = (const uint8_t *)mm->w + mm->row0 * mm->row_bytes;
	const struct linnet_act256 *from = mm->act->buf;
	struct one_act *act = mm->scratch;

	for (size_t b = 0; b < blocks; b++)
		t.pack(act + b / 4, b % 4, from + b);
	for (size_t r = 0; r < quarter && r < n; r++) {
		const struct one_act *a = act;
		const uint8_t *p[4];
		__m128 acc = _mm_setzero_ps();
		float o[4];

		p[0] = w + r * mm->row_bytes;
		for (size_t i = 1; i < 4; i++)	/* the last one again, for nothing */
			p[i] = p[i - 1] + (r + i * quarter < n ? quarter * mm->row_bytes : 0);
		for (size_t b = 0; b < blocks / 4; b++) {
			/* keeps gcc from gathering pointers in vectors */
			__asm__("" : "+r"(p[0]), "+r"(p[1]), "+r"(p[2]), "+r"(p[3]));
			acc = step(acc, p, a++, 4, t);
			for (int i = 0; i < 4; i++)
				p[i] += 4 * t.bytes;
		}
		if (blocks % 4)
			acc = step(acc, p, a, blocks % 4, t);
		_mm_storeu_ps(o, acc);
		for (size_t i = 0; i < 4 && r + i * quarter < n; i++) {
			const size_t row = r + i * quarter;

			mm->y[row] = mm->bias ? o[i] + mm->bias[mm->row0 + row] : o[i];
		}
	}
}

#define ONE(type, pack_type, factors_type, ...)					\
void linnet_one_##type##_avx512(const struct linnet_matmul *mm)			\
{										\
	const struct one_type t = {						\
		.bytes = sizeof(struct linnet_block_##type), .pack = pack_type,	\
		.factors = factors_type, .dot = dot_##type, __VA_ARGS__		\
	};									\
										\
	product(mm, t);								\
}

ONE(q2_k, pack_q2_k, factors_q2_k, .shift = 2, .has_min = true, .tail = true)
ONE(q3_k, pack_q3_k, factors_q3_k, .shift = 2)
ONE(q4_k, pack_q4_k, factors_q4_k, .has_min = true)
ONE(q5_k, pack_q4_k, factors_q4_k, .has_min = true)
ONE(q6_k, pack_q6_k, factors_q6_k, .tail = true)
ONE(iq4_xs, pack_iq4_xs, factors_iq4_xs)
