/* SPDX-License-Identifier: MIT */
/*
 * How matrix products are cut into pieces of work: the pieces of an operation's matrices, in
 * the order in which they are claimed. Every thread walks the same list.
 */
#ifndef LINNET_KERNELS_CUT_H
#define LINNET_KERNELS_CUT_H

#include "kernels.h"
#include "stream.h"

#include <stdbool.h>

/* Up to so many tokens, memory is what limits a product. */
#define LINNET_FEW_TOKENS 8

struct linnet_cut {
	/* the piece that the walk is at: rows [row0, row1) of a matrix */
	uint64_t piece;
	uint32_t matrix, row0, row1;

	uint32_t n, granule, threads;
	uint64_t left;				/* bytes of the rests */
	bool rests;
	struct linnet_cut_matrix {
		uint64_t row_bytes;
		uint32_t n_rows, most_rows, long_rows, long_end;
	} m[LINNET_MATMUL_MAX];
};

/* Go to the first piece of a LINNET_OP_MATMUL. False: there is none. */
bool linnet_cut_begin(struct linnet_cut *c, const struct linnet_op *op, const uint32_t *params,
		      const struct linnet_kernels *k, unsigned n_threads);
/* Go to the next. False: that was the last. */
bool linnet_cut_next(struct linnet_cut *c);

/*
 * Rows whose products with so many tokens are a piece of work, at most `most` of them: a
 * multiple of the kernels' granule, and one at the least.
 */
uint32_t linnet_piece_rows(const struct linnet_kernels *k, uint32_t cols, uint32_t tokens,
			   uint64_t most);

#endif
