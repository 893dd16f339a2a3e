/* SPDX-License-Identifier: MIT */
/*
 * Sixteen lanes in one AVX-512 register, for the bodies in kernels/lanes/. What each
 * function does is said in kernels/lanes/README.rst; the names are the same for
 * every instruction set.
 */
#ifndef LINNET_KERNELS_X86_V16_AVX512_H
#define LINNET_KERNELS_X86_V16_AVX512_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#define V16_INLINE static inline __attribute__((always_inline))

typedef __m512 v16;
typedef __mmask16 v16_mask;
typedef __m512i v16_int;
typedef __m512i v16_bytes;

V16_INLINE v16_mask v16_first(size_t n)
{
	return (v16_mask)_bzhi_u32(0xffff, (unsigned int)n);
}

V16_INLINE v16 v16_zero(void) { return _mm512_setzero_ps(); }
V16_INLINE v16 v16_set(float x) { return _mm512_set1_ps(x); }
V16_INLINE v16 v16_load(const float *p) { return _mm512_loadu_ps(p); }
V16_INLINE void v16_store(float *p, v16 a) { _mm512_storeu_ps(p, a); }

V16_INLINE v16 v16_load_n(const float *p, size_t n)
{
	return _mm512_maskz_loadu_ps(v16_first(n), p);
}

V16_INLINE void v16_store_n(float *p, v16 a, size_t n)
{
	_mm512_mask_storeu_ps(p, v16_first(n), a);
}

V16_INLINE v16 v16_load_f16(const void *p)
{
	return _mm512_cvtph_ps(_mm256_loadu_si256(p));
}

V16_INLINE v16 v16_load_f16_n(const void *p, size_t n)
{
	return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(v16_first(n), p));
}

V16_INLINE void v16_store_f16_n(void *p, v16 a, size_t n)
{
	_mm256_mask_storeu_epi16(p, v16_first(n), _mm512_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT));
}

V16_INLINE void v16_store_i8(int8_t *p, v16 a)
{
	_mm_storeu_si128((__m128i *)p, _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(a)));
}

V16_INLINE v16 v16_add(v16 a, v16 b) { return _mm512_add_ps(a, b); }
V16_INLINE v16 v16_sub(v16 a, v16 b) { return _mm512_sub_ps(a, b); }
V16_INLINE v16 v16_mul(v16 a, v16 b) { return _mm512_mul_ps(a, b); }
V16_INLINE v16 v16_div(v16 a, v16 b) { return _mm512_div_ps(a, b); }
V16_INLINE v16 v16_fma(v16 a, v16 b, v16 c) { return _mm512_fmadd_ps(a, b, c); }
V16_INLINE v16 v16_fmaddsub(v16 a, v16 b, v16 c) { return _mm512_fmaddsub_ps(a, b, c); }
V16_INLINE v16 v16_fmsub(v16 a, v16 b, v16 c) { return _mm512_fmsub_ps(a, b, c); }
V16_INLINE v16 v16_rint(v16 a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT); }
V16_INLINE v16 v16_max(v16 a, v16 b) { return _mm512_max_ps(a, b); }
V16_INLINE v16 v16_min(v16 a, v16 b) { return _mm512_min_ps(a, b); }

V16_INLINE v16_mask v16_lt(v16 a, v16 b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
V16_INLINE v16_mask v16_le(v16 a, v16 b) { return _mm512_cmp_ps_mask(a, b, _CMP_LE_OQ); }
V16_INLINE v16_mask v16_nan(v16 a) { return _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q); }

V16_INLINE int v16_all(v16_mask m) { return m == 0xffff; }

V16_INLINE v16_mask v16_range(size_t lo, size_t hi)
{
	return v16_first(hi) & (v16_mask)~v16_first(lo);
}

V16_INLINE v16 v16_select(v16_mask m, v16 a, v16 b) { return _mm512_mask_blend_ps(m, b, a); }

V16_INLINE v16 v16_abs(v16 a) { return _mm512_abs_ps(a); }
V16_INLINE v16 v16_neg(v16 a) { return _mm512_xor_ps(a, _mm512_set1_ps(-0.0f)); }

V16_INLINE v16 v16_copysign(v16 a, v16 sign)
{
	return _mm512_castsi512_ps(_mm512_ternarylogic_epi32(_mm512_set1_epi32(INT32_MIN),
			_mm512_castps_si512(sign), _mm512_castps_si512(a), 0xca));
}

V16_INLINE v16 v16_add_exponent(v16 p, v16 t)
{
	return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(p),
			_mm512_slli_epi32(_mm512_castps_si512(t), 23)));
}

V16_INLINE v16 v16_larger_magnitude(v16 max, v16 a)
{
	return _mm512_castsi512_ps(_mm512_max_epi32(_mm512_castps_si512(max),
						    _mm512_castps_si512(_mm512_abs_ps(a))));
}

V16_INLINE uint32_t v16_max_magnitude(v16 a, v16 b)
{
	__m512i m = _mm512_set1_epi32(INT32_MAX);

	return (uint32_t)_mm512_reduce_max_epi32(_mm512_max_epi32(
			_mm512_and_si512(_mm512_castps_si512(a), m),
			_mm512_and_si512(_mm512_castps_si512(b), m)));
}

/* Lanes c + 8, then c + 4, 2, 1 onto c. */
V16_INLINE float v16_sum(v16 a)
{
	__m256 b = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
	__m128 c = _mm_add_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));

	c = _mm_add_ps(c, _mm_movehl_ps(c, c));
	return _mm_cvtss_f32(_mm_add_ss(c, _mm_movehdup_ps(c)));
}

V16_INLINE float v16_largest(v16 a) { return _mm512_reduce_max_ps(a); }

V16_INLINE v16 v16_dup_even(v16 a) { return _mm512_moveldup_ps(a); }
V16_INLINE v16 v16_dup_odd(v16 a) { return _mm512_movehdup_ps(a); }
V16_INLINE v16 v16_swap_pairs(v16 a) { return _mm512_permute_ps(a, 0xb1); }

V16_INLINE v16 v16_evens(v16 a, v16 b)
{
	return _mm512_permutex2var_ps(a, _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20,
							   22, 24, 26, 28, 30), b);
}

V16_INLINE v16 v16_odds(v16 a, v16 b)
{
	return _mm512_permutex2var_ps(a, _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21,
							   23, 25, 27, 29, 31), b);
}

/* The multiplier takes unsigned bytes: values are moved up by 128, and a sum begins
 * with what that adds. */
V16_INLINE v16_bytes v16_load_bytes(const void *p)
{
	return _mm512_xor_si512(_mm512_loadu_si512(p), _mm512_set1_epi8(-128));
}

/* Values of nibbles are 0..15 for -8..7: moved up by 120 more. */
V16_INLINE v16_bytes v16_load_low(const void *p)
{
	__m512i n = _mm512_and_si512(_mm512_loadu_si512(p), _mm512_set1_epi8(15));

	return _mm512_add_epi8(n, _mm512_set1_epi8(120));
}

V16_INLINE v16_bytes v16_load_high(const void *p)
{
	__m512i n = _mm512_and_si512(_mm512_srli_epi16(_mm512_loadu_si512(p), 4),
				     _mm512_set1_epi8(15));

	return _mm512_add_epi8(n, _mm512_set1_epi8(120));
}

#define V16_DOT_BEGIN	-128

/* In place: gcc copies the sums of the intrinsic until they do not fit the registers. */
V16_INLINE v16_int v16_dpbusd(v16_int acc, __m512i u, __m512i s)
{
	__asm__("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(u), "v"(s));
	return acc;
}

V16_INLINE v16_int v16_dot(v16_int acc, v16_bytes a, int32_t digits)
{
	return v16_dpbusd(acc, a, _mm512_set1_epi32(digits));
}

V16_INLINE v16_bytes v16_load_signed(const void *p) { return _mm512_loadu_si512(p); }

V16_INLINE v16_bytes v16_load_low_nibbles(const void *p)
{
	return _mm512_and_si512(_mm512_loadu_si512(p), _mm512_set1_epi8(15));
}

V16_INLINE v16_bytes v16_load_high_nibbles(const void *p)
{
	return _mm512_and_si512(_mm512_srli_epi16(_mm512_loadu_si512(p), 4),
				_mm512_set1_epi8(15));
}

V16_INLINE v16_bytes v16_four_bytes(const void *p)
{
	int32_t x;

	__builtin_memcpy(&x, p, sizeof(x));
	return _mm512_set1_epi32(x);
}

V16_INLINE v16_int v16_int_set(int32_t x) { return _mm512_set1_epi32(x); }
V16_INLINE int32_t v16_int_sum(v16_int a) { return _mm512_reduce_add_epi32(a); }

V16_INLINE v16_int v16_dot_7x8(v16_int acc, v16_bytes u, v16_bytes s)
{
	return v16_dpbusd(acc, u, s);
}

V16_INLINE v16_int v16_join_digits(v16_int high, v16_int low)
{
	return _mm512_add_epi32(_mm512_slli_epi32(high, 7), low);
}

V16_INLINE void v16_store_digits(int8_t *high, int8_t *low, v16 a)
{
	__m512i x = _mm512_cvtps_epi32(a);

	_mm_storeu_si128((__m128i *)high, _mm512_cvtepi32_epi8(_mm512_srai_epi32(x, 7)));
	_mm_storeu_si128((__m128i *)low,
			 _mm512_cvtepi32_epi8(_mm512_and_si512(x, _mm512_set1_epi32(127))));
}

/* Bytes of the dwords of four vectors, which fit; a pack leaves them in fours, lane by lane. */
V16_INLINE __m512i v16_bytes_in_order(__m512i ab, __m512i cd)
{
	const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14,
						3, 7, 11, 15);

	return _mm512_permutexvar_epi32(order, _mm512_packs_epi16(ab, cd));
}

V16_INLINE void v16_store_digits_64(int8_t *high, int8_t *low, v16 a, v16 b, v16 c, v16 d)
{
	__m512i x = _mm512_packs_epi32(_mm512_cvtps_epi32(a), _mm512_cvtps_epi32(b));
	__m512i y = _mm512_packs_epi32(_mm512_cvtps_epi32(c), _mm512_cvtps_epi32(d));
	__m512i mask = _mm512_set1_epi16(127);

	_mm512_storeu_si512(high, v16_bytes_in_order(_mm512_srai_epi16(x, 7),
						     _mm512_srai_epi16(y, 7)));
	_mm512_storeu_si512(low, v16_bytes_in_order(_mm512_and_si512(x, mask),
						    _mm512_and_si512(y, mask)));
}

V16_INLINE v16 v16_from_int(v16_int a) { return _mm512_cvtepi32_ps(a); }

/*
 * Into L2: far ahead as it is, L1 has too few outstanding misses for memory's full rate.
 * volatile: gcc removes calls of a function that only prefetches.
 */
V16_INLINE void v16_prefetch(const void *p)
{
	__asm__ volatile("prefetcht1 %0" : : "m"(*(const char *)p));
}

#endif
