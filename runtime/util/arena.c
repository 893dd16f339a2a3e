// SPDX-License-Identifier: MIT
/* Keeps arena.h: a list of chunks; what is large gets a chunk of its own size. */
#include "arena.h"
#include "overflow.h"

#include <stdlib.h>
#include <string.h>

#define CHUNK_BYTES	(64u << 10)
#define MAX_ALIGN	64u

struct linnet_arena_chunk {
	struct linnet_arena_chunk *next;
	size_t used;
	size_t cap;
	char data[];
};

static void *chunk_take(struct linnet_arena_chunk *c, size_t bytes, size_t align)
{
	size_t pad = -((uintptr_t)c->data + c->used) & (align - 1);
	void *p;

	if (pad > c->cap - c->used || bytes > c->cap - c->used - pad)
		return NULL;
	p = c->data + c->used + pad;
	c->used += pad + bytes;
	return p;
}

void *linnet_arena_alloc(struct linnet_arena *a, size_t bytes, size_t align)
{
	size_t cap, total;
	struct linnet_arena_chunk *c = a->chunks;
	void *p = c ? chunk_take(c, bytes, align) : NULL;

	if (p)
		return p;
	if (linnet_add_overflow(bytes, MAX_ALIGN, &cap))
		return NULL;
	if (cap < CHUNK_BYTES)
		cap = CHUNK_BYTES;
	if (linnet_add_overflow(cap, sizeof(*c), &total))
		return NULL;
	c = malloc(total);
	if (!c)
		return NULL;
	c->used = 0;
	c->cap = cap;
	/* A large block goes behind the chunk in use, whose rest stays usable. */
	if (a->chunks && cap > CHUNK_BYTES) {
		c->next = a->chunks->next;
		a->chunks->next = c;
	} else {
		c->next = a->chunks;
		a->chunks = c;
	}
	a->bytes += total;
	return chunk_take(c, bytes, align);
}

void *linnet_arena_array(struct linnet_arena *a, size_t n, size_t size, size_t align)
{
	size_t bytes;

	if (linnet_mul_overflow(n, size, &bytes))
		return NULL;
	return linnet_arena_alloc(a, bytes, align);
}

char *linnet_arena_str(struct linnet_arena *a, const char *p, size_t n)
{
	size_t bytes;
	char *s;

	if (linnet_add_overflow(n, 1u, &bytes))
		return NULL;
	s = linnet_arena_alloc(a, bytes, 1);
	if (!s)
		return NULL;
	memcpy(s, p, n);
	s[n] = 0;
	return s;
}

void linnet_arena_free(struct linnet_arena *a)
{
	struct linnet_arena_chunk *c = a->chunks, *next;

	for (; c; c = next) {
		next = c->next;
		free(c);
	}
	a->chunks = NULL;
	a->bytes = 0;
}
