/* SPDX-License-Identifier: MIT */
/*
 * Activations of the AVX-512 level: act_bytes(), act_pack() and matmul_scratch() of
 * kernels.h for all types. Layouts in act_avx512.h.
 */
#include "kernels/x86/act_avx512.h"
#include "kernels/x86/k_avx512.h"

#include <immintrin.h>
#include <string.h>

static inline __m128i lane(__m512i v, int i)
{
	switch (i) {
	case 0:
		return _mm512_castsi512_si128(v);
	case 1:
		return _mm512_extracti32x4_epi32(v, 1);
	case 2:
		return _mm512_extracti32x4_epi32(v, 2);
	default:
		return _mm512_extracti32x4_epi32(v, 3);
	}
}

/* Quantize 128 floats as the 4 blocks of a group, by linnet_ref_quantize()'s rule. */
static inline void quantize4(struct linnet_q32_group *g, const float *x)
{
	const __m512i magnitude = _mm512_set1_epi32(0x7fffffff), ones = _mm512_set1_epi8(1);
	const __m128i inf = _mm_set1_epi32(0x7f800000);
	__m512i m[4], t01, t23, t, lo, hi, s;
	__m128i top, sum;
	__m128 a, d, r;
	__mmask8 tiny, wild;

	for (int b = 0; b < 4; b++)
		m[b] = _mm512_max_epu32(
			_mm512_and_si512(_mm512_loadu_si512(x + b * 32), magnitude),
			_mm512_and_si512(_mm512_loadu_si512(x + b * 32 + 16), magnitude));
	t01 = _mm512_max_epu32(_mm512_unpacklo_epi32(m[0], m[1]),
			       _mm512_unpackhi_epi32(m[0], m[1]));
	t23 = _mm512_max_epu32(_mm512_unpacklo_epi32(m[2], m[3]),
			       _mm512_unpackhi_epi32(m[2], m[3]));
	t = _mm512_max_epu32(_mm512_unpacklo_epi64(t01, t23), _mm512_unpackhi_epi64(t01, t23));
	top = _mm_max_epu32(_mm_max_epu32(lane(t, 0), lane(t, 1)),
			    _mm_max_epu32(lane(t, 2), lane(t, 3)));

	a = _mm_castsi128_ps(top);
	wild = _mm_cmpge_epu32_mask(top, inf);
	tiny = _mm_cmp_ps_mask(a, _mm_set1_ps(1e-30f), _CMP_LT_OQ);
	d = _mm_maskz_div_ps((__mmask8)~tiny, a, _mm_set1_ps(127.0f));
	r = _mm_maskz_div_ps((__mmask8)~(tiny | wild), _mm_set1_ps(127.0f), a);

	for (int b = 0; b < 4; b++) {
		const __m512 scale = _mm512_permutexvar_ps(_mm512_set1_epi32(b),
							   _mm512_castps128_ps512(r));

		for (int h = 0; h < 2; h++) {
			__m512i q = _mm512_cvtps_epi32(
				_mm512_mul_ps(_mm512_loadu_ps(x + b * 32 + h * 16), scale));

			_mm_store_si128((__m128i *)(h ? g->hi[b] : g->lo[b]),
					_mm512_cvtepi32_epi8(q));
		}
	}
	if (wild)	/* zero times infinity is not zero */
		for (int b = 0; b < 4; b++)
			if (wild >> b & 1) {
				memset(g->lo[b], 0, 16);
				memset(g->hi[b], 0, 16);
			}

	lo = _mm512_load_si512(g->lo);
	hi = _mm512_load_si512(g->hi);
	s = _mm512_dpbusd_epi32(_mm512_setzero_si512(), ones, lo);
	s = _mm512_dpbusd_epi32(s, ones, hi);
	s = _mm512_add_epi32(s, _mm512_shuffle_epi32(s, 0x4e));
	s = _mm512_add_epi32(s, _mm512_shuffle_epi32(s, 0xb1));
	sum = _mm512_castsi512_si128(_mm512_permutexvar_epi32(
		_mm512_set_epi32(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 12, 8, 4, 0), s));
	_mm_store_si128((__m128i *)g->nsum, _mm_sub_epi32(_mm_setzero_si128(), sum));
	_mm_store_ps(g->d, d);
	_mm_store_ps(g->dsum, _mm_mul_ps(d, _mm_cvtepi32_ps(sum)));
	_mm_store_ps(g->pad, _mm_setzero_ps());
}

/* Group g of a row of n_cols */
static inline void quantize_group(struct linnet_q32_group *dst, const float *x, size_t n_cols,
				  size_t g)
{
	float tail[128];

	if ((g + 1) * 128 <= n_cols) {
		quantize4(dst, x + g * 128);
		return;
	}
	memset(tail, 0, sizeof(tail));
	memcpy(tail, x + g * 128, (n_cols - g * 128) * sizeof(*x));
	quantize4(dst, tail);
}

static void pack_q32_few(const struct linnet_act_buf *dst, const float *x, size_t ldx,
			 size_t t0, size_t t1)
{
	size_t n = linnet_q32_groups(dst->n_cols);

	for (size_t t = t0; t < t1; t++)
		for (size_t g = 0; g < n; g++)
			quantize_group((struct linnet_q32_group *)dst->buf + g * dst->n_tokens + t,
				       x + t * ldx, dst->n_cols, g);
}

/* The tile that holds block b of token t */
static inline struct linnet_q32_tile *tile_of(const struct linnet_act_buf *dst, size_t b, size_t t)
{
	size_t n = dst->n_cols / 32, s = b % LINNET_Q32_CHAINS;
	size_t first = linnet_q32_chain(n, s), len = linnet_q32_chain(n, s + 1) - first;

	return (struct linnet_q32_tile *)dst->buf + first * linnet_q32_tiles(dst->n_tokens) +
	       t / LINNET_Q32_TILE * len + b / LINNET_Q32_CHAINS;
}

static void pack_q32_many(const struct linnet_act_buf *dst, const float *x, size_t ldx,
			  size_t t0, size_t t1)
{
	size_t n = dst->n_cols / 32;
	size_t end = t1 < dst->n_tokens ? t1 : linnet_q32_tiles(t1) * LINNET_Q32_TILE;

	for (size_t t = t0; t < end; t++) {
		struct linnet_q32_group g __attribute__((aligned(64)));
		size_t c = t % LINNET_Q32_TILE;

		memset(&g, 0, sizeof(g));
		for (size_t b = 0; b < n; b++) {
			struct linnet_q32_tile *tile = tile_of(dst, b, t);

			if (b % 4 == 0 && t < t1)
				quantize_group(&g, x + t * ldx, dst->n_cols, b / 4);
			memcpy(tile->q[c], g.lo[b % 4], 16);
			memcpy(tile->q[c] + 16, g.hi[b % 4], 16);
			tile->d[c] = g.d[b % 4];
			tile->nsum[c] = g.nsum[b % 4];
			tile->dsum[c] = g.dsum[b % 4];
		}
	}
}

static void pack_f32(const struct linnet_act_buf *dst, const float *x, size_t ldx,
		     size_t t0, size_t t1)
{
	size_t n = dst->n_cols, ld = linnet_f32_ld(n);

	for (size_t t = t0; t < t1; t++) {
		float *y = (float *)dst->buf + t * ld;

		memcpy(y, x + t * ldx, n * sizeof(*y));
		memset(y + n, 0, (ld - n) * sizeof(*y));
	}
}

size_t linnet_act_bytes_avx512(enum linnet_act act, size_t n_cols, size_t n_tokens)
{
	switch (act) {
	case LINNET_ACT_F32:
		return linnet_f32_ld(n_cols) * n_tokens * sizeof(float);
	case LINNET_ACT_Q32:
		if (n_tokens <= LINNET_Q32_FEW)
			return linnet_q32_groups(n_cols) * n_tokens *
			       sizeof(struct linnet_q32_group);
		return (n_cols / 32 * linnet_q32_tiles(n_tokens) *
			sizeof(struct linnet_q32_tile) + 63) / 64 * 64;
	case LINNET_ACT_Q256:
		return linnet_q256_bytes_avx512(n_cols, n_tokens);
	case LINNET_ACT_COUNT:
		break;
	}
	return 0;
}

void linnet_act_pack_avx512(enum linnet_act act, const struct linnet_act_buf *dst,
			    const float *x, size_t ldx, size_t t0, size_t t1)
{
	switch (act) {
	case LINNET_ACT_F32:
		pack_f32(dst, x, ldx, t0, t1);
		break;
	case LINNET_ACT_Q32:
		if (dst->n_tokens <= LINNET_Q32_FEW)
			pack_q32_few(dst, x, ldx, t0, t1);
		else
			pack_q32_many(dst, x, ldx, t0, t1);
		break;
	case LINNET_ACT_Q256:
		linnet_q256_pack_avx512(dst, x, ldx, t0, t1);
		break;
	case LINNET_ACT_COUNT:
		break;
	}
}

size_t linnet_matmul_scratch_avx512(uint32_t type, size_t n_cols, size_t n_tokens)
{
	const struct linnet_type_info *t = linnet_type_info(type);

	switch (t ? t->act : LINNET_ACT_COUNT) {
	case LINNET_ACT_Q32:
		return linnet_q32_scratch(n_cols, n_tokens);
	case LINNET_ACT_Q256:
		return linnet_q256_scratch_avx512(n_tokens);
	case LINNET_ACT_F32:
	case LINNET_ACT_COUNT:
		break;
	}
	return 0;
}
