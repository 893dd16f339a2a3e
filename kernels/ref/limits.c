/* SPDX-License-Identifier: MIT */
/* What any machine could do, see struct linnet_limits. */
#include "kernels/fill.h"

#include <string.h>

static uint64_t read_words(const void *p, size_t n)
{
	const char *c = p;
	uint64_t sum[8] = { 0 }, x;

	for (size_t i = 0; i + 64 <= n; i += 64)
		for (size_t j = 0; j < 8; j++) {
			memcpy(&x, c + i + 8 * j, 8);
			sum[j] += x;
		}
	for (size_t i = n / 64 * 64; i < n; i++)
		sum[0] += (unsigned char)c[i];
	for (size_t j = 1; j < 8; j++)
		sum[0] += sum[j];
	return sum[0];
}

void linnet_kernels_ref_limits(struct linnet_kernels *k)
{
	k->limits.read = read_words;
}
