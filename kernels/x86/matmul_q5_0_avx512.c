/* SPDX-License-Identifier: MIT */
/*
 * Products of Q5_0 weights, AVX-512. Five bits as they are, biased by 16.
 */
#include "kernels/blocks.h"
#include "kernels/x86/mat_avx512.h"

#define BLOCK_BYTES	sizeof(struct linnet_block_q5_0)
#define QUANTS_AT	6
#define BIAS_SHIFT	4
#define FIFTH_BITS	1

#include "kernels/x86/nibbles_avx512.h"

#define BITS_OF(block)							\
	STEP_BYTES4(22 * (block) + 2), STEP_BYTES4(22 * (block) + 2),	\
	STEP_BYTES4(22 * (block) + 2), STEP_BYTES4(22 * (block) + 2)

/* Fifth bits of a block, in every dword of its lane */
ALWAYS_INLINE __m512i bits4(const uint8_t *p)
{
	static const uint8_t at[64] __attribute__((aligned(64))) = {
		BITS_OF(0), BITS_OF(1), BITS_OF(2), BITS_OF(3),
	};

	return _mm512_permutex2var_epi8(step_head(p), _mm512_load_si512(at), step_tail(p));
}

ALWAYS_INLINE void load4(const uint8_t *p, __m512i *lo, __m512i *hi)
{
	const __m512i q = nibbles4(p);
	const __m512i bits = bits4(p);

	*lo = or_fifth_bit(low_nibbles(q), fifth_bits_of_blocks(bits, 0));
	*hi = or_fifth_bit(high_nibbles(q), fifth_bits_of_blocks(bits, 16));
}

ALWAYS_INLINE void load4x4(__m512i q[8], const uint8_t *const p[4])
{
	__m512i z[4], bits = _mm512_setzero_si512();

	UNROLL
	for (int r = 0; r < 4; r++) {
		z[r] = nibbles4(p[r]);
		bits = _mm512_mask_blend_epi32((__mmask16)(0x1111 << r), bits, bits4(p[r]));
	}
	nibbles_of_lanes(q, z);
	UNROLL
	for (int k = 0; k < 8; k++)
		q[k] = or_fifth_bit(q[k], fifth_bits_of_rows(bits, 4 * k));
}

ALWAYS_INLINE __m512i scales16(const uint8_t *const p[4])
{
	/* the last one is a half further on in the tail */
	const __m512i at = _mm512_set_epi16(FOUR(0), FOUR(0), FOUR(0), FOUR(0), FOUR(37), FOUR(22),
					    FOUR(11), FOUR(0));
	__m512i sc[4];

	UNROLL
	for (int r = 0; r < 4; r++)
		sc[r] = _mm512_maskz_permutex2var_epi16(0x1111u << r, step_head(p[r]), at,
							step_tail(p[r]));
	return _mm512_or_si512(_mm512_or_si512(sc[0], sc[1]), _mm512_or_si512(sc[2], sc[3]));
}

ALWAYS_INLINE void scale_floats(__m512i sc, __m512 *d, __m512 *m)
{
	*d = _mm512_cvtph_ps(_mm512_castsi512_si256(sc));
	*m = _mm512_setzero_ps();
}

ALWAYS_INLINE void unpack16(__m512i q[8], __m512 *d, __m512 *m, const uint8_t *const *p, size_t at)
{
	const __m512i bits = dwords_of_rows(p, at + 2);

	nibbles_of_rows(q, p, at + QUANTS_AT);
	UNROLL
	for (int k = 0; k < 8; k++)
		q[k] = or_fifth_bit(q[k], fifth_bits_of_rows(bits, 4 * k));
	*d = halves_of_rows(p, at);
	*m = _mm512_setzero_ps();
}

#include "kernels/x86/matmul_q32_avx512.h"

void linnet_matmul_q5_0_avx512(const struct linnet_matmul *mm)
{
	matmul_q32(mm);
}
