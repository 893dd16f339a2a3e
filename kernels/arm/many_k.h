/* SPDX-License-Identifier: MIT */
/*
 * Products of the Q256 types on AArch64 with many tokens, for levels with SDOT or SMMLA.
 * One super-block of some panels of 8 rows is unpacked and stays in the first-level cache
 * while all tokens meet it; their chains wait in the scratch for the next super-block.
 *
 * A tile is 8 rows times 4 tokens in 8 vectors: with SMMLA two rows times two tokens in
 * each, with SDOT four rows times a token. Integers of a sub-block are multiplied with
 * its scale where they lie. Q2_K and Q3_K have scales so small that weight times scale
 * is a byte: their panels have the products, sub-blocks need no sum of their own, and two
 * tiles share the loads of weights.
 */
#ifndef LINNET_KERNELS_ARM_MANY_K_H
#define LINNET_KERNELS_ARM_MANY_K_H

#include "kernels/arm/act.h"
#include "kernels/arm/rows_k.h"

#define ROWS	8			/* of a panel */
#define PANELS	LINNET_ARM_Q256_PANELS
#define TILE	LINNET_ARM_Q256_TILE

#ifdef __ARM_FEATURE_MATMUL_INT8
#define ROW_VECS	4		/* a row has two lanes */
#define TOKEN_VECS	2
#else
#define ROW_VECS	2
#define TOKEN_VECS	4
#endif
#define ROW_LANES	(ROW_VECS / 2)	/* of a row in vectors of 8 rows */

/*
 * 8 rows of a super-block. Rows in q: see step8(). The elements of min are sub-blocks,
 * those of 32 in the first 8.
 */
struct panel {
	int8_t q[32][4][16];
	int8_t min[2][4][16];
	int32_t scale[16][4 * ROW_VECS];
	float d[4 * ROW_VECS], dmin[4 * ROW_VECS];
} __attribute__((aligned(64)));

struct chains {
	float y[ROW_VECS][TOKEN_VECS][4];
};

_Static_assert(sizeof(struct panel) <= LINNET_ARM_Q256_PANEL, "room in the scratch");
_Static_assert(sizeof(struct chains) == LINNET_ARM_Q256_CHAINS, "room in the scratch");

struct sums {
	int32x4_t s[ROW_VECS][TOKEN_VECS];
};

/* -- unpacking ------------------------------------------------------------------- */

/* 8 elements of a row, whose first place in the panel is dst */
ALWAYS_INLINE void put8(int8_t *dst, uint8x8_t v)
{
#ifdef __ARM_FEATURE_MATMUL_INT8
	vst1_s8(dst, vreinterpret_s8_u8(v));
#else
	uint32_t x[2];

	x[0] = vget_lane_u32(vreinterpret_u32_u8(v), 0);
	x[1] = vget_lane_u32(vreinterpret_u32_u8(v), 1);
	memcpy(dst, &x[0], 4);
	memcpy(dst + 32, &x[1], 4);
#endif
}

ALWAYS_INLINE void put_panel(const struct super *s, int e, uint8x16_t v)
{
	put8(s->q + e * ROWS, vget_low_u8(v));
	put8(s->q + e * ROWS + 8 * ROWS, vget_high_u8(v));
}

/* The products are negative so that Q3_K's -4 times -32 fits a byte, too. */
ALWAYS_INLINE void put_product(const struct super *s, int e, uint8x16_t v)
{
	put_panel(s, e, vmulq_u8(v, vdupq_n_u8((uint8_t)-s->scale[e / 16])));
}

ALWAYS_INLINE void put_minima(int8_t *dst, const int16_t min[16], const int wide)
{
	const uint16x8_t lo = vreinterpretq_u16_s16(vld1q_s16(min));
	const uint16x8_t hi = vreinterpretq_u16_s16(vld1q_s16(min + 8));

	if (wide) {
		put8(dst, vmovn_u16(vuzp1q_u16(lo, hi)));
	} else {
		put8(dst, vmovn_u16(lo));
		put8(dst + 8 * ROWS, vmovn_u16(hi));
	}
}

/* Super-block b of 8 rows; those that are missing are the last one again. */
ALWAYS_INLINE void pack(const struct type *ty, struct panel *p, const struct linnet_matmul *mm,
			size_t row, size_t b)
{
	const uint8_t *w = (const uint8_t *)mm->w + row * mm->row_bytes + b * ty->bytes;
	const int n_scales = ty->products ? 0 : ty->wide ? 8 : 16;

	for (int r = 0; r < ROWS; r++) {
		struct super s = { .q = p->q[0][0] + 4 * ROW_LANES * r };

		ty->unpack(&s, w, ty->products ? put_product : put_panel);
		if (ty->has_min)
			put_minima(p->min[0][0] + 4 * ROW_LANES * r, s.min, ty->wide);
		UNROLL
		for (int i = 0; i < ROW_LANES; i++) {
			for (int j = 0; j < n_scales; j++)
				p->scale[j][ROW_LANES * r + i] = s.scale[ty->wide ? 2 * j : j];
			p->d[ROW_LANES * r + i] = ty->products ? -s.d : s.d;
			if (ty->has_min)
				p->dmin[ROW_LANES * r + i] = s.dmin;
		}
		if (row + (size_t)r + 1 < mm->row1)
			w += mm->row_bytes;
	}
}

/* -- products -------------------------------------------------------------------- */

/*
 * s += 8 elements of 8 rows and 4 tokens. Byte 8r + i of x[p] is element i of token 2p + r.
 * With SMMLA byte 8r + i of w[p] is element i of row 2p + r, else byte 4r + i of w[2e + h]
 * is element 4e + i of row 4h + r.
 */
ALWAYS_INLINE void step8(struct sums *s, const int8_t w[4][16], const int8_t x[2][16])
{
	const int8x16_t x0 = vld1q_s8(x[0]), x1 = vld1q_s8(x[1]);

#ifdef __ARM_FEATURE_MATMUL_INT8
	UNROLL
	for (int p = 0; p < 4; p++) {
		const int8x16_t v = vld1q_s8(w[p]);

		s->s[p][0] = vmmlaq_s32(s->s[p][0], v, x0);
		s->s[p][1] = vmmlaq_s32(s->s[p][1], v, x1);
	}
#else
	UNROLL
	for (int e = 0; e < 2; e++) {
		UNROLL
		for (int h = 0; h < 2; h++) {
			const int8x16_t v = vld1q_s8(w[2 * e + h]);

			s->s[h][0] = dot_lane(s->s[h][0], v, x0, e);
			s->s[h][1] = dot_lane(s->s[h][1], v, x0, 2 + e);
			s->s[h][2] = dot_lane(s->s[h][2], v, x1, e);
			s->s[h][3] = dot_lane(s->s[h][3], v, x1, 2 + e);
		}
	}
#endif
}

ALWAYS_INLINE void clear(struct sums *s)
{
	UNROLL
	for (int v = 0; v < ROW_VECS; v++)
		UNROLL
		for (int t = 0; t < TOKEN_VECS; t++)
			s->s[v][t] = vdupq_n_s32(0);
}

/* Sums of activations have two digits of base 128, so that they are products of bytes. */
ALWAYS_INLINE void minima(const struct type *ty, struct sums *s, const struct panel *p,
			  const struct linnet_arm_tile256 *a)
{
	UNROLL
	for (int digit = 0; digit < 2; digit++) {
		UNROLL
		for (int v = 0; v < ROW_VECS; v++)
			UNROLL
			for (int t = 0; t < TOKEN_VECS; t++)
				s->s[v][t] = digit ? vshlq_n_s32(s->s[v][t], 7) : vdupq_n_s32(0);
		if (ty->wide) {
			step8(s, p->min[0], a->sum32[digit]);
			continue;
		}
		step8(s, p->min[0], a->sum16[digit][0]);
		step8(s, p->min[1], a->sum16[digit][1]);
	}
}

ALWAYS_INLINE float32x4_t token_scales(const struct linnet_arm_tile256 *a, int t)
{
#ifdef __ARM_FEATURE_MATMUL_INT8
	const float32x2_t d = vld1_f32(a->d + 2 * t);

	return vcombine_f32(d, d);
#else
	return vld1q_dup_f32(a->d + t);
#endif
}

/*
 * The next link of the chains. d and isum are both negated where panels have products. That
 * and taking fma(d, isum, -m) as -(m - d * isum) may change the sign of a zero, which
 * makes no difference to a chain: it begins with 0 and so never becomes -0.
 */
ALWAYS_INLINE void next_link(const struct type *ty, struct chains *c, const struct panel *p,
			     const struct linnet_arm_tile256 *a, const struct sums *isum)
{
	float32x4_t da[TOKEN_VECS];
	struct sums msum;

	if (ty->has_min)
		minima(ty, &msum, p, a);
	UNROLL
	for (int t = 0; t < TOKEN_VECS; t++)
		da[t] = token_scales(a, t);
	UNROLL
	for (int v = 0; v < ROW_VECS; v++) {
		const float32x4_t dw = vld1q_f32(p->d + 4 * v);
		float32x4_t dmin = dw;

		if (ty->has_min)
			dmin = vld1q_f32(p->dmin + 4 * v);
		UNROLL
		for (int t = 0; t < TOKEN_VECS; t++) {
			const float32x4_t d = vmulq_f32(dw, da[t]);
			const float32x4_t sum = vcvtq_f32_s32(isum->s[v][t]);
			float32x4_t y = vld1q_f32(c->y[v][t]);

			if (ty->has_min) {
				const float32x4_t m = vmulq_f32(vmulq_f32(dmin, da[t]),
								vcvtq_f32_s32(msum.s[v][t]));

				y = vsubq_f32(y, vfmsq_f32(m, d, sum));
			} else {
				y = vfmaq_f32(y, d, sum);
			}
			vst1q_f32(c->y[v][t], y);
		}
	}
}

ALWAYS_INLINE void tile(const struct type *ty, struct chains *c, const struct panel *p,
			const struct linnet_arm_tile256 *a)
{
	const int steps = ty->wide ? 4 : 2;
	struct sums isum;

	clear(&isum);
	for (int j = 0; j < 32 / steps; j++) {
		struct sums dot;

		clear(&dot);
		UNROLL
		for (int k = 0; k < steps; k++)
			step8(&dot, p->q[steps * j + k], a->q[steps * j + k]);
		UNROLL
		for (int v = 0; v < ROW_VECS; v++) {
			const int32x4_t scale = vld1q_s32(p->scale[j] + 4 * v);

			UNROLL
			for (int t = 0; t < TOKEN_VECS; t++)
				isum.s[v][t] = vmlaq_s32(isum.s[v][t], dot.s[v][t], scale);
		}
	}
	next_link(ty, c, p, a, &isum);
}

/* n (1 or 2) tiles of a panel with products of weights and scales */
ALWAYS_INLINE void product_tiles(const struct type *ty, struct chains *c, const struct panel *p,
				 const struct linnet_arm_tile256 *a, const int n)
{
	struct sums isum[2];

	UNROLL
	for (int i = 0; i < n; i++)
		clear(&isum[i]);
	for (int k = 0; k < 32; k++)
		UNROLL
		for (int i = 0; i < n; i++)
			step8(&isum[i], p->q[k], a[i].q[k]);
	UNROLL
	for (int i = 0; i < n; i++)
		next_link(ty, c + i, p, a + i, &isum[i]);
}

/* All tiles of a super-block and n panels of it */
ALWAYS_INLINE void all_tiles(const struct type *ty, struct chains *c, const struct panel *p,
			     size_t n, const struct linnet_arm_tile256 *a, size_t tiles)
{
	size_t t = 0;

	for (; ty->products && t + 2 <= tiles; t += 2)
		for (size_t i = 0; i < n; i++)
			product_tiles(ty, c + i * tiles + t, p + i, a + t, 2);
	for (; t < tiles; t++)
		for (size_t i = 0; i < n; i++) {
			if (ty->products)
				product_tiles(ty, c + i * tiles + t, p + i, a + t, 1);
			else
				tile(ty, c + i * tiles + t, p + i, a + t);
		}
}

/* y of a panel's rows from their chains */
static void store(const struct linnet_matmul *mm, const struct chains *c, size_t row)
{
	const size_t n_rows = mm->row1 - row < ROWS ? mm->row1 - row : ROWS;
	const size_t n_tokens = mm->act->n_tokens;

	for (size_t t = 0; t < n_tokens; t += TILE, c++) {
		float v[TILE][ROWS];

		UNROLL
		for (int j = 0; j < TILE; j++)
			UNROLL
			for (int r = 0; r < ROWS; r++)
#ifdef __ARM_FEATURE_MATMUL_INT8
				v[j][r] = c->y[r / 2][j / 2][r % 2 * 2 + j % 2];
#else
				v[j][r] = c->y[r / 4][j][r % 4];
#endif
		for (size_t j = 0; j < TILE && t + j < n_tokens; j++) {
			float *y = mm->y + (t + j) * mm->ldy + (row - mm->row0);

			for (size_t r = 0; r < n_rows; r++)
				y[r] = mm->bias ? v[j][r] + mm->bias[row + r] : v[j][r];
		}
	}
}

typedef void pack_fn(struct panel *p, const struct linnet_matmul *mm, size_t row, size_t b);
typedef void tiles_fn(struct chains *c, const struct panel *p, size_t n,
		      const struct linnet_arm_tile256 *a, size_t tiles);

static void many(const struct linnet_matmul *mm, pack_fn *pack_rows, tiles_fn *multiply)
{
	const size_t tiles = linnet_arm_tiles256(mm->act->n_tokens);
	struct panel *p = mm->scratch;
	struct chains *c = (struct chains *)(p + PANELS);

	for (size_t row = mm->row0; row < mm->row1; row += PANELS * ROWS) {
		const size_t left = (mm->row1 - row + ROWS - 1) / ROWS;
		const size_t n = left < PANELS ? left : PANELS;
		const struct linnet_arm_tile256 *a = mm->act->buf;

		memset(c, 0, n * tiles * sizeof(*c));
		for (size_t b = 0; b < mm->act->n_cols / 256; b++, a += tiles) {
			for (size_t i = 0; i < n; i++)
				pack_rows(p + i, mm, row + i * ROWS, b);
			multiply(c, p, n, a, tiles);
		}
		for (size_t i = 0; i < n; i++)
			store(mm, c + i * tiles, row + i * ROWS);
	}
}

#endif
