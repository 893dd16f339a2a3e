/* SPDX-License-Identifier: MIT */
/*
 * Checks and times the kernels of every level against the reference, bit for bit.
 * An area is a table of tests in a file of its own; checkasm.c runs the tables for
 * each level that this CPU has. All randomness comes from the seed.
 */
#ifndef LINNET_TESTS_CHECKASM_H
#define LINNET_TESTS_CHECKASM_H

#include "kernels/kernels.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct checkasm {
	const struct linnet_kernels *ref;
	const struct linnet_kernels *k;		/* the level under test */
	uint32_t arg;				/* of the test */
	uint64_t rng;
	size_t once;				/* tokens that bench() has once; 0: it times */
	char why[256];				/* of the failure */
};

struct checkasm_test {
	const char *name;			/* "matmul/Q4_0"; NULL ends a table */
	uint32_t arg;
	/* Whether the level has a kernel of its own here; otherwise nothing is run. */
	bool (*own)(const struct checkasm *c);
	bool (*check)(struct checkasm *c);	/* false after checkasm_fail() */
	void (*bench)(struct checkasm *c);	/* prints lines that start with "# "; or NULL */
};

extern const struct checkasm_test checkasm_mat[], checkasm_ops[];

/* Note why; returns false. */
bool checkasm_fail(struct checkasm *c, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

uint64_t checkasm_random(struct checkasm *c);
/* Evenly one of [lo, hi] */
size_t checkasm_range(struct checkasm *c, size_t lo, size_t hi);
/* Roughly normal, deviation 1 */
float checkasm_normal(struct checkasm *c);

/*
 * Memory between two pages that cannot be touched. at says where the bytes lie:
 * against the page after (aligned down to align), against the page before, or
 * anywhere (any multiple of align). Filled with a pattern. Ends the program when
 * there is no memory.
 */
enum checkasm_at { CHECKASM_END, CHECKASM_START, CHECKASM_ANYWHERE, CHECKASM_AT_COUNT };

struct checkasm_mem {
	void *p;
	void *map;
	size_t map_bytes;
};

struct checkasm_mem checkasm_alloc(struct checkasm *c, size_t bytes, size_t align,
				   enum checkasm_at at);
void checkasm_free(struct checkasm_mem *m);

/*
 * First of n floats that is not the same in both, or n. Bits count, but any NaN is
 * the same as any other.
 */
size_t checkasm_differ(const float *a, const float *b, size_t n);

/* Of this thread alone: what others do on the machine disturbs less. */
double checkasm_seconds(void);

#endif
