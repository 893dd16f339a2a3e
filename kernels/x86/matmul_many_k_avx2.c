/* SPDX-License-Identifier: MIT */
/*
 * Products of the super-block types on AVX2 with many tokens. One super-block of two times
 * 16 rows is unpacked into panels that stay in L1, and all tokens meet them, a few at a
 * time; their chains wait in the scratch for the next super-block. Products of weights with a
 * sign do not fit vpmaddubsw: they become half as many of 16 bits, see matmul_q32_avx2.h.
 */
#include "kernels/x86/rows_k_avx2.h"

#define GROUPS	2			/* of 8 rows in a panel */
#define PANELS	LINNET_Q256_PANELS
#define ROWS	(8 * GROUPS * PANELS)
#define TILE	4			/* tokens */

struct panel {
	__m256i w[64][GROUPS];		/* elements 4k..4k + 3; with a sign 4k and 4k + 2 as int16 */
	__m256i scale[16][GROUPS];	/* of sub-blocks; with VNNI as dwords, else as in the head */
	__m256i min[8][GROUPS];		/* times the offset, where a type has one */
	__m256 d[GROUPS], dmin[GROUPS];
	/* of weights with a sign, whose scales are dwords */
	__m256i odd[64][GROUPS];	/* elements 4k + 1 and 4k + 3 */
	__m256i npairs[GROUPS];		/* -(sum of scales times w0 w1 + w2 w3 + ..) */
};

struct chains {
	__m256 y[GROUPS];
};

_Static_assert(sizeof(struct panel) <= LINNET_Q256_PANEL, "room in the scratch");
_Static_assert(sizeof(struct chains) == LINNET_Q256_CHAINS, "room in the scratch");

/* The order of sums keeps few of them alive; gcc would change it. */
#define KEEP(v)	__asm__("" : "+x"(v))

/* A tile's tokens for weights with a sign: even[t] has elements 0 2, 4 6, .. of token t */
struct wide_tokens {
	int32_t even[TILE][64], odd[TILE][64];
	int32_t npairs[TILE][8];	/* of sub-blocks: -(x0 x1 + x2 x3 + ..) */
} __attribute__((aligned(32)));

/* Bytes 0 and 2, 1 and 3 of dwords as int16 */
ALWAYS_INLINE __m256i even_bytes(__m256i q)
{
	return _mm256_srai_epi16(_mm256_slli_epi16(q, 8), 8);
}

ALWAYS_INLINE __m256i odd_bytes(__m256i q)
{
	return _mm256_srai_epi16(q, 8);
}

#if !LINNET_VNNI
static void widen_tokens(struct wide_tokens *x, const struct linnet_act256 *a, int n)
{
	for (int t = 0; t < n; t++, a++)
		for (int j = 0; j < 8; j++) {
			const __m256i q = _mm256_load_si256((const __m256i *)(a->q + 8 * j));
			const __m256i even = even_bytes(q), odd = odd_bytes(q);
			__m256i pairs = _mm256_madd_epi16(even, odd);
			__m128i sum = _mm_add_epi32(_mm256_castsi256_si128(pairs),
						    _mm256_extracti128_si256(pairs, 1));

			_mm256_store_si256((__m256i *)(x->even[t] + 8 * j), even);
			_mm256_store_si256((__m256i *)(x->odd[t] + 8 * j), odd);
			sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4e));
			sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xb1));
			x->npairs[t][j] = -_mm_cvtsi128_si32(sum);
		}
}

/* isum += the weights with a sign of sub-block j times n tokens */
ALWAYS_INLINE void wide_sub_block(__m256i isum[TILE][GROUPS], const struct panel *p,
				  const struct wide_tokens *x, int j, const int n)
{
	__m256i sum[TILE][GROUPS];

	UNROLL
	for (int t = 0; t < n; t++)
		UNROLL
		for (int m = 0; m < GROUPS; m++)
			sum[t][m] = _mm256_set1_epi32(x->npairs[t][j]);
	UNROLL
	for (int k = 0; k < 8; k++) {
		UNROLL
		for (int t = 0; t < n; t++) {
			const __m256i even = _mm256_set1_epi32(x->even[t][8 * j + k]);
			const __m256i odd = _mm256_set1_epi32(x->odd[t][8 * j + k]);

			UNROLL
			for (int m = 0; m < GROUPS; m++) {
				sum[t][m] = _mm256_add_epi32(sum[t][m], _mm256_madd_epi16(
					_mm256_add_epi16(p->w[8 * j + k][m], odd),
					_mm256_add_epi16(p->odd[8 * j + k][m], even)));
				KEEP(sum[t][m]);
			}
		}
	}
	UNROLL
	for (int t = 0; t < n; t++)
		UNROLL
		for (int m = 0; m < GROUPS; m++)
			isum[t][m] = _mm256_add_epi32(isum[t][m], _mm256_mullo_epi32(
				sum[t][m], p->scale[j][m]));
}
#endif

/* isum += the weights of a sub-block times n tokens, from dword q0 of theirs on */
ALWAYS_INLINE void sub_block(__m256i isum[TILE][GROUPS], const __m256i (*w)[GROUPS],
			     const __m256i scale[GROUPS], const struct linnet_act256 *a, int q0,
			     const int n, const struct traits traits)
{
	const int len = traits.sub / 4;
	__m256i sum[TILE][GROUPS];

	UNROLL
	for (int k = 0; k < len; k++) {
		UNROLL
		for (int t = 0; t < n; t++) {
			const __m256i q = _mm256_set1_epi32(a[t].q[q0 + k]);

			UNROLL
			for (int m = 0; m < GROUPS; m++) {
#if LINNET_VNNI
				sum[t][m] = VNNI_DPBUSD(k ? sum[t][m] : _mm256_setzero_si256(),
							w[k][m], q);
				KEEP(sum[t][m]);
#else
				const __m256i two = _mm256_maddubs_epi16(w[k][m], q);

				sum[t][m] = k % traits.fit ? _mm256_add_epi16(sum[t][m], two) :
							     two;
				KEEP(sum[t][m]);
				if ((k + 1) % traits.fit)
					continue;
				isum[t][m] = _mm256_add_epi32(isum[t][m], _mm256_madd_epi16(
					sum[t][m], scale[m]));
				KEEP(isum[t][m]);
#endif
			}
		}
	}
#if LINNET_VNNI
	UNROLL
	for (int t = 0; t < n; t++)
		UNROLL
		for (int m = 0; m < GROUPS; m++)
			isum[t][m] = _mm256_add_epi32(isum[t][m], _mm256_mullo_epi32(
				sum[t][m], scale[m]));
#endif
}

/* A panel and n tokens, which x has as well where weights have a sign */
ALWAYS_INLINE void tile(struct chains *c, const struct panel *p, const struct linnet_act256 *a,
			const struct wide_tokens *x, const int n, const struct traits traits)
{
	__m256i isum[TILE][GROUPS];

	/* gcc would load the minima once for all tiles, and then lack registers for sums */
	__asm__("" : "+r"(p));
	UNROLL
	for (int t = 0; t < n; t++)
		UNROLL
		for (int m = 0; m < GROUPS; m++)
			isum[t][m] = traits.offset ?
				min_sum(&p->min[0][m], GROUPS, a + t, traits.sub) :
				traits.is_signed ? p->npairs[m] : _mm256_setzero_si256();
	for (int j = 0; j < 256 / traits.sub; j++) {
		const int q0 = j * traits.sub / 4;

#if !LINNET_VNNI
		if (traits.is_signed) {
			wide_sub_block(isum, p, x, j, n);
			continue;
		}
#endif
		sub_block(isum, p->w + q0, p->scale[j], a, q0, n, traits);
	}
	(void)x;
	UNROLL
	for (int t = 0; t < n; t++)
		UNROLL
		for (int m = 0; m < GROUPS; m++)
			c[t].y[m] = traits.has_min ?
				chain_min(c[t].y[m], p->d[m], p->dmin[m], a[t].d, isum[t][m],
					  min_sum(&p->min[0][m], GROUPS, a + t, traits.sub)) :
				chain(c[t].y[m], p->d[m], a[t].d, isum[t][m]);
}

/* All panels and n tokens from t on, of n_tokens */
ALWAYS_INLINE void tiles(struct chains *c, const struct panel *p, size_t panels,
			 const struct linnet_act256 *a, size_t n_tokens, const int n,
			 const struct traits traits)
{
	struct wide_tokens x;

#if !LINNET_VNNI
	if (traits.is_signed)
		widen_tokens(&x, a, n);
#endif
	for (size_t i = 0; i < panels; i++)
		tile(c + i * n_tokens, p + i, a, &x, n, traits);
}

ALWAYS_INLINE void all_tiles(struct chains *c, const struct panel *p, size_t panels,
			     const struct linnet_act256 *a, size_t n_tokens,
			     const struct traits traits)
{
	size_t left = n_tokens;

	for (; left >= TILE; left -= TILE, c += TILE, a += TILE)
		tiles(c, p, panels, a, n_tokens, TILE, traits);
	switch (left) {
	case 3:
		tiles(c, p, panels, a, n_tokens, 3, traits);
		break;
	case 2:
		tiles(c, p, panels, a, n_tokens, 2, traits);
		break;
	case 1:
		tiles(c, p, panels, a, n_tokens, 1, traits);
		break;
	}
}

struct put_panel {
	struct panel *p;
	int m;
	bool is_signed;
};

ALWAYS_INLINE void put_panel(void *ctx, int j, const __m256i w[4])
{
	const struct put_panel *to = ctx;
	__m256i pairs = _mm256_setzero_si256();

	UNROLL
	for (int i = 0; i < 4; i++) {
		if (!to->is_signed) {
			to->p->w[4 * j + i][to->m] = w[i];
			continue;
		}
		to->p->w[4 * j + i][to->m] = even_bytes(w[i]);
		to->p->odd[4 * j + i][to->m] = odd_bytes(w[i]);
		pairs = _mm256_add_epi32(pairs, _mm256_madd_epi16(even_bytes(w[i]),
								  odd_bytes(w[i])));
	}
	if (to->is_signed)
		to->p->npairs[to->m] = _mm256_sub_epi32(to->p->npairs[to->m], _mm256_mullo_epi32(
			pairs, to->p->scale[j / 2][to->m]));
}

/* 8 rows of a super-block, as group m */
ALWAYS_INLINE void pack(struct panel *p, int m, struct rows *r, const struct traits traits,
			head_fn *head, weights_fn *weights)
{
	struct put_panel to = { p, m, traits.is_signed };
	struct head h;

	head(&h, r);
	UNROLL
	for (int j = 0; j < 256 / traits.sub; j++) {
		p->scale[j][m] = LINNET_VNNI || traits.is_signed ?
			_mm256_srai_epi32(h.scale[j], 16) : h.scale[j];
	}
	if (traits.is_signed)
		p->npairs[m] = _mm256_setzero_si256();
	UNROLL
	for (int i = 0; i < 128 / traits.sub; i++) {
		if (traits.offset)
			p->min[i][m] = _mm256_mullo_epi16(
				h.min[i], _mm256_set1_epi16((short)traits.offset));
		else if (traits.has_min)
			p->min[i][m] = h.min[i];
	}
	p->d[m] = h.d;
	if (traits.has_min)
		p->dmin[m] = h.dmin;
	weights(r, put_panel, &to);
}

/* y of 16 rows from their chains */
static void store(const struct linnet_matmul *mm, const struct chains *c, size_t row)
{
	for (int m = 0; m < GROUPS; m++) {
		const __m256i mask = rows_mask(mm, row + 8 * (size_t)m);
		float *y = mm->y + (row - mm->row0) + 8 * m;
		__m256 bias = _mm256_setzero_ps();

		if (mm->bias)
			bias = _mm256_maskload_ps(mm->bias + row + 8 * m, mask);
		for (size_t t = 0; t < mm->act->n_tokens; t++, y += mm->ldy)
			_mm256_maskstore_ps(y, mask, mm->bias ? _mm256_add_ps(c[t].y[m], bias) :
								c[t].y[m]);
	}
}

typedef void pack_fn(struct panel *p, int m, struct rows *r);
typedef void tiles_fn(struct chains *c, const struct panel *p, size_t panels,
		      const struct linnet_act256 *a, size_t n_tokens);

static void product(const struct linnet_matmul *mm, size_t block_bytes, pack_fn *pack_group,
		    tiles_fn *multiply)
{
	const size_t n_tokens = mm->act->n_tokens;
	struct panel *p = mm->scratch;
	struct chains *c = (struct chains *)(p + PANELS);

	prefetch_first(mm, ROWS);
	for (size_t row = mm->row0; row < mm->row1; row += ROWS) {
		const size_t left = mm->row1 - row;
		const size_t panels = left > 8 * GROUPS ? PANELS : 1;
		const struct linnet_act256 *a = mm->act->buf;
		const uint8_t *ahead = (const uint8_t *)mm->w + row * mm->row_bytes;
		struct rows r[PANELS][GROUPS];

		if (left > ROWS)	/* the next panels, one piece of memory */
			ahead += ROWS * mm->row_bytes;
		for (size_t i = 0; i < panels; i++)
			for (size_t m = 0; m < GROUPS; m++) {
				rows_start(&r[i][m], mm, row + (i * GROUPS + m) * 8, block_bytes);
				r[i][m].step = left > ROWS ? 128 : 0;
			}
		memset(c, 0, panels * n_tokens * sizeof(*c));
		for (size_t b = 0; b < mm->act->n_cols / 256; b++, a += n_tokens) {
			for (size_t i = 0; i < panels; i++)
				for (int m = 0; m < GROUPS; m++) {
					r[i][m].ahead = ahead;
					pack_group(p + i, m, &r[i][m]);
					rows_next(&r[i][m]);
					ahead = r[i][m].ahead;
				}
			multiply(c, p, panels, a, n_tokens);
		}
		for (size_t i = 0; i < panels; i++)
			store(mm, c + i * n_tokens, row + i * 8 * GROUPS);
	}
}

/* Functions of their own, so that registers are given out for these loops alone. */
#define MANY(type)								\
__attribute__((noinline))							\
static void pack_##type(struct panel *p, int m, struct rows *r)			\
{										\
	pack(p, m, r, traits_##type, head_##type, weights_##type);		\
}										\
										\
__attribute__((noinline))							\
static void tiles_##type(struct chains *c, const struct panel *p, size_t panels, \
			 const struct linnet_act256 *a, size_t n_tokens)	\
{										\
	all_tiles(c, p, panels, a, n_tokens, traits_##type);			\
}										\
										\
void LEVEL(linnet_many_##type)(const struct linnet_matmul *mm)			\
{										\
	product(mm, sizeof(struct linnet_block_##type), pack_##type, tiles_##type); \
}

MANY(q2_k)
MANY(q3_k)
MANY(q4_k)
MANY(q5_k)
MANY(q6_k)
MANY(iq4_xs)
