// SPDX-License-Identifier: MIT
/*
 * Keeps weights.h. A group's tensors are sorted by their place in the file and
 * neighbours joined to spans; a span starts and ends at block borders, and lies in
 * memory at the same distance from a block border as in the file.
 */
#include "weights.h"

#include "runtime/util/error.h"
#include "runtime/util/overflow.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Alignment of direct I/O that every disk accepts. */
#define BLOCK 4096
/* Bytes of one request: huge-page sized requests reach the disk's rate. */
#define REQUEST ((size_t)2 << 20)
/* A hole between tensors that is cheaper to read than to seek over. */
#define HOLE (64 << 10)

struct span {
	uint32_t file;
	uint64_t from, to;	/* in the file, whole blocks */
	uint64_t at;		/* in the region */
};

struct group {
	size_t n;
	const struct linnet_gguf_tensor **tensor;	/* as given */
	uint64_t *at;					/* their places in the region */
	struct span *span;
	size_t n_spans;
	uint64_t bytes;
	struct linnet_region *region;
	struct linnet_read *read;
	size_t n_reads, pending;
	int error;
};

struct linnet_weights {
	const struct linnet_gguf *g;
	struct linnet_weights_options opts;
	int *fd;
	bool *direct;
	size_t n_files;
	struct group *group;
	size_t n_groups;
	bool started;
	const struct linnet_read *failed;
	_Atomic uint64_t bytes_read;	/* others may look on */
	_Atomic uint64_t start_ns, end_ns;
	_Atomic size_t pending;
	uint64_t total;
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

static int by_place(const void *a, const void *b)
{
	const struct linnet_gguf_tensor *x = *(const struct linnet_gguf_tensor *const *)a;
	const struct linnet_gguf_tensor *y = *(const struct linnet_gguf_tensor *const *)b;

	if (x->file != y->file)
		return x->file < y->file ? -1 : 1;
	return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* Lay out one group: fills at, span, n_spans and bytes. */
static int group_layout(struct group *gr)
{
	const struct linnet_gguf_tensor **sorted;
	struct span *s = NULL;

	sorted = malloc((gr->n + 1) * sizeof(*sorted));
	gr->span = malloc((gr->n + 1) * sizeof(*gr->span));
	gr->at = malloc((gr->n + 1) * sizeof(*gr->at));
	if (!sorted || !gr->span || !gr->at) {
		free(sorted);
		return -ENOMEM;
	}
	memcpy(sorted, gr->tensor, gr->n * sizeof(*sorted));
	qsort(sorted, gr->n, sizeof(*sorted), by_place);
	for (size_t i = 0; i < gr->n; i++) {
		const struct linnet_gguf_tensor *t = sorted[i];
		uint64_t from = t->offset & ~(uint64_t)(BLOCK - 1);
		uint64_t to = (t->offset + t->bytes + BLOCK - 1) & ~(uint64_t)(BLOCK - 1);

		if (s && s->file == t->file && from <= s->to + HOLE) {
			s->to = to > s->to ? to : s->to;
			continue;
		}
		if (s)
			gr->bytes += s->to - s->from;
		s = &gr->span[gr->n_spans++];
		*s = (struct span){ t->file, from, to, gr->bytes };
	}
	if (s)
		gr->bytes += s->to - s->from;
	free(sorted);

	for (size_t i = 0; i < gr->n; i++) {
		const struct linnet_gguf_tensor *t = gr->tensor[i];

		for (size_t j = 0; j < gr->n_spans; j++) {
			s = &gr->span[j];
			if (s->file == t->file && t->offset >= s->from && t->offset < s->to)
				gr->at[i] = s->at + (t->offset - s->from);
		}
	}
	return 0;
}

static void group_free(struct group *gr)
{
	free(gr->at);
	free(gr->span);
	free(gr->read);
	free(gr->tensor);
}

static int group_init(struct group *gr, const struct linnet_weight_group *from)
{
	gr->n = from->n;
	gr->tensor = malloc((from->n + 1) * sizeof(*gr->tensor));
	if (!gr->tensor)
		return -ENOMEM;
	memcpy(gr->tensor, from->tensor, from->n * sizeof(*gr->tensor));
	return group_layout(gr);
}

int linnet_weights_measure(const struct linnet_gguf *g, const struct linnet_weight_group *group,
			   size_t n_groups, uint64_t *bytes)
{
	int ret = 0;

	*bytes = 0;
	for (size_t i = 0; i < n_groups && !ret; i++) {
		struct group gr = { 0 };

		ret = group_init(&gr, &group[i]);
		*bytes += gr.bytes;
		group_free(&gr);
	}
	return ret;
}

/* Open file i, for direct I/O where that is wanted and works. */
static int open_file(struct linnet_weights *w, size_t i, struct linnet_error *err)
{
	const char *path = linnet_gguf_file_path(w->g, i);
	struct stat st;

	w->fd[i] = -1;
	if (!w->opts.no_direct_io) {
		w->fd[i] = open(path, O_RDONLY | O_CLOEXEC | O_DIRECT);
		w->direct[i] = w->fd[i] >= 0;
	}
	if (w->fd[i] < 0)
		w->fd[i] = open(path, O_RDONLY | O_CLOEXEC);
	if (w->fd[i] < 0 || fstat(w->fd[i], &st))
		return linnet_err(err, -errno, "%s: %s", path, strerror(errno));
	if ((uint64_t)st.st_size != linnet_gguf_file_bytes(w->g, i))
		return linnet_err(err, -ESTALE, "%s: the file changed while it was opened "
				  "(size, %llu)", path, (unsigned long long)st.st_size);
	if (!w->direct[i])
		posix_fadvise(w->fd[i], 0, 0, POSIX_FADV_SEQUENTIAL);
	return 0;
}

int linnet_weights_create(struct linnet_weights **out, const struct linnet_gguf *g,
			  const struct linnet_weight_group *group, size_t n_groups,
			  const struct linnet_weights_options *opts, struct linnet_error *err)
{
	struct linnet_weights *w = calloc(1, sizeof(*w));
	int ret = -ENOMEM;

	if (!w)
		goto err_memory;
	w->g = g;
	w->opts = *opts;
	w->n_groups = n_groups;
	w->group = calloc(n_groups, sizeof(*w->group));
	w->fd = malloc(linnet_gguf_file_count(g) * sizeof(*w->fd));
	w->direct = calloc(linnet_gguf_file_count(g), sizeof(*w->direct));
	if (!w->group || !w->fd || !w->direct)
		goto err_memory;
	for (size_t i = 0; i < n_groups; i++) {
		ret = group_init(&w->group[i], &group[i]);
		if (ret)
			goto err_memory;
		w->total += w->group[i].bytes;
	}
	for (size_t i = 0; i < linnet_gguf_file_count(g); i++) {
		w->n_files = i + 1;
		ret = open_file(w, i, err);
		if (ret)
			goto err_destroy;
	}
	*out = w;
	return 0;

err_memory:
	ret = linnet_err(err, -ENOMEM, "%s: out of memory", linnet_gguf_path(g));
err_destroy:
	linnet_weights_destroy(w);
	return ret;
}

void linnet_weights_destroy(struct linnet_weights *w)
{
	if (!w)
		return;
	while (w->pending && !linnet_queue_wait(w->opts.queue))
		;
	for (size_t i = 0; w->group && i < w->n_groups; i++) {
		if (w->group[i].region)
			w->opts.engine->ops->region_destroy(w->opts.engine, w->group[i].region);
		group_free(&w->group[i]);
	}
	for (size_t i = 0; i < w->n_files; i++)
		if (w->fd[i] >= 0)
			close(w->fd[i]);
	free(w->group);
	free(w->fd);
	free(w->direct);
	free(w);
}

static uint32_t file_of(const struct linnet_weights *w, const struct linnet_read *r)
{
	uint32_t i = 0;

	while (w->fd[i] != r->fd)
		i++;
	return i;
}

/*
 * Some file systems accept O_DIRECT when a file is opened, but not when it is read:
 * read it through the page cache then.
 */
static bool go_buffered(struct linnet_weights *w, struct linnet_read *r)
{
	uint32_t file = file_of(w, r);
	int flags = fcntl(r->fd, F_GETFL);

	if (r->align == 1 || flags < 0 || fcntl(r->fd, F_SETFL, flags & ~O_DIRECT))
		return false;
	w->direct[file] = false;
	r->align = 1;
	linnet_queue_read(w->opts.queue, r);
	return true;
}

static void read_done(struct linnet_read *r, int result)
{
	struct linnet_weights *w = r->ctx;
	struct group *gr = w->group;

	if (result == -EINVAL && go_buffered(w, r))
		return;
	while (r < gr->read || r >= gr->read + gr->n_reads)
		gr++;
	gr->pending--;
	w->pending--;
	if (result) {
		if (!w->failed)
			w->failed = r;
		if (!gr->error)
			gr->error = result;
	} else {
		w->bytes_read += r->need;
	}
	if (!w->pending)
		w->end_ns = now_ns();
}

/* Allocate a group's region and prepare its requests. */
static int group_start(struct linnet_weights *w, struct group *gr, struct linnet_error *err)
{
	struct linnet_engine *e = w->opts.engine;
	struct linnet_read *r;
	int ret;

	if (!gr->n)
		return 0;
	ret = e->ops->region_create(e, &gr->region, gr->bytes, !w->opts.no_huge_pages, err);
	if (ret)
		return ret;
	for (size_t i = 0; i < gr->n_spans; i++)
		gr->n_reads += (gr->span[i].to - gr->span[i].from + REQUEST - 1) / REQUEST;
	gr->read = calloc(gr->n_reads, sizeof(*gr->read));
	if (!gr->read)
		return linnet_err(err, -ENOMEM, "%s: out of memory", linnet_gguf_path(w->g));
	r = gr->read;
	for (size_t i = 0; i < gr->n_spans; i++) {
		const struct span *s = &gr->span[i];
		const uint64_t file_bytes = linnet_gguf_file_bytes(w->g, s->file);

		for (uint64_t at = s->from; at < s->to; at += REQUEST, r++) {
			uint64_t n = s->to - at < REQUEST ? s->to - at : REQUEST;

			*r = (struct linnet_read){
				.fd = w->fd[s->file],
				.buf = gr->region->addr + s->at + (at - s->from),
				.offset = at,
				.bytes = n,
				/* the last block of a file may be cut short */
				.need = at + n <= file_bytes ? n : file_bytes - at,
				.align = w->direct[s->file] ? BLOCK : 1,
				.done = read_done,
				.ctx = w,
			};
		}
	}
	gr->pending = gr->n_reads;
	w->pending += gr->n_reads;
	return 0;
}

int linnet_weights_start(struct linnet_weights *w, struct linnet_error *err)
{
	if (w->started)
		return 0;
	for (size_t i = 0; i < w->n_groups; i++) {
		int ret = group_start(w, &w->group[i], err);

		if (ret) {
			for (size_t j = 0; j <= i; j++) {
				struct group *gr = &w->group[j];

				if (gr->region)
					w->opts.engine->ops->region_destroy(w->opts.engine,
									    gr->region);
				free(gr->read);
				gr->region = NULL;
				gr->read = NULL;
				gr->n_reads = gr->pending = 0;
			}
			w->pending = 0;
			return ret;
		}
	}
	w->started = true;
	w->start_ns = now_ns();
	w->end_ns = w->start_ns;
	for (size_t i = 0; i < w->n_groups; i++)
		for (size_t j = 0; j < w->group[i].n_reads; j++)
			linnet_queue_read(w->opts.queue, &w->group[i].read[j]);
	linnet_queue_poll(w->opts.queue);
	return 0;
}

int linnet_weights_ready(const struct linnet_weights *w, size_t group, struct linnet_error *err)
{
	const struct group *gr = &w->group[group];

	if (gr->error)
		return linnet_err(err, gr->error, "%s: cannot read weights (offset, %llu): %s",
				  linnet_gguf_file_path(w->g, file_of(w, w->failed)),
				  (unsigned long long)(w->failed->offset + w->failed->got),
				  gr->error == -ENODATA ? "the file ends early" :
							  strerror(-gr->error));
	return w->started && !gr->pending;
}

struct linnet_weight linnet_weights_find(const struct linnet_weights *w, size_t group, size_t i)
{
	const struct group *gr = &w->group[group];

	return (struct linnet_weight){ gr->region, gr->at[i], gr->tensor[i]->bytes };
}

void linnet_weights_stats(const struct linnet_weights *w, struct linnet_weights_stats *stats)
{
	*stats = (struct linnet_weights_stats){
		.bytes_read = w->bytes_read,
		.total_bytes = w->total,
		.read_ns = (w->pending ? now_ns() : w->end_ns) - w->start_ns,
		.direct_io = true,
	};
	for (size_t i = 0; i < w->n_files; i++)
		stats->direct_io &= w->direct[i];
	for (size_t i = 0; i < w->n_groups; i++) {
		if (!w->group[i].region)
			continue;
		stats->region_bytes += w->group[i].region->mapped_bytes;
		stats->huge_pages |= w->group[i].region->huge;
	}
}
