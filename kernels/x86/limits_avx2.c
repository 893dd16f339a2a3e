/* SPDX-License-Identifier: MIT */
/* What an AVX2 machine could do, with and without VNNI: see struct linnet_limits. */
#include "kernels/fill.h"
#include "kernels/x86/simd.h"
#include "kernels/x86/vnni.h"

#include <immintrin.h>

#define AHEAD 2048

static uint64_t read_lines(const void *p, size_t n)
{
	const char *c = p;
	__m256i s[4] = { _mm256_setzero_si256() };
	uint64_t sum;

	s[1] = s[2] = s[3] = s[0];
	for (size_t i = 0; i + 128 <= n; i += 128) {
		prefetch_t0(c + i + AHEAD);
		prefetch_t0(c + i + AHEAD + 64);
		UNROLL
		for (int j = 0; j < 4; j++)
			s[j] = _mm256_or_si256(s[j], _mm256_loadu_si256(
				(const __m256i *)(c + i + 32 * j)));
	}
	s[0] = _mm256_or_si256(_mm256_or_si256(s[0], s[1]), _mm256_or_si256(s[2], s[3]));
	sum = (uint64_t)_mm256_extract_epi64(s[0], 0);
	for (size_t i = n / 128 * 128; i < n; i++)
		sum += (unsigned char)c[i];
	return sum;
}

#if LINNET_VNNI
static uint64_t int8_rounds(uint64_t n)
{
#define DOT(r)	VNNI_ENCODING "vpdpbusd %%ymm15, %%ymm15, %%ymm" #r "\n\t"
	for (uint64_t i = 0; i < n; i++)
		__asm__ volatile(DOT(0) DOT(1) DOT(2) DOT(3) DOT(4) DOT(5) DOT(6) DOT(7)
				 DOT(8) DOT(9) DOT(10) DOT(11)
				 : : : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6",
				 "xmm7", "xmm8", "xmm9", "xmm10", "xmm11");
#undef DOT
	return n * 12 * 32 * 2;
}
#else
/* The products of pairs, their sums, and what adds them up: three instructions. */
static uint64_t int8_rounds(uint64_t n)
{
#define DOT(r, t)	"vpmaddubsw %%ymm15, %%ymm15, %%ymm" #t "\n\t"		\
			"vpmaddwd %%ymm" #t ", %%ymm15, %%ymm" #t "\n\t"		\
			"vpaddd %%ymm" #t ", %%ymm" #r ", %%ymm" #r "\n\t"
	for (uint64_t i = 0; i < n; i++)
		__asm__ volatile(DOT(0, 6) DOT(1, 7) DOT(2, 8) DOT(3, 9) DOT(4, 10) DOT(5, 11)
				 : : : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6",
				 "xmm7", "xmm8", "xmm9", "xmm10", "xmm11");
#undef DOT
	return n * 6 * 32 * 2;
}
#endif

void LEVEL(linnet_kernels_limits)(struct linnet_kernels *k)
{
	k->limits = (struct linnet_limits){ read_lines, int8_rounds };
}
