/* SPDX-License-Identifier: MIT */
/*
 * Products of IQ4_NL weights, AVX2. Nibbles pick from the table of values.
 */
#include "kernels/blocks.h"
#include "kernels/x86/mat_avx2.h"
#include "kernels/x86/q32_avx2.h"

#define BLOCK_BYTES	sizeof(struct linnet_block_iq4_nl)
#define SIGNED		1
#define SUMS16		1

#define V(i)		((char)(linnet_iq4_values[i]))

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
	nibbles_of_block(w, p0 + b * BLOCK_BYTES + 2, p1 + b * BLOCK_BYTES + 2);
	w[0] = values(w[0]);
	w[1] = values(w[1]);
}

ALWAYS_INLINE void scales4(const uint8_t *p0, const uint8_t *p1, __m256 *d, __m256 *m)
{
	*d = halves4(p0, p1, BLOCK_BYTES);
	*m = _mm256_setzero_ps();
}

ALWAYS_INLINE void unpack8(__m256i q[8], __m256 *d, __m256 *m, const uint8_t *const *p, size_t at)
{
	nibbles_of_rows(q, p, at + 2);
	UNROLL
	for (int k = 0; k < 8; k++)
		q[k] = values(q[k]);
	*d = halves_of_rows(p, at);
	*m = _mm256_setzero_ps();
}

#include "kernels/x86/matmul_q32_avx2.h"

void LEVEL(linnet_matmul_iq4_nl)(const struct linnet_matmul *mm)
{
	matmul_q32(mm);
}
