/* SPDX-License-Identifier: MIT */
/*
 * Products of the super-block types with many tokens. One super-block of 32 rows at a
 * time is unpacked into a panel that stays in L1, and all tokens meet it, four at a
 * time; their chains wait in the scratch for the next super-block. vpdpbusd makes the
 * dot products of a sub-block, one vpmulld brings its scale in. Q2_K and Q3_K have
 * scales so small that weight times scale is a byte: their panels have the products.
 */
#include "kernels/x86/rows_k_avx512.h"

#define GROUPS	2		/* of 16 rows in a panel */
#define ROWS	(16 * GROUPS)
#define TILE	4		/* tokens */

struct panel {
	__m512i w[64][GROUPS];		/* elements 4k..4k + 3 */
	__m512i scale[16][GROUPS];	/* of sub-blocks */
	__m512i min[8][GROUPS];
	__m512 d[GROUPS], dmin[GROUPS];
};

struct chains {
	__m512 y[GROUPS];
};

/* What the inner loops of the types differ in. */
enum kind {
	SCALE32_MIN,		/* Q4_K Q5_K */
	SCALE32_OFF128,		/* IQ4_XS: weights + 128 */
	SCALE16_OFF32,		/* Q6_K: weights + 32 */
	PRODUCTS_MIN,		/* Q2_K: weight * scale */
	PRODUCTS_OFF124,	/* Q3_K: weight * scale + 124 */
};

ALWAYS_INLINE __m512i start_of_dot(enum kind kind, const struct linnet_act256 *a, int j)
{
	switch (kind) {
	case SCALE32_OFF128:
		return _mm512_set1_epi32(a->off32[j]);
	case SCALE16_OFF32:
		return _mm512_set1_epi32(a->off16[j]);
	default:
		return _mm512_setzero_si512();
	}
}

/* A panel and n tokens */
ALWAYS_INLINE void tile(struct chains *c, const struct panel *p, const struct linnet_act256 *a,
			int n, enum kind kind)
{
	const bool scaled = kind == PRODUCTS_MIN || kind == PRODUCTS_OFF124;
	const int len = kind == SCALE16_OFF32 ? 4 : 8;	/* dwords of a sub-block */
	const int pairs = kind == SCALE32_MIN ? 4 : kind == PRODUCTS_MIN ? 8 : 0;
	__m512i isum[TILE][GROUPS];

	/* gcc would load the minima once for all tiles, and then lack registers for sums */
	__asm__("" : "+r"(p));
	for (int t = 0; t < n; t++)
		for (int m = 0; m < GROUPS; m++)
			isum[t][m] = kind == PRODUCTS_OFF124 ?
				_mm512_set1_epi32(-124 * a[t].sum256) : _mm512_setzero_si512();

	for (int j = 0; j < 64 / len; j++) {
		__m512i dot[TILE][GROUPS];

		/* the tile after the next, 32 lines */
		for (int i = 0; i < len / 2; i++)
			prefetch_t0((const char *)(a + 2 * TILE) + (j * len / 2 + i) * 64);
		for (int t = 0; t < n; t++)
			for (int m = 0; m < GROUPS; m++)
				dot[t][m] = start_of_dot(kind, a + t, j);
		UNROLL
		for (int k = 0; k < len; k++) {
			const __m512i *w = p->w[j * len + k];

			for (int t = 0; t < n; t++) {
				__m512i q = _mm512_set1_epi32(a[t].q[j * len + k]);

				for (int m = 0; m < GROUPS; m++)
					dot[t][m] = _mm512_dpbusd_epi32(dot[t][m], w[m], q);
			}
		}
		for (int t = 0; t < n; t++)
			for (int m = 0; m < GROUPS; m++) {
				if (!scaled)
					dot[t][m] = _mm512_mullo_epi32(dot[t][m], p->scale[j][m]);
				isum[t][m] = _mm512_add_epi32(isum[t][m], dot[t][m]);
			}
	}

	for (int t = 0; t < n; t++)
		for (int m = 0; m < GROUPS; m++) {
			__m512i msum = _mm512_setzero_si512();

			UNROLL
			for (int i = 0; i < pairs; i++)
				msum = _mm512_dpwssd_epi32(msum, p->min[i][m], broadcast_pair(
					pairs == 4 ? a[t].sum32 : a[t].sum16, i));
			if (pairs)
				c[t].y[m] = chain_min(c[t].y[m], p->d[m], p->dmin[m], a[t].d,
						      isum[t][m], msum);
			else
				c[t].y[m] = chain(c[t].y[m], p->d[m], a[t].d, isum[t][m]);
		}
}

/* Functions of their own, so that registers are given out for these loops alone. */
#define TILES(name, kind)							\
__attribute__((noinline))							\
static void tiles_##name(struct chains *c, const struct panel *p,		\
			 const struct linnet_act256 *a, size_t n)		\
{										\
	for (; n >= TILE; n -= TILE, c += TILE, a += TILE)			\
		tile(c, p, a, TILE, kind);					\
	switch (n) {								\
	case 3:									\
		tile(c, p, a, 3, kind);						\
		break;								\
	case 2:									\
		tile(c, p, a, 2, kind);						\
		break;								\
	case 1:									\
		tile(c, p, a, 1, kind);						\
		break;								\
	}									\
}

TILES(scale32_min, SCALE32_MIN)
TILES(scale32_off128, SCALE32_OFF128)
TILES(scale16_off32, SCALE16_OFF32)
TILES(products_min, PRODUCTS_MIN)
TILES(products_off124, PRODUCTS_OFF124)

struct put_panel {
	struct panel *p;
	int m;
};

ALWAYS_INLINE void put_panel(void *ctx, int s, enum group_order order, __m512i w[4][4])
{
	const struct put_panel *to = ctx;

	UNROLL
	for (int g = 0; g < 4; g++)
		for (int i = 0; i < 4; i++)
			to->p->w[4 * group_of(order, s, g) + i][to->m] = w[g][i];
}

ALWAYS_INLINE void put_head(struct panel *p, int m, const struct head *h, int scales, int pairs)
{
	UNROLL
	for (int j = 0; j < scales; j++)
		p->scale[j][m] = h->scale[j];
	for (int i = 0; i < pairs; i++)
		p->min[i][m] = h->min[i];
	p->d[m] = h->d;
	if (pairs)
		p->dmin[m] = h->dmin;
}

#define PACK(type, scales, pairs)						\
__attribute__((noinline))							\
static void pack_##type(struct panel *p, int m, struct rows *r)			\
{										\
	struct put_panel to = { p, m };						\
	struct head h;								\
										\
	head_##type(&h, r);							\
	put_head(p, m, &h, scales, pairs);					\
	weights_##type(r, put_panel, &to);					\
}

PACK(q4_k, 8, 4)
PACK(q5_k, 8, 4)
PACK(q6_k, 16, 0)
PACK(iq4_xs, 8, 0)

#define PACK_PRODUCTS(type, pairs)						\
__attribute__((noinline))							\
static void pack_##type(struct panel *p, int m, struct rows *r)			\
{										\
	struct put_panel to = { p, m };						\
	struct head h;								\
										\
	products_##type(&h, r, put_panel, &to);					\
	put_head(p, m, &h, 0, pairs);						\
}

PACK_PRODUCTS(q2_k, 8)
PACK_PRODUCTS(q3_k, 0)

/* y of n_rows rows from their chains */
static void store(const struct linnet_matmul *mm, const struct chains *c, size_t row,
		  size_t n_rows)
{
	for (int m = 0; m < GROUPS; m++) {
		size_t done = 16 * (size_t)m;
		__mmask16 mask = row_mask(n_rows > done ? n_rows - done : 0);
		float *y = mm->y + (row - mm->row0) + done;
		__m512 bias = _mm512_setzero_ps();

		if (mm->bias)
			bias = _mm512_maskz_loadu_ps(mask, mm->bias + row + done);
		for (size_t t = 0; t < mm->act->n_tokens; t++, y += mm->ldy)
			_mm512_mask_storeu_ps(y, mask, mm->bias ? _mm512_add_ps(c[t].y[m], bias) :
								  c[t].y[m]);
	}
}

typedef void pack_fn(struct panel *p, int m, struct rows *r);
typedef void tiles_fn(struct chains *c, const struct panel *p, const struct linnet_act256 *a,
		      size_t n);

static void product(const struct linnet_matmul *mm, size_t block_bytes, pack_fn *pack,
		    tiles_fn *tiles)
{
	const size_t n_tokens = mm->act->n_tokens;
	struct panel *p = mm->scratch;
	struct chains *c = (struct chains *)(p + 1);

	for (size_t row = mm->row0; row < mm->row1; row += ROWS) {
		const size_t n_rows = mm->row1 - row < ROWS ? mm->row1 - row : ROWS;
		const struct linnet_act256 *a = mm->act->buf;
		const uint8_t *ahead = (const uint8_t *)mm->w + row * mm->row_bytes;
		const size_t step = mm->row1 - row > ROWS ? 256 : 0;
		struct rows r[GROUPS];

		if (step)	/* the next panel, one piece of memory */
			ahead += ROWS * mm->row_bytes;
		for (size_t m = 0; m < GROUPS; m++) {
			size_t first = 16 * m < n_rows ? 16 * m : n_rows - 1;

			rows_start(&r[m], mm, row + first,
				   n_rows - first < 16 ? n_rows - first : 16);
			r[m].block_bytes = block_bytes;
			r[m].step = step;
		}
		memset(c, 0, n_tokens * sizeof(*c));
		for (size_t b = 0; b < mm->act->n_cols / 256; b++, a += n_tokens) {
			for (int m = 0; m < GROUPS; m++) {
				r[m].ahead = ahead;
				pack(p, m, &r[m]);
				rows_next(&r[m]);
				ahead = r[m].ahead;
			}
			tiles(c, p, a, n_tokens);
		}
		store(mm, c, row, n_rows);
	}
}

size_t linnet_many_k_scratch_avx512(size_t n_tokens)
{
	return sizeof(struct panel) + n_tokens * sizeof(struct chains);
}

void linnet_many_q2_k_avx512(const struct linnet_matmul *mm)
{
	product(mm, sizeof(struct linnet_block_q2_k), pack_q2_k, tiles_products_min);
}

void linnet_many_q3_k_avx512(const struct linnet_matmul *mm)
{
	product(mm, sizeof(struct linnet_block_q3_k), pack_q3_k, tiles_products_off124);
}

void linnet_many_q4_k_avx512(const struct linnet_matmul *mm)
{
	product(mm, sizeof(struct linnet_block_q4_k), pack_q4_k, tiles_scale32_min);
}

void linnet_many_q5_k_avx512(const struct linnet_matmul *mm)
{
	product(mm, sizeof(struct linnet_block_q5_k), pack_q5_k, tiles_scale32_min);
}

void linnet_many_q6_k_avx512(const struct linnet_matmul *mm)
{
	product(mm, sizeof(struct linnet_block_q6_k), pack_q6_k, tiles_scale16_off32);
}

void linnet_many_iq4_xs_avx512(const struct linnet_matmul *mm)
{
	product(mm, sizeof(struct linnet_block_iq4_xs), pack_iq4_xs, tiles_scale32_off128);
}
