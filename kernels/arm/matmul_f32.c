/* SPDX-License-Identifier: MIT */
/*
 * Products of the F32, F16 and BF16 types on AArch64: four registers hold the 16 chains
 * of the order (kernels.h). A tile is one row times up to four tokens.
 */
#include "kernels/arm/arm.h"
#include "kernels/arm/v16_neon.h"
#include "kernels/act_layout.h"

#define TILE_TOKENS 4

ALWAYS_INLINE v16 load_f32(const uint8_t *p)
{
	v16 r;

	V16_EACH(i)
		r.v[i] = vreinterpretq_f32_u8(vld1q_u8(p + 16 * i));
	return r;
}

ALWAYS_INLINE v16 load_f16(const uint8_t *p)
{
	return v16_load_f16(p);
}

ALWAYS_INLINE v16 load_bf16(const uint8_t *p)
{
	v16 r;

	V16_EACH(i)
		r.v[i] = vreinterpretq_f32_u32(vshll_n_u16(vreinterpret_u16_u8(vld1_u8(p + 8 * i)),
							   16));
	return r;
}

struct type {
	v16 (*load)(const uint8_t *p);
	size_t bytes;
};

/* y[t] = the row at p times token t, for n_tok (a constant) tokens */
ALWAYS_INLINE void tile(const struct type *ty, float *y, const uint8_t *p, const float *x,
			size_t ldx, size_t n, const int n_tok)
{
	uint8_t tail[16 * 4] = { 0 };
	v16 acc[TILE_TOKENS], w;
	size_t k;

	UNROLL
	for (int t = 0; t < n_tok; t++)
		acc[t] = v16_zero();
	for (k = 0; k + 16 <= n; k += 16, p += 16 * ty->bytes) {
		w = ty->load(p);
		UNROLL
		for (int t = 0; t < n_tok; t++)
			acc[t] = v16_fma(w, v16_load(x + t * ldx + k), acc[t]);
	}
	if (k < n) {
		/* adding zero would turn a chain's -0 into 0 */
		const v16_mask in = v16_first(n - k);

		memcpy(tail, p, (n - k) * ty->bytes);
		w = ty->load(tail);
		UNROLL
		for (int t = 0; t < n_tok; t++)
			acc[t] = v16_select(in, v16_fma(w, v16_load(x + t * ldx + k), acc[t]),
					    acc[t]);
	}
	UNROLL
	for (int t = 0; t < n_tok; t++)
		y[t] = v16_sum(acc[t]);
}

ALWAYS_INLINE void matmul(const struct type *ty, const struct linnet_matmul *mm)
{
	const size_t n = mm->act->n_cols, n_tok = mm->act->n_tokens, ldx = linnet_f32_ld(n);

	for (size_t r = mm->row0; r < mm->row1; r++) {
		const uint8_t *p = (const uint8_t *)mm->w + r * mm->row_bytes;

		for (size_t t = 0; t < n_tok; t += TILE_TOKENS) {
			const float *x = (const float *)mm->act->buf + t * ldx;
			const size_t left = n_tok - t < TILE_TOKENS ? n_tok - t : TILE_TOKENS;
			float y[TILE_TOKENS];

			switch (left) {
			case 1:
				tile(ty, y, p, x, ldx, n, 1);
				break;
			case 2:
				tile(ty, y, p, x, ldx, n, 2);
				break;
			case 3:
				tile(ty, y, p, x, ldx, n, 3);
				break;
			default:
				tile(ty, y, p, x, ldx, n, 4);
			}
			for (size_t i = 0; i < left; i++)
				mm->y[(t + i) * mm->ldy + (r - mm->row0)] =
					mm->bias ? y[i] + mm->bias[r] : y[i];
		}
	}
}

#define FLOATS(name, size)							\
static void matmul_##name(const struct linnet_matmul *mm)			\
{										\
	const struct type ty = { load_##name, size };				\
										\
	matmul(&ty, mm);							\
}

FLOATS(f32, 4)
FLOATS(f16, 2)
FLOATS(bf16, 2)

void linnet_arm_f32(struct linnet_kernels *k)
{
	k->matmul[LINNET_TYPE_F32] = matmul_f32;
	k->matmul[LINNET_TYPE_F16] = matmul_f16;
	k->matmul[LINNET_TYPE_BF16] = matmul_bf16;
}
