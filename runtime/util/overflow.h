/* SPDX-License-Identifier: MIT */
/* Checked arithmetic for sizes that come from outside. Each returns true when
 * the result does not fit; *out is then unspecified. */
#ifndef LINNET_UTIL_OVERFLOW_H
#define LINNET_UTIL_OVERFLOW_H

#include <stdbool.h>
#include <stdint.h>

#define linnet_add_overflow(a, b, out) __builtin_add_overflow(a, b, out)
#define linnet_sub_overflow(a, b, out) __builtin_sub_overflow(a, b, out)
#define linnet_mul_overflow(a, b, out) __builtin_mul_overflow(a, b, out)

/* Round up to a power of two. */
static inline bool linnet_align_overflow(uint64_t a, uint64_t to, uint64_t *out)
{
	if (__builtin_add_overflow(a, to - 1, out))
		return true;
	*out &= ~(to - 1);
	return false;
}

#endif
