/* SPDX-License-Identifier: MIT */
/*
 * Products of Q2_K and Q3_K with a single token on AVX2. The dwords of four rows are transposed:
 * of a lane, dword r is of row r. Lane l of half h of the crumbs, of whose bytes plane j is two
 * bits, has four weights at a time of sub-block SUB_BLOCK(h, j, l), and four products with the
 * same activations in all dwords of a lane are whole sums of two sub-blocks of 16. With VNNI
 * two planes then share a register, and one product of pairs brings in their scales.
 *
 * Activations lie four times over, but for long rows: with them the first-level cache would not
 * keep what the streams bring. There they lie once and are spread when they are loaded.
 */
#include "kernels/x86/one_k_avx2.h"
#include "kernels/x86/rows_k_avx2.h"
#include "kernels/x86/transpose_avx2.h"

#define SHORT	12	/* super-blocks of a row, whose activations take 14 KB */

/* A super-block of the token */
struct act {
	int8_t q[4][2][4][32];	/* dword d of the sub-blocks of half h and plane j, four times; */
				/* long rows: in q[0] all of them once */
	int16_t sum[2][2][16];	/* of half h: of planes 0 and 2 in turn, of 1 and 3 */
	float d;
} __attribute__((aligned(32)));

_Static_assert(sizeof(struct act) <= 2 * LINNET_Q256_ONE, "room in the scratch");

#define SUB_BLOCK(h, j, l)	(8 * (h) + 2 * (j) + (l))

/* Of a super-block: dword r of both lanes together. msum is of types with minima. */
struct sums {
	__m256i isum, msum;
};

struct crumb_type {
	size_t bytes;
	struct sums (*dot)(const uint8_t *const p[4], const struct act *a, bool is_long);
	bool has_min, is_long;
};

/* Dword d of each lane, four times */
ALWAYS_INLINE __m256i spread(__m256i q, int d)
{
	switch (d) {
	case 0:
		return _mm256_shuffle_epi32(q, 0x00);
	case 1:
		return _mm256_shuffle_epi32(q, 0x55);
	case 2:
		return _mm256_shuffle_epi32(q, 0xaa);
	default:
		return _mm256_shuffle_epi32(q, 0xff);
	}
}

ALWAYS_INLINE __m256i load_q(const struct act *a, int d, int h, int j, bool is_long)
{
	return is_long ? spread(load32(a->q[0][h][j]), d) : load32(a->q[d][h][j]);
}

ALWAYS_INLINE void pack(struct act *a, const struct linnet_act256 *from, int factor, bool is_long)
{
	for (int i = 0; i < 8; i++) {
		const int h = i / 4, j = i % 4;
		const __m256i q = load32(from->q + 8 * i);

		for (int d = 0; d < (is_long ? 1 : 4); d++)
			_mm256_store_si256((__m256i *)a->q[d][h][j], is_long ? q : spread(q, d));
		for (int k = 0; k < 8; k++)
			a->sum[h][j % 2][2 * k + j / 2] =
				(int16_t)(factor * from->sum16[SUB_BLOCK(h, j, k / 4)]);
	}
	a->d = from->d;
}

/* The crumbs, or third bits, of both lanes of four rows */
ALWAYS_INLINE void read_planes(__m256i x[4], const uint8_t *const p[4], int offset)
{
	__m256i in[4];

	for (int i = 0; i < 4; i++) {
		in[i] = load32(p[i] + offset);
		KEEP(in[i]);
	}
	transpose_lanes(x, in);
}

/*
 * The 16 bytes of each row that have the scales, put into an order: dword r of lane l of x[i] is
 * dword 2i + l of row r.
 */
ALWAYS_INLINE void read_scales(__m256i x[2], const uint8_t *const p[4], int offset, __m128i order)
{
	const __m256i two = _mm256_broadcastsi128_si256(order);
	const __m256i ac = _mm256_shuffle_epi8(load_lanes(p[0] + offset, p[2] + offset), two);
	const __m256i bd = _mm256_shuffle_epi8(load_lanes(p[1] + offset, p[3] + offset), two);

	x[0] = _mm256_permute4x64_epi64(_mm256_unpacklo_epi32(ac, bd), 0xd8);
	x[1] = _mm256_permute4x64_epi64(_mm256_unpackhi_epi32(ac, bd), 0xd8);
}

/* sum + four products in a dword, or two in each word of it */
ALWAYS_INLINE __m256i add_bytes(__m256i sum, __m256i w, __m256i q)
{
#if LINNET_VNNI
	return VNNI_DPBUSD(sum, w, q);
#else
	sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16(w, q));
	KEEP(sum);	/* gcc would add in an order that keeps all products in registers */
	return sum;
#endif
}

/* The high nibbles of bytes under a mask: 16 times what they are where sums have the room */
ALWAYS_INLINE __m256i high(__m256i x, int mask)
{
	return LINNET_VNNI ? and8(x, mask << 4) : and8(_mm256_srli_epi16(x, 4), mask);
}

/* sum + sums of two planes, the second from high nibbles, times the words of scale in turn */
ALWAYS_INLINE __m256i add_planes(__m256i sum, __m256i first, __m256i second, __m256i scale)
{
#if LINNET_VNNI
	second = _mm256_slli_epi32(second, 12);
	return add_products(sum, _mm256_blend_epi16(first, second, 0xaa), scale);
#else
	const __m256i even = _mm256_broadcastsi128_si256(_mm_setr_epi8(
		0, 1, 0, 1, 4, 5, 4, 5, 8, 9, 8, 9, 12, 13, 12, 13));
	const __m256i odd = _mm256_broadcastsi128_si256(_mm_setr_epi8(
		2, 3, 2, 3, 6, 7, 6, 7, 10, 11, 10, 11, 14, 15, 14, 15));

	sum = add_products(sum, first, _mm256_shuffle_epi8(scale, even));
	return add_products(sum, second, _mm256_shuffle_epi8(scale, odd));
#endif
}

/* sum + words, one for each sub-block, times sums of activations */
ALWAYS_INLINE __m256i add_sums(__m256i sum, __m256i even, __m256i odd, const struct act *a, int h)
{
	sum = add_products(sum, even, load32(a->sum[h][0]));
	return add_products(sum, odd, load32(a->sum[h][1]));
}

ALWAYS_INLINE __m256i and16(__m256i x, int mask)
{
	return _mm256_and_si256(x, _mm256_set1_epi16((short)mask));
}

/* Planes 1 and 3 count four times, minima 16 times. */
ALWAYS_INLINE struct sums dot_q2_k(const uint8_t *const p[4], const struct act *a, bool is_long)
{
	__m256i isum[2] = { _mm256_setzero_si256(), _mm256_setzero_si256() };
	__m256i msum = _mm256_setzero_si256(), scales[2];

	read_scales(scales, p, 0, _mm_setr_epi8(0, 2, 4, 6, 1, 3, 5, 7,
						8, 10, 12, 14, 9, 11, 13, 15));
	UNROLL
	for (int h = 0; h < 2; h++) {
		/* scales and minima in nibbles */
		const __m256i even = scales[h], odd = _mm256_srli_epi16(even, 8);
		__m256i x[4], plane[4];

		read_planes(x, p, 16 + 32 * h);
		for (int j = 0; j < 4; j++)
			plane[j] = _mm256_setzero_si256();
		UNROLL
		for (int d = 0; d < 4; d++) {
			const __m256i w[4] = { and8(x[d], 3), and8(x[d], 12), high(x[d], 3),
					       high(x[d], 12) };

			UNROLL
			for (int j = 0; j < 4; j++)
				plane[j] = add_bytes(plane[j], w[j], load_q(a, d, h, j, is_long));
		}
		msum = add_sums(msum, and16(even, 0xf0), and16(odd, 0xf0), a, h);
		isum[0] = add_planes(isum[0], plane[0], plane[2], and16(even, 15));
		isum[1] = add_planes(isum[1], plane[1], plane[3], and16(odd, 15));
	}
	return (struct sums){
		.isum = _mm256_add_epi32(isum[0], _mm256_srai_epi32(isum[1], 2)),
		.msum = _mm256_srai_epi32(msum, 4),
	};
}

/*
 * The third bits of a half are a nibble for each byte of crumbs; a table puts two of them on top
 * of crumbs that are four bits apart.
 */
ALWAYS_INLINE struct sums dot_q3_k(const uint8_t *const p[4], const struct act *a, bool is_long)
{
	const __m256i bits02 = _mm256_broadcastsi128_si256(_mm_setr_epi8(
		0x00, 0x04, 0x00, 0x04, 0x40, 0x44, 0x40, 0x44,
		0x00, 0x04, 0x00, 0x04, 0x40, 0x44, 0x40, 0x44));
	const __m256i bits13 = _mm256_broadcastsi128_si256(_mm_setr_epi8(
		0x00, 0x00, 0x04, 0x04, 0x00, 0x00, 0x04, 0x04,
		0x40, 0x40, 0x44, 0x44, 0x40, 0x40, 0x44, 0x44));
	__m256i isum = _mm256_setzero_si256(), third[4], scales[2];

	/* The block's last 16 bytes: two of crumbs, 16 nibbles, two bits for each scale, d */
	read_scales(scales, p, 94, _mm_setr_epi8(2, 4, 6, 8, 3, 5, 7, 9,
						 10, 12, 10, 12, 11, 13, 11, 13));
	read_planes(third, p, 0);
	UNROLL
	for (int h = 0; h < 2; h++) {
		const __m256i low = _mm256_srli_epi16(scales[0], 4 * h);
		/* the words' bits are 2 apart: products bring both to bits 4 and 5 */
		const __m256i top = _mm256_mullo_epi16(_mm256_srli_epi16(scales[1], 2 * h),
						       _mm256_set1_epi32(h ? 0x00010004 : 0x00040010));
		const __m256i s = _mm256_sub_epi8(_mm256_or_si256(and8(low, 15), and8(top, 0x30)),
						  _mm256_set1_epi8(32));
		const __m256i even = _mm256_srai_epi16(_mm256_slli_epi16(s, 8), 8);
		const __m256i odd = _mm256_srai_epi16(s, 8);
		__m256i x[4], plane[4];

		read_planes(x, p, 32 + 32 * h);
		for (int j = 0; j < 4; j++)
			plane[j] = _mm256_setzero_si256();
		UNROLL
		for (int d = 0; d < 4; d++) {
			const __m256i t = and8(_mm256_srli_epi16(third[d], 4 * h), 15);
			const __m256i w02 = _mm256_or_si256(and8(x[d], 0x33),
							    _mm256_shuffle_epi8(bits02, t));
			const __m256i w13 = _mm256_or_si256(and8(_mm256_srli_epi16(x[d], 2), 0x33),
							    _mm256_shuffle_epi8(bits13, t));
			const __m256i w[4] = { and8(w02, 15), and8(w13, 15), high(w02, 15),
					       high(w13, 15) };

			UNROLL
			for (int j = 0; j < 4; j++)
				plane[j] = add_bytes(plane[j], w[j], load_q(a, d, h, j, is_long));
		}
		isum = add_sums(isum, even, odd, a, h);
		isum = add_planes(isum, plane[0], plane[2], even);
		isum = add_planes(isum, plane[1], plane[3], odd);
	}
	return (struct sums){ .isum = isum };
}

/* The last four bytes of the first n of two super-blocks of four rows */
ALWAYS_INLINE void store_tails(uint32_t tails[8], const uint8_t *const p[4], size_t bytes, size_t n)
{
	for (size_t i = 0; i < 8; i++) {	/* the last one again, for nothing */
		const size_t b = i / 4 < n ? i / 4 : n - 1;
		uint32_t x;

		memcpy(&x, p[i % 4] + b * bytes + bytes - sizeof(x), sizeof(x));
		__asm__("" : "+r"(x));
		tails[i] = x;
	}
}

/* Dword r of lane b: the sum of dwords r of the lanes of x<b> */
ALWAYS_INLINE __m256i sum_of_lanes(__m256i x0, __m256i x1)
{
	return _mm256_add_epi32(_mm256_permute2x128_si256(x0, x1, 0x20),
				_mm256_permute2x128_si256(x0, x1, 0x31));
}

/* acc + n super-blocks, at most two */
ALWAYS_INLINE __m128 step(__m128 acc, const uint8_t *const p[4], const struct act *a, size_t n,
			  struct crumb_type t)
{
	uint32_t tails[8] __attribute__((aligned(32)));
	__m256 d, d_a, sum;
	struct sums s[2];
	__m256i tail;

	/* through memory: the shuffles that would find them are scarce */
	store_tails(tails, p, t.bytes, n);
	__asm__("" : "+m"(tails));
	UNROLL
	for (size_t b = 0; b < 2; b++) {
		const uint8_t *const q[4] = { p[0] + b * t.bytes, p[1] + b * t.bytes,
					      p[2] + b * t.bytes, p[3] + b * t.bytes };

		s[b] = b < n ? t.dot(q, a + b, t.is_long) : s[0];
	}
	d_a = _mm256_set_m128(_mm_set1_ps(a[n - 1].d), _mm_set1_ps(a->d));
	tail = load32(tails);
	d = _mm256_mul_ps(t.has_min ? low_half(tail) : high_half(tail), d_a);
	sum = _mm256_cvtepi32_ps(sum_of_lanes(s[0].isum, s[1].isum));
	if (!t.has_min) {
		acc = _mm_fmadd_ps(_mm256_castps256_ps128(d), _mm256_castps256_ps128(sum), acc);
		return n < 2 ? acc : _mm_fmadd_ps(_mm256_extractf128_ps(d, 1),
						  _mm256_extractf128_ps(sum, 1), acc);
	}
	sum = _mm256_fmsub_ps(d, sum, _mm256_mul_ps(
		_mm256_mul_ps(high_half(tail), d_a),
		_mm256_cvtepi32_ps(sum_of_lanes(s[0].msum, s[1].msum))));
	acc = _mm_add_ps(acc, _mm256_castps256_ps128(sum));
	return n < 2 ? acc : _mm_add_ps(acc, _mm256_extractf128_ps(sum, 1));
}

#define WALK(type, rows, long_rows, minima, factor)				\
ALWAYS_INLINE void pack_##type##_##rows(void *act, const struct linnet_act256 *from) \
{										\
	pack(act, from, factor, long_rows);					\
}										\
										\
ALWAYS_INLINE void step_##type##_##rows(__m128 acc[], const uint8_t *const p[4],	\
					const void *act, size_t n, int tokens)	\
{										\
	(void)tokens;								\
	acc[0] = step(acc[0], p, act, n, (struct crumb_type){			\
		.bytes = sizeof(struct linnet_block_##type), .dot = dot_##type,	\
		.has_min = minima, .is_long = long_rows,			\
	});									\
}										\
										\
static void walk_##type##_##rows(const struct linnet_matmul *mm)		\
{										\
	walk(mm, (struct one_walk){						\
		.bytes = sizeof(struct linnet_block_##type),			\
		.act_bytes = sizeof(struct act), .at_once = 2, .tokens = 1,	\
		.pack = pack_##type##_##rows, .step = step_##type##_##rows,	\
	});									\
}

/* The factor is what sums of activations count. */
#define ONE(type, minima, factor)						\
WALK(type, short, false, minima, factor)					\
WALK(type, long, true, minima, factor)						\
										\
void LEVEL(linnet_one_##type)(const struct linnet_matmul *mm)			\
{										\
	if (mm->act->n_cols / 256 <= SHORT)					\
		walk_##type##_short(mm);					\
	else									\
		walk_##type##_long(mm);						\
}

ONE(q2_k, true, 1)
ONE(q3_k, false, -4)
