// SPDX-License-Identifier: MIT
/*
 * Keeps weights.h. A unit's tensors are sorted by their place in the file and
 * neighbours joined to spans; a span starts and ends at block borders, and lies in
 * memory at the same distance from a block border as in the file.
 *
 * The reader walks through the units in the order of the pass, on into the next pass,
 * and reads what is nowhere: a resident unit to its own place, a streamed one to the
 * slot whose unit is needed last. It stops where every slot is needed sooner, and goes
 * on when a unit is done with. Changing what is resident only changes what it finds.
 *
 * Resident units lie in one region, those of low rank first, so that what goes first
 * lies together at the end: then memory is given back in whole huge pages. A unit that a
 * job has still in use keeps its own memory alone. Where an engine gives memory in pieces, a
 * piece is units that go and come together, and a slot of the ring is one.
 */
#include "weights.h"

#include "share.h"

#include "runtime/util/error.h"
#include "runtime/util/overflow.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#define BLOCK LINNET_WEIGHTS_BLOCK
/* Bytes of one request: huge-page sized requests reach the disk's rate. */
#define REQUEST ((size_t)2 << 20)
/* Slots that are large enough begin at huge pages, so that each can be cut short. */
#define SLOT_ALIGN ((uint64_t)2 << 20)
/* A hole between tensors that is cheaper to read than to seek over. */
#define HOLE (64 << 10)
/* Requests that are queued ahead of the disk: enough to keep it busy, and few enough to
 * be through with soon when memory is wanted back. */
#define AHEAD 32

struct span {
	uint32_t file;
	uint64_t from, to;	/* in the file, whole blocks */
	uint64_t at;		/* in the unit */
};

/* Units that lie side by side in the resident region and have memory together. */
struct piece {
	uint64_t at, bytes;
	bool taken;
};

/* A place that holds one unit at a time: a resident unit's own, or a slot of the ring. */
struct place {
	struct linnet_region *region;
	uint64_t at;
	struct linnet_read *read;
	size_t pending;
	struct unit *unit;	/* what it holds or gets; NULL: nothing */
	uint64_t touched;	/* of a slot: what lies behind has no memory */
	int error;
	bool checked;		/* against the checksums */
};

struct unit {
	size_t n;
	const struct linnet_gguf_tensor **tensor;	/* as given */
	uint64_t *at;					/* their places in the unit */
	uint64_t *sum;					/* checksums, when they are kept */
	struct span *span;
	size_t n_spans, n_reads;
	uint64_t bytes;
	bool streamed, fixed, optional, absent, summed, suspect;
	bool late, backed;	/* backed: its own place may have memory */
	unsigned users;
	struct piece *piece;	/* that its own place is in */
	struct place own;
	struct place *place;	/* where it is or is being read to; NULL: nowhere */
};

struct linnet_weights {
	const struct linnet_gguf *g;
	struct linnet_weights_options opts;
	int *fd;
	bool *direct;
	size_t n_files;
	struct unit *unit;
	size_t *order;		/* of units in the resident region */
	struct piece *piece;	/* of that region, in the same order */
	size_t n_pieces;
	size_t n_units, n_streamed;
	struct place *slot;
	unsigned n_slots;
	struct linnet_region *resident, *ring;
	struct linnet_share *share;	/* NULL: with nobody */
	uint64_t resident_bytes, pass_bytes;
	uint64_t slot_bytes;	/* that a slot may take, by what is streamed */
	uint64_t slot_stride;	/* for the largest unit that may ever be, */
	uint64_t slot_most;	/* which has so many bytes */

	/* the pass: its first unit that is not done with; the reader: what it looks at
	 * next, from n_units on in the next pass */
	size_t pos, cursor;
	uint64_t checked_bytes;		/* bytes_read at the last check of the files */

	const struct linnet_read *failed;
	int error;
	/* others may look on */
	_Atomic uint64_t bytes_read, start_ns, end_ns, verified_bytes;
	_Atomic size_t pending;
};

struct slab_entry {
	const struct linnet_weight_unit *unit;
	size_t number;
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
	free(u->sum);
	free(u->span);
	free(u->tensor);
	free(u->own.read);
}

/* Lay out a unit: everything but its place. */
static int unit_init(struct unit *u, const struct linnet_weight_unit *from)
{
	const struct linnet_gguf_tensor **sorted;
	struct span *s = NULL;

	memset(u, 0, sizeof(*u));
	u->n = from->n;
	u->streamed = from->streamed && from->n;
	u->fixed = from->fixed;
	u->optional = from->optional;
	u->absent = from->absent && from->n;
	u->late = from->late;
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

uint64_t linnet_weights_slot_bytes(uint64_t unit_bytes, uint64_t largest)
{
	return largest < SLOT_ALIGN ? unit_bytes :
				      (unit_bytes + SLOT_ALIGN - 1) & ~(SLOT_ALIGN - 1);
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

/* -ESTALE when a file is not the one whose table of tensors was read. */
static int file_changed(const struct linnet_weights *w, size_t i, const struct stat *st,
			struct linnet_error *err)
{
	const struct linnet_gguf_stamp was = linnet_gguf_file_stamp(w->g, i);
	const struct linnet_gguf_stamp is = linnet_gguf_stamp_of(st);
	const char *path = linnet_gguf_file_path(w->g, i);

	if (is.bytes != was.bytes)
		return linnet_err(err, -ESTALE,
				  "%s: the file changed after it was opened (size, %llu, was %llu)",
				  path, (unsigned long long)is.bytes,
				  (unsigned long long)was.bytes);
	if (is.sec != was.sec || is.nsec != was.nsec)
		return linnet_err(err, -ESTALE,
				  "%s: the file changed after it was opened "
				  "(time of change, %lld.%09lld)",
				  path, (long long)is.sec, (long long)is.nsec);
	if (is.dev != was.dev || is.ino != was.ino)
		return linnet_err(err, -ESTALE,
				  "%s: another file took its place while it was opened "
				  "(inode, %llu)",
				  path, (unsigned long long)is.ino);
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
	if (file_changed(w, i, &st, err))
		return -ESTALE;
	/* requests are large, and what lies behind one may not be wanted */
	if (!w->direct[i])
		posix_fadvise(w->fd[i], 0, 0, POSIX_FADV_RANDOM);
	return 0;
}

static int make_place(struct place *p, struct linnet_region *region, uint64_t at, size_t n_reads)
{
	p->region = region;
	p->at = at;
	p->read = calloc(n_reads + 1, sizeof(*p->read));
	return p->read ? 0 : -ENOMEM;
}

/* Is a unit always resident? */
static bool stays(const struct linnet_weight_unit *u)
{
	return u->fixed && !u->optional;
}

/* Those that stay first, as memory is given back from the end, then those that are
 * resident now, then by rank, then in order. */
static int by_rank(const void *a, const void *b)
{
	const struct slab_entry *x = a, *y = b;

	const bool gone[2] = { x->unit->streamed || x->unit->absent,
			       y->unit->streamed || y->unit->absent };

	if (stays(x->unit) != stays(y->unit))
		return stays(x->unit) ? -1 : 1;
	if (gone[0] != gone[1])
		return gone[0] ? 1 : -1;
	if (x->unit->rank != y->unit->rank)
		return x->unit->rank < y->unit->rank ? -1 : 1;
	return x->number < y->number ? -1 : x->number > y->number;
}

/* Does a unit go on with the piece of the one that lies before it? */
static bool same_piece(const struct linnet_weights *w, const struct linnet_weight_unit *a,
		       const struct linnet_weight_unit *b)
{
	/* what others have is had unit by unit */
	return a->piece && a->piece == b->piece && !w->opts.share_dir;
}

/* Give each unit its place in the resident region; *all gets the size of all together. */
static int lay_out(struct linnet_weights *w, const struct linnet_weight_unit *unit, uint64_t *all)
{
	const bool in_pieces = w->opts.engine->ops->in_pieces;
	struct slab_entry *entry = malloc((w->n_units + 1) * sizeof(*entry));
	const struct linnet_weight_unit *last = NULL;
	struct piece *p = NULL;

	if (!entry)
		return -ENOMEM;
	for (size_t i = 0; i < w->n_units; i++)
		entry[i] = (struct slab_entry){ &unit[i], i };
	qsort(entry, w->n_units, sizeof(*entry), by_rank);
	*all = 0;
	for (size_t i = 0; i < w->n_units; i++) {
		struct unit *u = &w->unit[entry[i].number];

		w->order[i] = entry[i].number;
		if (!u->n)
			continue;
		if (!last || !same_piece(w, last, entry[i].unit)) {
			/* pages of their own: large ones, where it is worth that */
			if (in_pieces)
				*all = (*all + SLOT_ALIGN - 1) & ~(SLOT_ALIGN - 1);
			p = &w->piece[w->n_pieces++];
			*p = (struct piece){ .at = *all };
		}
		last = entry[i].unit;
		u->piece = p;
		u->own.at = *all;
		p->bytes += u->bytes;
		*all += u->bytes;
	}
	free(entry);
	return 0;
}

/* What is resident, what is streamed, and what that needs of the ring. */
static void count_units(struct linnet_weights *w)
{
	w->n_streamed = 0;
	w->resident_bytes = w->pass_bytes = w->slot_bytes = 0;
	for (size_t i = 0; i < w->n_units; i++) {
		const struct unit *u = &w->unit[i];
		const uint64_t bytes = linnet_weights_slot_bytes(u->bytes, w->slot_most);

		if (u->streamed) {
			w->n_streamed++;
			w->pass_bytes += u->bytes;
			w->slot_bytes = bytes > w->slot_bytes ? bytes : w->slot_bytes;
		} else if (!u->absent) {
			w->resident_bytes += u->bytes;
		}
	}
}

/* Where in the resident region what is resident ends: what goes lies behind what stays. */
static uint64_t resident_end(const struct linnet_weights *w)
{
	uint64_t end = 0;

	for (size_t i = 0; i < w->n_units; i++) {
		const struct unit *u = &w->unit[i];

		if (!u->streamed && !u->absent && u->own.at + u->bytes > end)
			end = u->own.at + u->bytes;
	}
	return end;
}

/* Let the resident region know where it ends. */
static void set_border(const struct linnet_weights *w)
{
	struct linnet_engine *e = w->opts.engine;

	/* units that may be shared have their own borders */
	if (w->resident && e->ops->region_border && !w->opts.share_dir)
		e->ops->region_border(e, w->resident, resident_end(w));
}

/* Have memory for the piece that a unit lies in: with others, for the unit, as others have it or
 * for our own copy. */
static int take_piece(struct linnet_weights *w, struct unit *u, struct linnet_error *err)
{
	struct linnet_engine *e = w->opts.engine;
	struct piece *p = u->piece;
	int ret = 0;

	if (p->taken)
		return 0;
	if (w->share && !linnet_share_take(w->share, u - w->unit))
		ret = linnet_share_make(w->share, u - w->unit, err);
	else if (!w->share && e->ops->in_pieces)
		ret = e->ops->region_take(e, w->resident, p->at, p->bytes, err);
	p->taken = !ret && e->ops->in_pieces;
	return ret;
}

/* Have as much memory in a slot as what is streamed now needs. */
static int take_slot_memory(struct linnet_weights *w, struct place *p, struct linnet_error *err)
{
	struct linnet_engine *e = w->opts.engine;
	int ret;

	if (!e->ops->in_pieces || p->touched == w->slot_bytes)
		return 0;
	if (p->touched)
		e->ops->region_discard(e, w->ring, p->at, p->touched);
	p->touched = 0;
	if (!w->slot_bytes)
		return 0;
	ret = e->ops->region_take(e, w->ring, p->at, w->slot_bytes, err);
	if (!ret)
		p->touched = w->slot_bytes;
	return ret;
}

/* Regions and places, when the units are laid out. */
static int make_places(struct linnet_weights *w, const struct linnet_weight_unit *unit,
		       struct linnet_error *err)
{
	/* what may become another process's memory, too, is mapped in small pages */
	const enum linnet_pages pages = w->opts.no_huge_pages ? LINNET_PAGES_SMALL :
					w->opts.share_dir ? LINNET_PAGES_HUGE : LINNET_PAGES_POOL;
	struct linnet_engine *e = w->opts.engine;
	size_t most_reads = 0;
	uint64_t all = 0;
	int ret = lay_out(w, unit, &all);

	for (size_t i = 0; i < w->n_units; i++) {
		struct unit *u = &w->unit[i];

		if (u->fixed || !(u->streamed || w->opts.changes))
			continue;
		w->n_slots++;
		w->slot_most = u->bytes > w->slot_most ? u->bytes : w->slot_most;
		most_reads = u->n_reads > most_reads ? u->n_reads : most_reads;
	}
	w->slot_stride = linnet_weights_slot_bytes(w->slot_most, w->slot_most);
	count_units(w);
	if (w->n_slots > w->opts.n_slots)
		w->n_slots = w->opts.n_slots;
	/* what may become resident later lies behind what is */
	if (!ret && w->opts.changes && linnet_region_reservable(all) &&
	    e->ops->region_reserve(e, &w->resident, all, pages, NULL))
		w->resident = NULL;
	if (!ret && w->resident_bytes && !w->resident)
		ret = e->ops->region_reserve(e, &w->resident, resident_end(w), pages, err);
	if (!ret && w->n_slots)
		ret = e->ops->region_reserve(e, &w->ring, w->slot_stride * w->n_slots, pages, err);
	if (ret)
		return ret;
	for (size_t i = 0; i < w->n_units && !ret; i++)
		ret = make_place(&w->unit[i].own, w->resident, w->unit[i].own.at,
				 w->unit[i].n_reads);
	for (unsigned i = 0; i < w->n_slots && !ret; i++)
		ret = make_place(&w->slot[i], w->ring, i * w->slot_stride, most_reads);
	set_border(w);
	return ret ? linnet_err(err, ret, "%s: out of memory", linnet_gguf_path(w->g)) : 0;
}

/* What is to be resident and cannot be is an error now, and none later. */
static int take_memory(struct linnet_weights *w, struct linnet_error *err)
{
	int ret = 0;

	for (size_t i = 0; i < w->n_units && w->opts.engine->ops->in_pieces && !ret; i++)
		if (w->unit[i].n && !w->unit[i].streamed && !w->unit[i].absent)
			ret = take_piece(w, &w->unit[i], err);
	for (unsigned i = 0; i < w->n_slots && !ret; i++)
		ret = take_slot_memory(w, &w->slot[i], err);
	return ret;
}

/* The files as they are, how they are divided, and whose memory it is: for others that have the
 * same. */
static int share_name(const struct linnet_weights *w, struct linnet_hash128 *name,
		      struct linnet_error *err)
{
	struct linnet_engine *e = w->opts.engine;
	XXH3_state_t *h = XXH3_createState();
	struct linnet_engine_info info;
	XXH128_hash_t sum;
	int ret = 0;

	if (!h)
		return linnet_err(err, -ENOMEM, "%s: out of memory", linnet_gguf_path(w->g));
	XXH3_128bits_reset(h);
	e->ops->info(e, &info);
	XXH3_128bits_update(h, info.name, strlen(info.name));
	XXH3_128bits_update(h, &info.device, sizeof(info.device));
	for (size_t i = 0; i < w->n_files && !ret; i++) {
		struct stat st;
		uint64_t v[7];

		if (fstat(w->fd[i], &st)) {
			ret = linnet_err(err, -errno, "%s: %s", linnet_gguf_file_path(w->g, i),
					 strerror(errno));
			break;
		}
		v[0] = st.st_dev;
		v[1] = st.st_ino;
		v[2] = (uint64_t)st.st_size;
		v[3] = (uint64_t)st.st_mtim.tv_sec;
		v[4] = (uint64_t)st.st_mtim.tv_nsec;
		v[5] = (uint64_t)st.st_ctim.tv_sec;
		v[6] = (uint64_t)st.st_ctim.tv_nsec;
		XXH3_128bits_update(h, v, sizeof(v));
	}
	for (size_t i = 0; i < w->n_units; i++) {
		for (size_t j = 0; j < w->unit[i].n_spans; j++) {
			const struct span *s = &w->unit[i].span[j];
			const uint64_t v[5] = { i, s->file, s->from, s->to, s->at };

			XXH3_128bits_update(h, v, sizeof(v));
		}
	}
	sum = XXH3_128bits_digest(h);
	XXH3_freeState(h);
	*name = (struct linnet_hash128){ { sum.low64, sum.high64 } };
	return ret;
}

static int start_sharing(struct linnet_weights *w, struct linnet_error *err)
{
	struct linnet_engine *e = w->opts.engine;
	struct linnet_share_unit *unit;
	struct linnet_hash128 name;
	int ret;

	if (!w->opts.share_dir || !w->resident)
		return 0;
	if (!e->ops->share)
		return linnet_err(err, -ENOTSUP, "%s: the engine cannot share weights between "
				  "processes (engine, %s)", linnet_gguf_path(w->g), e->ops->name);
	unit = calloc(w->n_units, sizeof(*unit));
	if (!unit)
		return linnet_err(err, -ENOMEM, "%s: out of memory", linnet_gguf_path(w->g));
	for (size_t i = 0; i < w->n_units; i++)
		unit[i] = (struct linnet_share_unit){ w->resident, w->unit[i].own.at,
						      w->unit[i].bytes };
	ret = share_name(w, &name, err);
	if (!ret)
		ret = linnet_share_open(&w->share, w->opts.share_dir, name, e->ops->share, e, unit,
					w->n_units, err);
	free(unit);
	return ret;
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
	w->unit = calloc(n_units, sizeof(*w->unit));
	w->order = calloc(n_units, sizeof(*w->order));
	w->piece = calloc(n_units, sizeof(*w->piece));
	w->slot = calloc(opts->n_slots + 1, sizeof(*w->slot));
	w->fd = malloc(linnet_gguf_file_count(g) * sizeof(*w->fd));
	w->direct = calloc(linnet_gguf_file_count(g), sizeof(*w->direct));
	if ((n_units && (!w->unit || !w->order || !w->piece)) || !w->slot || !w->fd || !w->direct)
		goto err_memory;
	for (size_t i = 0; i < n_units; i++) {
		w->n_units = i + 1;
		ret = unit_init(&w->unit[i], &unit[i]);
		if (!ret && opts->verify) {
			w->unit[i].sum = calloc(unit[i].n + 1, sizeof(*w->unit[i].sum));
			ret = w->unit[i].sum ? 0 : -ENOMEM;
		}
		if (ret)
			goto err_memory;
	}
	ret = make_places(w, unit, err);
	if (ret)
		goto err_destroy;
	for (size_t i = 0; i < linnet_gguf_file_count(g); i++) {
		w->n_files = i + 1;
		ret = open_file(w, i, err);
		if (ret)
			goto err_destroy;
	}
	ret = start_sharing(w, err);
	if (!ret)
		ret = take_memory(w, err);
	if (ret)
		goto err_destroy;
	*out = w;
	return 0;

err_memory:
	linnet_err(err, ret, "%s: out of memory", linnet_gguf_path(g));
err_destroy:
	linnet_weights_destroy(w);
	return ret;
}

/* Wait for the reads under way; no new ones are begun. */
static void drain(struct linnet_weights *w, int error)
{
	if (!w->error)
		w->error = error;
	while (w->pending && !linnet_queue_wait(w->opts.queue))
		;
}

void linnet_weights_destroy(struct linnet_weights *w)
{
	struct linnet_engine *e;

	if (!w)
		return;
	e = w->opts.engine;
	drain(w, -ECANCELED);
	linnet_share_close(w->share);
	for (size_t i = 0; i < w->n_units; i++)
		unit_free(&w->unit[i]);
	for (unsigned i = 0; w->slot && i < w->n_slots; i++)
		free(w->slot[i].read);
	if (w->resident)
		e->ops->region_destroy(e, w->resident);
	if (w->ring)
		e->ops->region_destroy(e, w->ring);
	for (size_t i = 0; i < w->n_files; i++)
		if (w->fd[i] >= 0)
			close(w->fd[i]);
	free(w->unit);
	free(w->order);
	free(w->piece);
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

/* ------------------------------------------------------------------ memory's ends */

/* What a place holds is of no use any more. */
static void empty(struct place *p)
{
	if (p->unit && p->unit->place == p)
		p->unit->place = NULL;
	p->unit = NULL;
	p->error = 0;
}

/* Empty a resident place whose unit is to be elsewhere, once nothing needs it. */
static void leave(struct unit *u)
{
	if ((u->streamed || u->absent) && u->own.unit && !u->own.pending &&
	    !(u->users && u->place == &u->own))
		empty(&u->own);
}

/* Give back what a slot has too much for what is streamed now: of one that is a piece, all. */
static void trim_slot(struct linnet_weights *w, struct place *p)
{
	struct linnet_engine *e = w->opts.engine;
	const uint64_t keep = e->ops->in_pieces ? 0 : w->slot_bytes;

	if (p->touched <= w->slot_bytes || p->pending)
		return;
	if (p->unit && p->unit->bytes > keep) {
		if (p->unit->users)
			return;
		empty(p);
	}
	e->ops->region_discard(e, w->ring, p->at + keep, p->touched - keep);
	p->touched = keep;
}

static void give_back(struct linnet_weights *w, uint64_t from, uint64_t to)
{
	struct linnet_engine *e = w->opts.engine;

	e->ops->region_discard(e, w->resident, from, to - from);
	for (size_t i = 0; i < w->n_pieces; i++)
		if (w->piece[i].at >= from && w->piece[i].at + w->piece[i].bytes <= to)
			w->piece[i].taken = false;
}

/* Give back the memory of resident places that hold nothing, each run of them as a whole:
 * at its borders are huge pages that its neighbours have a part of. */
static void trim_resident(struct linnet_weights *w)
{
	uint64_t from = 0;
	bool some = false;

	for (size_t i = 0; i < w->n_units; i++) {
		struct unit *u = &w->unit[w->order[i]];
		const bool taken = u->n && u->piece->taken;

		/* a piece may have been taken for what is not read yet */
		if (u->own.unit || (taken && !u->streamed && !u->absent)) {
			if (some)
				give_back(w, from, u->own.at);
			from = u->own.at + u->bytes;
			some = false;
		} else if (u->backed || taken) {
			if (w->share)
				linnet_share_drop(w->share, w->order[i]);
			u->backed = false;
			some = true;
		}
	}
	if (some)
		give_back(w, from, w->resident->bytes);
}

/* Give back memory that nobody needs. */
static void trim(struct linnet_weights *w)
{
	trim_resident(w);
	for (unsigned i = 0; i < w->n_slots; i++)
		trim_slot(w, &w->slot[i]);
}

/* --------------------------------------------------------------------- the reader */

static void advance(struct linnet_weights *w);

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
	if (w->share && !p->pending && !p->error && p->unit && p == &p->unit->own &&
	    !p->unit->streamed && !p->unit->absent)
		linnet_share_give(w->share, p->unit - w->unit);
	if (!p->pending && p->unit && p == &p->unit->own &&
	    (p->unit->streamed || p->unit->absent)) {
		leave(p->unit);
		trim(w);
	}
	advance(w);
}

/* Queue the reads of a unit into a place. */
static void read_unit(struct linnet_weights *w, struct unit *u, struct place *p)
{
	struct linnet_read *r = p->read;

	empty(p);
	p->unit = u;
	p->checked = false;
	u->place = p;
	if (p == &u->own) {
		u->backed = true;
		if (w->share && linnet_share_take(w->share, u - w->unit))
			return;
	} else if (linnet_weights_slot_bytes(u->bytes, w->slot_most) > p->touched) {
		p->touched = linnet_weights_slot_bytes(u->bytes, w->slot_most);
	}
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

/* When a unit is needed next, in the cursor's count. */
static size_t next_use(const struct linnet_weights *w, const struct unit *u)
{
	const size_t i = u - w->unit;

	return i < w->pos ? i + w->n_units : i;
}

/* The slot whose unit is needed last, and later than what the cursor is at; or NULL. */
static struct place *take_slot(struct linnet_weights *w)
{
	struct place *best = NULL;
	size_t latest = w->cursor;

	for (unsigned i = 0; i < w->n_slots; i++) {
		struct place *p = &w->slot[i];

		if (p->pending || (p->unit && p->unit->users))
			continue;
		if (!p->unit)
			return p;
		if (next_use(w, p->unit) > latest) {
			latest = next_use(w, p->unit);
			best = p;
		}
	}
	return best;
}

/* Reads cannot go on for want of memory. */
static void fail(struct linnet_weights *w, int error)
{
	w->failed = NULL;
	w->error = error;
}

/* The units of a piece go on as if they were not to be resident. */
static void send_away(struct linnet_weights *w, const struct piece *p)
{
	for (size_t i = 0; i < w->n_units; i++) {
		struct unit *u = &w->unit[i];

		if (!u->n || u->piece != p)
			continue;
		/* what is always resident has always had its memory */
		u->streamed = !u->fixed;
		u->absent = u->optional;
		leave(u);
	}
	count_units(w);
}

/* Memory for a unit's own place; without, it is streamed, or absent. */
static void have_piece(struct linnet_weights *w, struct unit *u)
{
	const int ret = take_piece(w, u, NULL);

	if (!ret)
		return;
	send_away(w, u->piece);
	if (!u->streamed && !u->absent)
		fail(w, ret);
}

bool linnet_weights_give_way(struct linnet_weights *w)
{
	for (size_t i = w->n_units; i--;) {
		const struct unit *u = &w->unit[w->order[i]];

		if (!u->n || !u->piece->taken || u->streamed || u->absent ||
		    (u->fixed && !u->optional))
			continue;
		send_away(w, u->piece);
		trim(w);
		return true;
	}
	return false;
}

/* Is memory in use that will be given back? */
static bool is_busy(const struct linnet_weights *w)
{
	for (size_t i = 0; i < w->n_units; i++)
		if (w->unit[i].users || w->unit[i].own.pending)
			return true;
	return false;
}

/* Memory for a slot. False: there is none, or not before a job ends. */
static bool have_slot(struct linnet_weights *w, struct place *p)
{
	int ret;

	while ((ret = take_slot_memory(w, p, NULL)) && linnet_weights_give_way(w))
		;
	if (ret && !is_busy(w))
		fail(w, ret);
	return !ret;
}

/* Let the reader go on as far as it can. */
static void advance(struct linnet_weights *w)
{
	for (; !w->error && w->pending < AHEAD && w->cursor < w->pos + w->n_units; w->cursor++) {
		struct unit *u = &w->unit[w->cursor % w->n_units];
		struct place *p = &u->own;

		if (!u->n || u->place || u->absent)
			continue;
		/* its turn is when the others have been read, before the next pass; what another
		 * process may have costs nothing */
		if (u->late && !w->share && w->cursor < w->n_units)
			continue;
		/* an own place may still be waiting for reads that nobody wants */
		if (!u->streamed && p->pending)
			return;
		if (!u->streamed)
			have_piece(w, u);
		if (u->absent || w->error)
			continue;
		if (u->streamed) {
			p = take_slot(w);
			if (!p || !have_slot(w, p))
				return;
		}
		read_unit(w, u, p);
	}
}

/* Forget the reads that failed. */
static void recover(struct linnet_weights *w)
{
	drain(w, w->error);
	for (size_t i = 0; i < w->n_units; i++)
		if (w->unit[i].own.error)
			empty(&w->unit[i].own);
	for (unsigned i = 0; i < w->n_slots; i++)
		if (w->slot[i].error)
			empty(&w->slot[i]);
	w->error = 0;
}

void linnet_weights_begin(struct linnet_weights *w)
{
	if (w->error)
		recover(w);
	if (w->share)
		linnet_share_settle(w->share);
	w->pos = w->cursor = 0;
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
	if (!w->failed)
		return linnet_err(err, w->error, "%s: no memory for weights: %s",
				  linnet_gguf_path(w->g), strerror(-w->error));
	return linnet_weights_read_error(w, file_of(w, w->failed),
					 w->failed->offset + w->failed->got, w->error, err);
}

int linnet_weights_check(struct linnet_weights *w, struct linnet_error *err)
{
	const uint64_t bytes = w->bytes_read;
	struct stat st;

	/* what nobody reads from may do as it likes */
	if (bytes == w->checked_bytes)
		return 0;
	for (size_t i = 0; i < w->n_files; i++) {
		if (fstat(w->fd[i], &st))
			return linnet_err(err, -errno, "%s: %s", linnet_gguf_file_path(w->g, i),
					  strerror(errno));
		if (file_changed(w, i, &st, err))
			return -ESTALE;
	}
	w->checked_bytes = bytes;
	return 0;
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

const char *linnet_weights_path(const struct linnet_weights *w, uint32_t file)
{
	return linnet_gguf_file_path(w->g, file);
}

void linnet_weights_count(struct linnet_weights *w, uint64_t bytes)
{
	w->bytes_read += bytes;
	w->end_ns = now_ns();
	if (!w->start_ns)
		w->start_ns = w->end_ns;
}

/*
 * Compare the checksums of a unit that has arrived, or keep them the first time. One that
 * differs is read once more: 0. When it differs again: -EBADMSG.
 */
static int verify(struct linnet_weights *w, struct unit *u, struct linnet_error *err)
{
	struct place *p = u->place;

	for (size_t i = 0; i < u->n; i++) {
		const struct linnet_gguf_tensor *t = u->tensor[i];
		const uint64_t sum = XXH3_64bits(p->region->addr + p->at + u->at[i], t->bytes);

		if (!u->summed) {
			u->sum[i] = sum;
			continue;
		}
		w->verified_bytes += t->bytes;
		if (sum == u->sum[i])
			continue;
		if (!u->suspect) {
			u->suspect = true;
			read_unit(w, u, p);
			return 0;
		}
		u->suspect = false;
		empty(p);
		return linnet_err(err, -EBADMSG,
				  "%s: tensor %.*s is not what was read at first "
				  "(checksum, %016llx, was %016llx)",
				  linnet_gguf_file_path(w->g, t->file), (int)t->name.n, t->name.p,
				  (unsigned long long)sum, (unsigned long long)u->sum[i]);
	}
	u->summed = p->checked = true;
	u->suspect = false;
	return 1;
}

int linnet_weights_ready(struct linnet_weights *w, size_t unit, struct linnet_error *err)
{
	struct unit *u = &w->unit[unit];

	if (!u->n)
		return 1;
	/* the reader may have stopped for want of a slot that is free by now */
	if (!u->place) {
		w->cursor = w->pos;
		advance(w);
		if (u->late && !u->place && !u->absent && !w->error) {
			have_piece(w, u);
			if (!u->absent && !w->error)
				read_unit(w, u, &u->own);
		}
	}
	if (u->place && !u->place->error) {
		if (u->place->pending)
			return 0;
		if (u->sum && !u->place->checked)
			return verify(w, u, err);
		return 1;
	}
	return linnet_weights_error(w, err);
}

void linnet_weights_use(struct linnet_weights *w, size_t unit)
{
	w->unit[unit].users++;
}

bool linnet_weights_absent(const struct linnet_weights *w, size_t unit)
{
	return w->unit[unit].absent;
}

bool linnet_weights_there(const struct linnet_weights *w, size_t unit)
{
	const struct place *p = w->unit[unit].place;

	return p && !p->pending && !p->error && (!w->unit[unit].sum || p->checked);
}

bool linnet_weights_in_slot(const struct linnet_weights *w, size_t unit)
{
	const struct unit *u = &w->unit[unit];

	return u->place && u->place != &u->own;
}

bool linnet_weights_away(const struct linnet_weights *w, size_t unit)
{
	const struct place *p = w->unit[unit].place;

	return !p || p->pending;
}

unsigned linnet_weights_in_use(const struct linnet_weights *w, size_t unit)
{
	return w->unit[unit].users;
}

void linnet_weights_done(struct linnet_weights *w, size_t unit, size_t next)
{
	struct unit *u = &w->unit[unit];

	u->users--;
	if (next > w->pos)
		w->pos = next;
	if (!u->users && u->place) {
		/* its own place is read to when its turn comes again */
		if (!u->streamed && u->place != &u->own)
			empty(u->place);
		leave(u);
		if (!u->place)
			trim(w);
	}
	advance(w);
}

void linnet_weights_place(struct linnet_weights *w, const struct linnet_weight_unit *unit)
{
	const uint64_t reserved = w->resident ? w->resident->bytes : 0;

	if (!w->opts.changes)
		return;
	for (size_t i = 0; i < w->n_units; i++) {
		struct unit *u = &w->unit[i];
		const bool no_room = u->own.at + u->bytes > reserved;

		u->streamed = u->n && !u->fixed && (unit[i].streamed || no_room);
		u->absent = u->n && u->optional && (unit[i].absent || no_room);
		leave(u);
	}
	count_units(w);
	trim(w);
	set_border(w);
	w->cursor = w->pos;
	advance(w);
}

struct linnet_weight linnet_weights_find(const struct linnet_weights *w, size_t unit, size_t i)
{
	const struct unit *u = &w->unit[unit];
	const struct place *p = u->place;

	return (struct linnet_weight){ p->region, p->at + u->at[i], u->tensor[i]->bytes };
}

size_t linnet_weights_pieces(const struct linnet_weights *w)
{
	const struct piece *last = w->n_pieces ? &w->piece[w->n_pieces - 1] : NULL;

	return last && w->resident && last->at + last->bytes <= w->resident->bytes ? w->n_pieces :
										     0;
}

struct linnet_weight linnet_weights_piece(const struct linnet_weights *w, size_t piece)
{
	const struct piece *p = &w->piece[piece];

	return (struct linnet_weight){ w->resident, p->at, p->bytes };
}

size_t linnet_weights_home(const struct linnet_weights *w, size_t unit, size_t i,
			   uint64_t *offset)
{
	const struct unit *u = &w->unit[unit];

	*offset = u->own.at - u->piece->at + u->at[i];
	return u->piece - w->piece;
}

bool linnet_weights_at_home(const struct linnet_weights *w)
{
	for (size_t i = 0; i < w->n_units; i++) {
		const struct unit *u = &w->unit[i];

		if (u->n && (u->place != &u->own || !linnet_weights_there(w, i)))
			return false;
	}
	return true;
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
		.resident_bytes = w->resident_bytes,
		.ring_bytes = w->n_streamed ? w->slot_bytes * w->n_slots : 0,
		.verified_bytes = w->verified_bytes,
		.pool_bytes = (w->resident ? w->resident->pool_bytes : 0) +
			      (w->ring ? w->ring->pool_bytes : 0),
		.direct_io = true,
		.huge_pages = (!w->resident_bytes || w->resident->huge) &&
			      (!w->n_streamed || w->ring->huge),
	};
	if (!w->start_ns)
		stats->read_ns = 0;
	if (w->share) {
		struct linnet_share_stats share;

		linnet_share_stats(w->share, &share);
		stats->shared_bytes = share.taken;
	}
	for (size_t i = 0; i < w->n_files; i++)
		stats->direct_io &= w->direct[i];
}
