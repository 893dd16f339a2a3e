// SPDX-License-Identifier: MIT
/*
 * What kernels.h promises about the room that kernels ask for. The executor measures
 * it once, for the most tokens, and runs with fewer.
 */
#include "kernels/kernels.h"
#include "tests/test.h"

#define MOST_TOKENS 70

static const size_t columns[] = { 32, 64, 96, 256, 352, 512, 2048, 8192 };

static bool never_shrinks(const struct linnet_kernels *k, uint32_t type, size_t cols)
{
	const enum linnet_act act = linnet_type_info(type)->act;
	size_t scratch = 0, bytes = 0;

	for (size_t n = 0; n <= MOST_TOKENS; n++) {
		size_t s = k->matmul_scratch(type, cols, n), b = k->act_bytes(act, cols, n);

		if (s < scratch || b < bytes) {
			printf("# %zu columns, %zu tokens: scratch %zu after %zu, activations %zu "
			       "after %zu\n", cols, n, s, scratch, b, bytes);
			return false;
		}
		scratch = s;
		bytes = b;
	}
	return true;
}

static bool granules_add_up(const struct linnet_kernels *k, enum linnet_act act, size_t cols)
{
	const size_t granule = k->act_granule, one = k->act_bytes(act, cols, granule);

	for (size_t n = 1; n <= MOST_TOKENS; n++) {
		size_t b = k->act_bytes(act, cols, n), most = (n + granule - 1) / granule * one;

		if (b > most) {
			printf("# %zu columns, %zu tokens: %zu bytes, granules of %zu: %zu\n", cols,
			       n, b, granule, most);
			return false;
		}
	}
	return true;
}

int main(void)
{
	for (const char *const *l = linnet_kernels_levels(); *l; l++) {
		struct linnet_kernels k;

		if (!test_ok(!linnet_kernels_init(&k, *l), "%s", *l))
			continue;
		for (uint32_t type = 0; type < LINNET_TYPE_COUNT; type++) {
			const struct linnet_type_info *t = linnet_type_info(type);
			bool ok = true;

			if (!t || !k.matmul[type])
				continue;
			for (size_t i = 0; i < sizeof(columns) / sizeof(columns[0]) && ok; i++)
				if (columns[i] % t->block_elems == 0)
					ok = never_shrinks(&k, type, columns[i]);
			test_ok(ok, "%s: %s: room never shrinks with tokens", *l, t->name);
			for (size_t i = 0; i < sizeof(columns) / sizeof(columns[0]) && ok; i++)
				if (columns[i] % t->block_elems == 0)
					ok = granules_add_up(&k, t->act, columns[i]);
			test_ok(ok, "%s: %s: tokens take no more than their granules", *l, t->name);
		}
	}
	return test_end();
}
