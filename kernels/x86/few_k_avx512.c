/* SPDX-License-Identifier: MIT */
/*
 * Products of the super-block types with 2 to LINNET_Q256_FEW tokens: a quarter of a
 * super-block of 16 rows meets all tokens while it is in registers, so what unpacking costs
 * is shared. Meanwhile the next 16 rows, which are one piece of memory, are prefetched from
 * front to back.
 */
#include "kernels/x86/rows_k_avx512.h"

/* How the dot products of a type's groups become the sum over a super-block. */
enum scaling {
	SCALE16,	/* a scale for each group */
	SCALE32,	/* ... for two groups */
	PAIRS,		/* two groups as halves of dwords, with a pair of scales */
};

/* What a type's integers are, and where its minima are. */
struct traits {
	enum scaling scaling;
	int offset;		/* the bytes that put() gets, plus this: the integers */
	int shift;		/* sums are this many bits too high */
	int min;		/* elements that have a minimum: 16 or 32; 0: there is none */
};

struct few {
	const struct linnet_act256 *a;
	const struct head *h;
	struct traits t;
	size_t n;
	__m512i *isum;		/* of the tokens */
};

/* offset * (sum of the activations of group j, or of two from j on) */
ALWAYS_INLINE __m512i start_of_dot(int offset, const struct linnet_act256 *a, int j)
{
	switch (offset) {
	case -4:
		return _mm512_set1_epi32(a->off4[j]);
	case -32:
		return _mm512_set1_epi32(a->off16[j]);
	case -128:
		return _mm512_set1_epi32(a->off32[j / 2]);
	default:
		return _mm512_setzero_si512();
	}
}

ALWAYS_INLINE __m512i dot_group(__m512i dot, const __m512i w[4], const int32_t *q)
{
	for (int i = 0; i < 4; i++)
		dot = _mm512_dpbusd_epi32(dot, w[i], _mm512_set1_epi32(q[i]));
	return dot;
}

/* isum + a quarter of a super-block times a token */
ALWAYS_INLINE __m512i add_quarter(__m512i isum, const struct linnet_act256 *a,
				  const __m512i *scale, struct traits t, int s,
				  enum group_order order, __m512i w[4][4])
{
	UNROLL
	for (int g = 0; g < 4; g += 2) {
		const int j0 = group_of(order, s, g), j1 = group_of(order, s, g + 1);
		__m512i d0 = dot_group(start_of_dot(t.offset, a, j0), w[g], a->q + 4 * j0), d1;

		if (t.scaling == SCALE32) {
			d0 = dot_group(d0, w[g + 1], a->q + 4 * j1);
			isum = _mm512_add_epi32(isum, _mm512_mullo_epi32(d0, scale[g / 2]));
			continue;
		}
		d1 = dot_group(start_of_dot(t.offset, a, j1), w[g + 1], a->q + 4 * j1);
		if (t.scaling == SCALE16) {
			isum = _mm512_add_epi32(isum, _mm512_mullo_epi32(d0, scale[g]));
			isum = _mm512_add_epi32(isum, _mm512_mullo_epi32(d1, scale[g + 1]));
		} else {
			d0 = _mm512_mask_blend_epi16(0xaaaaaaaa, d0, _mm512_slli_epi32(d1, 16));
			isum = _mm512_dpwssd_epi32(isum, d0, scale[g / 2]);
		}
	}
	return isum;
}

ALWAYS_INLINE void put_few(void *ctx, int s, enum group_order order, __m512i w[4][4])
{
	struct few *f = ctx;
	__m512i scale[4];

	for (int i = 0; i < 4; i++)
		if (f->t.scaling == SCALE16)
			scale[i] = f->h->scale[group_of(order, s, i)];
		else if (i < 2)
			scale[i] = f->h->scale[2 * s + i];
	for (size_t t = 0; t < f->n; t++)
		f->isum[t] = add_quarter(f->isum[t], f->a + t, scale, f->t, s, order, w);
}

ALWAYS_INLINE __m512i min_sum(const struct head *h, const struct linnet_act256 *a, int sub)
{
	__m512i msum = _mm512_setzero_si512();

	/* at most eight pairs of minima: a count that no sanitizer's check hides */
	UNROLL
	for (int i = 0; i < 8; i++)
		if (i < 4 || sub == 16)
			msum = _mm512_dpwssd_epi32(
				msum, h->min[i],
				broadcast_pair(sub == 16 ? a->sum16 : a->sum32, i));
	return msum;
}

typedef void head_fn(struct head *h, struct rows *r);
typedef void weights_fn(struct rows *r, put_fn *put, void *ctx);

ALWAYS_INLINE void rows16(const struct linnet_matmul *mm, size_t row, size_t n, size_t block_bytes,
			  struct traits traits, head_fn *head, weights_fn *weights)
{
	const size_t n_rows = mm->row1 - row < 16 ? mm->row1 - row : 16;
	const size_t n_blocks = mm->act->n_cols / 256, n_tokens = mm->act->n_tokens;
	const __mmask16 mask = row_mask(n_rows);
	__m512i isum[LINNET_Q256_FEW];
	struct few f = { .a = mm->act->buf, .t = traits, .n = n, .isum = isum };
	struct rows r = { .block_bytes = block_bytes, .step = mm->row1 - row > 16 ? 256 : 0 };
	struct head h;
	__m512 acc[LINNET_Q256_FEW];

	rows_start(&r, mm, row, n_rows);
	r.ahead = r.p[0] + (r.step ? 16 * mm->row_bytes : 0);
	f.h = &h;
	for (size_t t = 0; t < n; t++)
		acc[t] = _mm512_setzero_ps();
	for (size_t b = 0; b < n_blocks; b++) {
		head(&h, &r);
		for (size_t t = 0; t < n; t++)
			isum[t] = _mm512_setzero_si512();
		weights(&r, put_few, &f);
		for (size_t t = 0; t < n; t++) {
			const __m512i sum = _mm512_srai_epi32(isum[t], (unsigned int)traits.shift);
			float d_a = f.a[t].d;

			if (traits.min)
				acc[t] = chain_min(acc[t], h.d, h.dmin, d_a, sum,
						   min_sum(&h, f.a + t, traits.min));
			else
				acc[t] = chain(acc[t], h.d, d_a, sum);
		}
		f.a += n_tokens;
		rows_next(&r);
	}
	for (size_t t = 0; t < n; t++) {
		if (mm->bias)
			acc[t] = _mm512_add_ps(acc[t], _mm512_maskz_loadu_ps(mask, mm->bias + row));
		_mm512_mask_storeu_ps(mm->y + t * mm->ldy + (row - mm->row0), mask, acc[t]);
	}
}

/* The first rows were not prefetched by anybody. */
static void prefetch_first(const struct linnet_matmul *mm)
{
	size_t n = mm->row1 - mm->row0 < 16 ? mm->row1 - mm->row0 : 16;
	const uint8_t *p = (const uint8_t *)mm->w + mm->row0 * mm->row_bytes;

	for (size_t i = 0; i < n * mm->row_bytes; i += 64)
		prefetch_t1(p + i);
}

ALWAYS_INLINE void product(const struct linnet_matmul *mm, size_t n, size_t block_bytes,
			   struct traits traits, head_fn *head, weights_fn *weights)
{
	for (size_t row = mm->row0; row < mm->row1; row += 16)
		rows16(mm, row, n, block_bytes, traits, head, weights);
}

#define FEW(type, ...)								\
void linnet_few_##type##_avx512(const struct linnet_matmul *mm)			\
{										\
	const struct traits t = { __VA_ARGS__ };				\
	const size_t bytes = sizeof(struct linnet_block_##type);		\
										\
	prefetch_first(mm);							\
	switch (mm->act->n_tokens) {						\
	case 2:									\
		product(mm, 2, bytes, t, head_##type, weights_##type);		\
		break;								\
	case 3:									\
		product(mm, 3, bytes, t, head_##type, weights_##type);		\
		break;								\
	case 4:									\
		product(mm, 4, bytes, t, head_##type, weights_##type);		\
		break;								\
	default:								\
		product(mm, mm->act->n_tokens, bytes, t, head_##type, weights_##type);	\
	}									\
}

FEW(q2_k, PAIRS, .shift = 2, .min = 16)
FEW(q3_k, PAIRS, .shift = 8, .offset = -4)
FEW(q4_k, SCALE32, .min = 32)
FEW(q5_k, SCALE32, .min = 32)
FEW(q6_k, SCALE16, .offset = -32)
FEW(iq4_xs, SCALE32, .offset = -128)
