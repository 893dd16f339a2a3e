/* SPDX-License-Identifier: MIT */
/*
 * What the AVX-512 kernels of the super-block types share: the activations' layout,
 * bit moves and transposes.
 */
#ifndef LINNET_KERNELS_X86_K_AVX512_H
#define LINNET_KERNELS_X86_K_AVX512_H

#include "kernels/blocks.h"
#include "kernels/kernels.h"

#include <immintrin.h>
#include <stdbool.h>

#define LINNET_INLINE static inline __attribute__((always_inline))
#ifdef __clang__
#define LINNET_UNROLL _Pragma("unroll")
#else
#define LINNET_UNROLL _Pragma("GCC unroll 16")
#endif

/*
 * A matrix-vector product (one token) reads one record per super-block, elements in
 * their natural order.
 */
struct linnet_vec256 {
	int8_t q[256];
	int16_t sum16[16];	/* sums of 16 q */
	int16_t sum32[8];	/* sums of 32 q */
	float d;
	float pad[3];
} __attribute__((aligned(64)));

/*
 * More tokens are cut into tiles of LINNET_TILE; a tile has one record per
 * super-block, all tiles of super-block 0 first. Rows are tokens of the tile; those
 * past the last token are not initialised.
 */
#define LINNET_TILE 4

struct linnet_tile256 {
	int32_t q[LINNET_TILE][64];	/* four int8 each */
	int32_t off16[LINNET_TILE][16];	/* -32 * sums of 16 q: the offset of Q6_K */
	int32_t off32[LINNET_TILE][8];	/* -128 * sums of 32 q: the offset of IQ4_XS */
	int16_t sum16[LINNET_TILE][16];
	int16_t sum32[LINNET_TILE][8];
	float d[LINNET_TILE];
	int32_t sum256[LINNET_TILE];
	float pad[8];
} __attribute__((aligned(64)));

LINNET_INLINE size_t linnet_tiles(size_t n_tokens)
{
	return (n_tokens + LINNET_TILE - 1) / LINNET_TILE;
}

#define LINNET_VEC256_SCRATCH	(3 * 16 * 64 * 4)	/* bytes, whatever the shape */

size_t linnet_q256_bytes_avx512(size_t n_cols, size_t n_tokens);
void linnet_q256_pack_avx512(const struct linnet_act_buf *dst, const float *x, size_t ldx,
			     size_t t0, size_t t1);
size_t linnet_q256_scratch_avx512(size_t n_tokens);
size_t linnet_mat_k_scratch_avx512(size_t n_tokens);

/* Products with one token, and with more. */
void linnet_vec_q2_k_avx512(const struct linnet_matmul *mm);
void linnet_vec_q3_k_avx512(const struct linnet_matmul *mm);
void linnet_vec_q4_k_avx512(const struct linnet_matmul *mm);
void linnet_vec_q5_k_avx512(const struct linnet_matmul *mm);
void linnet_vec_q6_k_avx512(const struct linnet_matmul *mm);
void linnet_vec_iq4_xs_avx512(const struct linnet_matmul *mm);
void linnet_mat_q2_k_avx512(const struct linnet_matmul *mm);
void linnet_mat_q3_k_avx512(const struct linnet_matmul *mm);
void linnet_mat_q4_k_avx512(const struct linnet_matmul *mm);
void linnet_mat_q5_k_avx512(const struct linnet_matmul *mm);
void linnet_mat_q6_k_avx512(const struct linnet_matmul *mm);
void linnet_mat_iq4_xs_avx512(const struct linnet_matmul *mm);

/* Compilers may drop a helper that does nothing but __builtin_prefetch(). */
LINNET_INLINE void linnet_prefetch(const void *p)
{
	__asm__ volatile("prefetcht0 %0" : : "m"(*(const char *)p));
}

LINNET_INLINE __m128i linnet_load128(const void *p)
{
	return _mm_loadu_si128(p);
}

/* 128-bit lanes 0..3 from four places */
LINNET_INLINE __m512i linnet_load_lanes(const void *p0, const void *p1, const void *p2,
					const void *p3)
{
	__m256i lo = _mm256_inserti128_si256(_mm256_castsi128_si256(linnet_load128(p0)),
					     linnet_load128(p1), 1);
	__m256i hi = _mm256_inserti128_si256(_mm256_castsi128_si256(linnet_load128(p2)),
					     linnet_load128(p3), 1);

	return _mm512_inserti64x4(_mm512_castsi256_si512(lo), hi, 1);
}

/* 32 bytes in both halves */
LINNET_INLINE __m512i linnet_load_twice(const void *p)
{
	return _mm512_broadcast_i64x4(_mm256_loadu_si256(p));
}

/* Matrix for gf2p8affine: bits [from, from + n) of a byte to [to, to + n), the rest 0 */
LINNET_INLINE int64_t linnet_move_bits(int from, int to, int n)
{
	uint64_t m = 0;

	for (int i = 0; i < n; i++)
		m |= (1ull << (from + i)) << (8 * (7 - to - i));
	return (int64_t)m;
}

/* One matrix for the low half of a vector, one for the high */
LINNET_INLINE __m512i linnet_halves(int64_t lo, int64_t hi)
{
	return _mm512_set_epi64(hi, hi, hi, hi, lo, lo, lo, lo);
}

LINNET_INLINE __m512i linnet_affine(__m512i x, __m512i matrix)
{
	return _mm512_gf2p8affine_epi64_epi8(x, matrix, 0);
}

/* Dwords of four vectors with rows i, i + 4, i + 8, i + 12 in their lanes (vector i): out[k]
 * has dword k of rows 0..15. */
LINNET_INLINE void linnet_transpose_lanes(__m512i out[4], const __m512i in[4])
{
	__m512i t0 = _mm512_unpacklo_epi32(in[0], in[1]);
	__m512i t1 = _mm512_unpackhi_epi32(in[0], in[1]);
	__m512i t2 = _mm512_unpacklo_epi32(in[2], in[3]);
	__m512i t3 = _mm512_unpackhi_epi32(in[2], in[3]);

	out[0] = _mm512_unpacklo_epi64(t0, t2);
	out[1] = _mm512_unpackhi_epi64(t0, t2);
	out[2] = _mm512_unpacklo_epi64(t1, t3);
	out[3] = _mm512_unpackhi_epi64(t1, t3);
}

/* out[k]: dword k at p[0], p[1], ... p[15] for k < 4 */
LINNET_INLINE void linnet_load_transposed(__m512i out[4], const uint8_t *const p[16], size_t offset)
{
	__m512i in[4];

	for (int i = 0; i < 4; i++)
		in[i] = linnet_load_lanes(p[i] + offset, p[i + 4] + offset, p[i + 8] + offset,
					  p[i + 12] + offset);
	linnet_transpose_lanes(out, in);
}

/* The codebook of IQ4_XS as unsigned bytes, in every lane */
LINNET_INLINE __m512i linnet_iq4_values_plus_128(void)
{
	return _mm512_xor_si512(_mm512_broadcast_i32x4(linnet_load128(linnet_iq4_values)),
				_mm512_set1_epi8(-128));
}

LINNET_INLINE __mmask16 linnet_row_mask(size_t n)
{
	return n < 16 ? (__mmask16)((1u << n) - 1) : (__mmask16)0xffff;
}

/* Low and high halves of dwords, as half floats */
LINNET_INLINE __m512 linnet_low_half(__m512i x)
{
	return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(x));
}

LINNET_INLINE __m512 linnet_high_half(__m512i x)
{
	return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32(x, 16)));
}

/* The contract's step of a chain, lane = row */
LINNET_INLINE __m512 linnet_chain(__m512 acc, __m512 d_w, __m512 d_a, __m512i isum)
{
	return _mm512_fmadd_ps(_mm512_mul_ps(d_w, d_a), _mm512_cvtepi32_ps(isum), acc);
}

LINNET_INLINE __m512 linnet_chain_min(__m512 acc, __m512 d_w, __m512 dmin_w, __m512 d_a,
				      __m512i isum, __m512i msum)
{
	__m512 min = _mm512_mul_ps(_mm512_mul_ps(dmin_w, d_a), _mm512_cvtepi32_ps(msum));

	return _mm512_add_ps(acc, _mm512_fmsub_ps(_mm512_mul_ps(d_w, d_a),
						  _mm512_cvtepi32_ps(isum), min));
}

#endif
