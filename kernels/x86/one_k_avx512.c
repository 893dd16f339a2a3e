/* SPDX-License-Identifier: MIT */
/*
 * Products of the super-block types of more than three bits with a single token. A row's
 * super-block meets the token as it lies, in vectors of 64 elements. Each dword is then the sum
 * of four products, which fits 16 bits: two vectors are packed into one, and a scale for each
 * word brings them together in one vector of dwords.
 */
#include "kernels/x86/one_k_avx512.h"

/* Four super-blocks of the token. q and sum are in the order that the weights' type wants. */
struct one_act {
	uint8_t q[4][256];
	int16_t sum[64];	/* sums of activations: for minima, or offsets */
	int32_t start[4][32];	/* IQ4_XS: what its dwords begin with */
	float d[16];
} __attribute__((aligned(64)));

_Static_assert(sizeof(struct one_act) <= LINNET_Q256_ONE, "room in the scratch");

/* What a step knows of its 16 super-blocks before it looks at weights */
struct factors {
	uint8_t scale[4][4][16];	/* row, super-block: bytes */
	uint32_t tail[16];		/* Q6_K: the blocks' last four bytes */
	__m512 d, dmin;
	__m512i msum;
} __attribute__((aligned(64)));

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
#define SCALES4(x, y)	x, x, x, x, y, y, y, y
#define SCALES_(a0, a1, a2, a3, b0, b1, b2, b3) \
	{ SCALES4(a0, b0), SCALES4(a1, b1), SCALES4(a2, b2), SCALES4(a3, b3) }
#define SCALES(...)	SCALES_(__VA_ARGS__)

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

/* Q4_K and Q5_K */
ALWAYS_INLINE void pack_q4_k(void *act, size_t b, const struct linnet_act256 *from)
{
	struct one_act *a = act;

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

ALWAYS_INLINE void pack_q6_k(void *act, size_t b, const struct linnet_act256 *from)
{
	struct one_act *a = act;

	static const uint8_t in_order[16] = {
		0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15,
	};

	pack_q(a, b, from, in_order);
	pack_sum16(a, b, from, -16);	/* half of it: all does not fit */
}

ALWAYS_INLINE void factors_q6_k(struct factors *f, const uint8_t *const p[4],
				const size_t at[4], const struct one_act *a)
{
	(void)f;
	(void)p;
	(void)at;
	(void)a;
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
ALWAYS_INLINE void pack_iq4_xs(void *act, size_t b, const struct linnet_act256 *from)
{
	struct one_act *a = act;

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
	bool has_min;
	bool tail;		/* d is in factors.tail */
	factors_fn *factors;
	dot_fn *dot;
};

/* acc + n super-blocks, at most four */
ALWAYS_INLINE __m128 step(__m128 acc, const uint8_t *const p[4], const struct one_act *a, size_t n,
			  struct one_type t)
{
	size_t at[4];
	struct factors f;
	__m512i isum[4];

	for (size_t b = 0; b < 4; b++) {	/* the last one again, for nothing */
		at[b] = (b < n ? b : n - 1) * t.bytes;
		isum[b] = _mm512_setzero_si512();
	}
	if (t.tail)
		store_tails(f.tail, p, t.bytes, n);
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
	if (t.tail)
		f.d = high_half(load512(f.tail));
	return add_blocks(acc, n, f.d, sum_of_lanes(isum), t.has_min, f.dmin, f.msum,
			  _mm512_load_ps(a->d));
}

#define ONE(type, pack_type, factors_type, ...)					\
ALWAYS_INLINE __m128 step_##type(__m128 acc, const uint8_t *const p[4], const void *act,	\
				 size_t n)					\
{										\
	return step(acc, p, act, n, (struct one_type){				\
		.bytes = sizeof(struct linnet_block_##type),			\
		.factors = factors_type, .dot = dot_##type, __VA_ARGS__		\
	});									\
}										\
										\
void linnet_one_##type##_avx512(const struct linnet_matmul *mm)			\
{										\
	walk(mm, (struct one_walk){						\
		.bytes = sizeof(struct linnet_block_##type),			\
		.act_bytes = sizeof(struct one_act),				\
		.pack = pack_type, .step = step_##type,				\
	});									\
}

ONE(q4_k, pack_q4_k, factors_q4_k, .has_min = true)
ONE(q5_k, pack_q4_k, factors_q4_k, .has_min = true)
ONE(q6_k, pack_q6_k, factors_q6_k, .tail = true)
ONE(iq4_xs, pack_iq4_xs, factors_iq4_xs)
