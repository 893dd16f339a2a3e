/* SPDX-License-Identifier: MIT */
/*
 * Activations of the AVX2 level: act_bytes(), act_pack() and matmul_scratch() of
 * kernels.h for all types. Layouts in act_avx2.h.
 */
#include "kernels/x86/act_avx2.h"
#include "kernels/half.h"
#include "kernels/x86/k_avx2.h"
#include "kernels/x86/mat_avx2.h"

#include <immintrin.h>
#include <math.h>
#include <string.h>

static inline int8_t *group_q(struct linnet_q32_group *g, size_t b, size_t half)
{
	return g->q + b / 2 * 64 + half * 32 + b % 2 * 16;
}

/* Largest of 8 dwords, unsigned */
static inline uint32_t top_of(__m256i v)
{
	__m128i t = _mm_max_epu32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));

	t = _mm_max_epu32(t, _mm_shuffle_epi32(t, 0x4e));
	t = _mm_max_epu32(t, _mm_shuffle_epi32(t, 0xb1));
	return (uint32_t)_mm_cvtsi128_si32(t);
}

/* Quantize 32 floats as block b of a group, by linnet_ref_quantize()'s rule. */
static inline void quantize_block(struct linnet_q32_group *g, size_t b, const float *x, bool pow2)
{
	const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
	/* packs work within lanes: dwords 0 4 1 5 2 6 3 7 put them in order */
	const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
	__m256i top = _mm256_setzero_si256(), q[4], s;
	uint32_t bits;
	float a, d, r;
	__m128i t;

	for (int i = 0; i < 4; i++)
		top = _mm256_max_epu32(top, _mm256_and_si256(magnitude,
			_mm256_loadu_si256((const __m256i *)(x + i * 8))));
	bits = top_of(top);
	memcpy(&a, &bits, sizeof(a));
	if (a < 1e-30f || bits >= 0x7f800000) {
		memset(group_q(g, b, 0), 0, 16);
		memset(group_q(g, b, 1), 0, 16);
		g->nsum[b] = 0;
		g->d[b] = bits >= 0x7f800000 ? NAN : 0.0f;
		g->dsum[b] = g->d[b] * 0.0f;
		return;
	}
	d = pow2 ? linnet_q32_step(bits) : a / 127.0f;
	r = pow2 ? 1.0f / d : 127.0f / a;
	for (int i = 0; i < 4; i++)
		q[i] = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + i * 8),
							_mm256_set1_ps(r)));
	s = _mm256_add_epi32(_mm256_add_epi32(q[0], q[1]), _mm256_add_epi32(q[2], q[3]));
	t = _mm_add_epi32(_mm256_castsi256_si128(s), _mm256_extracti128_si256(s, 1));
	t = _mm_add_epi32(t, _mm_shuffle_epi32(t, 0x4e));
	t = _mm_add_epi32(t, _mm_shuffle_epi32(t, 0xb1));
	q[0] = _mm256_packs_epi16(_mm256_packs_epi32(q[0], q[1]), _mm256_packs_epi32(q[2], q[3]));
	q[0] = _mm256_permutevar8x32_epi32(q[0], order);
	_mm_store_si128((__m128i *)group_q(g, b, 0), _mm256_castsi256_si128(q[0]));
	_mm_store_si128((__m128i *)group_q(g, b, 1), _mm256_extracti128_si256(q[0], 1));
	g->nsum[b] = -_mm_cvtsi128_si32(t);
	g->d[b] = d;
	g->dsum[b] = d * (float)_mm_cvtsi128_si32(t);
}

static inline void quantize4(struct linnet_q32_group *g, const float *x, bool pow2)
{
	for (size_t b = 0; b < 4; b++)
		quantize_block(g, b, x + b * 32, pow2);
	memset(g->pad, 0, sizeof(g->pad));
}

#include "kernels/act_pack.h"

size_t linnet_act_bytes_avx2(enum linnet_act act, size_t n_cols, size_t n_tokens)
{
	switch (act) {
	case LINNET_ACT_F32:
		return f32_bytes(n_cols, n_tokens);
	case LINNET_ACT_Q32:
	case LINNET_ACT_Q32_POW2:
		return q32_bytes(n_cols, n_tokens, LINNET_Q32_FEW);
	case LINNET_ACT_Q256:
		return linnet_q256_bytes(n_cols, n_tokens);
	case LINNET_ACT_COUNT:
		break;
	}
	return 0;
}

void linnet_act_pack_avx2(enum linnet_act act, const struct linnet_act_buf *dst,
			  const float *x, size_t ldx, size_t t0, size_t t1)
{
	switch (act) {
	case LINNET_ACT_F32:
		pack_f32(dst, x, ldx, t0, t1);
		break;
	case LINNET_ACT_Q32:
	case LINNET_ACT_Q32_POW2:
		pack_q32(dst, x, ldx, t0, t1, LINNET_Q32_FEW, act == LINNET_ACT_Q32_POW2);
		break;
	case LINNET_ACT_Q256:
		linnet_q256_pack_avx2(dst, x, ldx, t0, t1);
		break;
	case LINNET_ACT_COUNT:
		break;
	}
}

size_t linnet_matmul_scratch_avx2(uint32_t type, size_t n_cols, size_t n_tokens)
{
	const struct linnet_type_info *t = linnet_type_info(type);

	if (t && t->act == LINNET_ACT_Q256 && n_tokens > LINNET_Q256_FEW)
		return linnet_q256_scratch(n_tokens);
	if (!t || !linnet_is_q32(t->act) || n_tokens <= LINNET_Q32_FEW)
		return 0;
	return linnet_q32_scratch(n_cols, n_tokens);
}
