/* SPDX-License-Identifier: MIT */
/*
 * Sixteen lanes in two AVX registers, for the bodies in kernels/lanes/. What each
 * function does is said in kernels/lanes/README.rst; the names are the same for
 * every instruction set.
 */
#ifndef LINNET_KERNELS_X86_V16_AVX2_H
#define LINNET_KERNELS_X86_V16_AVX2_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define V16_INLINE static inline __attribute__((always_inline))

typedef struct { __m256 lo, hi; } v16;
typedef struct { __m256i lo, hi; } v16_int;
typedef v16 v16_mask;		/* sign bits */
typedef v16_int v16_bytes;

/* Lanes i with i + at < n. */
V16_INLINE __m256i v16_first8(size_t n, int at)
{
	return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n - at),
				  _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

V16_INLINE v16_mask v16_first(size_t n)
{
	return (v16_mask) { _mm256_castsi256_ps(v16_first8(n, 0)),
			    _mm256_castsi256_ps(v16_first8(n, 8)) };
}

V16_INLINE v16 v16_zero(void) { return (v16) { _mm256_setzero_ps(), _mm256_setzero_ps() }; }

V16_INLINE v16 v16_set(float x)
{
	__m256 a = _mm256_set1_ps(x);

	return (v16) { a, a };
}

V16_INLINE v16 v16_load(const float *p)
{
	return (v16) { _mm256_loadu_ps(p), _mm256_loadu_ps(p + 8) };
}

V16_INLINE void v16_store(float *p, v16 a)
{
	_mm256_storeu_ps(p, a.lo);
	_mm256_storeu_ps(p + 8, a.hi);
}

V16_INLINE v16 v16_load_n(const float *p, size_t n)
{
	return (v16) { _mm256_maskload_ps(p, v16_first8(n, 0)),
		       _mm256_maskload_ps(p + 8, v16_first8(n, 8)) };
}

V16_INLINE void v16_store_n(float *p, v16 a, size_t n)
{
	_mm256_maskstore_ps(p, v16_first8(n, 0), a.lo);
	_mm256_maskstore_ps(p + 8, v16_first8(n, 8), a.hi);
}

V16_INLINE v16 v16_load_f16(const void *p)
{
	const __m128i *h = p;

	return (v16) { _mm256_cvtph_ps(_mm_loadu_si128(h)),
		       _mm256_cvtph_ps(_mm_loadu_si128(h + 1)) };
}

V16_INLINE v16 v16_load_f16_n(const void *p, size_t n)
{
	uint16_t h[16] = { 0 };

	memcpy(h, p, 2 * n);
	return v16_load_f16(h);
}

V16_INLINE void v16_store_f16_n(void *p, v16 a, size_t n)
{
	uint16_t h[16];

	_mm_storeu_si128((__m128i *)h, _mm256_cvtps_ph(a.lo, _MM_FROUND_TO_NEAREST_INT));
	_mm_storeu_si128((__m128i *)h + 1, _mm256_cvtps_ph(a.hi, _MM_FROUND_TO_NEAREST_INT));
	memcpy(p, h, 2 * n);
}

V16_INLINE void v16_store_i8(int8_t *p, v16 a)
{
	/* packs works in halves of registers: 0-3 8-11 | 4-7 12-15 */
	__m256i w = _mm256_packs_epi32(_mm256_cvtps_epi32(a.lo), _mm256_cvtps_epi32(a.hi));

	w = _mm256_permute4x64_epi64(w, 0xd8);
	_mm_storeu_si128((__m128i *)p, _mm_packs_epi16(_mm256_castsi256_si128(w),
						       _mm256_extracti128_si256(w, 1)));
}

#define V16_BINARY(name, op)						\
V16_INLINE v16 name(v16 a, v16 b)					\
{									\
	return (v16) { op(a.lo, b.lo), op(a.hi, b.hi) };		\
}

#define V16_TERNARY(name, op)						\
V16_INLINE v16 name(v16 a, v16 b, v16 c)				\
{									\
	return (v16) { op(a.lo, b.lo, c.lo), op(a.hi, b.hi, c.hi) };	\
}

V16_BINARY(v16_add, _mm256_add_ps)
V16_BINARY(v16_sub, _mm256_sub_ps)
V16_BINARY(v16_mul, _mm256_mul_ps)
V16_BINARY(v16_div, _mm256_div_ps)
V16_BINARY(v16_max, _mm256_max_ps)
V16_BINARY(v16_min, _mm256_min_ps)
V16_TERNARY(v16_fma, _mm256_fmadd_ps)
V16_TERNARY(v16_fmaddsub, _mm256_fmaddsub_ps)
V16_TERNARY(v16_fmsub, _mm256_fmsub_ps)

V16_INLINE v16 v16_rint(v16 a)
{
	return (v16) { _mm256_round_ps(a.lo, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC),
		       _mm256_round_ps(a.hi, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC) };
}

V16_INLINE v16_mask v16_lt(v16 a, v16 b)
{
	return (v16_mask) { _mm256_cmp_ps(a.lo, b.lo, _CMP_LT_OQ),
			    _mm256_cmp_ps(a.hi, b.hi, _CMP_LT_OQ) };
}

V16_INLINE v16_mask v16_le(v16 a, v16 b)
{
	return (v16_mask) { _mm256_cmp_ps(a.lo, b.lo, _CMP_LE_OQ),
			    _mm256_cmp_ps(a.hi, b.hi, _CMP_LE_OQ) };
}

V16_INLINE v16_mask v16_nan(v16 a)
{
	return (v16_mask) { _mm256_cmp_ps(a.lo, a.lo, _CMP_UNORD_Q),
			    _mm256_cmp_ps(a.hi, a.hi, _CMP_UNORD_Q) };
}

V16_INLINE int v16_all(v16_mask m)
{
	return (_mm256_movemask_ps(m.lo) & _mm256_movemask_ps(m.hi)) == 0xff;
}

V16_BINARY(v16_andnot, _mm256_andnot_ps)
V16_BINARY(v16_and, _mm256_and_ps)
V16_BINARY(v16_or, _mm256_or_ps)
V16_BINARY(v16_xor, _mm256_xor_ps)

V16_INLINE v16_mask v16_range(size_t lo, size_t hi)
{
	return v16_andnot(v16_first(lo), v16_first(hi));
}

V16_INLINE v16 v16_select(v16_mask m, v16 a, v16 b)
{
	return (v16) { _mm256_blendv_ps(b.lo, a.lo, m.lo), _mm256_blendv_ps(b.hi, a.hi, m.hi) };
}

V16_INLINE v16 v16_abs(v16 a) { return v16_andnot(v16_set(-0.0f), a); }
V16_INLINE v16 v16_neg(v16 a) { return v16_xor(v16_set(-0.0f), a); }

V16_INLINE v16 v16_copysign(v16 a, v16 sign)
{
	v16 m = v16_set(-0.0f);

	return v16_or(v16_and(m, sign), v16_andnot(m, a));
}

V16_INLINE __m256 v16_add_exponent8(__m256 p, __m256 t)
{
	return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(p),
			_mm256_slli_epi32(_mm256_castps_si256(t), 23)));
}

V16_BINARY(v16_add_exponent, v16_add_exponent8)

V16_INLINE v16 v16_larger_magnitude(v16 max, v16 a)
{
	__m256i m = _mm256_set1_epi32(INT32_MAX);

	return (v16) {
		_mm256_castsi256_ps(_mm256_max_epi32(_mm256_castps_si256(max.lo),
				    _mm256_and_si256(_mm256_castps_si256(a.lo), m))),
		_mm256_castsi256_ps(_mm256_max_epi32(_mm256_castps_si256(max.hi),
				    _mm256_and_si256(_mm256_castps_si256(a.hi), m))),
	};
}

V16_INLINE uint32_t v16_max_magnitude(v16 a, v16 b)
{
	__m256i m, x, y;
	__m128i z;

	a = v16_abs(a);
	b = v16_abs(b);
	x = _mm256_max_epi32(_mm256_castps_si256(a.lo), _mm256_castps_si256(a.hi));
	y = _mm256_max_epi32(_mm256_castps_si256(b.lo), _mm256_castps_si256(b.hi));
	m = _mm256_max_epi32(x, y);
	z = _mm_max_epi32(_mm256_castsi256_si128(m), _mm256_extracti128_si256(m, 1));
	z = _mm_max_epi32(z, _mm_shuffle_epi32(z, 0x4e));
	z = _mm_max_epi32(z, _mm_shuffle_epi32(z, 0xb1));
	return (uint32_t)_mm_cvtsi128_si32(z);
}

/* Lanes c + 8, then c + 4, 2, 1 onto c. */
V16_INLINE float v16_sum(v16 a)
{
	__m256 b = _mm256_add_ps(a.lo, a.hi);
	__m128 c = _mm_add_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));

	c = _mm_add_ps(c, _mm_movehl_ps(c, c));
	return _mm_cvtss_f32(_mm_add_ss(c, _mm_movehdup_ps(c)));
}

V16_INLINE float v16_largest(v16 a)
{
	__m256 b = _mm256_max_ps(a.lo, a.hi);
	__m128 c = _mm_max_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));

	c = _mm_max_ps(c, _mm_movehl_ps(c, c));
	return _mm_cvtss_f32(_mm_max_ss(c, _mm_movehdup_ps(c)));
}

V16_INLINE v16 v16_dup_even(v16 a)
{
	return (v16) { _mm256_moveldup_ps(a.lo), _mm256_moveldup_ps(a.hi) };
}

V16_INLINE v16 v16_dup_odd(v16 a)
{
	return (v16) { _mm256_movehdup_ps(a.lo), _mm256_movehdup_ps(a.hi) };
}

V16_INLINE v16 v16_swap_pairs(v16 a)
{
	return (v16) { _mm256_permute_ps(a.lo, 0xb1), _mm256_permute_ps(a.hi, 0xb1) };
}

V16_INLINE __m256 v16_in_order(__m256 a)
{
	return _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(a), 0xd8));
}

V16_INLINE v16 v16_evens(v16 a, v16 b)
{
	return (v16) { v16_in_order(_mm256_shuffle_ps(a.lo, a.hi, 0x88)),
		       v16_in_order(_mm256_shuffle_ps(b.lo, b.hi, 0x88)) };
}

V16_INLINE v16 v16_odds(v16 a, v16 b)
{
	return (v16) { v16_in_order(_mm256_shuffle_ps(a.lo, a.hi, 0xdd)),
		       v16_in_order(_mm256_shuffle_ps(b.lo, b.hi, 0xdd)) };
}

V16_INLINE v16_bytes v16_load_bytes(const void *p)
{
	const __m256i *b = p;

	return (v16_bytes) { _mm256_loadu_si256(b), _mm256_loadu_si256(b + 1) };
}

V16_INLINE __m256i v16_nibbles(__m256i a)
{
	return _mm256_sub_epi8(_mm256_and_si256(a, _mm256_set1_epi8(15)), _mm256_set1_epi8(8));
}

V16_INLINE v16_bytes v16_load_low(const void *p)
{
	v16_bytes a = v16_load_bytes(p);

	return (v16_bytes) { v16_nibbles(a.lo), v16_nibbles(a.hi) };
}

V16_INLINE v16_bytes v16_load_high(const void *p)
{
	v16_bytes a = v16_load_bytes(p);

	return (v16_bytes) { v16_nibbles(_mm256_srli_epi16(a.lo, 4)),
			     v16_nibbles(_mm256_srli_epi16(a.hi, 4)) };
}

#define V16_DOT_BEGIN	0

/* The multiplier takes unsigned times signed bytes: the sign of a goes to the digits.
 * Pairs stay below 2^15, as digits are at least -127. */
V16_INLINE __m256i v16_dot8(__m256i acc, __m256i a, __m256i digits)
{
	__m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(a), _mm256_sign_epi8(digits, a));

	return _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

V16_INLINE v16_int v16_dot(v16_int acc, v16_bytes a, int32_t digits)
{
	__m256i d = _mm256_set1_epi32(digits);

	return (v16_int) { v16_dot8(acc.lo, a.lo, d), v16_dot8(acc.hi, a.hi, d) };
}

V16_INLINE v16_bytes v16_load_signed(const void *p) { return v16_load_bytes(p); }

V16_INLINE v16_bytes v16_load_low_nibbles(const void *p)
{
	v16_bytes a = v16_load_bytes(p);
	__m256i m = _mm256_set1_epi8(15);

	return (v16_bytes) { _mm256_and_si256(a.lo, m), _mm256_and_si256(a.hi, m) };
}

V16_INLINE v16_bytes v16_load_high_nibbles(const void *p)
{
	v16_bytes a = v16_load_bytes(p);
	__m256i m = _mm256_set1_epi8(15);

	return (v16_bytes) { _mm256_and_si256(_mm256_srli_epi16(a.lo, 4), m),
			     _mm256_and_si256(_mm256_srli_epi16(a.hi, 4), m) };
}

V16_INLINE v16_bytes v16_four_bytes(const void *p)
{
	__m256i a;
	int32_t x;

	__builtin_memcpy(&x, p, sizeof(x));
	a = _mm256_set1_epi32(x);
	return (v16_bytes) { a, a };
}

V16_INLINE v16_int v16_int_set(int32_t x)
{
	__m256i a = _mm256_set1_epi32(x);

	return (v16_int) { a, a };
}

V16_INLINE int32_t v16_int_sum(v16_int a)
{
	__m256i b = _mm256_add_epi32(a.lo, a.hi);
	__m128i c = _mm_add_epi32(_mm256_castsi256_si128(b), _mm256_extracti128_si256(b, 1));

	c = _mm_add_epi32(c, _mm_unpackhi_epi64(c, c));
	return _mm_cvtsi128_si32(_mm_add_epi32(c, _mm_shuffle_epi32(c, 1)));
}

/* Pairs stay below 2^15, as u is at most 127. */
V16_INLINE v16_int v16_dot_7x8(v16_int acc, v16_bytes u, v16_bytes s)
{
	__m256i one = _mm256_set1_epi16(1);
	__m256i lo = _mm256_madd_epi16(_mm256_maddubs_epi16(u.lo, s.lo), one);
	__m256i hi = _mm256_madd_epi16(_mm256_maddubs_epi16(u.hi, s.hi), one);

	return (v16_int) { _mm256_add_epi32(acc.lo, lo), _mm256_add_epi32(acc.hi, hi) };
}

V16_INLINE v16_int v16_join_digits(v16_int high, v16_int low)
{
	return (v16_int) { _mm256_add_epi32(_mm256_slli_epi32(high.lo, 7), low.lo),
			   _mm256_add_epi32(_mm256_slli_epi32(high.hi, 7), low.hi) };
}

/* Bytes of sixteen small integers. */
V16_INLINE void v16_store_small(int8_t *p, __m256i lo, __m256i hi)
{
	__m256i a = _mm256_permute4x64_epi64(_mm256_packs_epi32(lo, hi), 0xd8);

	_mm_storeu_si128((__m128i *)p, _mm_packs_epi16(_mm256_castsi256_si128(a),
						       _mm256_extracti128_si256(a, 1)));
}

V16_INLINE void v16_store_digits(int8_t *high, int8_t *low, v16 a)
{
	__m256i x = _mm256_cvtps_epi32(a.lo), y = _mm256_cvtps_epi32(a.hi);
	__m256i m = _mm256_set1_epi32(127);

	v16_store_small(high, _mm256_srai_epi32(x, 7), _mm256_srai_epi32(y, 7));
	v16_store_small(low, _mm256_and_si256(x, m), _mm256_and_si256(y, m));
}

V16_INLINE void v16_store_digits_64(int8_t *high, int8_t *low, v16 a, v16 b, v16 c, v16 d)
{
	v16_store_digits(high, low, a);
	v16_store_digits(high + 16, low + 16, b);
	v16_store_digits(high + 32, low + 32, c);
	v16_store_digits(high + 48, low + 48, d);
}

V16_INLINE v16 v16_from_int(v16_int a)
{
	return (v16) { _mm256_cvtepi32_ps(a.lo), _mm256_cvtepi32_ps(a.hi) };
}

/*
 * Into L2: far ahead as it is, L1 has too few outstanding misses for memory's full rate.
 * volatile: gcc removes calls of a function that only prefetches.
 */
V16_INLINE void v16_prefetch(const void *p)
{
	__asm__ volatile("prefetcht1 %0" : : "m"(*(const char *)p));
}

#endif
