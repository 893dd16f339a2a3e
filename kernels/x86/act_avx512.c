/* SPDX-License-Identifier: MIT */
/* Activations of the AVX-512 level. Layouts in act_avx512.h and act256.h. */
#include "kernels/x86/act_avx512.h"
#include "kernels/x86/k_avx512.h"
#include "kernels/act_pack.h"
#include "kernels/x86/mat_avx512.h"

#include <immintrin.h>

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

static inline void quantize4(enum linnet_act act, struct linnet_q32_group *g, const float *x)
{
	const __m512i magnitude = _mm512_set1_epi32(0x7fffffff), ones = _mm512_set1_epi8(1);
	const __m128i inf = _mm_set1_epi32(F32_INF_BITS);
	const __m128i low = _mm_set1_epi32((int)zero_bits(act));
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
	/* linnet_q32_step() */
	d = _mm_castsi128_ps(_mm_andnot_si128(low, _mm_add_epi32(
		_mm_castps_si128(_mm_div_ps(a, _mm_set1_ps(127.0f))), low)));
	r = _mm_div_ps(_mm_set1_ps(1.0f), d);
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

/* Sums of 16, in order */
static __m512i sums16(const int8_t q[256])
{
	const __m512i ones = _mm512_set1_epi8(1);
	__m512i s[4], t01, t23, sum;

	for (int v = 0; v < 4; v++)
		s[v] = _mm512_dpbusd_epi32(_mm512_setzero_si512(), ones,
					   _mm512_load_si512(q + 64 * v));
	/* the lanes of s[v] are the sums 4v.. + 3; gather those of a lane number */
	t01 = _mm512_add_epi32(_mm512_unpacklo_epi32(s[0], s[1]),
			       _mm512_unpackhi_epi32(s[0], s[1]));
	t23 = _mm512_add_epi32(_mm512_unpacklo_epi32(s[2], s[3]),
			       _mm512_unpackhi_epi32(s[2], s[3]));
	sum = _mm512_add_epi32(_mm512_unpacklo_epi64(t01, t23), _mm512_unpackhi_epi64(t01, t23));
	return _mm512_permutexvar_epi32(_mm512_set_epi32(15, 11, 7, 3, 14, 10, 6, 2, 13, 9, 5, 1,
							 12, 8, 4, 0), sum);
}

static inline void quantize256(struct linnet_act256 *dst, const float *x)
{
	int8_t *q = (int8_t *)dst->q;
	__m512i top = _mm512_setzero_si512(), s;
	__m256i s32;
	float r;

	for (int i = 0; i < 16; i++)
		top = _mm512_max_epu32(top, _mm512_and_si512(_mm512_loadu_si512(x + 16 * i),
							     _mm512_set1_epi32(0x7fffffff)));
	dst->d = step_of(LINNET_ACT_Q256, _mm512_reduce_max_epu32(top), &r);
	if (r == 0.0f)	/* zero times infinity is not zero */
		memset(q, 0, 256);
	else
		for (int i = 0; i < 16; i++)
			_mm_store_si128((__m128i *)(q + 16 * i), _mm512_cvtepi32_epi8(
				_mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x + 16 * i),
								 _mm512_set1_ps(r)))));
	s = sums16(q);
	s32 = _mm512_cvtepi64_epi32(_mm512_add_epi32(s, _mm512_srli_epi64(s, 32)));
	_mm512_store_si512(dst->off16, _mm512_slli_epi32(_mm512_sub_epi32(
		_mm512_setzero_si512(), s), 5));
	_mm512_storeu_si512(dst->off4, _mm512_slli_epi32(_mm512_sub_epi32(
		_mm512_setzero_si512(), s), 2));
	_mm256_store_si256((__m256i *)dst->off32, _mm256_slli_epi32(_mm256_sub_epi32(
		_mm256_setzero_si256(), s32), 7));
	_mm256_store_si256((__m256i *)dst->sum16, _mm512_cvtepi32_epi16(s));
	_mm_store_si128((__m128i *)dst->sum32, _mm256_cvtepi32_epi16(s32));
	dst->sum256 = _mm512_reduce_add_epi32(s);
}

const struct linnet_act_ops linnet_act_avx512 = { act_bytes, act_pack, matmul_scratch };
