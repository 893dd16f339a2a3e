/* SPDX-License-Identifier: MIT */
/* What an AVX-512 machine could do, see struct linnet_limits. */
#include "kernels/fill.h"
#include "kernels/x86/simd.h"

#include <immintrin.h>

#define AHEAD 2048

static uint64_t read_lines(const void *p, size_t n)
{
	const char *c = p;
	__m512i s[4];
	uint64_t sum;

	s[0] = s[1] = s[2] = s[3] = _mm512_setzero_si512();
	for (size_t i = 0; i + 256 <= n; i += 256) {
		UNROLL
		for (int j = 0; j < 4; j++)
			prefetch_t0(c + i + AHEAD + 64 * j);
		UNROLL
		for (int j = 0; j < 4; j++)
			s[j] = _mm512_or_si512(s[j], _mm512_loadu_si512(c + i + 64 * j));
	}
	s[0] = _mm512_or_si512(_mm512_or_si512(s[0], s[1]), _mm512_or_si512(s[2], s[3]));
	sum = (uint64_t)_mm512_reduce_or_epi64(s[0]);
	for (size_t i = n / 256 * 256; i < n; i++)
		sum += (unsigned char)c[i];
	return sum;
}

static uint64_t int8_rounds(uint64_t n)
{
#define DOT(r)	"vpdpbusd %%zmm15, %%zmm15, %%zmm" #r "\n\t"
	for (uint64_t i = 0; i < n; i++)
		__asm__ volatile(DOT(0) DOT(1) DOT(2) DOT(3) DOT(4) DOT(5) DOT(6) DOT(7)
				 DOT(8) DOT(9) DOT(10) DOT(11)
				 : : : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5",
				 "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11");
#undef DOT
	return n * 12 * 64 * 2;
}

void linnet_kernels_avx512_limits(struct linnet_kernels *k)
{
	k->limits = (struct linnet_limits){ read_lines, int8_rounds };
}
