/* SPDX-License-Identifier: MIT */
/*
 * Products of the Q256 types on AArch64; order in kernels.h. With few tokens a super-block
 * of a row is unpacked into signed bytes, 16 scales and 16 minima once and meets all tokens.
 * Sums of 16 elements are multiplied with their scale while they lie in four lanes; a type
 * whose scales belong to 32 elements adds two such sums first. More tokens go over panels
 * of 8 rows, where there are instructions for them: many_k.h.
 */
#include "kernels/arm/act.h"
#include "kernels/arm/arm.h"
#include "kernels/arm/rows_k.h"
#ifdef __ARM_FEATURE_DOTPROD
#include "kernels/arm/many_k.h"
#endif

/* Tokens whose chains are kept at once */
#define TOKENS 32

/* A row's elements in their order */
ALWAYS_INLINE void put_row(const struct super *s, int e, uint8x16_t v)
{
	vst1q_s8(s->q + e, vreinterpretq_s8_u8(v));
}

ALWAYS_INLINE int32_t scaled_sum(const struct type *ty, const struct super *w, const int8_t *a)
{
	int32x4_t sum = vdupq_n_s32(0);

	UNROLL
	for (int j = 0; j < 16; j += 2) {
		int32x4_t s = dot16(vdupq_n_s32(0), vld1q_s8(w->q + 16 * j), vld1q_s8(a + 16 * j));

		if (ty->wide) {
			s = dot16(s, vld1q_s8(w->q + 16 * j + 16), vld1q_s8(a + 16 * j + 16));
		} else {
			sum = vmlaq_n_s32(sum, s, w->scale[j]);
			s = dot16(vdupq_n_s32(0), vld1q_s8(w->q + 16 * j + 16),
				  vld1q_s8(a + 16 * j + 16));
		}
		sum = vmlaq_n_s32(sum, s, w->scale[ty->wide ? j : j + 1]);
	}
	return vaddvq_s32(sum);
}

ALWAYS_INLINE int32_t minima_sum(const struct super *w, const struct linnet_act256 *a)
{
	int32x4_t sum = vdupq_n_s32(0);

	UNROLL
	for (int j = 0; j < 16; j += 4)
		sum = vmlal_s16(sum, vld1_s16(w->min + j), vld1_s16(a->sum + j));
	return vaddvq_s32(sum);
}

/* Row r times tokens [t0, t0 + n) */
ALWAYS_INLINE void row(const struct type *ty, const struct linnet_matmul *mm, size_t r, size_t t0,
		       size_t n)
{
	const uint8_t *p = (const uint8_t *)mm->w + r * mm->row_bytes;
	const struct linnet_act256 *a = (const struct linnet_act256 *)mm->act->buf + t0;
	float acc[TOKENS] = { 0 };
	int8_t q[256];
	struct super w = { .q = q };

	for (size_t b = 0; b < mm->act->n_cols / 256; b++) {
		ty->unpack(&w, p + b * ty->bytes, put_row);
		for (size_t t = 0; t < n; t++) {
			const float d = w.d * a[t].d;
			const float sum = (float)scaled_sum(ty, &w, a[t].q);

			if (ty->has_min)
				acc[t] += __builtin_fmaf(d, sum, -((w.dmin * a[t].d) *
								   (float)minima_sum(&w, &a[t])));
			else
				acc[t] = __builtin_fmaf(d, sum, acc[t]);
		}
		a += mm->act->n_tokens;
	}
	for (size_t t = 0; t < n; t++)
		mm->y[(t0 + t) * mm->ldy + (r - mm->row0)] =
			mm->bias ? acc[t] + mm->bias[r] : acc[t];
}

ALWAYS_INLINE void few(const struct type *ty, const struct linnet_matmul *mm)
{
	const size_t n = mm->act->n_tokens;

	for (size_t t = 0; t < n; t += TOKENS)
		for (size_t r = mm->row0; r < mm->row1; r++)
			row(ty, mm, r, t, n - t < TOKENS ? n - t : TOKENS);
}

#define TYPE(name, has_min, wide, products)					\
static const struct type type_##name = {					\
	unpack_##name, sizeof(struct linnet_block_##name), has_min, wide, products, \
}

#ifdef __ARM_FEATURE_DOTPROD
/* Functions of their own, so that registers are given out for these loops alone. */
#define Q256(name, ...)								\
TYPE(name, __VA_ARGS__);							\
										\
__attribute__((noinline))							\
static void pack_##name(struct panel *p, const struct linnet_matmul *mm, size_t row, size_t b) \
{										\
	pack(&type_##name, p, mm, row, b);					\
}										\
										\
__attribute__((noinline))							\
static void tiles_##name(struct chains *c, const struct panel *p, size_t n,	\
			 const struct linnet_arm_tile256 *a, size_t tiles)	\
{										\
	all_tiles(&type_##name, c, p, n, a, tiles);				\
}										\
										\
static void matmul_##name(const struct linnet_matmul *mm)			\
{										\
	if (mm->act->n_tokens > LINNET_ARM_Q256_FEW)				\
		many(mm, pack_##name, tiles_##name);				\
	else									\
		few(&type_##name, mm);						\
}
#else
#define Q256(name, ...)								\
TYPE(name, __VA_ARGS__);							\
										\
static void matmul_##name(const struct linnet_matmul *mm)			\
{										\
	few(&type_##name, mm);							\
}
#endif

Q256(q2_k, 1, 0, 1)
Q256(q3_k, 0, 0, 1)
Q256(q4_k, 1, 1, 0)
Q256(q5_k, 1, 1, 0)
Q256(q6_k, 0, 0, 0)
Q256(iq4_xs, 0, 1, 0)

static void fill_k(struct linnet_kernels *k)
{
	k->matmul[LINNET_TYPE_Q2_K] = matmul_q2_k;
	k->matmul[LINNET_TYPE_Q3_K] = matmul_q3_k;
	k->matmul[LINNET_TYPE_Q4_K] = matmul_q4_k;
	k->matmul[LINNET_TYPE_Q5_K] = matmul_q5_k;
	k->matmul[LINNET_TYPE_Q6_K] = matmul_q6_k;
	k->matmul[LINNET_TYPE_IQ4_XS] = matmul_iq4_xs;
}
