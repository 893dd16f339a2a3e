/* SPDX-License-Identifier: MIT */
/*
 * Products of the super-block types of more than three bits with one token on AVX2. A step takes
 * a super-block of four rows.
 *
 * What counts is the number of instructions. Rows are taken in pairs: two unpacks of quadwords
 * make of 32 bytes of rows A and B
 *
 *	A0 B0 | A2 B2		A1 B1 | A3 B3		(| between the lanes of 128 bits)
 *
 * which meet activations q0 q0 | q2 q2 and q1 q1 | q3 q3. The sums of products of both
 * are added in 16 bits, and one vpmaddwd brings in the scales: those of A and B, of the
 * sub-block of 16 in the low lane and the one in the high lane. Whole rows would need twice as
 * many of these, more rows at once more unpacking. All sums of a pair over a super-block are
 * dwords A A B B | A A B B.
 *
 * Products of bytes with a sign fit no sum in 16 bits, so IQ4_XS keeps its rows apart where
 * there is no VNNI.
 */
#include "kernels/x86/one_k_avx2.h"

/* A super-block of the token. Elements 32n .. 32n + 31 are in q[2n] and q[2n + 1]. */
struct one_act {
	__m256i q[16];
	__m256i sum[2];		/* of sub-blocks, as int16, in the order of the scales below */
	float d;
};

_Static_assert(sizeof(struct one_act) <= LINNET_Q256_ONE, "room in the scratch");

/*
 * Scales of two rows. A lane has A's and B's of four sub-blocks, then those of the next four;
 * low lane: even sub-blocks, high lane: odd ones; with sub-blocks of 32 all, in both.
 */
struct pair {
	__m256i scale[2];	/* bytes in the first, or int16 in both */
	__m256i msum;		/* minima, or scales, times sums of activations */
};

typedef void head_fn(struct pair h[2], __m128 *d, __m128 *dmin, const uint8_t *const p[4],
		     const struct one_act *a);
typedef void dot_fn(__m256i isum[2], const uint8_t *const p[4], const struct pair h[2],
		    const struct one_act *a);

/* Byte or word i of the four of a row, over the row's int16 */
#define BYTE4(i)	i, -1, i, -1, i, -1, i, -1
#define BYTES(i)	{ BYTE4(i), BYTE4(i + 4), BYTE4(i), BYTE4(i + 4) }
#define WORD4(i)	2 * i, 2 * i + 1, 2 * i, 2 * i + 1, 2 * i, 2 * i + 1, 2 * i, 2 * i + 1
#define WORDS(i, j)	{ WORD4(i), WORD4(j), WORD4(i), WORD4(j) }

static const int8_t pick_byte[8][32] __attribute__((aligned(32))) = {
	BYTES(0), BYTES(1), BYTES(2), BYTES(3), BYTES(8), BYTES(9), BYTES(10), BYTES(11),
};

static const int8_t pick_word[4][32] __attribute__((aligned(32))) = {
	WORDS(0, 4), WORDS(1, 5), WORDS(2, 6), WORDS(3, 7),
};

ALWAYS_INLINE __m256i pick(__m256i x, const int8_t order[32])
{
	return _mm256_shuffle_epi8(x, _mm256_load_si256((const __m256i *)order));
}

ALWAYS_INLINE __m256i and8(__m256i x, int mask)
{
	return _mm256_and_si256(x, _mm256_set1_epi8((char)mask));
}

ALWAYS_INLINE __m128i and8_128(__m128i x, int mask)
{
	return _mm_and_si128(x, _mm_set1_epi8((char)mask));
}

ALWAYS_INLINE __m256i shift_right(__m256i x, int n)
{
	return n < 0 ? _mm256_slli_epi16(x, -n) : n ? _mm256_srli_epi16(x, n) : x;
}

ALWAYS_INLINE __m128i load16(const void *p)
{
	return _mm_loadu_si128(p);
}

ALWAYS_INLINE int32_t load4(const uint8_t *p)
{
	int32_t x;

	memcpy(&x, p, sizeof(x));
	return x;
}

ALWAYS_INLINE void read_pair(__m256i x[2], const uint8_t *p0, const uint8_t *p1)
{
	__m256i a = load32(p0), b = load32(p1);

	KEEP(b);
	x[0] = _mm256_unpacklo_epi64(a, b);
	x[1] = _mm256_unpackhi_epi64(a, b);
}

/* x[i]: dword i of 16 bytes of each row */
ALWAYS_INLINE void read_heads(__m128i x[4], const uint8_t *const p[4], int offset)
{
	const __m128i a = load16(p[0] + offset), b = load16(p[1] + offset);
	const __m128i c = load16(p[2] + offset), d = load16(p[3] + offset);
	const __m128i t0 = _mm_unpacklo_epi32(a, b), t1 = _mm_unpackhi_epi32(a, b);
	const __m128i t2 = _mm_unpacklo_epi32(c, d), t3 = _mm_unpackhi_epi32(c, d);

	x[0] = _mm_unpacklo_epi64(t0, t2);
	x[1] = _mm_unpackhi_epi64(t0, t2);
	x[2] = _mm_unpacklo_epi64(t1, t3);
	x[3] = _mm_unpackhi_epi64(t1, t3);
}

/* Low and high halves of dwords, as floats */
ALWAYS_INLINE __m128 low_half(__m128i x)
{
	return _mm_cvtph_ps(_mm_shuffle_epi8(
		x, _mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, -1, -1, -1, -1, -1, -1, -1, -1)));
}

ALWAYS_INLINE __m128 high_half(__m128i x)
{
	return _mm_cvtph_ps(_mm_shuffle_epi8(
		x, _mm_setr_epi8(2, 3, 6, 7, 10, 11, 14, 15, -1, -1, -1, -1, -1, -1, -1, -1)));
}

ALWAYS_INLINE __m128i dwords(const uint8_t *const p[4], int offset)
{
	return _mm_setr_epi32(load4(p[0] + offset), load4(p[1] + offset), load4(p[2] + offset),
			      load4(p[3] + offset));
}

/* isum + 32 columns of a pair, group n of them */
ALWAYS_INLINE __m256i add_group(__m256i isum, __m256i w0, __m256i w1, const struct one_act *a,
				int n, __m256i scale)
{
	const __m256i two = _mm256_add_epi16(_mm256_maddubs_epi16(w0, a->q[2 * n]),
					     _mm256_maddubs_epi16(w1, a->q[2 * n + 1]));

	return add_products(isum, two, scale);
}

/* Rows of pairs A A B B | A A B B and C C D D | C C D D: A B C D */
ALWAYS_INLINE __m128i sum_rows(__m256i x, __m256i y)
{
	const __m256 fx = _mm256_castsi256_ps(x), fy = _mm256_castsi256_ps(y);
	const __m256i sum = _mm256_add_epi32(
		_mm256_castps_si256(_mm256_shuffle_ps(fx, fy, 0x88)),
		_mm256_castps_si256(_mm256_shuffle_ps(fx, fy, 0xdd)));

	return _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
}

ALWAYS_INLINE void pack_q(struct one_act *a, const struct linnet_act256 *from)
{
	for (int n = 0; n < 8; n++) {
		const __m256i q = load32(from->q + 8 * n);

		a->q[2 * n] = _mm256_unpacklo_epi64(q, q);
		a->q[2 * n + 1] = _mm256_unpackhi_epi64(q, q);
	}
	a->d = from->d;
}

/* int16 of even places, twice, and odd ones */
ALWAYS_INLINE __m256i even_odd(const int16_t x[8])
{
	return _mm256_shuffle_epi8(
		_mm256_broadcastsi128_si256(load16(x)),
		_mm256_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 0, 1, 4, 5, 8, 9, 12, 13,
				 2, 3, 6, 7, 10, 11, 14, 15, 2, 3, 6, 7, 10, 11, 14, 15));
}

ALWAYS_INLINE void pack16(struct one_act *a, const struct linnet_act256 *from)
{
	pack_q(a, from);
	a->sum[0] = even_odd(from->sum16);
	a->sum[1] = even_odd(from->sum16 + 8);
}

ALWAYS_INLINE void pack32(struct one_act *a, const struct linnet_act256 *from)
{
	pack_q(a, from);
	a->sum[0] = _mm256_permute4x64_epi64(_mm256_castsi128_si256(load16(from->sum32)), 0x50);
}

/* 16 bytes of scales of two rows, one for each sub-block of 16, in the order of a pair */
ALWAYS_INLINE __m256i scales16(const uint8_t *p0, const uint8_t *p1)
{
	const __m256i x = _mm256_inserti128_si256(_mm256_castsi128_si256(load16(p0)),
						  load16(p1), 1);
	const __m256i order = _mm256_setr_epi8(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15,
					       0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15);

	return _mm256_permutevar8x32_epi32(_mm256_shuffle_epi8(x, order),
					   _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

/* Scales with a sign become int16. */
ALWAYS_INLINE void widen(struct pair *h, __m256i s, const struct one_act *a)
{
	h->scale[0] = _mm256_srai_epi16(_mm256_unpacklo_epi8(s, s), 8);
	h->scale[1] = _mm256_srai_epi16(_mm256_unpackhi_epi8(s, s), 8);
	h->msum = _mm256_add_epi32(_mm256_madd_epi16(h->scale[0], a->sum[0]),
				   _mm256_madd_epi16(h->scale[1], a->sum[1]));
}

#define DOT_OF_PAIRS(type)							\
ALWAYS_INLINE void dot_##type(__m256i isum[2], const uint8_t *const p[4],	\
			      const struct pair h[2], const struct one_act *a)	\
{										\
	isum[0] = pair_##type(p[0], p[1], h, a);				\
	isum[1] = pair_##type(p[2], p[3], h + 1, a);				\
}

/* Q4_K and Q5_K */
ALWAYS_INLINE void head6(struct pair h[2], __m128 *d, __m128 *dmin, const uint8_t *const p[4],
			 const struct one_act *a)
{
	__m128i x[4], s0, s1, m0, m1;

	read_heads(x, p, 0);
	*d = low_half(x[0]);
	*dmin = high_half(x[0]);
	s0 = and8_128(x[1], 63);
	s1 = _mm_or_si128(and8_128(x[3], 15), and8_128(_mm_srli_epi16(x[1], 2), 0x30));
	m0 = and8_128(x[2], 63);
	m1 = _mm_or_si128(and8_128(_mm_srli_epi16(x[3], 4), 15),
			  and8_128(_mm_srli_epi16(x[2], 2), 0x30));
	h[0].scale[0] = _mm256_broadcastsi128_si256(_mm_unpacklo_epi64(s0, s1));
	h[1].scale[0] = _mm256_broadcastsi128_si256(_mm_unpackhi_epi64(s0, s1));
	h[0].msum = _mm256_madd_epi16(_mm256_cvtepu8_epi16(_mm_unpacklo_epi64(m0, m1)), a->sum[0]);
	h[1].msum = _mm256_madd_epi16(_mm256_cvtepu8_epi16(_mm_unpackhi_epi64(m0, m1)), a->sum[0]);
}

ALWAYS_INLINE void pack_q4_k(void *act, const struct linnet_act256 *from)
{
	pack32(act, from);
}

ALWAYS_INLINE void head_q4_k(struct pair h[2], __m128 *d, __m128 *dmin,
			     const uint8_t *const p[4], const struct one_act *a)
{
	head6(h, d, dmin, p, a);
}

ALWAYS_INLINE __m256i pair_q4_k(const uint8_t *p0, const uint8_t *p1, const struct pair *h,
				const struct one_act *a)
{
	__m256i low = _mm256_setzero_si256(), high = low;

	UNROLL
	for (int c = 0; c < 4; c++) {
		__m256i x[2];

		read_pair(x, p0 + 16 + 32 * c, p1 + 16 + 32 * c);
		low = add_group(low, and8(x[0], 15), and8(x[1], 15), a, 2 * c,
				pick(h->scale[0], pick_byte[2 * c]));
		high = add_group(high, and8(shift_right(x[0], 4), 15),
				 and8(shift_right(x[1], 4), 15), a, 2 * c + 1,
				 pick(h->scale[0], pick_byte[2 * c + 1]));
	}
	return _mm256_add_epi32(low, high);
}

DOT_OF_PAIRS(q4_k)

ALWAYS_INLINE void pack_q5_k(void *act, const struct linnet_act256 *from)
{
	pack32(act, from);
}

ALWAYS_INLINE void head_q5_k(struct pair h[2], __m128 *d, __m128 *dmin,
			     const uint8_t *const p[4], const struct one_act *a)
{
	head6(h, d, dmin, p, a);
}

ALWAYS_INLINE __m256i pair_q5_k(const uint8_t *p0, const uint8_t *p1, const struct pair *h,
				const struct one_act *a)
{
	__m256i low = _mm256_setzero_si256(), high = low, fifth[2];

	read_pair(fifth, p0 + 16, p1 + 16);
	UNROLL
	for (int c = 0; c < 4; c++) {
		__m256i x[2], l[2], u[2];

		read_pair(x, p0 + 48 + 32 * c, p1 + 48 + 32 * c);
		for (int i = 0; i < 2; i++) {
			l[i] = _mm256_or_si256(and8(x[i], 15),
					       and8(shift_right(fifth[i], 2 * c - 4), 16));
			u[i] = _mm256_or_si256(and8(shift_right(x[i], 4), 15),
					       and8(shift_right(fifth[i], 2 * c - 3), 16));
		}
		low = add_group(low, l[0], l[1], a, 2 * c, pick(h->scale[0], pick_byte[2 * c]));
		high = add_group(high, u[0], u[1], a, 2 * c + 1,
				 pick(h->scale[0], pick_byte[2 * c + 1]));
	}
	return _mm256_add_epi32(low, high);
}

DOT_OF_PAIRS(q5_k)

ALWAYS_INLINE void pack_q6_k(void *act, const struct linnet_act256 *from)
{
	pack16(act, from);
}

ALWAYS_INLINE void head_q6_k(struct pair h[2], __m128 *d, __m128 *dmin,
			     const uint8_t *const p[4], const struct one_act *a)
{
	for (int i = 0; i < 2; i++)
		widen(h + i, scales16(p[2 * i] + 192, p[2 * i + 1] + 192), a);
	*d = high_half(dwords(p, 206));	/* the block ends in d */
	*dmin = _mm_setzero_ps();
}

ALWAYS_INLINE __m256i pair_q6_k(const uint8_t *p0, const uint8_t *p1, const struct pair *h,
				const struct one_act *a)
{
	__m256i low = _mm256_setzero_si256();
	__m256i high = _mm256_sub_epi32(low, _mm256_slli_epi32(h->msum, 5));

	UNROLL
	for (int half = 0; half < 2; half++) {
		__m256i top[2];

		read_pair(top, p0 + 128 + 32 * half, p1 + 128 + 32 * half);
		UNROLL
		for (int c = 0; c < 2; c++) {
			__m256i x[2], l[2], u[2];

			read_pair(x, p0 + 64 * half + 32 * c, p1 + 64 * half + 32 * c);
			for (int i = 0; i < 2; i++) {
				l[i] = _mm256_or_si256(
					and8(x[i], 15), and8(shift_right(top[i], 2 * c - 4), 0x30));
				u[i] = _mm256_or_si256(and8(shift_right(x[i], 4), 15),
						       and8(shift_right(top[i], 2 * c), 0x30));
			}
			low = add_group(low, l[0], l[1], a, 4 * half + c,
					pick(h->scale[half], pick_word[c]));
			high = add_group(high, u[0], u[1], a, 4 * half + c + 2,
					 pick(h->scale[half], pick_word[c + 2]));
		}
	}
	return _mm256_add_epi32(low, high);
}

DOT_OF_PAIRS(q6_k)

/*
 * Low nibbles of 32 bytes are the first halves of two sub-blocks, one in each lane: so are
 * q[4c] and what follows it. Second halves come after them.
 */
ALWAYS_INLINE void pack_iq4_xs(void *act, const struct linnet_act256 *from)
{
	struct one_act *a = act;

	for (int c = 0; c < 4; c++) {
		const __m256i even = load32(from->q + 16 * c), odd = load32(from->q + 16 * c + 8);
		const __m256i q0 = _mm256_permute2x128_si256(even, odd, 0x20);
		const __m256i q1 = _mm256_permute2x128_si256(even, odd, 0x31);

#if LINNET_VNNI
		a->q[4 * c] = _mm256_unpacklo_epi64(q0, q0);
		a->q[4 * c + 1] = _mm256_unpackhi_epi64(q0, q0);
		a->q[4 * c + 2] = _mm256_unpacklo_epi64(q1, q1);
		a->q[4 * c + 3] = _mm256_unpackhi_epi64(q1, q1);
#else
		a->q[4 * c] = q0;
		a->q[4 * c + 1] = _mm256_abs_epi8(q0);
		a->q[4 * c + 2] = q1;
		a->q[4 * c + 3] = _mm256_abs_epi8(q1);
#endif
	}
	a->sum[0] = even_odd(from->sum32);
	a->d = from->d;
}

ALWAYS_INLINE void head_iq4_xs(struct pair h[2], __m128 *d, __m128 *dmin,
			       const uint8_t *const p[4], const struct one_act *a)
{
	__m128i x[4], y, even, odd;
	__m256i s;

	read_heads(x, p, 0);
	*d = low_half(x[0]);
	*dmin = _mm_setzero_ps();
	/* the high bits of two scales in each byte */
	y = _mm_shuffle_epi8(x[0], _mm_setr_epi8(2, 2, 3, 3, 6, 6, 7, 7,
						 10, 10, 11, 11, 14, 14, 15, 15));
	y = _mm_or_si128(_mm_and_si128(y, _mm_set1_epi16(0x000f)),
			 _mm_and_si128(_mm_srli_epi16(y, 4), _mm_set1_epi16(0x0f00)));
	even = _mm_or_si128(and8_128(x[1], 15), and8_128(_mm_slli_epi16(y, 4), 0x30));
	odd = _mm_or_si128(and8_128(_mm_srli_epi16(x[1], 4), 15),
			   and8_128(_mm_slli_epi16(y, 2), 0x30));
	s = _mm256_inserti128_si256(_mm256_castsi128_si256(even), odd, 1);
	s = _mm256_sub_epi8(s, _mm256_set1_epi8(32));
	h[0].scale[0] = _mm256_srai_epi16(_mm256_unpacklo_epi8(s, s), 8);
	h[1].scale[0] = _mm256_srai_epi16(_mm256_unpackhi_epi8(s, s), 8);
	for (int i = 0; i < 2; i++)
		h[i].msum = LINNET_VNNI ? _mm256_madd_epi16(h[i].scale[0], a->sum[0]) :
					  _mm256_setzero_si256();
}

#if LINNET_VNNI
ALWAYS_INLINE __m256i pair_iq4_xs(const uint8_t *p0, const uint8_t *p1, const struct pair *h,
				  const struct one_act *a)
{
	const __m256i values = _mm256_broadcastsi128_si256(
		_mm_xor_si128(load16(linnet_iq4_values), _mm_set1_epi8(-128)));
	__m256i isum = _mm256_sub_epi32(_mm256_setzero_si256(), _mm256_slli_epi32(h->msum, 7));

	UNROLL
	for (int c = 0; c < 4; c++) {
		__m256i x[2], sum = _mm256_setzero_si256();

		read_pair(x, p0 + 8 + 32 * c, p1 + 8 + 32 * c);
		for (int i = 0; i < 2; i++)
			sum = VNNI_DPBUSD(sum, _mm256_shuffle_epi8(values, and8(x[i], 15)),
					  a->q[4 * c + i]);
		for (int i = 0; i < 2; i++)
			sum = VNNI_DPBUSD(sum, _mm256_shuffle_epi8(values, and8(shift_right(x[i], 4),
										15)),
					  a->q[4 * c + 2 + i]);
		isum = _mm256_add_epi32(isum, _mm256_mullo_epi32(sum, _mm256_srai_epi32(
			pick(h->scale[0], pick_word[c]), 16)));
	}
	return isum;
}

DOT_OF_PAIRS(iq4_xs)
#else
static const int8_t pick_row[2][4][32] __attribute__((aligned(32))) = {
	{ WORDS(0, 0), WORDS(1, 1), WORDS(2, 2), WORDS(3, 3) },
	{ WORDS(4, 4), WORDS(5, 5), WORDS(6, 6), WORDS(7, 7) },
};

ALWAYS_INLINE void dot_iq4_xs(__m256i isum[2], const uint8_t *const p[4], const struct pair h[2],
			      const struct one_act *a)
{
	const __m256i values = _mm256_broadcastsi128_si256(load16(linnet_iq4_values));
	__m256i sum[4];

	for (int i = 0; i < 4; i++)
		sum[i] = _mm256_setzero_si256();
	UNROLL
	for (int c = 0; c < 4; c++) {
		__m256i q[4];

		for (int i = 0; i < 4; i++) {
			q[i] = a->q[4 * c + i];
			KEEP(q[i]);
		}
		UNROLL
		for (int i = 0; i < 4; i++) {
			__m256i x = load32(p[i] + 8 + 32 * c), l, u;
			const __m256i scale = _mm256_shuffle_epi8(h[i / 2].scale[0],
								  load32(pick_row[i % 2][c]));

			KEEP(x);
			l = _mm256_shuffle_epi8(values, and8(x, 15));
			u = _mm256_shuffle_epi8(values, and8(shift_right(x, 4), 15));
			l = _mm256_maddubs_epi16(q[1], _mm256_sign_epi8(l, q[0]));
			u = _mm256_maddubs_epi16(q[3], _mm256_sign_epi8(u, q[2]));
			sum[i] = add_products(add_products(sum[i], l, scale), u, scale);
			KEEP(sum[i]);
		}
	}
	for (int i = 0; i < 2; i++)
		isum[i] = _mm256_add_epi32(_mm256_unpacklo_epi64(sum[2 * i], sum[2 * i + 1]),
					   _mm256_unpackhi_epi64(sum[2 * i], sum[2 * i + 1]));
}
#endif

/* acc + a super-block of four rows, one token */
ALWAYS_INLINE __m128 step(__m128 acc, const uint8_t *const p[4], const struct one_act *a,
			  bool has_min, head_fn *head, dot_fn *dot)
{
	const __m128 d_a = _mm_set1_ps(a->d);
	__m128 d, dmin;
	__m256i isum[2];
	struct pair h[2];
	__m128 sum;

	head(h, &d, &dmin, p, a);
	dot(isum, p, h, a);
	d = _mm_mul_ps(d, d_a);
	sum = _mm_cvtepi32_ps(sum_rows(isum[0], isum[1]));
	if (!has_min)
		return _mm_fmadd_ps(d, sum, acc);
	return _mm_add_ps(acc, _mm_fmsub_ps(d, sum, _mm_mul_ps(
		_mm_mul_ps(dmin, d_a), _mm_cvtepi32_ps(sum_rows(h[0].msum, h[1].msum)))));
}

#if !LINNET_VNNI
/* The scale of a row's sub-blocks, one in each lane, and their products with as many tokens */
ALWAYS_INLINE void add_iq4_xs(__m256i sum[], const uint8_t *p, __m256i scale,
			      const struct one_act *a, int c, int n)
{
	const __m256i values = _mm256_broadcastsi128_si256(load16(linnet_iq4_values));
	const __m256i x = load32(p + 8 + 32 * c);
	const __m256i l = _mm256_shuffle_epi8(values, and8(x, 15));
	const __m256i u = _mm256_shuffle_epi8(values, and8(shift_right(x, 4), 15));

	UNROLL
	for (int t = 0; t < n; t++) {
		const __m256i *q = a[t].q + 4 * c;

		sum[t] = add_products(sum[t], _mm256_maddubs_epi16(q[1], _mm256_sign_epi8(l, q[0])),
				      scale);
		sum[t] = add_products(sum[t], _mm256_maddubs_epi16(q[3], _mm256_sign_epi8(u, q[2])),
				      scale);
		KEEP(sum[t]);
	}
}

/* Rows in pairs, for the sums of four and all tokens do not fit the registers */
ALWAYS_INLINE void step_few(__m128 acc[], const uint8_t *const p[4], const void *act,
			    size_t blocks, int n)
{
	const struct one_act *a = act;
	__m256i isum[2][LINNET_Q256_FEW];
	__m128 d, dmin;
	struct pair h[2];

	head_iq4_xs(h, &d, &dmin, p, a);
	UNROLL
	for (int i = 0; i < 2; i++) {
		__m256i sum[2][LINNET_Q256_FEW];

		for (int t = 0; t < n; t++)
			sum[0][t] = sum[1][t] = _mm256_setzero_si256();
		UNROLL
		for (int c = 0; c < 4; c++) {
			for (int r = 0; r < 2; r++)
				add_iq4_xs(sum[r], p[2 * i + r],
					   pick(h[i].scale[0], pick_row[r][c]), a, c, n);
		}
		for (int t = 0; t < n; t++)
			isum[i][t] = _mm256_add_epi32(
				_mm256_unpacklo_epi64(sum[0][t], sum[1][t]),
				_mm256_unpackhi_epi64(sum[0][t], sum[1][t]));
	}
	for (int t = 0; t < n; t++)
		acc[t] = _mm_fmadd_ps(_mm_mul_ps(d, _mm_set1_ps(a[t].d)),
				      _mm_cvtepi32_ps(sum_rows(isum[0][t], isum[1][t])), acc[t]);
}
#endif

#define ONE(type, has_min)							\
ALWAYS_INLINE void step_##type(__m128 acc[], const uint8_t *const p[4],		\
			       const void *act, size_t n, int tokens)		\
{										\
	(void)n;								\
	(void)tokens;								\
	acc[0] = step(acc[0], p, act, has_min, head_##type, dot_##type);	\
}										\
										\
void LEVEL(linnet_one_##type)(const struct linnet_matmul *mm)			\
{										\
	walk(mm, (struct one_walk){						\
		.bytes = sizeof(struct linnet_block_##type),			\
		.act_bytes = sizeof(struct one_act), .at_once = 1, .tokens = 1,	\
		.pack = pack_##type, .step = step_##type,			\
	});									\
}

ONE(q4_k, true)
ONE(q5_k, true)
ONE(q6_k, false)
ONE(iq4_xs, false)

#if !LINNET_VNNI
ALWAYS_INLINE void few_iq4_xs(const struct linnet_matmul *mm, int tokens)
{
	walk(mm, (struct one_walk){
		.bytes = sizeof(struct linnet_block_iq4_xs),
		.act_bytes = sizeof(struct one_act), .at_once = 1, .tokens = tokens,
		.pack = pack_iq4_xs, .step = step_few,
	});
}

void linnet_few_iq4_xs_avx2(const struct linnet_matmul *mm)
{
	switch (mm->act->n_tokens) {
	case 2:
		few_iq4_xs(mm, 2);
		break;
	case 3:
		few_iq4_xs(mm, 3);
		break;
	case 4:
		few_iq4_xs(mm, 4);
		break;
	}
}
#endif
