/* SPDX-License-Identifier: MIT */
/*
 * Products of Q2_K and Q3_K with a single token. It is the number of instructions that bounds
 * types of so few bits, so there are none that bring the parts of a row together: the dwords of
 * four rows are transposed first. Of a lane, dword r is of row r. Lane l of plane j, which is two
 * bits of each byte, has four weights at a time of sub-block SUB_BLOCK(j, l), and four products
 * with the same activations in all dwords of a lane are whole sums of 16 sub-blocks of 16.
 *
 * Activations that lie four times over do not stay in the first-level cache beside long rows;
 * there they lie once and are spread when they are loaded.
 */
#include "kernels/x86/one_k_avx512.h"

/* Four super-blocks of the token */
struct act {
	struct act_block {
		int8_t q[4][4][64];	/* dword d of the sub-blocks of plane j, four times; */
					/* long rows: in q[0] all of them once */
		int16_t sum[2][32];	/* of their activations: planes 0 and 2, 1 and 3 */
	} block[4];
	float d[16];
} __attribute__((aligned(64)));

#define SHORT	16	/* super-blocks of a row, whose activations take 18 KB */

_Static_assert(sizeof(struct act) <= LINNET_Q256_ONE, "room in the scratch");

/* Lane l of plane j is this sub-block */
#define SUB_BLOCK(j, l)	((l) / 2 * 8 + 2 * (j) + (l) % 2)

/* Of a super-block of four rows: dword r of all lanes together. msum is of types with minima. */
struct sums {
	__m512i isum, msum;
};

typedef struct sums dot_fn(const uint8_t *const p[4], size_t at, const struct act_block *a,
			   bool is_long);

/* Dword d of each lane, four times */
ALWAYS_INLINE __m512i spread(__m512i q, int d)
{
	switch (d) {
	case 0:
		return _mm512_shuffle_epi32(q, 0x00);
	case 1:
		return _mm512_shuffle_epi32(q, 0x55);
	case 2:
		return _mm512_shuffle_epi32(q, 0xaa);
	default:
		return _mm512_shuffle_epi32(q, 0xff);
	}
}

ALWAYS_INLINE __m512i load_q(const struct act_block *a, int d, int j, bool is_long)
{
	return is_long ? spread(_mm512_load_si512(a->q[0][j]), d) : _mm512_load_si512(a->q[d][j]);
}

ALWAYS_INLINE void pack(struct act *a, size_t b, const struct linnet_act256 *from, int even,
			int odd, bool is_long)
{
	for (int j = 0; j < 4; j++) {
		__m512i q;

		for (int l = 0; l < 4; l++) {
			const int k = SUB_BLOCK(j, l);
			int16_t *sum = a->block[b].sum[j % 2] + 8 * l + j / 2;

			memcpy(a->block[b].q[0][j] + 16 * l, from->q + 4 * k, 16);
			for (int r = 0; r < 4; r++)
				sum[2 * r] = (int16_t)((j % 2 ? odd : even) * from->sum16[k]);
		}
		q = _mm512_load_si512(a->block[b].q[0][j]);
		for (int d = 0; d < 4 && !is_long; d++)
			_mm512_store_si512(a->block[b].q[d][j], spread(q, d));
	}
	for (int i = 0; i < 4; i++)
		a->d[4 * b + i] = from->d;
}

/* Dwords d of the 16 bytes of each lane of four rows' crumbs, for d of one half */
ALWAYS_INLINE void transpose_half(__m512i out[2], const __m512i x[4], int half)
{
	const __m512i t0 = half ? _mm512_unpackhi_epi32(x[0], x[1]) :
				  _mm512_unpacklo_epi32(x[0], x[1]);
	const __m512i t1 = half ? _mm512_unpackhi_epi32(x[2], x[3]) :
				  _mm512_unpacklo_epi32(x[2], x[3]);

	out[0] = _mm512_unpacklo_epi64(t0, t1);
	out[1] = _mm512_unpackhi_epi64(t0, t1);
}

/* 16 bytes of four rows */
struct tails {
	__m512i ab, cd;
};

ALWAYS_INLINE __m512i load_two(const uint8_t *p0, const uint8_t *p1)
{
	return _mm512_castsi256_si512(_mm256_inserti128_si256(
		_mm256_castsi128_si256(_mm_loadu_si128((const void *)p0)),
		_mm_loadu_si128((const void *)p1), 1));
}

ALWAYS_INLINE struct tails read_tails(const uint8_t *const p[4], size_t at)
{
	return (struct tails){ load_two(p[0] + at, p[1] + at), load_two(p[2] + at, p[3] + at) };
}

/* Byte j of dword r of lane l: of the 16 of row r that which f(j, l) says */
#define PLACE4(f, r, l)	(r) / 2 * 64 + (r) % 2 * 16 + f(0, l),				\
			(r) / 2 * 64 + (r) % 2 * 16 + f(1, l),				\
			(r) / 2 * 64 + (r) % 2 * 16 + f(2, l),				\
			(r) / 2 * 64 + (r) % 2 * 16 + f(3, l)
#define PLACE16(f, l)	PLACE4(f, 0, l), PLACE4(f, 1, l), PLACE4(f, 2, l), PLACE4(f, 3, l)
#define PLACES(f)	{ PLACE16(f, 0), PLACE16(f, 1), PLACE16(f, 2), PLACE16(f, 3) }

ALWAYS_INLINE __m512i place(struct tails x, const uint8_t order[64])
{
	return _mm512_permutex2var_epi8(x.ab, _mm512_load_si512(order), x.cd);
}

ALWAYS_INLINE __m512i and16(__m512i x, int mask)
{
	return _mm512_and_si512(x, _mm512_set1_epi16((short)mask));
}

/* Sums of two planes as words; the second are 16 times what they shall be. */
ALWAYS_INLINE __m512i words(__m512i low, __m512i high)
{
	return _mm512_mask_mov_epi16(_mm512_slli_epi32(high, 12), 0x55555555, low);
}

static const uint8_t q2_order[64] __attribute__((aligned(64))) = PLACES(SUB_BLOCK);

/* Planes 1 and 3 count four times, minima 16 times. */
ALWAYS_INLINE struct sums dot_q2_k(const uint8_t *const p[4], size_t at,
				   const struct act_block *a, bool is_long)
{
	/* scales and minima in nibbles */
	const __m512i even = place(read_tails(p, at), q2_order), odd = _mm512_srli_epi16(even, 8);
	__m512i raw[4], x[2], plane[4], sum;

	for (int i = 0; i < 4; i++) {
		raw[i] = load512(p[i] + at + 16);
		plane[i] = _mm512_setzero_si512();
	}
	UNROLL
	for (int d = 0; d < 4; d++) {
		if (d % 2 == 0)
			transpose_half(x, raw, d / 2);
		UNROLL
		for (int j = 0; j < 4; j++)
			plane[j] = _mm512_dpbusd_epi32(plane[j], and8(x[d % 2], 3 << 2 * j),
						       load_q(a, d, j, is_long));
	}
	sum = _mm512_madd_epi16(words(plane[0], plane[2]), and16(even, 15));
	return (struct sums){
		.isum = _mm512_dpwssd_epi32(_mm512_slli_epi32(sum, 2), words(plane[1], plane[3]),
					    and16(odd, 15)),
		.msum = _mm512_dpwssd_epi32(
			_mm512_madd_epi16(_mm512_load_si512(a->sum[0]), and16(even, 0xf0)),
			_mm512_load_si512(a->sum[1]), and16(odd, 0xf0)),
	};
}

/* The last 16 bytes: two of crumbs, 16 nibbles, two bits for each scale, d */
#define LOW(j, l)	(2 + SUB_BLOCK(j, l) % 8)
#define HIGH(j, l)	(10 + SUB_BLOCK(j, l) % 4)
static const uint8_t q3_low[64] __attribute__((aligned(64))) = PLACES(LOW);
static const uint8_t q3_high[64] __attribute__((aligned(64))) = PLACES(HIGH);

/* Where their bits begin in a quadword, so that they become bits 0 and 4 */
#define BITS4(f, i, l)	(32 * (i) + f(0, l)) % 64, (32 * (i) + 8 + f(1, l)) % 64,		\
			(32 * (i) + 16 + f(2, l)) % 64, (32 * (i) + 24 + f(3, l)) % 64
#define BITS16(f, l)	BITS4(f, 0, l), BITS4(f, 1, l), BITS4(f, 0, l), BITS4(f, 1, l)
#define BITS(f)		{ BITS16(f, 0), BITS16(f, 1), BITS16(f, 2), BITS16(f, 3) }
#define LOW_BIT(j, l)	(SUB_BLOCK(j, l) / 8 * 4)
#define HIGH_BIT(j, l)	(60 + SUB_BLOCK(j, l) / 4 * 2)
static const uint8_t q3_low_bits[64] __attribute__((aligned(64))) = BITS(LOW_BIT);
static const uint8_t q3_high_bits[64] __attribute__((aligned(64))) = BITS(HIGH_BIT);

/* Dwords d of the 32 bytes of third bits of four rows, two in a register; again in lanes 2, 3 */
#define THIRD4(n)	(n), 8 + (n), 16 + (n), 24 + (n)
#define THIRD(d)	{ THIRD4(d), THIRD4(4 + (d)), THIRD4(d), THIRD4(4 + (d)) }
static const uint32_t q3_third[4][16] __attribute__((aligned(64))) = {
	THIRD(0), THIRD(1), THIRD(2), THIRD(3),
};

ALWAYS_INLINE __m512i pick_bits(__m512i x, const uint8_t at[64])
{
	return _mm512_multishift_epi64_epi8(_mm512_load_si512(at), x);
}

/* Third bits of planes 0 and 1 become bits 2 and 3, those of 2 and 3 bits 6 and 7. */
ALWAYS_INLINE __m512i move_third(__m512i x)
{
	return move_in_halves(x, MATRIX2(0, 2) | MATRIX2(2, 6), MATRIX2(4, 2) | MATRIX2(6, 6));
}

/* Bits of x where the mask has them, and of y elsewhere */
ALWAYS_INLINE __m512i choose(__m512i x, __m512i y, int mask)
{
	return _mm512_ternarylogic_epi64(x, y, _mm512_set1_epi8((char)mask), 0xe4);
}

/* All counts twice: planes 1 and 3 have their third bits where twice their crumbs end. */
ALWAYS_INLINE struct sums dot_q3_k(const uint8_t *const p[4], size_t at,
				   const struct act_block *a, bool is_long)
{
	static const uint8_t mask[4] = { 0x07, 0x0e, 0x70, 0xe0 };
	const struct tails tail = read_tails(p, at + 94);
	__m512i third[2], raw[4], x[2], w[2], plane[4], scale, even, odd, sum;

	for (int i = 0; i < 4; i++) {
		raw[i] = load512(p[i] + at + 32);
		plane[i] = _mm512_setzero_si512();
	}
	for (int i = 0; i < 2; i++)
		third[i] = load_halves(p[2 * i] + at, p[2 * i + 1] + at);

	scale = and8(pick_bits(place(tail, q3_low), q3_low_bits), 15);
	scale = or_masked(scale, pick_bits(place(tail, q3_high), q3_high_bits), 0x30);
	scale = _mm512_sub_epi8(scale, _mm512_set1_epi8(32));
	even = _mm512_srai_epi16(_mm512_slli_epi16(scale, 8), 7);
	odd = _mm512_srai_epi16(scale, 8);
	sum = _mm512_madd_epi16(_mm512_load_si512(a->sum[0]), even);
	sum = _mm512_dpwssd_epi32(sum, _mm512_load_si512(a->sum[1]), odd);
	UNROLL
	for (int d = 0; d < 4; d++) {
		__m512i t = _mm512_permutex2var_epi32(third[0], _mm512_load_si512(q3_third[d]),
						      third[1]);

		if (d % 2 == 0)
			transpose_half(x, raw, d / 2);
		t = move_third(t);
		w[0] = choose(x[d % 2], t, 0x33);
		w[1] = choose(_mm512_srli_epi16(x[d % 2], 1), t, 0x66);
		UNROLL
		for (int j = 0; j < 4; j++)
			plane[j] = _mm512_dpbusd_epi32(plane[j], and8(w[j % 2], mask[j]),
						       load_q(a, d, j, is_long));
	}
	sum = _mm512_dpwssd_epi32(sum, words(plane[0], plane[2]), even);
	return (struct sums){
		.isum = _mm512_dpwssd_epi32(sum, words(plane[1], plane[3]), odd),
	};
}

/* Sums are so many bits too high. */
struct crumb_type {
	size_t bytes;
	dot_fn *dot;
	bool has_min, is_long;
	unsigned int ishift, mshift;
};

/* acc + n super-blocks, at most four */
ALWAYS_INLINE __m128 step(__m128 acc, const uint8_t *const p[4], const struct act *a, size_t n,
			  struct crumb_type t)
{
	__m512i isum[4], msum[4], tail;
	uint32_t tails[16] __attribute__((aligned(64)));

	store_tails(tails, p, t.bytes, n);
	__asm__("" : "+m"(tails));
	UNROLL
	for (size_t b = 0; b < 4; b++) {
		struct sums s = { _mm512_setzero_si512(), _mm512_setzero_si512() };

		if (b < n) {
			s = t.dot(p, b * t.bytes, a->block + b, t.is_long);
			for (int r = 0; r < 4; r++)
				prefetch_part(p[r], t.bytes, b);
		}
		isum[b] = s.isum;
		msum[b] = s.msum;
	}
	tail = load512(tails);
	return add_blocks(acc, n, t.has_min ? low_half(tail) : high_half(tail),
			  _mm512_srai_epi32(sum_of_lanes(isum), t.ishift), t.has_min,
			  high_half(tail), _mm512_srai_epi32(sum_of_lanes(msum), t.mshift),
			  _mm512_load_ps(a->d));
}

#define WALK(type, rows, long_rows, even, odd, ...)				\
ALWAYS_INLINE void pack_##type##_##rows(void *act, size_t b, const struct linnet_act256 *from) \
{										\
	pack(act, b, from, even, odd, long_rows);				\
}										\
										\
ALWAYS_INLINE __m128 step_##type##_##rows(__m128 acc, const uint8_t *const p[4],	\
					  const void *act, size_t n)		\
{										\
	return step(acc, p, act, n, (struct crumb_type){			\
		.bytes = sizeof(struct linnet_block_##type), .dot = dot_##type,	\
		.is_long = long_rows, __VA_ARGS__				\
	});									\
}										\
										\
static void walk_##type##_##rows(const struct linnet_matmul *mm)		\
{										\
	walk(mm, (struct one_walk){						\
		.bytes = sizeof(struct linnet_block_##type),			\
		.act_bytes = sizeof(struct act),				\
		.pack = pack_##type##_##rows, .step = step_##type##_##rows,	\
	});									\
}

/* Factors of the activations' sums in even and odd planes, and what all sums are like */
#define ONE(type, ...)								\
WALK(type, short, false, __VA_ARGS__)						\
WALK(type, long, true, __VA_ARGS__)						\
										\
void linnet_one_##type##_avx512(const struct linnet_matmul *mm)			\
{										\
	if (mm->act->n_cols / 256 <= SHORT)					\
		walk_##type##_short(mm);					\
	else									\
		walk_##type##_long(mm);						\
}

ONE(q2_k, 1, 1, .has_min = true, .ishift = 2, .mshift = 4)
ONE(q3_k, -4, -8, .ishift = 1)
