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

/* Fifth bits of blocks 0..2 in the 64 bytes at p, in every dword of the lane */
static const uint8_t bits_at[64] __attribute__((aligned(64))) = {
	2, 3, 4, 5, 2, 3, 4, 5, 2, 3, 4, 5, 2, 3, 4, 5,
	24, 25, 26, 27, 24, 25, 26, 27, 24, 25, 26, 27, 24, 25, 26, 27,
	46, 47, 48, 49, 46, 47, 48, 49, 46, 47, 48, 49, 46, 47, 48, 49,
};

ALWAYS_INLINE void load4(const uint8_t *p, __m512i *lo, __m512i *hi)
{
	const __m512i q = nibbles4(p);
	__m512i bits = _mm512_permutexvar_epi8(_mm512_load_si512(bits_at), _mm512_loadu_si512(p));

	bits = _mm512_mask_broadcastd_epi32(bits, 0xf000, _mm_loadu_si32(p + 68));
	*lo = or_fifth_bit(low_nibbles(q), fifth_bits_of_blocks(bits, 0));
	*hi = or_fifth_bit(high_nibbles(q), fifth_bits_of_blocks(bits, 16));
}

ALWAYS_INLINE void load4x4(__m512i q[8], const uint8_t *const p[4])
{
	__m512i z[4], bits = _mm512_setzero_si512();

	UNROLL
	for (int r = 0; r < 4; r++) {
		z[r] = nibbles4(p[r]);
		bits = _mm512_mask_permutexvar_epi8(bits, 0x000f000f000full << 4 * r,
						    _mm512_load_si512(bits_at),
						    _mm512_loadu_si512(p[r]));
		bits = _mm512_mask_broadcastd_epi32(bits, (__mmask16)(0x1000 << r),
						    _mm_loadu_si32(p[r] + 68));
	}
	nibbles_of_lanes(q, z);
	UNROLL
	for (int k = 0; k < 8; k++)
		q[k] = or_fifth_bit(q[k], fifth_bits_of_rows(bits, 4 * k));
}

ALWAYS_INLINE __m512i scales4(__m512i sc, const uint8_t *p, int row)
{
	const __m512i at = _mm512_set_epi16(FOUR(0), FOUR(0), FOUR(0), FOUR(0), FOUR(0),
					    FOUR(22), FOUR(11), FOUR(0));

	sc = _mm512_mask_permutexvar_epi16(sc, 0x0111u << row, at, _mm512_loadu_si512(p));
	return _mm512_mask_broadcastw_epi16(sc, 0x1000u << row, _mm_loadu_si16(p + 66));
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
