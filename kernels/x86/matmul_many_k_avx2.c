/* SPDX-License-Identifier: MIT */
/*
 * Products of the super-block types on AVX2 with many tokens. One super-block of two times
 * 16 rows is unpacked into panels that stay in L1, and all tokens meet them, a few at a
 * time; their chains wait in the scratch for the next super-block. Weights with a sign become
 * unsigned ones, whose products are too large for vpmaddubsw: it multiplies their halves of
 * four bits apart.
 */
#include "kernels/x86/rows_k_avx2.h"

#define GROUPS	2			/* of 8 rows in a panel */
#define PANELS	LINNET_Q256_PANELS
#define ROWS	(8 * GROUPS * PANELS)
#define TILE	4			/* tokens */

struct panel {
	__m256i w[64][GROUPS];		/* elements 4k..4k + 3 */
	__m256i scale[16][GROUPS];	/* of sub-blocks; with VNNI as dwords, else as in the head */
	__m256i min[8][GROUPS];		/* times the offset, where a type has one */
	__m256 d[GROUPS], dmin[GROUPS];
	__m256i high[64][GROUPS];	/* the high halves of weights with a sign, whose w are the */
	__m256i high_scale[8][GROUPS];	/* low ones; 16 times the scale */
};

struct chains {
	__m256 y[GROUPS];
};

_Static_assert(sizeof(struct panel) <= LINNET_Q256_PANEL, "room in the scratch");
_Static_assert(sizeof(struct chains) == LINNET_Q256_CHAINS, "room in the scratch");

/* The order of sums keeps few of them alive; gcc would change it. */
#define KEEP(v)	__asm__("" : "+x"(v))

/* Traits of what a panel has */
ALWAYS_INLINE struct traits in_panel(struct traits t)
{
	if (t.is_signed) {
		t.offset = -128;
		t.fit = 8;
	}
	return t;
}

/* isum += the weights of a sub-block times n tokens, from dword q0 of theirs on */
ALWAYS_INLINE void sub_block(__m256i isum[TILE][GROUPS], const __m256i (*w)[GROUPS],
			     const __m256i scale[GROUPS], const struct linnet_act256 *a, int q0,
			     const int n, const struct traits traits)
{
	const int len = traits.sub / 4;
	__m256i sum[TILE][GROUPS];

	/* gcc would keep the activations of the low halves for the high ones, and spill */
	if (traits.is_signed)
		__asm__ volatile("" : "+r"(a));
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

/* A panel and n tokens */
ALWAYS_INLINE void tile(struct chains *c, const struct panel *p, const struct linnet_act256 *a,
			const int n, const struct traits traits)
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
				_mm256_setzero_si256();
	for (int j = 0; j < 256 / traits.sub; j++) {
		const int q0 = j * traits.sub / 4;

		sub_block(isum, p->w + q0, p->scale[j], a, q0, n, traits);
		if (traits.is_signed)
			sub_block(isum, p->high + q0, p->high_scale[j], a, q0, n, traits);
	}
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
	for (size_t i = 0; i < panels; i++)
		tile(c + i * n_tokens, p + i, a, n, traits);
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

	UNROLL
	for (int i = 0; i < 4; i++) {
		const __m256i u = _mm256_xor_si256(w[i], _mm256_set1_epi8(-128));

		to->p->w[4 * j + i][to->m] = to->is_signed ? and8(u, 15) : w[i];
		if (to->is_signed)
			to->p->high[4 * j + i][to->m] = move_bits(u, 4, 0, 4);
	}
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
		p->scale[j][m] = LINNET_VNNI ? _mm256_srai_epi32(h.scale[j], 16) : h.scale[j];
		if (traits.is_signed)
			p->high_scale[j][m] = _mm256_slli_epi16(h.scale[j], 4);
	}
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
	pack(p, m, r, in_panel(traits_##type), head_##type, weights_##type);		\
}										\
										\
__attribute__((noinline))							\
static void tiles_##type(struct chains *c, const struct panel *p, size_t panels, \
			 const struct linnet_act256 *a, size_t n_tokens)	\
{										\
	all_tiles(c, p, panels, a, n_tokens, in_panel(traits_##type));			\
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
