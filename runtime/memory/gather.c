// SPDX-License-Identifier: MIT
/* Keeps gather.h. Direct I/O reads whole blocks, so each row goes through a buffer of
 * its own, and from there to the table. */
#include "gather.h"

#include "runtime/util/error.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define BLOCK LINNET_WEIGHTS_BLOCK

struct linnet_gather {
	struct linnet_weights *w;
	const struct linnet_gguf_tensor *t;
	size_t row_bytes, buf_bytes;
	struct linnet_region *table;
	bool backed;		/* the table may have memory */
	struct linnet_read *read;
	char *buf;		/* buf_bytes for each row, aligned to blocks */
	uint32_t n_rows, pending;
	int error;
	uint64_t error_offset;
};

static size_t row_bytes(const struct linnet_gguf_tensor *t)
{
	return t->bytes / t->ne[1];
}

/* The blocks that a row may touch. */
static size_t buf_bytes(const struct linnet_gguf_tensor *t)
{
	return (row_bytes(t) + 2 * BLOCK - 1) & ~(size_t)(BLOCK - 1);
}

uint64_t linnet_gather_bytes(const struct linnet_gguf_tensor *t, uint32_t n_rows)
{
	return n_rows * (uint64_t)(row_bytes(t) + buf_bytes(t) + sizeof(struct linnet_read));
}

int linnet_gather_create(struct linnet_gather **out, struct linnet_weights *w,
			 const struct linnet_gguf_tensor *t, uint32_t n_rows,
			 struct linnet_error *err)
{
	struct linnet_engine *e = linnet_weights_engine(w);
	struct linnet_gather *g = calloc(1, sizeof(*g));
	int ret;

	if (!g)
		return linnet_err(err, -ENOMEM, "out of memory");
	g->w = w;
	g->t = t;
	g->n_rows = n_rows;
	g->row_bytes = row_bytes(t);
	g->buf_bytes = buf_bytes(t);
	g->read = calloc(n_rows, sizeof(*g->read));
	/* pages of their own, which can be given back */
	g->buf = mmap(NULL, n_rows * g->buf_bytes, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (g->buf == MAP_FAILED)
		g->buf = NULL;
	if (!g->read || !g->buf) {
		ret = linnet_err(err, -ENOMEM, "out of memory");
		goto err_destroy;
	}
	ret = e->ops->region_reserve(e, &g->table, n_rows * g->row_bytes, LINNET_PAGES_SMALL, err);
	if (ret)
		goto err_destroy;
	*out = g;
	return 0;

err_destroy:
	linnet_gather_destroy(g);
	return ret;
}

void linnet_gather_destroy(struct linnet_gather *g)
{
	struct linnet_engine *e;

	if (!g)
		return;
	e = linnet_weights_engine(g->w);
	while (g->pending && !linnet_queue_wait(linnet_weights_queue(g->w)))
		;
	if (g->table)
		e->ops->region_destroy(e, g->table);
	if (g->buf)
		munmap(g->buf, g->n_rows * g->buf_bytes);
	free(g->read);
	free(g);
}

const struct linnet_region *linnet_gather_table(const struct linnet_gather *g)
{
	return g->table;
}

static void row_done(struct linnet_read *r, int result)
{
	struct linnet_gather *g = r->ctx;
	const size_t i = r - g->read;

	if (result == -EINVAL && linnet_weights_go_buffered(g->w, r))
		return;
	g->pending--;
	if (result) {
		g->error = result;
		g->error_offset = r->offset + r->got;
		return;
	}
	/* the row ends what is needed */
	memcpy(g->table->addr + i * g->row_bytes, r->buf + r->need - g->row_bytes, g->row_bytes);
	linnet_weights_count(g->w, r->need);
}

void linnet_gather_start(struct linnet_gather *g, const int32_t *row, uint32_t n)
{
	struct linnet_engine *e = linnet_weights_engine(g->w);

	g->error = 0;
	while (!g->backed &&
	       (g->error = e->ops->region_take(e, g->table, 0, g->table->mapped_bytes, NULL)) &&
	       linnet_weights_give_way(g->w))
		;
	if (g->error) {
		g->error_offset = g->t->offset;
		return;
	}
	g->backed = true;
	g->pending = n;
	for (uint32_t i = 0; i < n; i++) {
		const uint64_t at = g->t->offset + (uint64_t)row[i] * g->row_bytes;
		struct linnet_read *r = &g->read[i];

		linnet_weights_file(g->w, g->t->file, &r->fd, &r->align);
		r->offset = at & ~(uint64_t)(BLOCK - 1);
		r->need = at - r->offset + g->row_bytes;
		r->bytes = (r->need + BLOCK - 1) & ~(size_t)(BLOCK - 1);
		r->buf = g->buf + i * g->buf_bytes;
		r->urgent = true;
		r->done = row_done;
		r->ctx = g;
		linnet_queue_read(linnet_weights_queue(g->w), r);
	}
}

int linnet_gather_ready(const struct linnet_gather *g, struct linnet_error *err)
{
	/* the others write to the table until they have ended */
	if (g->pending)
		return 0;
	if (g->error)
		return linnet_weights_read_error(g->w, g->t->file, g->error_offset, g->error, err);
	return 1;
}

void linnet_gather_drop(struct linnet_gather *g)
{
	struct linnet_engine *e = linnet_weights_engine(g->w);

	e->ops->region_discard(e, g->table, 0, g->table->mapped_bytes);
	g->backed = false;
	madvise(g->buf, g->n_rows * g->buf_bytes, MADV_DONTNEED);
}
