/* SPDX-License-Identifier: MIT */
/*
 * Products of the super-block types with 1 to LINNET_Q256_FEW tokens: the weights of 16
 * rows meet the tokens while they are in registers. Meanwhile the next 16 rows, which
 * are one piece of memory, are prefetched from front to back.
 */
#include "kernels/x86/rows_k_avx512.h"

/* What a type's integers are, and where its minima are. */
struct traits {
	int offset;		/* the bytes that put() gets, plus this: the integers */
	int sub;		/* elements of a sub-block: 16 or 32 */
	bool has_min;
};

struct few {
	const struct linnet_act256 *a;
	const struct head *h;
	struct traits t;
	int n;
	__m512i isum[LINNET_Q256_FEW];
};

/* offset * (sum of the activations of group j) */
ALWAYS_INLINE __m512i start_of_sum(int offset, const struct linnet_act256 *a, int j)
{
	__m512i off = _mm512_set1_epi32(a->off16[j]);

	switch (offset) {
	case -4:
		return _mm512_srai_epi32(off, 3);
	case -32:
		return off;
	case -128:
		return _mm512_slli_epi32(off, 2);
	default:
		return _mm512_setzero_si512();
	}
}

ALWAYS_INLINE void put_few(void *ctx, int j, const __m512i w[4])
{
	struct few *f = ctx;
	const __m512i scale = f->h->scale[f->t.sub == 16 ? j : j / 2];

	for (int t = 0; t < f->n; t++) {
		const struct linnet_act256 *a = f->a + t;
		__m512i dot = start_of_sum(f->t.offset, a, j);

		for (int i = 0; i < 4; i++)
			dot = _mm512_dpbusd_epi32(dot, w[i], _mm512_set1_epi32(a->q[4 * j + i]));
		f->isum[t] = _mm512_add_epi32(f->isum[t], _mm512_mullo_epi32(dot, scale));
	}
}

ALWAYS_INLINE __m512i min_sum(const struct head *h, const struct linnet_act256 *a, int sub)
{
	__m512i msum = _mm512_setzero_si512();

	/* at most eight pairs of minima: a count that no sanitizer's check hides */
	UNROLL
	for (int i = 0; i < 8; i++)
		if (i < 4 || sub == 16)
			msum = _mm512_dpwssd_epi32(msum, h->min[i],
						   broadcast_pair(sub == 16 ? a->sum16 : a->sum32, i));
	return msum;
}

typedef void head_fn(struct head *h, struct rows *r);
typedef void weights_fn(struct rows *r, put_fn *put, void *ctx);

ALWAYS_INLINE void rows16(const struct linnet_matmul *mm, size_t row, int n, size_t block_bytes,
			  struct traits traits, head_fn *head, weights_fn *weights)
{
	const size_t n_rows = mm->row1 - row < 16 ? mm->row1 - row : 16;
	const size_t n_blocks = mm->act->n_cols / 256, n_tokens = mm->act->n_tokens;
	const __mmask16 mask = row_mask(n_rows);
	struct few f = { .a = mm->act->buf, .t = traits, .n = n };
	struct rows r = { .block_bytes = block_bytes, .step = mm->row1 - row > 16 ? 256 : 0 };
	struct head h;
	__m512 acc[LINNET_Q256_FEW];

	rows_start(&r, mm, row, n_rows);
	r.ahead = r.p[0] + (r.step ? 16 * mm->row_bytes : 0);
	f.h = &h;
	for (int t = 0; t < n; t++)
		acc[t] = _mm512_setzero_ps();
	for (size_t b = 0; b < n_blocks; b++) {
		head(&h, &r);
		for (int t = 0; t < n; t++)
			f.isum[t] = _mm512_setzero_si512();
		weights(&r, put_few, &f);
		for (int t = 0; t < n; t++) {
			float d_a = f.a[t].d;

			if (traits.has_min)
				acc[t] = chain_min(acc[t], h.d, h.dmin, d_a, f.isum[t],
						   min_sum(&h, f.a + t, traits.sub));
			else
				acc[t] = chain(acc[t], h.d, d_a, f.isum[t]);
		}
		f.a += n_tokens;
		rows_next(&r);
	}
	for (int t = 0; t < n; t++) {
		if (mm->bias)
			acc[t] = _mm512_add_ps(acc[t], _mm512_maskz_loadu_ps(mask, mm->bias + row));
		_mm512_mask_storeu_ps(mm->y + (size_t)t * mm->ldy + (row - mm->row0), mask, acc[t]);
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

ALWAYS_INLINE void product(const struct linnet_matmul *mm, int n, size_t block_bytes,
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
	case 1:									\
		product(mm, 1, bytes, t, head_##type, weights_##type);		\
		break;								\
	case 2:									\
		product(mm, 2, bytes, t, head_##type, weights_##type);		\
		break;								\
	case 3:									\
		product(mm, 3, bytes, t, head_##type, weights_##type);		\
		break;								\
	case 4:									\
		product(mm, 4, bytes, t, head_##type, weights_##type);		\
		break;								\
	}									\
}

FEW(q2_k, 0, 16, true)
FEW(q3_k, -4, 16, false)
FEW(q4_k, 0, 32, true)
FEW(q5_k, 0, 32, true)
FEW(q6_k, -32, 16, false)
FEW(iq4_xs, -128, 32, false)
