/* SPDX-License-Identifier: MIT */
/* Dwords of four registers, lane by lane, on AVX2. */
#ifndef LINNET_KERNELS_X86_TRANSPOSE_AVX2_H
#define LINNET_KERNELS_X86_TRANSPOSE_AVX2_H

#include "kernels/x86/simd.h"

#include <immintrin.h>

/* Dword i of lane l of out[k]: dword k of lane l of in[i] */
ALWAYS_INLINE void transpose_lanes(__m256i out[4], const __m256i in[4])
{
	__m256i t0 = _mm256_unpacklo_epi32(in[0], in[1]), t1 = _mm256_unpackhi_epi32(in[0], in[1]);
	__m256i t2 = _mm256_unpacklo_epi32(in[2], in[3]), t3 = _mm256_unpackhi_epi32(in[2], in[3]);

	out[0] = _mm256_unpacklo_epi64(t0, t2);
	out[1] = _mm256_unpackhi_epi64(t0, t2);
	out[2] = _mm256_unpacklo_epi64(t1, t3);
	out[3] = _mm256_unpackhi_epi64(t1, t3);
}

#endif
