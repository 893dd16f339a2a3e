// SPDX-License-Identifier: MIT
/* Drafts are what followed the last tokens before, and nothing else. */
#include "tests/test.h"

#include <linnet/linnet.h>
#include <string.h>

static void push(struct linnet_lookup *l, const int32_t *ids, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (linnet_lookup_push(l, ids[i]))
			exit(1);
}

int main(void)
{
	static const int32_t text[] = { 1, 2, 3, 4, 5, 6, 7, 9, 3, 4, 8, 2, 3, 4 };
	struct linnet_lookup *l;
	int32_t draft[16];
	size_t n, found = 0, wrong = 0;
	uint32_t rng = 1;

	if (linnet_lookup_create(&l))
		return 1;
	test_ok(!linnet_lookup_draft(l, draft, 16), "nothing to look up");
	push(l, text, 1);
	test_ok(!linnet_lookup_draft(l, draft, 16), "one token is too little");
	push(l, text + 1, 9);
	n = linnet_lookup_draft(l, draft, 16);
	test_ok(n == 6 && !memcmp(draft, text + 4, n * 4), "what followed two tokens, to the end");
	test_ok(linnet_lookup_draft(l, draft, 2) == 2, "no more than asked for");
	push(l, text + 10, 4);
	n = linnet_lookup_draft(l, draft, 3);
	test_ok(n == 3 && draft[0] == 5, "three tokens count more than the last two");
	linnet_lookup_destroy(l);

	/* against a search through the whole text */
	if (linnet_lookup_create(&l))
		return 1;
	static int32_t all[20000];

	for (size_t i = 0; i < 20000; i++) {
		bool there = false;

		rng = rng * 1664525 + 1013904223;
		all[i] = rng >> 28;
		push(l, &all[i], 1);
		n = linnet_lookup_draft(l, draft, 1);
		if (!n)
			continue;
		found++;
		for (size_t j = 2; j <= i && !there; j++)
			there = all[j - 1] == all[i] && all[j - 2] == all[i - 1] &&
				all[j] == draft[0];
		wrong += !there;
	}
	test_ok(found > 19000 && !wrong, "%zu drafts in random text, all seen before", found);
	linnet_lookup_destroy(l);
	return test_end();
}
