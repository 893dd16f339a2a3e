/* SPDX-License-Identifier: MIT */
/* Q256 activations of the AVX-512 level. Layout in act256.h, rule in kernels.h. */
#include "kernels/x86/k_avx512.h"

#include <immintrin.h>
#include <math.h>
#include <string.h>

#define F32_INF_BITS	0x7f800000u

/* As linnet_ref_quantize() */
static float quantize(int8_t q[256], const float *x)
{
	const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
	__m512i top = _mm512_setzero_si512();
	uint32_t bits;
	__m512 r;
	float a;

	for (int i = 0; i < 16; i++)
		top = _mm512_max_epu32(top, _mm512_and_si512(_mm512_loadu_si512(x + 16 * i),
							     magnitude));
	bits = _mm512_reduce_max_epu32(top);
	memcpy(&a, &bits, sizeof(a));
	if (bits >= F32_INF_BITS || a < 1e-30f) {
		memset(q, 0, 256);
		return bits >= F32_INF_BITS ? NAN : 0.0f;
	}
	r = _mm512_set1_ps(127.0f / a);
	for (int i = 0; i < 16; i++) {
		__m512i v = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x + 16 * i), r));

		_mm_store_si128((__m128i *)(q + 16 * i), _mm512_cvtepi32_epi8(v));
	}
	return a / 127.0f;
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

static void pack_block(struct linnet_act256 *dst, const float *x)
{
	int8_t *q = (int8_t *)dst->q;
	__m512i s;
	__m256i s32;

	dst->d = quantize(q, x);
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

void linnet_q256_pack_avx512(const struct linnet_act_buf *dst, const float *x, size_t ldx,
			     size_t t0, size_t t1)
{
	struct linnet_act256 *a = dst->buf;

	for (size_t t = t0; t < t1; t++)
		for (size_t b = 0; b < dst->n_cols / 256; b++)
			pack_block(a + b * dst->n_tokens + t, x + t * ldx + b * 256);
}
