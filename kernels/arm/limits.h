/* SPDX-License-Identifier: MIT */
/* What an AArch64 machine could do, see struct linnet_limits. */
#include "kernels/arm/arm.h"
#include "kernels/arm/neon.h"

static uint64_t read_lines(const void *p, size_t n)
{
	const uint8_t *c = p;
	uint8x16_t s[4];
	uint64_t sum;

	s[0] = s[1] = s[2] = s[3] = vdupq_n_u8(0);
	for (size_t i = 0; i + 64 <= n; i += 64)
		UNROLL
		for (int j = 0; j < 4; j++)
			s[j] = vorrq_u8(s[j], vld1q_u8(c + i + 16 * j));
	sum = vaddvq_u64(vreinterpretq_u64_u8(vorrq_u8(vorrq_u8(s[0], s[1]),
						       vorrq_u8(s[2], s[3]))));
	for (size_t i = n / 64 * 64; i < n; i++)
		sum += c[i];
	return sum;
}

#ifdef __ARM_FEATURE_MATMUL_INT8
#define PRODUCTS	32
#define DOT(r)	"smmla v" #r ".4s, v31.16b, v31.16b\n\t"
#elif defined(__ARM_FEATURE_DOTPROD)
#define PRODUCTS	16
#define DOT(r)	"sdot v" #r ".4s, v31.16b, v31.16b\n\t"
#else
#define PRODUCTS	16
#define DOT(r)	"smull v16.8h, v31.8b, v31.8b\n\t"		\
		"smlal2 v16.8h, v31.16b, v31.16b\n\t"		\
		"sadalp v" #r ".4s, v16.8h\n\t"
#endif

static uint64_t int8_rounds(uint64_t n)
{
	for (uint64_t i = 0; i < n; i++)
		__asm__ volatile(DOT(0) DOT(1) DOT(2) DOT(3) DOT(4) DOT(5) DOT(6) DOT(7)
				 : : : "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v16");
	return n * 8 * PRODUCTS * 2;
}

static void fill_limits(struct linnet_kernels *k)
{
	k->limits = (struct linnet_limits){ read_lines, int8_rounds };
}
