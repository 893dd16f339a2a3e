/* SPDX-License-Identifier: MIT */
/*
 * An arena: many small allocations that are freed together. Memory is not
 * cleared. A zeroed struct is an empty arena.
 */
#ifndef LINNET_UTIL_ARENA_H
#define LINNET_UTIL_ARENA_H

#include <stddef.h>

struct linnet_arena_chunk;

struct linnet_arena {
	struct linnet_arena_chunk *chunks;
	size_t bytes;			/* taken from malloc in all */
};

/*
 * bytes (0 is allowed) aligned to align, a power of two of at most 64; NULL when
 * there is no memory.
 */
void *linnet_arena_alloc(struct linnet_arena *a, size_t bytes, size_t align);
/* n elements of size bytes each; NULL also when the product does not fit. */
void *linnet_arena_array(struct linnet_arena *a, size_t n, size_t size, size_t align);
/* Copy of n bytes with a zero behind it. */
char *linnet_arena_str(struct linnet_arena *a, const char *p, size_t n);
void linnet_arena_free(struct linnet_arena *a);

#endif
