// SPDX-License-Identifier: MIT
/*
 * Pages that are not in memory, keeps kv.h. Without a cold part all of it is trivial.
 *
 * A page that is full is written ahead of need, while passes go on, so that there is always a
 * frame to be had at once: one that is free, or whose page the file has. A page that changes,
 * or is forgotten, while it is written makes that write worthless; it is not waited for, but
 * the next one of the same page is not begun before it has ended. The file has a page when its
 * write has ended well, and only then may the page lose its frame.
 */
#include "kv.h"

#include "runtime/util/error.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#define BLOCK 4096
#define REQUEST ((size_t)2 << 20)
/* Pages that are written at once. */
#define WRITES 4

/* What a pass reads of one layer. */
struct half {
	uint32_t layer;
	uint32_t left;			/* reads under way */
	int error;
	struct linnet_read *read;	/* [n_ring] */
};

/* A page on its way to the file. The queue may be driven by another session's thread: it
 * touches `left` and `error` only. */
struct page_write {
	int32_t page;			/* -1: none */
	bool stale;			/* the page is not what is written any more */
	_Atomic uint32_t left;		/* requests under way */
	_Atomic int error;
	struct linnet_read *request;	/* [n_requests] */
};

struct linnet_kv_cold {
	char *dir;
	int fd;
	struct linnet_queue *queue;
	uint32_t n_frames, n_ring;	/* n_ring: slices of each half */
	uint64_t slice;			/* bytes of one layer of a page */
	int32_t *owner;			/* of each frame: a page, or -1 */
	/* of each page */
	struct page {
		int32_t frame;		/* -1: none */
		int32_t place;		/* in the halves; valid when cold and in the list */
		bool in_file;		/* what the file has is right */
		bool full;		/* as far as is known, nothing more will be written to it */
		uint64_t held, wanted;	/* numbers of passes */
		uint64_t born;		/* order in which pages came to be */
	} *page;
	uint64_t pass, births;
	uint32_t n_taken;		/* frames of others that this pass took */
	struct page_write write[WRITES];
	/* cold pages of this pass, by place */
	int32_t *list;
	uint32_t *distance;
	uint32_t n_list;
	struct half half[2];
	uint32_t n_started;		/* layers whose reads have been queued */
	uint64_t written, read;
};

void *linnet_kv_page_memory(const struct linnet_kv *kv, int32_t page)
{
	const int32_t frame = kv->cold ? kv->cold->page[page].frame : page;

	return kv->region->addr + (uint64_t)frame * kv->page_bytes;
}

struct linnet_kv_view linnet_kv_view(const struct linnet_kv *kv, uint32_t layer)
{
	const struct linnet_kv_cold *c = kv->cold;

	if (!c)
		return (struct linnet_kv_view){ kv->layer[layer].offset, kv->page_bytes,
						kv->n_pages };
	/* frames and the ring are slices alike: one array for all layers */
	return (struct linnet_kv_view){ 0, c->slice, c->n_frames * kv->n_layers + 2 * c->n_ring };
}

int32_t linnet_kv_number(const struct linnet_kv *kv, int32_t page, uint32_t layer)
{
	const struct linnet_kv_cold *c = kv->cold;

	if (!c)
		return page;
	if (c->page[page].frame >= 0)
		return c->page[page].frame * (int32_t)kv->n_layers + (int32_t)layer;
	return (int32_t)(c->n_frames * kv->n_layers + layer % 2 * c->n_ring) + c->page[page].place;
}

/* ---------------------------------------------------------------------- the file */

/* A file without a name: it is gone with the process, however that ends. */
static int nameless_file(const char *dir)
{
	char *name;
	int fd = open(dir, O_TMPFILE | O_RDWR | O_EXCL | O_DIRECT | O_CLOEXEC, 0600);

	if (fd < 0 && errno == EINVAL)
		fd = open(dir, O_TMPFILE | O_RDWR | O_EXCL | O_CLOEXEC, 0600);
	if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL))
		return fd < 0 ? -errno : fd;
	/* the file system lacks such files */
	if (asprintf(&name, "%s/linnet-kv-XXXXXX", dir) < 0)
		return -ENOMEM;
	fd = mkostemp(name, O_CLOEXEC);
	if (fd < 0)
		fd = -errno;
	else if (unlink(name)) {
		close(fd);
		fd = -errno;
	}
	free(name);
	return fd;
}

static int open_file(const char *dir)
{
	const int fd = nameless_file(dir);
	struct statfs st;

	if (fd < 0)
		return fd;
	/* memory would be saved in memory */
	if (!fstatfs(fd, &st) && (st.f_type == TMPFS_MAGIC || st.f_type == RAMFS_MAGIC)) {
		close(fd);
		return -ENOTSUP;
	}
	return fd;
}

static int file_error(const struct linnet_kv_cold *c, const char *what, int ret,
		      struct linnet_error *err)
{
	return linnet_err(err, ret, "%s: cannot %s the cold part of the KV cache: %s", c->dir, what,
			  strerror(-ret));
}

static void write_done(struct linnet_read *r, int result)
{
	struct page_write *w = r->owner;
	struct linnet_kv_cold *c = r->ctx;
	const int flags = fcntl(r->fd, F_GETFL);

	/* some file systems accept O_DIRECT when a file is opened, but not when it is written */
	if (result == -EINVAL && flags >= 0 && flags & O_DIRECT &&
	    !fcntl(r->fd, F_SETFL, flags & ~O_DIRECT)) {
		linnet_queue_read(c->queue, r);
		return;
	}
	if (result)
		w->error = result;
	w->left--;
}

/* Take note of writes that have ended. */
static void settle(struct linnet_kv *kv)
{
	struct linnet_kv_cold *c = kv->cold;

	for (unsigned i = 0; i < WRITES; i++) {
		struct page_write *w = &c->write[i];

		if (w->page < 0 || w->left)
			continue;
		/* what failed is tried again when the frame is needed, and that error counts */
		if (!w->error) {
			c->written += kv->page_bytes;
			c->page[w->page].in_file |= !w->stale;
		}
		w->page = -1;
	}
}

/* The write of a page that is under way, or NULL. */
static struct page_write *write_of(struct linnet_kv_cold *c, int32_t page)
{
	for (unsigned i = 0; i < WRITES; i++)
		if (c->write[i].page == page)
			return &c->write[i];
	return NULL;
}

/* What the file gets or has of a page is not the page any more. */
static void outdate(struct linnet_kv_cold *c, int32_t page)
{
	struct page_write *w = write_of(c, page);

	if (w)
		w->stale = true;
	c->page[page].in_file = c->page[page].full = false;
}

/* Begin to write a page, by a write that is idle. */
static void start_write(struct linnet_kv *kv, struct page_write *w, int32_t page, bool urgent)
{
	struct linnet_kv_cold *c = kv->cold;
	const uint64_t at = (uint64_t)page * kv->page_bytes;
	char *buf = linnet_kv_page_memory(kv, page);
	uint32_t n = 0;

	w->page = page;
	w->stale = false;
	w->error = 0;
	w->left = (uint32_t)((kv->page_bytes + REQUEST - 1) / REQUEST);
	for (uint64_t done = 0; done < kv->page_bytes; done += REQUEST, n++) {
		const uint64_t left = kv->page_bytes - done;

		w->request[n] = (struct linnet_read){
			.fd = c->fd, .buf = buf + done, .offset = at + done,
			.bytes = left < REQUEST ? left : REQUEST,
			.need = left < REQUEST ? left : REQUEST, .align = BLOCK,
			.write = true, .urgent = urgent, .done = write_done, .ctx = c, .owner = w,
		};
		linnet_queue_read(c->queue, &w->request[n]);
	}
}

static void await_write(struct linnet_kv *kv, const struct page_write *w)
{
	while (w->left)
		linnet_queue_wait(kv->cold->queue);
	settle(kv);
}

/* Let the file have a page now. */
static int write_page(struct linnet_kv *kv, int32_t page, struct linnet_error *err)
{
	struct linnet_kv_cold *c = kv->cold;
	struct page_write *w = write_of(c, page);
	int error;

	/* an earlier write of the page may be under way, and may be as good */
	if (w)
		await_write(kv, w);
	if (c->page[page].in_file)
		return 0;
	w = write_of(c, -1);
	if (!w) {
		w = &c->write[0];
		await_write(kv, w);
	}
	start_write(kv, w, page, true);
	await_write(kv, w);
	error = w->error;
	return error ? file_error(c, "write", error, err) : 0;
}

static void read_done(struct linnet_read *r, int result)
{
	struct half *h = r->ctx;

	h->left--;
	if (result && !h->error)
		h->error = result;
}

/* Read bytes of the file; h counts. */
static void start_read(struct linnet_kv *kv, struct linnet_read *r, struct half *h, char *buf,
		       uint64_t offset, uint64_t bytes)
{
	*r = (struct linnet_read){
		.fd = kv->cold->fd, .buf = buf, .offset = offset, .bytes = bytes, .need = bytes,
		.align = BLOCK, .done = read_done, .ctx = h,
	};
	h->left++;
	kv->cold->read += bytes;
	linnet_queue_read(kv->cold->queue, r);
}

/* The whole page, into a frame. */
static int read_page(struct linnet_kv *kv, int32_t page, int32_t frame, struct linnet_error *err)
{
	struct linnet_kv_cold *c = kv->cold;
	char *buf = kv->region->addr + (uint64_t)frame * kv->page_bytes;
	struct linnet_read *r = calloc(kv->n_layers, sizeof(*r));
	struct half h = { 0 };

	if (!r)
		return linnet_err(err, -ENOMEM, "out of memory");
	for (uint32_t i = 0; i < kv->n_layers; i++)
		start_read(kv, &r[i], &h, buf + i * c->slice,
			   (uint64_t)page * kv->page_bytes + i * c->slice, c->slice);
	while (h.left)
		linnet_queue_wait(c->queue);
	free(r);
	return h.error ? file_error(c, "read", h.error, err) : 0;
}

/* ------------------------------------------------------------------------ frames */

static void give_frame(struct linnet_kv_cold *c, int32_t page, int32_t frame)
{
	c->owner[frame] = page;
	c->page[page].frame = frame;
}

void linnet_kv_cold_put(struct linnet_kv *kv, int32_t page)
{
	struct linnet_kv_cold *c = kv->cold;

	outdate(c, page);
	if (c->page[page].frame >= 0)
		c->owner[c->page[page].frame] = -1;
	c->page[page] = (struct page){ .frame = -1 };
}

static int32_t free_frame(const struct linnet_kv_cold *c)
{
	for (uint32_t i = 0; i < c->n_frames; i++)
		if (c->owner[i] < 0)
			return (int32_t)i;
	return -1;
}

/* Should x give up its frame rather than y? */
static bool goes_first(const struct linnet_kv_cold *c, const struct page *x, const struct page *y)
{
	const bool x_idle = x->wanted != c->pass, y_idle = y->wanted != c->pass;

	if (x_idle != y_idle)
		return x_idle;
	/* what need not be written */
	if (x->in_file != y->in_file)
		return x->in_file;
	/* what was not wanted for the longest time; else, of a text that every pass goes over
	 * from its beginning, the newest: then the others stay, pass after pass */
	return x_idle ? x->wanted < y->wanted : x->born > y->born;
}

/* A frame, or -errno. */
static int32_t take_frame(struct linnet_kv *kv, struct linnet_error *err)
{
	struct linnet_kv_cold *c = kv->cold;
	int32_t frame = free_frame(c);
	struct page *victim = NULL;
	int ret;

	if (frame >= 0)
		return frame;
	settle(kv);
	for (uint32_t i = 0; i < c->n_frames; i++) {
		struct page *p = &c->page[c->owner[i]];

		if (p->held != c->pass && (!victim || goes_first(c, p, victim))) {
			victim = p;
			frame = (int32_t)i;
		}
	}
	if (!victim)
		return linnet_err(err, -ENOMEM, "all memory of the KV cache is in use (frames, %u)",
				  c->n_frames);
	if (!victim->in_file) {
		ret = write_page(kv, c->owner[frame], err);
		if (ret)
			return ret;
	}
	victim->frame = -1;
	c->owner[frame] = -1;
	c->n_taken++;
	return frame;
}

int linnet_kv_hold(struct linnet_kv *kv, int32_t page, enum linnet_kv_hold how,
		   struct linnet_error *err)
{
	struct linnet_kv_cold *c = kv->cold;
	struct page *p;
	int32_t frame;
	int ret;

	if (!c)
		return 0;
	p = &c->page[page];
	if (p->frame < 0) {
		frame = take_frame(kv, err);
		if (frame < 0)
			return frame;
		if (how != LINNET_KV_NEW && p->in_file) {
			ret = read_page(kv, page, frame, err);
			if (ret)
				return ret;
		}
		give_frame(c, page, frame);
		if (!p->born)
			p->born = ++c->births;
	}
	if (how != LINNET_KV_READ)
		outdate(c, page);
	p->held = p->wanted = c->pass;
	return 0;
}

int linnet_kv_copy(struct linnet_kv *kv, int32_t to, int32_t from, struct linnet_error *err)
{
	struct linnet_kv_cold *c = kv->cold;
	int ret = linnet_kv_hold(kv, to, LINNET_KV_NEW, err);

	if (ret)
		return ret;
	/* taking a frame for the copy may have cost the original its own */
	if (c && c->page[from].frame < 0)
		return read_page(kv, from, c->page[to].frame, err);
	memcpy(linnet_kv_page_memory(kv, to), linnet_kv_page_memory(kv, from), kv->page_bytes);
	return 0;
}

void linnet_kv_release(struct linnet_kv *kv)
{
	if (kv->cold)
		kv->cold->pass++;
}

/* ------------------------------------------------------------------------- passes */

void linnet_kv_want(struct linnet_kv *kv, int32_t page)
{
	if (kv->cold)
		kv->cold->page[page].wanted = kv->cold->pass;
}

int linnet_kv_read(struct linnet_kv *kv, int32_t page, uint32_t distance,
		   struct linnet_error *err)
{
	struct linnet_kv_cold *c = kv->cold;
	struct page *p;

	if (!c)
		return 0;
	p = &c->page[page];
	p->full = true;
	if (p->frame >= 0) {
		p->held = c->pass;
		return 0;
	}
	/* memory that became free */
	if (free_frame(c) >= 0)
		return linnet_kv_hold(kv, page, LINNET_KV_READ, err);
	if (p->held == c->pass) {
		/* another sequence's, too */
		if (distance < c->distance[p->place])
			c->distance[p->place] = distance;
		return 0;
	}
	p->held = c->pass;
	p->place = (int32_t)c->n_list;
	c->list[c->n_list] = page;
	c->distance[c->n_list++] = distance;
	return 0;
}

/* Queue the reads of the next layer, into the half that it shares with the one before the
 * one before. */
static void start_layer(struct linnet_kv *kv)
{
	struct linnet_kv_cold *c = kv->cold;
	const uint32_t layer = c->n_started++, window = kv->layer[layer].window;
	struct half *h = &c->half[layer % 2];
	char *buf = kv->region->addr + (uint64_t)c->n_frames * kv->page_bytes +
		    layer % 2 * c->n_ring * c->slice;

	h->layer = layer;
	h->error = 0;
	for (uint32_t i = 0; i < c->n_list; i++)
		if (!window || c->distance[i] < window)
			start_read(kv, &h->read[i], h, buf + i * c->slice,
				   (uint64_t)c->list[i] * kv->page_bytes + layer * c->slice,
				   c->slice);
}

/* Let as many frames be free, or have pages that the file has, as this pass took: the next
 * one may need as many. */
static void write_ahead(struct linnet_kv *kv)
{
	struct linnet_kv_cold *c = kv->cold;
	const uint32_t want = c->n_taken ? c->n_taken : 1;
	struct page_write *w;
	uint32_t ready = 0;

	settle(kv);
	for (uint32_t i = 0; i < c->n_frames; i++)
		ready += c->owner[i] < 0 || c->page[c->owner[i]].in_file;
	for (unsigned i = 0; i < WRITES; i++)
		ready += c->write[i].page >= 0 && !c->write[i].stale;
	while (ready < want && (w = write_of(c, -1))) {
		struct page *best = NULL;
		int32_t page = -1;

		for (uint32_t i = 0; i < c->n_frames; i++) {
			struct page *p = c->owner[i] < 0 ? NULL : &c->page[c->owner[i]];

			if (p && p->full && !p->in_file && !write_of(c, c->owner[i]) &&
			    (!best || goes_first(c, p, best))) {
				best = p;
				page = c->owner[i];
			}
		}
		if (!best)
			break;
		start_write(kv, w, page, false);
		ready++;
	}
}

void linnet_kv_start(struct linnet_kv *kv)
{
	struct linnet_kv_cold *c = kv->cold;

	if (!c)
		return;
	c->n_started = 0;
	while (c->n_list && c->n_started < 2 && c->n_started < kv->n_layers)
		start_layer(kv);
	/* the pass waits for those reads, and not for this */
	write_ahead(kv);
}

int linnet_kv_ready(struct linnet_kv *kv, uint32_t layer, struct linnet_error *err)
{
	struct linnet_kv_cold *c = kv->cold;
	const struct half *h;

	if (!c || !c->n_list)
		return 1;
	h = &c->half[layer % 2];
	if (layer >= c->n_started || h->left)
		return 0;
	return h->error ? file_error(c, "read", h->error, err) : 1;
}

void linnet_kv_done(struct linnet_kv *kv, uint32_t layer)
{
	struct linnet_kv_cold *c = kv->cold;

	if (c && c->n_list && c->n_started == layer + 2 && c->n_started < kv->n_layers)
		start_layer(kv);
}

void linnet_kv_end(struct linnet_kv *kv)
{
	struct linnet_kv_cold *c = kv->cold;

	if (!c)
		return;
	while (c->half[0].left || c->half[1].left)
		linnet_queue_wait(c->queue);
	c->n_list = 0;
	c->n_taken = 0;
	c->pass++;
}

void linnet_kv_traffic(const struct linnet_kv *kv, uint64_t *written, uint64_t *read)
{
	*written = kv->cold ? kv->cold->written : 0;
	*read = kv->cold ? kv->cold->read : 0;
}

/* ---------------------------------------------------------------------- beginning */

int linnet_kv_cold_create(struct linnet_kv *kv, const struct linnet_kv_options *opts,
			  struct linnet_error *err)
{
	struct linnet_kv_cold *c = calloc(1, sizeof(*c));
	bool memory = true;

	if (!c)
		return linnet_err(err, -ENOMEM, "out of memory");
	kv->cold = c;
	c->fd = -1;
	c->queue = opts->queue;
	c->n_frames = opts->n_frames;
	c->n_ring = opts->n_pages - opts->n_frames;
	c->slice = opts->page_bytes / opts->n_layers;
	c->pass = 1;
	for (unsigned i = 0; i < WRITES; i++) {
		c->write[i].page = -1;
		c->write[i].request = malloc((opts->page_bytes / REQUEST + 1) *
					     sizeof(*c->write[i].request));
		memory &= c->write[i].request != NULL;
	}
	c->dir = strdup(opts->dir);
	c->owner = malloc(c->n_frames * sizeof(*c->owner));
	c->page = calloc(opts->n_pages, sizeof(*c->page));
	c->list = malloc(opts->n_pages * sizeof(*c->list));
	c->distance = malloc(opts->n_pages * sizeof(*c->distance));
	c->half[0].read = malloc(c->n_ring * sizeof(*c->half[0].read));
	c->half[1].read = malloc(c->n_ring * sizeof(*c->half[1].read));
	if (!memory || !c->dir || !c->owner || !c->page || !c->list || !c->distance ||
	    !c->half[0].read || !c->half[1].read)
		return linnet_err(err, -ENOMEM, "out of memory");
	for (uint32_t i = 0; i < c->n_frames; i++)
		c->owner[i] = -1;
	for (uint32_t i = 0; i < opts->n_pages; i++)
		c->page[i].frame = -1;
	c->fd = open_file(opts->dir);
	if (c->fd == -ENOTSUP)
		return linnet_err(err, -ENOTSUP,
				  "%s: files of this folder are in memory (tmpfs); the "
				  "cold part of the KV cache needs a disk",
				  c->dir);
	if (c->fd < 0)
		return file_error(c, "make a file for", c->fd, err);
	return 0;
}

void linnet_kv_cold_destroy(struct linnet_kv *kv)
{
	struct linnet_kv_cold *c = kv->cold;

	if (!c)
		return;
	for (unsigned i = 0; i < WRITES; i++) {
		while (c->write[i].left)
			linnet_queue_wait(c->queue);
		free(c->write[i].request);
	}
	if (c->fd >= 0)
		close(c->fd);
	free(c->half[0].read);
	free(c->half[1].read);
	free(c->distance);
	free(c->list);
	free(c->page);
	free(c->owner);
	free(c->dir);
	free(c);
}
