/* SPDX-License-Identifier: MIT */
/*
 * Products of Q5_1 weights, AVX2. Five bits as they are.
 */
#include "kernels/blocks.h"
#include "kernels/x86/mat_avx2.h"
#include "kernels/x86/q32_avx2.h"

#define BLOCK_BYTES	sizeof(struct linnet_block_q5_1)
#define HAS_MIN		1
#define SUMS16		4
#define BITS_AT		4

ALWAYS_INLINE void load1(__m256i w[2], const uint8_t *p0, const uint8_t *p1, const int b,
			 __m256i bits)
{
	nibbles_of_block(w, p0 + b * BLOCK_BYTES + 8, p1 + b * BLOCK_BYTES + 8);
	fifth_bits_of_block(w, bits, b);
}

ALWAYS_INLINE void scales4(const uint8_t *p0, const uint8_t *p1, __m256 *d, __m256 *m)
{
	pairs_of_halves4(d, m, p0, p1, BLOCK_BYTES);
}

ALWAYS_INLINE void unpack8(__m256i q[8], __m256 *d, __m256 *m, const uint8_t *const *p, size_t at)
{
	const __m256i bits = dwords_of_rows(p, at + 4);

	nibbles_of_rows(q, p, at + 8);
	UNROLL
	for (int k = 0; k < 8; k++)
		q[k] = fifth_bits_of_rows(q[k], bits, k);
	*d = halves_of_rows(p, at);
	*m = halves_of_rows(p, at + 2);
}

#include "kernels/x86/matmul_q32_avx2.h"

void LEVEL(linnet_matmul_q5_1)(const struct linnet_matmul *mm)
{
	matmul_q32(mm);
}
