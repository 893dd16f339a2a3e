// SPDX-License-Identifier: MIT
/*
 * Keeps cut.h. Pieces become shorter towards the end, for those that come first to it: first
 * the long pieces of all matrices, then the rests, each piece a share of the bytes that are
 * left, so that threads end at the same time.
 *
 * Few tokens: memory is the limit, and starting in a new place costs a stretch of it at half
 * speed. So most of a matrix goes in pieces as long as they may be for threads of equal speed.
 * No piece is longer than PIECE_MAX, which memory takes some milliseconds for, nor than the
 * level's piece_work; none is shorter than PIECE_BYTES of weights, unless that is more work.
 */
#include "cut.h"

#define PIECE_BYTES (96 << 10)
#define PIECE_MAX (4 << 20)

static uint64_t min(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint32_t round_rows(uint64_t rows, uint32_t granule)
{
	return rows < granule ? granule : rows / granule * granule;
}

uint32_t linnet_piece_rows(const struct linnet_kernels *k, uint32_t cols, uint32_t tokens,
			   uint64_t most)
{
	const uint64_t row_work = (uint64_t)cols * tokens;

	return round_rows(row_work ? min(most, k->piece_work / row_work) : most, k->row_granule);
}

/* From a place in the list to the piece that begins there; false: the end. */
static bool find_piece(struct linnet_cut *c)
{
	for (;;) {
		const struct linnet_cut_matrix *m = &c->m[c->matrix];
		const uint32_t end = c->rests ? m->n_rows : m->long_end;
		uint64_t rows = m->long_rows;

		if (c->row0 < end) {
			if (c->rests) {
				uint64_t bytes = c->left / (2 * c->threads);

				bytes = bytes < PIECE_BYTES ? PIECE_BYTES : bytes;
				rows = round_rows(bytes / m->row_bytes, c->granule);
				rows = min(rows, m->most_rows);
			}
			c->row1 = end - c->row0 < rows ? end : c->row0 + rows;
			return true;
		}
		if (++c->matrix == c->n) {
			if (c->rests)
				return false;
			c->rests = true;
			c->matrix = 0;
		}
		c->row0 = c->rests ? c->m[c->matrix].long_end : 0;
	}
}

bool linnet_cut_next(struct linnet_cut *c)
{
	if (c->rests)
		c->left -= (uint64_t)(c->row1 - c->row0) * c->m[c->matrix].row_bytes;
	c->row0 = c->row1;
	c->piece++;
	return find_piece(c);
}

/* The rows of few tokens that go in long pieces. */
static void cut_long(struct linnet_cut_matrix *m, uint32_t granule, uint32_t threads)
{
	/* of what three quarters hold, or with one thread all, whole pieces alone */
	const uint32_t most = threads > 1 ? m->n_rows / 4 * 3 : m->n_rows;
	const uint64_t share = threads > 1 ? (uint64_t)m->n_rows * 3 / (4 * threads) : m->n_rows;
	const uint32_t rows = min(share, m->most_rows) / granule * granule;

	if (rows * m->row_bytes < PIECE_BYTES)
		return;
	m->long_rows = rows;
	m->long_end = most / rows * rows;
}

bool linnet_cut_begin(struct linnet_cut *c, const struct linnet_op *op, const uint32_t *params,
		      const struct linnet_kernels *k, unsigned n_threads)
{
	const uint32_t tokens = linnet_dim(op->operand[0].ne[1], params);

	*c = (struct linnet_cut){ .n = op->attr[0], .granule = k->row_granule,
				  .threads = n_threads };
	for (uint32_t i = 0; i < c->n; i++) {
		const struct linnet_operand *weight = &op->operand[2 + 3 * i];
		struct linnet_cut_matrix *m = &c->m[i];

		m->row_bytes = weight->nb[0];
		m->n_rows = linnet_dim(weight->ne[1], params);
		m->most_rows = linnet_piece_rows(k, linnet_dim(weight->ne[0], params), tokens,
						 PIECE_MAX / m->row_bytes);
		if (tokens <= LINNET_FEW_TOKENS)
			cut_long(m, c->granule, c->threads);
		c->left += (uint64_t)(m->n_rows - m->long_end) * m->row_bytes;
	}
	return find_piece(c);
}
