/* SPDX-License-Identifier: MIT */
/*
 * Products of the Q256 types on AArch64; order in kernels.h. A super-block of a row is
 * unpacked into signed bytes, 16 scales and 16 minima once and meets all tokens. Sums of
 * 16 elements are multiplied with their scale while they lie in four lanes; a type
 * whose scales belong to 32 elements adds two such sums first.
 */
#include "kernels/arm/act.h"
#include "kernels/arm/arm.h"
#include "kernels/arm/neon.h"
#include "kernels/blocks.h"
#include "kernels/half.h"

#include <string.h>

/* Tokens whose chains are kept at once */
#define TOKENS 32

struct super {
	int8_t q[256];
	int32_t scale[16];
	int16_t min[16];
	float d, dmin;
};

struct type {
	void (*unpack)(struct super *s, const uint8_t *block);
	size_t bytes;
	int has_min, wide;	/* wide: a scale for 32 elements, in its even place */
};

ALWAYS_INLINE void put(int8_t *q, uint8x16_t v)
{
	vst1q_s8(q, vreinterpretq_s8_u8(v));
}

ALWAYS_INLINE float half_at(const uint8_t *p)
{
	uint16_t h;

	memcpy(&h, p, 2);
	return linnet_f16_to_f32(h);
}

/* Two bits of each byte, at bit 2 * n (0..3) */
ALWAYS_INLINE uint8x16_t crumbs(uint8x16_t v, const int n)
{
	return vandq_u8(vshlq_u8(v, vdupq_n_s8((int8_t)(-2 * n))), vdupq_n_u8(3));
}

/* `value` where bit n of the byte is set */
ALWAYS_INLINE uint8x16_t bits(uint8x16_t v, const int n, uint8_t value)
{
	return vandq_u8(vtstq_u8(v, vdupq_n_u8((uint8_t)(1 << n))), vdupq_n_u8(value));
}

/* Scales and minima of Q4_K and Q5_K */
ALWAYS_INLINE void scales6(struct super *s, const uint8_t b[12])
{
	for (int k = 0; k < 8; k++) {
		s->scale[2 * k] = k < 4 ? b[k] & 63 : (b[k + 4] & 15) | b[k - 4] >> 6 << 4;
		s->min[2 * k] = s->min[2 * k + 1] =
			k < 4 ? b[k + 4] & 63 : b[k + 4] >> 4 | b[k] >> 6 << 4;
	}
}

ALWAYS_INLINE void unpack_q2_k(struct super *s, const uint8_t *p)
{
	const struct linnet_block_q2_k *b = (const void *)p;

	for (int j = 0; j < 16; j++) {
		s->scale[j] = b->scales[j] & 15;
		s->min[j] = b->scales[j] >> 4;
	}
	for (int h = 0; h < 4; h++) {
		const uint8x16_t v = vld1q_u8(b->qs + 16 * h);

		for (int n = 0; n < 4; n++)
			put(s->q + h / 2 * 128 + 32 * n + h % 2 * 16, crumbs(v, n));
	}
	s->d = half_at((const uint8_t *)&b->d);
	s->dmin = half_at((const uint8_t *)&b->dmin);
}

ALWAYS_INLINE void unpack_q3_k(struct super *s, const uint8_t *p)
{
	const struct linnet_block_q3_k *b = (const void *)p;

	for (int j = 0; j < 16; j++) {
		int low = b->scales[j % 8] >> (j / 8 * 4) & 15;
		int high = b->scales[8 + j % 4] >> (j / 4 * 2) & 3;

		s->scale[j] = (low | high << 4) - 32;
	}
	for (int h = 0; h < 4; h++) {
		const uint8x16_t v = vld1q_u8(b->qs + 16 * h), m = vld1q_u8(b->hmask + h % 2 * 16);

		for (int n = 0; n < 4; n++)
			put(s->q + h / 2 * 128 + 32 * n + h % 2 * 16,
			    vsubq_u8(vorrq_u8(crumbs(v, n), bits(m, h / 2 * 4 + n, 4)),
				     vdupq_n_u8(4)));
	}
	s->d = half_at((const uint8_t *)&b->d);
}

ALWAYS_INLINE void unpack_q4_k(struct super *s, const uint8_t *p)
{
	const struct linnet_block_q4_k *b = (const void *)p;

	scales6(s, b->scales);
	for (int h = 0; h < 8; h++) {
		const uint8x16_t v = vld1q_u8(b->qs + 16 * h);
		int8_t *q = s->q + h / 2 * 64 + h % 2 * 16;

		put(q, vandq_u8(v, vdupq_n_u8(15)));
		put(q + 32, vshrq_n_u8(v, 4));
	}
	s->d = half_at((const uint8_t *)&b->d);
	s->dmin = half_at((const uint8_t *)&b->dmin);
}

ALWAYS_INLINE void unpack_q5_k(struct super *s, const uint8_t *p)
{
	const struct linnet_block_q5_k *b = (const void *)p;

	scales6(s, b->scales);
	for (int h = 0; h < 8; h++) {
		const uint8x16_t v = vld1q_u8(b->qs + 16 * h), m = vld1q_u8(b->qh + h % 2 * 16);
		int8_t *q = s->q + h / 2 * 64 + h % 2 * 16;

		put(q, vorrq_u8(vandq_u8(v, vdupq_n_u8(15)), bits(m, h / 2 * 2, 16)));
		put(q + 32, vorrq_u8(vshrq_n_u8(v, 4), bits(m, h / 2 * 2 + 1, 16)));
	}
	s->d = half_at((const uint8_t *)&b->d);
	s->dmin = half_at((const uint8_t *)&b->dmin);
}

ALWAYS_INLINE void unpack_q6_k(struct super *s, const uint8_t *p)
{
	const struct linnet_block_q6_k *b = (const void *)p;
	const uint8x16_t off = vdupq_n_u8(32);

	for (int j = 0; j < 16; j++)
		s->scale[j] = b->scales[j];
	for (int h = 0; h < 8; h++) {
		const uint8x16_t v = vld1q_u8(b->ql + 16 * h);
		const uint8x16_t m = vld1q_u8(b->qh + h / 4 * 32 + h % 2 * 16);
		const int n = h / 2 % 2;	/* crumb of the low nibbles; 2 + n of the high */
		int8_t *q = s->q + h / 4 * 128 + h % 4 * 16;

		put(q, vsubq_u8(vorrq_u8(vandq_u8(v, vdupq_n_u8(15)),
					 vshlq_n_u8(crumbs(m, n), 4)), off));
		put(q + 64, vsubq_u8(vorrq_u8(vshrq_n_u8(v, 4),
					      vshlq_n_u8(crumbs(m, 2 + n), 4)), off));
	}
	s->d = half_at((const uint8_t *)&b->d);
}

ALWAYS_INLINE void unpack_iq4_xs(struct super *s, const uint8_t *p)
{
	const struct linnet_block_iq4_xs *b = (const void *)p;
	const int8x16_t t = vld1q_s8(linnet_iq4_values);
	uint16_t high;

	memcpy(&high, &b->scales_h, 2);
	for (int k = 0; k < 8; k++) {
		const uint8x16_t v = vld1q_u8(b->qs + 16 * k);

		s->scale[2 * k] = ((b->scales_l[k / 2] >> (k % 2 * 4) & 15) |
				   (high >> (2 * k) & 3) << 4) - 32;
		vst1q_s8(s->q + 32 * k, vqtbl1q_s8(t, vandq_u8(v, vdupq_n_u8(15))));
		vst1q_s8(s->q + 32 * k + 16, vqtbl1q_s8(t, vshrq_n_u8(v, 4)));
	}
	s->d = half_at((const uint8_t *)&b->d);
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

ALWAYS_INLINE int32_t minima_sum(const struct super *w, const struct linnet_arm_act256 *a)
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
	const struct linnet_arm_act256 *a = (const struct linnet_arm_act256 *)mm->act->buf + t0;
	float acc[TOKENS] = { 0 };
	struct super w;

	for (size_t b = 0; b < mm->act->n_cols / 256; b++) {
		ty->unpack(&w, p + b * ty->bytes);
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

ALWAYS_INLINE void matmul(const struct type *ty, const struct linnet_matmul *mm)
{
	const size_t n = mm->act->n_tokens;

	for (size_t t = 0; t < n; t += TOKENS)
		for (size_t r = mm->row0; r < mm->row1; r++)
			row(ty, mm, r, t, n - t < TOKENS ? n - t : TOKENS);
}

#define Q256(name, has_min, wide)						\
static void matmul_##name(const struct linnet_matmul *mm)			\
{										\
	const struct type ty = { unpack_##name, sizeof(struct linnet_block_##name), \
				 has_min, wide };				\
										\
	matmul(&ty, mm);							\
}

Q256(q2_k, 1, 0)
Q256(q3_k, 0, 0)
Q256(q4_k, 1, 1)
Q256(q5_k, 1, 1)
Q256(q6_k, 0, 0)
Q256(iq4_xs, 0, 1)

static void fill_k(struct linnet_kernels *k)
{
	k->matmul[LINNET_TYPE_Q2_K] = matmul_q2_k;
	k->matmul[LINNET_TYPE_Q3_K] = matmul_q3_k;
	k->matmul[LINNET_TYPE_Q4_K] = matmul_q4_k;
	k->matmul[LINNET_TYPE_Q5_K] = matmul_q5_k;
	k->matmul[LINNET_TYPE_Q6_K] = matmul_q6_k;
	k->matmul[LINNET_TYPE_IQ4_XS] = matmul_iq4_xs;
}
