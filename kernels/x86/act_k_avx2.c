/* SPDX-License-Identifier: MIT */
/* Q256 activations of the AVX2 level. Layout in act256.h, rule in kernels.h. */
#include "kernels/x86/k_avx2.h"

#include <immintrin.h>
#include <math.h>
#include <string.h>

#define F32_INF_BITS	0x7f800000u

static uint32_t top_of(__m256i v)
{
	__m128i t = _mm_max_epu32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));

	t = _mm_max_epu32(t, _mm_shuffle_epi32(t, 0x4e));
	t = _mm_max_epu32(t, _mm_shuffle_epi32(t, 0xb1));
	return (uint32_t)_mm_cvtsi128_si32(t);
}

/* As linnet_ref_quantize() */
static float quantize(int8_t q[256], const float *x)
{
	const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
	/* packs work within lanes: dwords 0 4 1 5 2 6 3 7 put them in order */
	const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
	__m256i top = _mm256_setzero_si256();
	uint32_t bits;
	__m256 r;
	float a;

	for (int i = 0; i < 32; i++)
		top = _mm256_max_epu32(top, _mm256_and_si256(magnitude,
			_mm256_loadu_si256((const __m256i *)(x + 8 * i))));
	bits = top_of(top);
	memcpy(&a, &bits, sizeof(a));
	if (bits >= F32_INF_BITS || a < 1e-30f) {
		memset(q, 0, 256);
		return bits >= F32_INF_BITS ? NAN : 0.0f;
	}
	r = _mm256_set1_ps(127.0f / a);
	for (int i = 0; i < 256; i += 32) {
		__m256i v[4];

		for (int k = 0; k < 4; k++)
			v[k] = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + i + 8 * k), r));
		v[0] = _mm256_packs_epi16(_mm256_packs_epi32(v[0], v[1]),
					  _mm256_packs_epi32(v[2], v[3]));
		_mm256_storeu_si256((__m256i *)(q + i), _mm256_permutevar8x32_epi32(v[0], order));
	}
	return a / 127.0f;
}

static void pack_block(struct linnet_act256 *dst, const float *x)
{
	const __m256i ones8 = _mm256_set1_epi8(1), ones16 = _mm256_set1_epi16(1);
	const int8_t *q = (const int8_t *)dst->q;

	dst->d = quantize((int8_t *)dst->q, x);
	for (int j = 0; j < 8; j++) {
		__m256i v = _mm256_loadu_si256((const __m256i *)(q + 32 * j));
		__m256i s = _mm256_madd_epi16(_mm256_maddubs_epi16(ones8, v), ones16);
		int low, high;

		s = _mm256_add_epi32(s, _mm256_shuffle_epi32(s, 0x4e));
		s = _mm256_add_epi32(s, _mm256_shuffle_epi32(s, 0xb1));
		low = _mm256_extract_epi32(s, 0);
		high = _mm256_extract_epi32(s, 4);
		dst->sum16[2 * j] = (int16_t)low;
		dst->sum16[2 * j + 1] = (int16_t)high;
		dst->sum32[j] = (int16_t)(low + high);
	}
}

void linnet_q256_pack_avx2(const struct linnet_act_buf *dst, const float *x, size_t ldx,
			   size_t t0, size_t t1)
{
	struct linnet_act256 *a = dst->buf;

	for (size_t t = t0; t < t1; t++)
		for (size_t b = 0; b < dst->n_cols / 256; b++)
			pack_block(a + b * dst->n_tokens + t, x + t * ldx + b * 256);
}
