// SPDX-License-Identifier: MIT
/*
 * Keeps weights.h. A unit's tensors are sorted by their place in the file and
 * neighbours joined to spans; a span starts and ends at block borders, and lies in
 * memory at the same distance from a block border as in the file.
 *
 * The reader goes round the units in the order of the pass. In the first round it
 * reads all of them, later only those that are streamed; it stops where the ring has
 * no free slot, and goes on when a unit is done with.
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

#define BLOCK LINNET_WEIGHTS_BLOCK
/* Bytes of one request: huge-page sized requests reach the disk's rate. */
#define REQUEST ((size_t)2 << 20)
/* A hole between tensors that is cheaper to read than to seek over. */
#define HOLE (64 << 10)

struct span {
	uint32_t file;
	uint64_t from, to;	/* in the file, whole blocks */
	uint64_t at;		/* in the unit */
};

struct unit {
	size_t n;
	const struct linnet_gguf_tensor **tensor;	/* as given */
	uint64_t *at;					/* their places in the unit */
	struct span *span;
	size_t n_spans, n_reads;
	uint64_t bytes;
	bool streamed;
	uint64_t base;		/* in the resident region */
	struct place *place;	/* where it is or is being read to; NULL: nowhere */
};

/* A place that holds one unit at a time: a resident unit's own, or a slot of the ring. */
struct place {
	struct linnet_region *region;
	uint64_t at;
	struct linnet_read *read;
	size_t n_reads, pending;
	struct unit *unit;
	int error;
};

struct linnet_weights {
	const struct linnet_gguf *g;
	struct linnet_weights_options opts;
	int *fd;
	bool *direct;
	size_t n_files;
	struct unit *unit;
	size_t n_units, n_streamed;
	struct place *own;		/* of each resident unit, by its number */
	struct place *slot;
	struct linnet_region *resident, *ring;
	uint64_t resident_bytes, slot_bytes, pass_bytes;

	/* the reader: the unit it reads next, and how many streamed units it has read
	 * and the passes have used, ever */
	size_t cursor;
	uint64_t n_read, n_used;
	bool first_round;

	const struct linnet_read *failed;
	int error;
	/* others may look on */
	_Atomic uint64_t bytes_read, start_ns, end_ns;
	_Atomic size_t pending;
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

/* Close a span: its place in the unit, and its requests. */
static void span_end(struct unit *u, struct span *s)
{
	s->at = u->bytes;
	u->bytes += s->to - s->from;
	u->n_reads += (s->to - s->from + REQUEST - 1) / REQUEST;
}

static void unit_free(struct unit *u)
{
	free(u->at);
	free(u->span);
	free(u->tensor);
}

/* Lay out a unit: everything but its place. */
static int unit_init(struct unit *u, const struct linnet_weight_unit *from)
{
	const struct linnet_gguf_tensor **sorted;
	struct span *s = NULL;

	memset(u, 0, sizeof(*u));
	u->n = from->n;
	u->streamed = from->streamed && from->n;
	u->tensor = malloc((u->n + 1) * sizeof(*u->tensor));
	u->span = malloc((u->n + 1) * sizeof(*u->span));
	u->at = calloc(u->n + 1, sizeof(*u->at));
	sorted = malloc((u->n + 1) * sizeof(*sorted));
	if (!sorted || !u->span || !u->at || !u->tensor) {
		free(sorted);
		unit_free(u);
		memset(u, 0, sizeof(*u));
		return -ENOMEM;
	}
	memcpy(u->tensor, from->tensor, u->n * sizeof(*u->tensor));
	memcpy(sorted, from->tensor, u->n * sizeof(*sorted));
	qsort(sorted, u->n, sizeof(*sorted), by_place);
	for (size_t i = 0; i < u->n; i++) {
		const struct linnet_gguf_tensor *t = sorted[i];
		uint64_t from_block = t->offset & ~(uint64_t)(BLOCK - 1);
		uint64_t to = (t->offset + t->bytes + BLOCK - 1) & ~(uint64_t)(BLOCK - 1);

		if (s && s->file == t->file && from_block <= s->to + HOLE) {
			s->to = to > s->to ? to : s->to;
			continue;
		}
		if (s)
			span_end(u, s);
		s = &u->span[u->n_spans++];
		*s = (struct span){ t->file, from_block, to, 0 };
	}
	if (s)
		span_end(u, s);
	free(sorted);

	for (size_t i = 0; i < u->n; i++) {
		const struct linnet_gguf_tensor *t = u->tensor[i];

		for (size_t j = 0; j < u->n_spans; j++) {
			s = &u->span[j];
			if (s->file == t->file && t->offset >= s->from && t->offset < s->to)
				u->at[i] = s->at + (t->offset - s->from);
		}
	}
	return 0;
}

int linnet_weights_measure(struct linnet_weight_unit *unit, size_t n_units)
{
	for (size_t i = 0; i < n_units; i++) {
		struct unit u;
		int ret = unit_init(&u, &unit[i]);

		if (ret)
			return ret;
		unit[i].bytes = u.bytes;
		unit_free(&u);
	}
	return 0;
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

static int make_place(struct place *p, struct linnet_region *region, uint64_t at, size_t n_reads)
{
	p->region = region;
	p->at = at;
	p->read = calloc(n_reads + 1, sizeof(*p->read));
	return p->read ? 0 : -ENOMEM;
}

/* Regions and places, when the units are laid out. */
static int make_places(struct linnet_weights *w, struct linnet_error *err)
{
	const bool huge = !w->opts.no_huge_pages;
	struct linnet_engine *e = w->opts.engine;
	size_t most_reads = 0;
	int ret = 0;

	for (size_t i = 0; i < w->n_units; i++) {
		struct unit *u = &w->unit[i];

		if (!u->streamed) {
			u->base = w->resident_bytes;
			w->resident_bytes += u->bytes;
			continue;
		}
		w->n_streamed++;
		w->pass_bytes += u->bytes;
		w->slot_bytes = u->bytes > w->slot_bytes ? u->bytes : w->slot_bytes;
		most_reads = u->n_reads > most_reads ? u->n_reads : most_reads;
	}
	/* with more, a unit would be in two places at once */
	if (w->opts.n_slots > w->n_streamed)
		w->opts.n_slots = w->n_streamed;
	if (w->resident_bytes)
		ret = e->ops->region_create(e, &w->resident, w->resident_bytes, huge, err);
	if (!ret && w->n_streamed)
		ret = e->ops->region_create(e, &w->ring, w->slot_bytes * w->opts.n_slots, huge, err);
	if (ret)
		return ret;
	for (size_t i = 0; i < w->n_units && !ret; i++)
		if (!w->unit[i].streamed)
			ret = make_place(&w->own[i], w->resident, w->unit[i].base,
					 w->unit[i].n_reads);
	for (unsigned i = 0; i < w->opts.n_slots && w->n_streamed && !ret; i++)
		ret = make_place(&w->slot[i], w->ring, i * w->slot_bytes, most_reads);
	return ret ? linnet_err(err, ret, "%s: out of memory", linnet_gguf_path(w->g)) : 0;
}

int linnet_weights_create(struct linnet_weights **out, const struct linnet_gguf *g,
			  const struct linnet_weight_unit *unit, size_t n_units,
			  const struct linnet_weights_options *opts, struct linnet_error *err)
{
	struct linnet_weights *w = calloc(1, sizeof(*w));
	int ret = -ENOMEM;

	if (!w)
		return linnet_err(err, ret, "%s: out of memory", linnet_gguf_path(g));
	w->g = g;
	w->opts = *opts;
	w->first_round = true;
	w->unit = calloc(n_units, sizeof(*w->unit));
	w->own = calloc(n_units, sizeof(*w->own));
	w->slot = calloc(opts->n_slots + 1, sizeof(*w->slot));
	w->fd = malloc(linnet_gguf_file_count(g) * sizeof(*w->fd));
	w->direct = calloc(linnet_gguf_file_count(g), sizeof(*w->direct));
	if (!w->unit || !w->own || !w->slot || !w->fd || !w->direct)
		goto err_memory;
	for (size_t i = 0; i < n_units; i++) {
		w->n_units = i + 1;
		ret = unit_init(&w->unit[i], &unit[i]);
		if (ret)
			goto err_memory;
	}
	ret = make_places(w, err);
	if (ret)
		goto err_destroy;
	for (size_t i = 0; i < linnet_gguf_file_count(g); i++) {
		w->n_files = i + 1;
		ret = open_file(w, i, err);
		if (ret)
			goto err_destroy;
	}
	*out = w;
	return 0;

err_memory:
	linnet_err(err, ret, "%s: out of memory", linnet_gguf_path(g));
err_destroy:
	linnet_weights_destroy(w);
	return ret;
}

void linnet_weights_destroy(struct linnet_weights *w)
{
	struct linnet_engine *e;

	if (!w)
		return;
	e = w->opts.engine;
	while (w->pending && !linnet_queue_wait(w->opts.queue))
		;
	for (size_t i = 0; i < w->n_units; i++) {
		unit_free(&w->unit[i]);
		free(w->own[i].read);
	}
	for (unsigned i = 0; w->slot && i < w->opts.n_slots; i++)
		free(w->slot[i].read);
	if (w->resident)
		e->ops->region_destroy(e, w->resident);
	if (w->ring)
		e->ops->region_destroy(e, w->ring);
	for (size_t i = 0; i < w->n_files; i++)
		if (w->fd[i] >= 0)
			close(w->fd[i]);
	free(w->unit);
	free(w->own);
	free(w->slot);
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
bool linnet_weights_go_buffered(struct linnet_weights *w, struct linnet_read *r)
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
	struct place *p = r->owner;

	if (result == -EINVAL && linnet_weights_go_buffered(w, r))
		return;
	p->pending--;
	if (result) {
		p->error = result;
		if (!w->error) {
			w->failed = r;
			w->error = result;
		}
	} else {
		w->bytes_read += r->need;
	}
	w->end_ns = now_ns();
	w->pending--;
}

/* Queue the reads of a unit into a place. */
static void read_unit(struct linnet_weights *w, struct unit *u, struct place *p)
{
	struct linnet_read *r = p->read;

	if (p->unit && p->unit->place == p)
		p->unit->place = NULL;
	p->unit = u;
	u->place = p;
	p->error = 0;
	for (size_t i = 0; i < u->n_spans; i++) {
		const struct span *s = &u->span[i];
		const uint64_t file_bytes = linnet_gguf_file_bytes(w->g, s->file);

		for (uint64_t at = s->from; at < s->to; at += REQUEST, r++) {
			uint64_t n = s->to - at < REQUEST ? s->to - at : REQUEST;

			*r = (struct linnet_read){
				.fd = w->fd[s->file],
				.buf = p->region->addr + p->at + s->at + (at - s->from),
				.offset = at,
				.bytes = n,
				/* the last block of a file may be cut short */
				.need = at + n <= file_bytes ? n : file_bytes - at,
				.align = w->direct[s->file] ? BLOCK : 1,
				.done = read_done,
				.ctx = w,
				.owner = p,
			};
			linnet_queue_read(w->opts.queue, r);
		}
	}
	p->pending = u->n_reads;
	w->pending += u->n_reads;
	if (!w->start_ns)
		w->start_ns = now_ns();
}

/* Let the reader go on as far as it can. */
static void advance(struct linnet_weights *w)
{
	while (!w->error && (w->first_round || w->n_streamed)) {
		struct unit *u = &w->unit[w->cursor];

		if (u->streamed) {
			if (w->n_read - w->n_used >= w->opts.n_slots)
				return;
			read_unit(w, u, &w->slot[w->n_read % w->opts.n_slots]);
			w->n_read++;
		} else if (w->first_round && u->n && !u->place) {
			read_unit(w, u, &w->own[w->cursor]);
		}
		if (++w->cursor == w->n_units) {
			w->cursor = 0;
			w->first_round = false;
		}
	}
}

void linnet_weights_begin(struct linnet_weights *w)
{
	/* a pass that was given up has left the ring in the middle of the cycle */
	if (w->n_streamed && w->n_used % w->n_streamed) {
		/* what was read ahead is of no use; but first it must have arrived */
		while (w->pending && !linnet_queue_wait(w->opts.queue))
			;
		for (unsigned i = 0; i < w->opts.n_slots; i++) {
			if (w->slot[i].unit)
				w->slot[i].unit->place = NULL;
			w->slot[i].unit = NULL;
		}
		w->n_used = w->n_read = 0;
		/* the first round may not have come to all resident units */
		w->cursor = 0;
	}
	advance(w);
	linnet_queue_poll(w->opts.queue);
}

int linnet_weights_read_error(const struct linnet_weights *w, uint32_t file, uint64_t offset,
			      int error, struct linnet_error *err)
{
	const bool cut = error == -ENODATA;

	return linnet_err(err, cut ? -EIO : error, "%s: cannot read weights (offset, %llu): %s",
			  linnet_gguf_file_path(w->g, file), (unsigned long long)offset,
			  cut ? "the file ends early" : strerror(-error));
}

int linnet_weights_error(const struct linnet_weights *w, struct linnet_error *err)
{
	if (!w->error)
		return 0;
	return linnet_weights_read_error(w, file_of(w, w->failed),
					 w->failed->offset + w->failed->got, w->error, err);
}

struct linnet_engine *linnet_weights_engine(const struct linnet_weights *w)
{
	return w->opts.engine;
}

struct linnet_queue *linnet_weights_queue(const struct linnet_weights *w)
{
	return w->opts.queue;
}

void linnet_weights_file(const struct linnet_weights *w, uint32_t file, int *fd, size_t *align)
{
	*fd = w->fd[file];
	*align = w->direct[file] ? BLOCK : 1;
}

void linnet_weights_count(struct linnet_weights *w, uint64_t bytes)
{
	w->bytes_read += bytes;
	w->end_ns = now_ns();
}

int linnet_weights_ready(struct linnet_weights *w, size_t unit, struct linnet_error *err)
{
	const struct unit *u = &w->unit[unit];

	if (!u->n)
		return 1;
	if (u->place && !u->place->pending && !u->place->error)
		return 1;
	return linnet_weights_error(w, err);
}

void linnet_weights_done(struct linnet_weights *w, size_t unit)
{
	if (!w->unit[unit].streamed)
		return;
	w->n_used++;
	advance(w);
}

struct linnet_weight linnet_weights_find(const struct linnet_weights *w, size_t unit, size_t i)
{
	const struct unit *u = &w->unit[unit];
	const struct place *p = u->streamed ? u->place : &w->own[unit];

	return (struct linnet_weight){ p->region, p->at + u->at[i], u->tensor[i]->bytes };
}

bool linnet_weights_reading(const struct linnet_weights *w)
{
	return w->pending;
}

void linnet_weights_stats(const struct linnet_weights *w, struct linnet_weights_stats *stats)
{
	*stats = (struct linnet_weights_stats){
		.bytes_read = w->bytes_read,
		.read_ns = (w->pending ? now_ns() : w->end_ns) - w->start_ns,
		.first_bytes = w->resident_bytes + w->pass_bytes,
		.pass_bytes = w->pass_bytes,
		.resident_bytes = w->resident ? w->resident->mapped_bytes : 0,
		.ring_bytes = w->ring ? w->ring->mapped_bytes : 0,
		.direct_io = true,
		.huge_pages = (!w->resident || w->resident->huge) && (!w->ring || w->ring->huge),
	};
	if (!w->start_ns)
		stats->read_ns = 0;
	for (size_t i = 0; i < w->n_files; i++)
		stats->direct_io &= w->direct[i];
}
