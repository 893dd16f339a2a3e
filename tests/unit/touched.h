/* SPDX-License-Identifier: MIT */
/* How much memory a region really has, for tests of what is given back. */
#ifndef LINNET_TESTS_UNIT_TOUCHED_H
#define LINNET_TESTS_UNIT_TOUCHED_H

#include "runtime/memory/region.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

/* Bytes of a region that have memory. */
static uint64_t touched(const struct linnet_region *r)
{
	const size_t n = r->mapped_bytes / 4096;
	unsigned char *page = malloc(n);
	uint64_t bytes = 0;

	if (!page || mincore(r->addr, r->mapped_bytes, page))
		abort();
	for (size_t i = 0; i < n; i++)
		bytes += page[i] & 1 ? 4096 : 0;
	free(page);
	return bytes;
}

#endif
