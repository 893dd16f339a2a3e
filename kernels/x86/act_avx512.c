/* SPDX-License-Identifier: MIT */
/*
 * Activations of the AVX-512 level: act_bytes(), act_pack() and matmul_scratch() of
 * kernels.h for all types. Layouts in act_avx512.h.
 */
#include "kernels/x86/act_avx512.h"
#include "kernels/x86/mat_avx512.h"
#include "kernels/x86/k_avx512.h"

#include <immintrin.h>
#include <math.h>
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

static inline int8_t *group_q(struct linnet_q32_group *g, size_t b, size_t half)
{
	return g->q + half * 64 + b * 16;
}

/* Quantize 128 floats as the 4 blocks of a group, by linnet_ref_quantize()'s rule. */
static inline void quantize4(struct linnet_q32_group *g, const float *x, bool pow2)
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
	if (pow2) {	/* linnet_q32_step() */
		d = _mm_castsi128_ps(_mm_sub_epi32(_mm_and_si128(
			_mm_add_epi32(top, _mm_set1_epi32(0x1ffff)), inf), _mm_set1_epi32(6 << 23)));
		r = _mm_div_ps(_mm_set1_ps(1.0f), d);
	} else {
		d = _mm_div_ps(a, _mm_set1_ps(127.0f));
		r = _mm_div_ps(_mm_set1_ps(127.0f), a);
	}
	d = _mm_mask_mov_ps(_mm_maskz_mov_ps((__mmask8)~tiny, d), wild, _mm_set1_ps(NAN));
	r = _mm_maskz_mov_ps((__mmask8)~(tiny | wild), r);

	for (int b = 0; b < 4; b++) {
		const __m512 scale = _mm512_permutexvar_ps(_mm512_set1_epi32(b),
							   _mm512_castps128_ps512(r));

		for (int h = 0; h < 2; h++) {
			__m512i q = _mm512_cvtps_epi32(
				_mm512_mul_ps(_mm512_loadu_ps(x + b * 32 + h * 16), scale));

			_mm_store_si128((__m128i *)group_q(g, b, h),
					_mm512_cvtepi32_epi8(q));
		}
	}
	if (wild)	/* zero times infinity is not zero */
		for (int b = 0; b < 4; b++)
			if (wild >> b & 1) {
				memset(group_q(g, b, 0), 0, 16);
				memset(group_q(g, b, 1), 0, 16);
			}

	lo = _mm512_load_si512(g->q);
	hi = _mm512_load_si512(g->q + 64);
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

#include "kernels/act_pack.h"

size_t linnet_act_bytes_avx512(enum linnet_act act, size_t n_cols, size_t n_tokens)
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

void linnet_act_pack_avx512(enum linnet_act act, const struct linnet_act_buf *dst,
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
	case LINNET_ACT_Q32_POW2:
		return linnet_q32_scratch(n_cols, n_tokens);
	case LINNET_ACT_Q256:
		return linnet_q256_scratch_avx512(n_tokens);
	case LINNET_ACT_F32:
	case LINNET_ACT_COUNT:
		break;
	}
	return 0;
}
