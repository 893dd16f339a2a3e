/* SPDX-License-Identifier: MIT */
/*
 * Products of the super-block types on AVX2 with few tokens: two to four meet the weights
 * while they are in registers. More go to matmul_many_k_avx2.c, one to matmul_one_*_avx2.c.
 */
#include "kernels/x86/rows_k_avx2.h"

#define TILE	LINNET_Q256_FEW

struct few {
	const struct linnet_act256 *a;
	const struct head *h;
	struct traits t;
	int n;
	__m256i isum[TILE];
};

ALWAYS_INLINE void put_few(void *ctx, int j, const __m256i w[4])
{
	struct few *f = ctx;
	__m256i scale = f->h->scale[f->t.sub == 16 ? j : j / 2];

#if LINNET_VNNI
	scale = _mm256_srai_epi32(scale, 16);
#endif
	for (int t = 0; t < f->n; t++) {
		__m256i sum = _mm256_setzero_si256();

#if LINNET_VNNI
		for (int i = 0; i < 4; i++)
			sum = VNNI_DPBUSD(sum, w[i], _mm256_set1_epi32(f->a[t].q[4 * j + i]));
		f->isum[t] = _mm256_add_epi32(f->isum[t], _mm256_mullo_epi32(sum, scale));
#else
		for (int i = 0; i < 4; i++) {
			__m256i q = _mm256_set1_epi32(f->a[t].q[4 * j + i]), two;

			two = _mm256_maddubs_epi16(w[i], q);
			sum = i % f->t.fit ? _mm256_add_epi16(sum, two) : two;
			if ((i + 1) % f->t.fit == 0)
				f->isum[t] = _mm256_add_epi32(f->isum[t],
							      _mm256_madd_epi16(sum, scale));
		}
#endif
	}
}

/* The end of a super-block */
ALWAYS_INLINE __m256 end_block(__m256 acc, const struct head *h, const struct linnet_act256 *a,
			       __m256i isum, struct traits t)
{
	__m256i msum = _mm256_setzero_si256();

	if (t.has_min || t.offset)
		msum = min_sum(h->min, 1, a, t.sub);
	if (t.has_min)
		return chain_min(acc, h->d, h->dmin, a->d, isum, msum);
	if (t.offset)
		isum = _mm256_add_epi32(isum, _mm256_mullo_epi32(msum,
								 _mm256_set1_epi32(t.offset)));
	return chain(acc, h->d, a->d, isum);
}

/* Eight rows, fewer at the end, and all tokens, of which there are n */
ALWAYS_INLINE void rows8(const struct linnet_matmul *mm, size_t row, int n, size_t block_bytes,
			 struct traits traits, head_fn *head, weights_fn *weights)
{
	const __m256i mask = rows_mask(mm, row);
	const bool more = mm->row1 - row > 8;
	struct few f = { .a = mm->act->buf, .t = traits, .n = n };
	struct rows r = { .step = more ? 128 : 0 };
	struct head h;
	__m256 acc[TILE];

	rows_start(&r, mm, row, block_bytes);
	r.ahead = r.p[0] + (more ? 8 * mm->row_bytes : 0);
	f.h = &h;
	for (int t = 0; t < n; t++)
		acc[t] = _mm256_setzero_ps();
	for (size_t b = 0; b < mm->act->n_cols / 256; b++) {
		head(&h, &r);
		for (int t = 0; t < n; t++)
			f.isum[t] = _mm256_setzero_si256();
		weights(&r, put_few, &f);
		for (int t = 0; t < n; t++)
			acc[t] = end_block(acc[t], &h, f.a + t, f.isum[t], traits);
		f.a += mm->act->n_tokens;
		rows_next(&r);
	}
	for (int t = 0; t < n; t++) {
		if (mm->bias)
			acc[t] = _mm256_add_ps(acc[t], _mm256_maskload_ps(mm->bias + row, mask));
		_mm256_maskstore_ps(mm->y + (size_t)t * mm->ldy + (row - mm->row0), mask,
				    acc[t]);
	}
}

#define MATMUL(type)								\
__attribute__((noinline))							\
static void rows8_##type(const struct linnet_matmul *mm, size_t row)		\
{										\
	const struct traits t = traits_##type;					\
	const size_t bytes = sizeof(struct linnet_block_##type);		\
										\
	switch (mm->act->n_tokens) {						\
	case 2:									\
		rows8(mm, row, 2, bytes, t, head_##type, weights_##type);	\
		break;								\
	case 3:									\
		rows8(mm, row, 3, bytes, t, head_##type, weights_##type);	\
		break;								\
	case 4:									\
		rows8(mm, row, 4, bytes, t, head_##type, weights_##type);	\
		break;								\
	}									\
}										\
										\
void LEVEL(linnet_matmul_##type)(const struct linnet_matmul *mm)		\
{										\
	if (mm->act->n_tokens == 1) {						\
		LEVEL(linnet_one_##type)(mm);					\
		return;								\
	}									\
	if (mm->act->n_tokens > LINNET_Q256_FEW) {				\
		LEVEL(linnet_many_##type)(mm);					\
		return;								\
	}									\
	prefetch_first(mm, 8);							\
	for (size_t row = mm->row0; row < mm->row1; row += 8)			\
		rows8_##type(mm, row);						\
}

MATMUL(q2_k)
MATMUL(q3_k)
MATMUL(q4_k)
MATMUL(q5_k)
MATMUL(q6_k)
#if LINNET_VNNI
MATMUL(iq4_xs)
#else
/* Transposing rows does not pay where each product needs a sign and a scale of its own. */
void linnet_matmul_iq4_xs_avx2(const struct linnet_matmul *mm)
{
	if (mm->act->n_tokens == 1)
		linnet_one_iq4_xs_avx2(mm);
	else if (mm->act->n_tokens <= LINNET_Q256_FEW)
		linnet_few_iq4_xs_avx2(mm);
	else
		linnet_many_iq4_xs_avx2(mm);
}
#endif
