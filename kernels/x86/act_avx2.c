/* SPDX-License-Identifier: MIT */
/* Activations of the AVX2 level. Layouts in act_avx2.h and act256.h. */
#include "kernels/x86/act_avx2.h"
#include "kernels/x86/k_avx2.h"
#include "kernels/act_pack.h"
#include "kernels/x86/mat_avx2.h"

#include <immintrin.h>

static inline int8_t *group_q(struct linnet_q32_group *g, size_t b, size_t half)
{
	return g->q + b / 2 * 64 + half * 32 + b % 2 * 16;
}

/* Bits of the largest magnitude of n (a multiple of 8) floats */
static inline uint32_t top_of(const float *x, size_t n)
{
	const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
	__m256i top = _mm256_setzero_si256();
	__m128i t;

	for (size_t i = 0; i < n; i += 8)
		top = _mm256_max_epu32(top, _mm256_and_si256(magnitude,
			_mm256_loadu_si256((const __m256i *)(x + i))));
	t = _mm_max_epu32(_mm256_castsi256_si128(top), _mm256_extracti128_si256(top, 1));
	t = _mm_max_epu32(t, _mm_shuffle_epi32(t, 0x4e));
	t = _mm_max_epu32(t, _mm_shuffle_epi32(t, 0xb1));
	return (uint32_t)_mm_cvtsi128_si32(t);
}

/* 32 floats times r, unless that is 0, as bytes; a sum of 16 in dword 0 of each lane of *sums */
static inline __m256i bytes_of_floats(const float *x, float r, __m256i *sums)
{
	/* packs work within lanes: dwords 0 4 1 5 2 6 3 7 put them in order */
	const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
	__m256i q[4], s;

	*sums = _mm256_setzero_si256();
	if (r == 0.0f)	/* zero times infinity is not zero */
		return *sums;
	for (int i = 0; i < 4; i++)
		q[i] = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + i * 8),
							_mm256_set1_ps(r)));
	q[0] = _mm256_packs_epi16(_mm256_packs_epi32(q[0], q[1]), _mm256_packs_epi32(q[2], q[3]));
	q[0] = _mm256_permutevar8x32_epi32(q[0], order);
	s = _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_set1_epi8(1), q[0]),
			      _mm256_set1_epi16(1));
	s = _mm256_add_epi32(s, _mm256_shuffle_epi32(s, 0x4e));
	*sums = _mm256_add_epi32(s, _mm256_shuffle_epi32(s, 0xb1));
	return q[0];
}

static inline void quantize4(enum linnet_act act, struct linnet_q32_group *g, const float *x)
{
	for (size_t b = 0; b < 4; b++, x += 32) {
		__m256i q, sums;
		int32_t sum;
		float r;

		g->d[b] = step_of(act, top_of(x, 32), &r);
		q = bytes_of_floats(x, r, &sums);
		_mm_store_si128((__m128i *)group_q(g, b, 0), _mm256_castsi256_si128(q));
		_mm_store_si128((__m128i *)group_q(g, b, 1), _mm256_extracti128_si256(q, 1));
		sum = _mm256_extract_epi32(sums, 0) + _mm256_extract_epi32(sums, 4);
		g->nsum[b] = -sum;
		g->dsum[b] = g->d[b] * (float)sum;
	}
	memset(g->pad, 0, sizeof(g->pad));
}

static inline void quantize256(struct linnet_act256 *dst, const float *x)
{
	float r;

	dst->d = step_of(LINNET_ACT_Q256, top_of(x, 256), &r);
	for (int j = 0; j < 8; j++) {
		int16_t *s = dst->sum16 + 2 * j;
		__m256i sums;

		_mm256_store_si256((__m256i *)dst->q + j, bytes_of_floats(x + 32 * j, r, &sums));
		s[0] = (int16_t)_mm256_extract_epi32(sums, 0);
		s[1] = (int16_t)_mm256_extract_epi32(sums, 4);
		dst->sum32[j] = (int16_t)(s[0] + s[1]);
	}
}

const struct linnet_act_ops linnet_act_avx2 = { act_bytes, act_pack, matmul_scratch };
