// SPDX-License-Identifier: MIT
/*
 * Drafts by prompt lookup (Saxena 2023, "Prompt Lookup Decoding"): what followed the
 * last few tokens when they were seen before is likely to follow again. A table maps
 * the hash of each run of tokens to where it was seen last.
 */
#include <linnet/linnet.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Runs that are looked for, the longest first. */
#define LONGEST 4
#define SHORTEST 2
#define TABLE_BITS 16

struct linnet_lookup {
	int32_t *id;
	uint32_t n, cap;
	/* position after the run's last occurrence but the current one; 0: none */
	uint32_t *seen[LONGEST + 1];
	/* the same for the occurrence that ends the text now */
	uint32_t last[LONGEST + 1];
};

/* FNV-1a over the last n tokens. */
static uint32_t slot(const struct linnet_lookup *l, uint32_t n)
{
	uint32_t h = 2166136261u;

	for (uint32_t i = l->n - n; i < l->n; i++)
		h = (h ^ (uint32_t)l->id[i]) * 16777619u;
	return (h ^ h >> TABLE_BITS) & ((1u << TABLE_BITS) - 1);
}

int linnet_lookup_create(struct linnet_lookup **out)
{
	struct linnet_lookup *l = calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	for (uint32_t n = SHORTEST; n <= LONGEST; n++) {
		l->seen[n] = calloc(1u << TABLE_BITS, sizeof(*l->seen[n]));
		if (!l->seen[n]) {
			linnet_lookup_destroy(l);
			return -ENOMEM;
		}
	}
	*out = l;
	return 0;
}

void linnet_lookup_destroy(struct linnet_lookup *l)
{
	if (!l)
		return;
	for (uint32_t n = SHORTEST; n <= LONGEST; n++)
		free(l->seen[n]);
	free(l->id);
	free(l);
}

int linnet_lookup_push(struct linnet_lookup *l, int32_t id)
{
	if (l->n == l->cap) {
		uint32_t cap = l->cap ? 2 * l->cap : 1024;
		int32_t *ids;

		if (cap > INT32_MAX / 2)
			return -ENOSPC;
		ids = realloc(l->id, cap * sizeof(*ids));
		if (!ids)
			return -ENOMEM;
		l->id = ids;
		l->cap = cap;
	}
	l->id[l->n++] = id;
	for (uint32_t n = SHORTEST; n <= LONGEST && n <= l->n; n++) {
		uint32_t *seen = &l->seen[n][slot(l, n)];

		l->last[n] = *seen;
		*seen = l->n;
	}
	return 0;
}

size_t linnet_lookup_draft(const struct linnet_lookup *l, int32_t *ids, size_t cap)
{
	for (uint32_t n = LONGEST; n >= SHORTEST; n--) {
		const uint32_t at = n <= l->n ? l->last[n] : 0;

		/* hashes may meet: compare the run itself */
		if (at < n || memcmp(l->id + at - n, l->id + l->n - n, n * sizeof(*l->id)))
			continue;
		if (cap > l->n - at)
			cap = l->n - at;
		memcpy(ids, l->id + at, cap * sizeof(*ids));
		return cap;
	}
	return 0;
}
