/* SPDX-License-Identifier: MIT */
/*
 * Products of the Q32 types on AArch64; orders in kernels.h. A type is a function that
 * unpacks a block into signed bytes, plus a bias that the products take off again.
 *
 * Few tokens: two rows times four blocks. The sums of four blocks become the lanes of a
 * vector, which is at the same time the four chains of the order.
 *
 * Many tokens: 8 rows are unpacked into a panel, chain after chain; a tile is 8 rows
 * times 4 tokens. The accumulators of a tile stay in registers for a whole chain and
 * are then added to y, which gives the same order. SMMLA multiplies two rows with two
 * tokens, so there the panel has pairs of rows.
 */
#include "kernels/arm/act.h"
#include "kernels/arm/arm.h"
#include "kernels/arm/neon.h"
#include "kernels/blocks.h"
#include "kernels/half.h"

#include <stdbool.h>
#include <string.h>

struct unpacked {
	int8x16_t lo, hi;	/* elements 0..15 and 16..31 */
};

struct type {
	struct unpacked (*unpack)(const uint8_t *block);
	size_t bytes;		/* of a block */
	int bias;		/* log2 of what is to be subtracted from each element; 0: nothing */
	int scale;		/* enum */
};

enum { SCALE_HALF, SCALE_AND_MIN, SCALE_E8M0 };

ALWAYS_INLINE struct unpacked nibbles(const uint8_t *p)
{
	uint8x16_t q = vld1q_u8(p);

	return (struct unpacked) {
		vreinterpretq_s8_u8(vandq_u8(q, vdupq_n_u8(15))),
		vreinterpretq_s8_u8(vshrq_n_u8(q, 4)),
	};
}

/* Byte i: 16 when bit i of the two bytes at p is set */
ALWAYS_INLINE int8x16_t fifth(const uint8_t *p)
{
	const uint8x16_t bit = { 1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128 };
	uint8x16_t q = vcombine_u8(vdup_n_u8(p[0]), vdup_n_u8(p[1]));

	return vreinterpretq_s8_u8(vandq_u8(vtstq_u8(q, bit), vdupq_n_u8(16)));
}

ALWAYS_INLINE struct unpacked fives(const uint8_t *qh, const uint8_t *qs)
{
	struct unpacked u = nibbles(qs);

	u.lo = vorrq_s8(u.lo, fifth(qh));
	u.hi = vorrq_s8(u.hi, fifth(qh + 2));
	return u;
}

ALWAYS_INLINE struct unpacked table(const int8_t values[16], const uint8_t *qs)
{
	struct unpacked u = nibbles(qs);
	const int8x16_t t = vld1q_s8(values);

	u.lo = vqtbl1q_s8(t, vreinterpretq_u8_s8(u.lo));
	u.hi = vqtbl1q_s8(t, vreinterpretq_u8_s8(u.hi));
	return u;
}

ALWAYS_INLINE struct unpacked unpack_q4_0(const uint8_t *p) { return nibbles(p + 2); }
ALWAYS_INLINE struct unpacked unpack_q4_1(const uint8_t *p) { return nibbles(p + 4); }
ALWAYS_INLINE struct unpacked unpack_q5_0(const uint8_t *p) { return fives(p + 2, p + 6); }
ALWAYS_INLINE struct unpacked unpack_q5_1(const uint8_t *p) { return fives(p + 4, p + 8); }

ALWAYS_INLINE struct unpacked unpack_q8_0(const uint8_t *p)
{
	return (struct unpacked){ vld1q_s8((const int8_t *)p + 2),
				  vld1q_s8((const int8_t *)p + 18) };
}

ALWAYS_INLINE struct unpacked unpack_iq4_nl(const uint8_t *p)
{
	return table(linnet_iq4_values, p + 2);
}

ALWAYS_INLINE struct unpacked unpack_mxfp4(const uint8_t *p)
{
	return table(linnet_mxfp4_values, p + 1);
}

/* Halves at p, p + apart, ... */
ALWAYS_INLINE float32x4_t halves4(const uint8_t *p, size_t apart)
{
	uint16_t h[4];

	UNROLL
	for (int i = 0; i < 4; i++)
		memcpy(&h[i], p + i * apart, 2);
	return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(h)));
}

ALWAYS_INLINE float32x4_t scales4(const struct type *ty, const uint8_t *p, size_t apart)
{
	float d[4];

	if (ty->scale != SCALE_E8M0)
		return halves4(p, apart);
	UNROLL
	for (int i = 0; i < 4; i++)
		d[i] = linnet_e8m0_half_to_f32(p[i * apart]);
	return vld1q_f32(d);
}

/* -- few tokens ------------------------------------------------------------------ */

/* acc[t] += 4 blocks of a row times the group of token t */
ALWAYS_INLINE void step(const struct type *ty, float32x4_t *acc, const uint8_t *p,
			const struct linnet_q32_group *g, const int n_tok)
{
	const float32x4_t d = scales4(ty, p, ty->bytes);
	float32x4_t m = vdupq_n_f32(0);
	struct unpacked w[4];

	if (ty->scale == SCALE_AND_MIN)
		m = halves4(p + 2, ty->bytes);
	UNROLL
	for (int b = 0; b < 4; b++)
		w[b] = ty->unpack(p + b * ty->bytes);
	UNROLL
	for (int t = 0; t < n_tok; t++, g++) {
		int32x4_t c[4], s;

		UNROLL
		for (int b = 0; b < 4; b++) {
			c[b] = dot16(vdupq_n_s32(0), w[b].lo, vld1q_s8(g->q + 32 * b));
			c[b] = dot16(c[b], w[b].hi, vld1q_s8(g->q + 32 * b + 16));
		}
		s = sums4(c[0], c[1], c[2], c[3]);
		if (ty->bias)
			s = vaddq_s32(s, vshlq_s32(vld1q_s32(g->nsum), vdupq_n_s32(ty->bias)));
		acc[t] = vfmaq_f32(acc[t], vcvtq_f32_s32(s), vmulq_f32(d, vld1q_f32(g->d)));
		if (ty->scale == SCALE_AND_MIN)
			acc[t] = vfmaq_f32(acc[t], m, vld1q_f32(g->dsum));
	}
}

/* All tokens, of which there are n_tok (a constant) */
ALWAYS_INLINE void few(const struct type *ty, const struct linnet_matmul *mm, const int n_tok)
{
	const size_t groups = linnet_q32_groups(mm->act->n_cols);
	const size_t tail = mm->act->n_cols / 32 % 4 * ty->bytes;

	for (size_t r = mm->row0; r < mm->row1; r++) {
		const uint8_t *p = (const uint8_t *)mm->w + r * mm->row_bytes;
		const struct linnet_q32_group *g = mm->act->buf;
		float32x4_t acc[LINNET_Q32_FEW];
		uint8_t rest[4 * 34];

		UNROLL
		for (int t = 0; t < n_tok; t++)
			acc[t] = vdupq_n_f32(0);
		for (size_t left = groups; left; left--, p += 4 * ty->bytes, g += n_tok) {
			if (left == 1 && tail) {
				/* missing blocks: d and the activations are 0 */
				memset(rest, 0, sizeof(rest));
				memcpy(rest, p, tail);
				p = rest;
			}
			step(ty, acc, p, g, n_tok);
		}
		UNROLL
		for (int t = 0; t < n_tok; t++) {
			float y = ((vgetq_lane_f32(acc[t], 0) + vgetq_lane_f32(acc[t], 1)) +
				   vgetq_lane_f32(acc[t], 2)) + vgetq_lane_f32(acc[t], 3);

			mm->y[(size_t)t * mm->ldy + (r - mm->row0)] =
				mm->bias ? y + mm->bias[r] : y;
		}
	}
}

/* -- many tokens ----------------------------------------------------------------- */

/* n_rows (at most 8) at w, all blocks, chain after chain */
ALWAYS_INLINE void pack_panel(const struct type *ty, struct linnet_arm_panel_block *dst,
			      const uint8_t *w, size_t row_bytes, size_t n_rows, size_t n_blocks)
{
	struct linnet_arm_panel_block *chain[LINNET_Q32_CHAINS];
	const uint8_t *p[LINNET_ARM_PANEL_ROWS];

	/* rows that are missing are the last one again; nobody looks at their sums */
	for (size_t r = 0; r < LINNET_ARM_PANEL_ROWS; r++)
		p[r] = w + (r < n_rows ? r : n_rows - 1) * row_bytes;
	for (size_t s = 0; s < LINNET_Q32_CHAINS; s++)
		chain[s] = dst + linnet_q32_chain(n_blocks, s);
	for (size_t b = 0; b < n_blocks; b++) {
		struct linnet_arm_panel_block *out = chain[b % LINNET_Q32_CHAINS]++;

		for (int r = 0; r < LINNET_ARM_PANEL_ROWS; r++) {
			const uint8_t *block = p[r] + b * ty->bytes;
			const struct unpacked u = ty->unpack(block);
			int8_t q[32];
			uint16_t h;

			vst1q_s8(q, u.lo);
			vst1q_s8(q + 16, u.hi);
#ifdef __ARM_FEATURE_MATMUL_INT8
			for (int k = 0; k < 4; k++)
				memcpy(out->q[2 * k + r / 4][r / 2 % 2] + 8 * (r % 2),
				       q + 8 * k, 8);
#else
			for (int k = 0; k < 8; k++)
				memcpy(out->q[k][r / 4] + 4 * (r % 4), q + 4 * k, 4);
#endif
			memcpy(&h, block, 2);
			out->d[r] = ty->scale == SCALE_E8M0 ? linnet_e8m0_half_to_f32(*block) :
							      linnet_f16_to_f32(h);
			memcpy(&h, block + 2, 2);
			out->m[r] = ty->scale == SCALE_AND_MIN ? linnet_f16_to_f32(h) : 0;
		}
	}
}

#define TILE_TOKENS	4

/*
 * s[j][h] = the products of a block's rows 4h .. + 3 with token j0 + j, the bias taken off
 */
#ifdef __ARM_FEATURE_MATMUL_INT8
ALWAYS_INLINE void tile_dots(const struct type *ty, int32x4_t s[TILE_TOKENS][2],
			     const struct linnet_arm_panel_block *w,
			     const struct linnet_q32_tile *a, size_t j0)
{
	int32x4_t c[4][TILE_TOKENS / 2];	/* of two rows, each with two tokens */

	UNROLL
	for (int t = 0; t < TILE_TOKENS / 2; t++) {
		int32x2_t start = vdup_n_s32(0);

		if (ty->bias)
			start = vshl_s32(vld1_s32(a->nsum + j0 + 2 * t), vdup_n_s32(ty->bias));
		UNROLL
		for (int p = 0; p < 4; p++)
			c[p][t] = vcombine_s32(start, start);
	}
	UNROLL
	for (int half = 0; half < 2; half++) {
		int8x16_t x[2][TILE_TOKENS / 2];	/* eight elements of two tokens */

		UNROLL
		for (int t = 0; t < TILE_TOKENS / 2; t++) {
			const int64x2_t x0 = vreinterpretq_s64_s8(
				vld1q_s8(a->q[j0 + 2 * t] + 16 * half));
			const int64x2_t x1 = vreinterpretq_s64_s8(
				vld1q_s8(a->q[j0 + 2 * t + 1] + 16 * half));

			x[0][t] = vreinterpretq_s8_s64(vzip1q_s64(x0, x1));
			x[1][t] = vreinterpretq_s8_s64(vzip2q_s64(x0, x1));
		}
		UNROLL
		for (int k = 0; k < 2; k++) {
			UNROLL
			for (int p = 0; p < 4; p++) {
				const int8x16_t v = vld1q_s8(w->q[4 * half + 2 * k + p / 2][p % 2]);

				UNROLL
				for (int t = 0; t < TILE_TOKENS / 2; t++)
					c[p][t] = vmmlaq_s32(c[p][t], v, x[k][t]);
			}
		}
	}
	UNROLL
	for (int t = 0; t < TILE_TOKENS / 2; t++) {
		UNROLL
		for (int h = 0; h < 2; h++) {
			s[2 * t][h] = vuzp1q_s32(c[2 * h][t], c[2 * h + 1][t]);
			s[2 * t + 1][h] = vuzp2q_s32(c[2 * h][t], c[2 * h + 1][t]);
		}
	}
}
#else
ALWAYS_INLINE void tile_dots(const struct type *ty, int32x4_t s[TILE_TOKENS][2],
			     const struct linnet_arm_panel_block *w,
			     const struct linnet_q32_tile *a, size_t j0)
{
	UNROLL
	for (int j = 0; j < TILE_TOKENS; j++)
		s[j][0] = s[j][1] = ty->bias ? vshlq_s32(vdupq_n_s32(a->nsum[j0 + j]),
							 vdupq_n_s32(ty->bias)) : vdupq_n_s32(0);
	UNROLL
	for (int half = 0; half < 2; half++) {
		int8x16_t x[TILE_TOKENS];

		UNROLL
		for (int j = 0; j < TILE_TOKENS; j++)
			x[j] = vld1q_s8(a->q[j0 + j] + 16 * half);
		UNROLL
		for (int k = 0; k < 4; k++) {
			const int8x16_t w0 = vld1q_s8(w->q[4 * half + k][0]);
			const int8x16_t w1 = vld1q_s8(w->q[4 * half + k][1]);

			UNROLL
			for (int j = 0; j < TILE_TOKENS; j++) {
				s[j][0] = dot_lane(s[j][0], w0, x[j], k);
				s[j][1] = dot_lane(s[j][1], w1, x[j], k);
			}
		}
	}
}
#endif

/* acc += one block of a panel times tokens [j0, j0 + 4) of a tile */
ALWAYS_INLINE void tile_step(const struct type *ty, float32x4_t acc[TILE_TOKENS][2],
			     const struct linnet_arm_panel_block *w,
			     const struct linnet_q32_tile *a, size_t j0)
{
	int32x4_t s[TILE_TOKENS][2];

	tile_dots(ty, s, w, a, j0);
	UNROLL
	for (int h = 0; h < 2; h++) {
		const float32x4_t d = vld1q_f32(w->d + 4 * h);

		UNROLL
		for (int j = 0; j < TILE_TOKENS; j++) {
			acc[j][h] = vfmaq_f32(acc[j][h], vcvtq_f32_s32(s[j][h]),
					      vmulq_n_f32(d, a->d[j0 + j]));
			if (ty->scale == SCALE_AND_MIN)
				acc[j][h] = vfmaq_n_f32(acc[j][h], vld1q_f32(w->m + 4 * h),
							a->dsum[j0 + j]);
		}
	}
}

/* Rows [row, row + n_rows) times n_tok tokens from token t on, one chain */
ALWAYS_INLINE void tile(const struct type *ty, const struct linnet_matmul *mm, size_t row,
			size_t t, size_t s, const struct linnet_arm_panel_block *w,
			const struct linnet_q32_tile *a, size_t len)
{
	const size_t n_rows = mm->row1 - row < LINNET_ARM_PANEL_ROWS ? mm->row1 - row :
								       LINNET_ARM_PANEL_ROWS;
	const size_t left = mm->act->n_tokens - t;
	const size_t n_tok = left < LINNET_Q32_TILE ? left : LINNET_Q32_TILE;

	for (size_t j0 = 0; j0 < n_tok; j0 += TILE_TOKENS) {
		float32x4_t acc[TILE_TOKENS][2];

		UNROLL
		for (int j = 0; j < TILE_TOKENS; j++)
			acc[j][0] = acc[j][1] = vdupq_n_f32(0);
		for (size_t b = 0; b < len; b++)
			tile_step(ty, acc, w + b, a + b, j0);
		for (size_t j = 0; j < TILE_TOKENS && j0 + j < n_tok; j++) {
			float *y = mm->y + (t + j0 + j) * mm->ldy + (row - mm->row0), v[8];

			vst1q_f32(v, acc[j][0]);
			vst1q_f32(v + 4, acc[j][1]);
			for (size_t r = 0; r < n_rows; r++) {
				float sum = s ? y[r] + v[r] : v[r];

				y[r] = s == LINNET_Q32_CHAINS - 1 && mm->bias ?
				       sum + mm->bias[row + r] : sum;
			}
		}
	}
}

ALWAYS_INLINE void many(const struct type *ty, const struct linnet_matmul *mm)
{
	const size_t n_blocks = mm->act->n_cols / 32, tiles = linnet_q32_tiles(mm->act->n_tokens);
	const size_t at_once = linnet_arm_panels(mm->act->n_cols);
	struct linnet_arm_panel_block *panels = mm->scratch;

	for (size_t row = mm->row0; row < mm->row1; row += at_once * LINNET_ARM_PANEL_ROWS) {
		size_t n = (mm->row1 - row + LINNET_ARM_PANEL_ROWS - 1) / LINNET_ARM_PANEL_ROWS;

		n = n < at_once ? n : at_once;
		for (size_t i = 0; i < n; i++) {
			size_t r = row + i * LINNET_ARM_PANEL_ROWS, left = mm->row1 - r;

			pack_panel(ty, panels + i * n_blocks,
				   (const uint8_t *)mm->w + r * mm->row_bytes, mm->row_bytes,
				   left < LINNET_ARM_PANEL_ROWS ? left : LINNET_ARM_PANEL_ROWS,
				   n_blocks);
		}
		for (size_t s = 0; s < LINNET_Q32_CHAINS; s++) {
			const size_t b0 = linnet_q32_chain(n_blocks, s);
			const size_t len = linnet_q32_chain(n_blocks, s + 1) - b0;
			const struct linnet_q32_tile *a =
				(const struct linnet_q32_tile *)mm->act->buf + b0 * tiles;

			for (size_t t = 0; t < tiles; t++, a += len)
				for (size_t i = 0; i < n; i++)
					tile(ty, mm, row + i * LINNET_ARM_PANEL_ROWS,
					     t * LINNET_Q32_TILE, s,
					     panels + i * n_blocks + b0, a, len);
		}
	}
}

ALWAYS_INLINE void matmul(const struct type *ty, const struct linnet_matmul *mm)
{
	switch (mm->act->n_tokens) {
	case 0:
		break;
	case 1:
		few(ty, mm, 1);
		break;
	case 2:
		few(ty, mm, 2);
		break;
	case 3:
		few(ty, mm, 3);
		break;
	case 4:
		few(ty, mm, 4);
		break;
	default:
		many(ty, mm);
	}
}

#define Q32(name, bias, scale)							\
static void matmul_##name(const struct linnet_matmul *mm)			\
{										\
	const struct type ty = { unpack_##name, sizeof(struct linnet_block_##name), bias, scale }; \
										\
	matmul(&ty, mm);							\
}

Q32(q4_0, 3, SCALE_HALF)
Q32(q4_1, 0, SCALE_AND_MIN)
Q32(q5_0, 4, SCALE_HALF)
Q32(q5_1, 0, SCALE_AND_MIN)
Q32(q8_0, 0, SCALE_HALF)
Q32(iq4_nl, 0, SCALE_HALF)
Q32(mxfp4, 0, SCALE_E8M0)

static void fill_q32(struct linnet_kernels *k)
{
	k->matmul[LINNET_TYPE_Q4_0] = matmul_q4_0;
	k->matmul[LINNET_TYPE_Q4_1] = matmul_q4_1;
	k->matmul[LINNET_TYPE_Q5_0] = matmul_q5_0;
	k->matmul[LINNET_TYPE_Q5_1] = matmul_q5_1;
	k->matmul[LINNET_TYPE_Q8_0] = matmul_q8_0;
	k->matmul[LINNET_TYPE_IQ4_NL] = matmul_iq4_nl;
	k->matmul[LINNET_TYPE_MXFP4] = matmul_mxfp4;
}
