/* SPDX-License-Identifier: MIT */
/*
 * Products of MXFP4 weights, AVX2. Nibbles pick from the table of doubled values, biased by
 * 16; a power of two is the scale.
 */
#include "kernels/blocks.h"
#include "kernels/x86/mat_avx2.h"
#include "kernels/x86/q32_avx2.h"

#define BLOCK_BYTES	sizeof(struct linnet_block_mxfp4)
#define BIAS_SHIFT	4
#define SUMS16		4

#define V(i)		((char)(linnet_mxfp4_values[i] + 16))

/* The values of nibbles */
ALWAYS_INLINE __m256i values(__m256i nibbles)
{
	const __m256i table = _mm256_broadcastsi128_si256(_mm_setr_epi8(
		V(0), V(1), V(2), V(3), V(4), V(5), V(6), V(7),
		V(8), V(9), V(10), V(11), V(12), V(13), V(14), V(15)));

	return _mm256_shuffle_epi8(table, nibbles);
}

ALWAYS_INLINE void load1(__m256i w[2], const uint8_t *p0, const uint8_t *p1, const int b,
			 __m256i bits)
{
	(void)bits;
	nibbles_of_block(w, p0 + b * BLOCK_BYTES + 1, p1 + b * BLOCK_BYTES + 1);
	w[0] = values(w[0]);
	w[1] = values(w[1]);
}

/* 2^(e - 128): exponent e - 1, and a subnormal for e < 2 */
ALWAYS_INLINE __m256 e8m0_floats(__m256i e)
{
	const __m256i normal = _mm256_slli_epi32(_mm256_sub_epi32(e, _mm256_set1_epi32(1)), 23);
	const __m256i small = _mm256_sllv_epi32(_mm256_set1_epi32(0x200000), e);

	return _mm256_castsi256_ps(_mm256_blendv_epi8(
		normal, small, _mm256_cmpgt_epi32(_mm256_set1_epi32(2), e)));
}

/* Bytes that are step apart, four of them, as the low ones */
ALWAYS_INLINE __m128i bytes4(const uint8_t *p, size_t step)
{
	return _mm_unpacklo_epi16(_mm_unpacklo_epi8(load128(p), load128(p + step)),
				  _mm_unpacklo_epi8(load128(p + 2 * step), load128(p + 3 * step)));
}

ALWAYS_INLINE void scales4(const uint8_t *p0, const uint8_t *p1, __m256 *d, __m256 *m)
{
	*d = e8m0_floats(_mm256_cvtepu8_epi32(_mm_unpacklo_epi32(bytes4(p0, BLOCK_BYTES),
								 bytes4(p1, BLOCK_BYTES))));
	*m = _mm256_setzero_ps();
}

ALWAYS_INLINE void unpack8(__m256i q[8], __m256 *d, __m256 *m, const uint8_t *const *p, size_t at)
{
	uint64_t e = 0;

	nibbles_of_rows(q, p, at + 1);
	UNROLL
	for (int k = 0; k < 8; k++)
		q[k] = values(q[k]);
	UNROLL
	for (int r = 0; r < 8; r++)
		e |= (uint64_t)p[r][at] << 8 * r;
	*d = e8m0_floats(_mm256_cvtepu8_epi32(_mm_cvtsi64_si128((long long)e)));
	*m = _mm256_setzero_ps();
}

#include "kernels/x86/matmul_q32_avx2.h"

void LEVEL(linnet_matmul_mxfp4)(const struct linnet_matmul *mm)
{
	matmul_q32(mm);
}
