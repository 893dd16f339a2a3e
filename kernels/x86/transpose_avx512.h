/* SPDX-License-Identifier: MIT */
/* Dwords of four registers, lane by lane, on AVX-512. */
#ifndef LINNET_KERNELS_X86_TRANSPOSE_AVX512_H
#define LINNET_KERNELS_X86_TRANSPOSE_AVX512_H

#include "kernels/x86/simd.h"

#include <immintrin.h>

/* Dword i of lane l of out[k]: dword k of lane l of in[i] */
ALWAYS_INLINE void transpose_lanes(__m512i out[4], const __m512i in[4])
{
	__m512i t0 = _mm512_unpacklo_epi32(in[0], in[1]), t1 = _mm512_unpackhi_epi32(in[0], in[1]);
	__m512i t2 = _mm512_unpacklo_epi32(in[2], in[3]), t3 = _mm512_unpackhi_epi32(in[2], in[3]);

	out[0] = _mm512_unpacklo_epi64(t0, t2);
	out[1] = _mm512_unpackhi_epi64(t0, t2);
	out[2] = _mm512_unpacklo_epi64(t1, t3);
	out[3] = _mm512_unpackhi_epi64(t1, t3);
}

/* Dword i of each lane: the sum of that lane of x<i> */
ALWAYS_INLINE __m512i sum_lanes(__m512i x0, __m512i x1, __m512i x2, __m512i x3)
{
	__m512i s01 = _mm512_add_epi32(_mm512_unpacklo_epi32(x0, x1),
				       _mm512_unpackhi_epi32(x0, x1));
	__m512i s23 = _mm512_add_epi32(_mm512_unpacklo_epi32(x2, x3),
				       _mm512_unpackhi_epi32(x2, x3));

	return _mm512_add_epi32(_mm512_unpacklo_epi64(s01, s23), _mm512_unpackhi_epi64(s01, s23));
}

#endif
