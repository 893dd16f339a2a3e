// SPDX-License-Identifier: MIT
/*
 * Keeps weights.h: what the pager is made of. A unit's tensors are sorted by their place in the
 * file and neighbours joined to spans; a span starts and ends at block borders, and lies in
 * memory at the same distance from a block border as in the file.
 *
 * Where units lie in memory: weights_places.c. How they get there: weights_reader.c.
 */
#include "weights_int.h"

#include "share.h"

#include "runtime/util/error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

/* A hole between tensors that is cheaper to read than to seek over. */
#define HOLE (64 << 10)

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
	ret = weights_make_places(w, unit, err);
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
		ret = weights_take_memory(w, err);
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

void linnet_weights_destroy(struct linnet_weights *w)
{
	struct linnet_engine *e;

	if (!w)
		return;
	e = w->opts.engine;
	weights_drain(w, -ECANCELED);
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
		.purged_bytes = w->purged_bytes,
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
