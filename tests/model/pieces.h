/* SPDX-License-Identifier: MIT */
/*
 * The host's engine with regions in pieces, as a device has them: what has no memory cannot be
 * touched, a job is bound to pieces that are there, and a short pass may be one job. And there
 * may be less memory than anybody was told, and pieces of an idle model may be taken.
 */
#ifndef TESTS_MODEL_PIECES_H
#define TESTS_MODEL_PIECES_H

#include "runtime/memory/share.h"
#include "runtime/session/session.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define PIECES_REGIONS 32
#define PIECES_MOST 512

static struct {
	pthread_mutex_t lock;
	struct {
		const struct linnet_region *region;
		size_t n;
		struct {
			size_t at, bytes;
			bool idle;
		} piece[PIECES_MOST];
	} list[PIECES_REGIONS];
	uint64_t taken, most;		/* bytes in pieces; 0: as many as may be */
	unsigned n_taken, n_refused, n_wrong, n_jobs;
	uint64_t lost;			/* a bit for each piece that wakes, and again after 64 */
	unsigned n_idle, n_woken, n_lost;
	unsigned idle_fails;		/* the last that may be idle; 0: all may */
} pieces = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* Number in the list, of NULL: one that is free; PIECES_REGIONS: none. */
static inline unsigned pieces_find(const struct linnet_region *r)
{
	unsigned i = 0;

	while (i < PIECES_REGIONS && pieces.list[i].region != r)
		i++;
	return i;
}

static inline int pieces_reserve(struct linnet_engine *e, struct linnet_region **out, size_t bytes,
				 enum linnet_pages kind, struct linnet_error *err)
{
	int ret = linnet_region_host_create(out, bytes, LINNET_PAGES_SMALL, err);
	unsigned i;

	if (ret)
		return ret;
	pthread_mutex_lock(&pieces.lock);
	i = pieces_find(NULL);
	if (i == PIECES_REGIONS || mprotect((*out)->addr, (*out)->mapped_bytes, PROT_NONE))
		abort();
	pieces.list[i].region = *out;
	pieces.list[i].n = 0;
	pthread_mutex_unlock(&pieces.lock);
	return 0;
}

static inline int pieces_take(struct linnet_engine *e, struct linnet_region *r, size_t offset,
			      size_t bytes, struct linnet_error *err)
{
	unsigned i;
	size_t n;
	int ret = 0;

	pthread_mutex_lock(&pieces.lock);
	i = pieces_find(r);
	n = i < PIECES_REGIONS ? pieces.list[i].n : 0;
	bytes = (bytes + 4095) & ~(size_t)4095;
	for (size_t j = 0; j < n; j++)
		pieces.n_wrong += offset < pieces.list[i].piece[j].at +
					   pieces.list[i].piece[j].bytes &&
				  pieces.list[i].piece[j].at < offset + bytes;
	pieces.n_wrong += i == PIECES_REGIONS || offset % 4096 || offset > r->mapped_bytes ||
			  bytes > r->mapped_bytes - offset;
	if (i == PIECES_REGIONS || n == PIECES_MOST) {
		ret = -EINVAL;
	} else if (pieces.most && pieces.taken + bytes > pieces.most) {
		pieces.n_refused++;
		ret = -ENOMEM;
	} else if (mprotect(r->addr + offset, bytes, PROT_READ | PROT_WRITE)) {
		ret = -errno;
	} else {
		pieces.list[i].piece[n].at = offset;
		pieces.list[i].piece[n].bytes = bytes;
		pieces.list[i].piece[n].idle = false;
		pieces.list[i].n++;
		pieces.taken += bytes;
		pieces.n_taken++;
	}
	pthread_mutex_unlock(&pieces.lock);
	return ret;
}

static inline void pieces_discard(struct linnet_engine *e, struct linnet_region *r, size_t offset,
				  size_t bytes)
{
	unsigned i;

	pthread_mutex_lock(&pieces.lock);
	i = pieces_find(r);
	for (size_t j = 0; i < PIECES_REGIONS && j < pieces.list[i].n;) {
		const size_t at = pieces.list[i].piece[j].at, n = pieces.list[i].piece[j].bytes;

		if (at < offset || at + n > offset + bytes) {
			j++;
			continue;
		}
		if (madvise(r->addr + at, n, MADV_DONTNEED) ||
		    mprotect(r->addr + at, n, PROT_NONE))
			abort();
		pieces.taken -= n;
		pieces.n_idle -= pieces.list[i].piece[j].idle;
		pieces.list[i].piece[j] = pieces.list[i].piece[--pieces.list[i].n];
	}
	pthread_mutex_unlock(&pieces.lock);
}

/* What is idle must not be touched. */
static inline int pieces_idle(struct linnet_engine *e, struct linnet_region *r, size_t offset,
			      size_t bytes)
{
	unsigned i;
	size_t j = 0;
	int ret = 0;

	pthread_mutex_lock(&pieces.lock);
	i = pieces_find(r);
	while (i < PIECES_REGIONS && j < pieces.list[i].n && pieces.list[i].piece[j].at != offset)
		j++;
	if (i == PIECES_REGIONS || j == pieces.list[i].n) {
		pieces.n_wrong++;
	} else if (!pieces.list[i].piece[j].idle) {
		if (pieces.idle_fails && pieces.n_idle == pieces.idle_fails)
			ret = -EBUSY;
		else if (mprotect(r->addr + offset, pieces.list[i].piece[j].bytes, PROT_NONE))
			abort();
		pieces.list[i].piece[j].idle = !ret;
		pieces.n_idle += !ret;
	}
	pthread_mutex_unlock(&pieces.lock);
	return ret;
}

static inline bool pieces_wake(struct linnet_engine *e, struct linnet_region *r, size_t offset,
			       size_t bytes)
{
	bool lost = false;
	unsigned i;
	size_t j = 0;

	pthread_mutex_lock(&pieces.lock);
	i = pieces_find(r);
	while (i < PIECES_REGIONS && j < pieces.list[i].n && pieces.list[i].piece[j].at != offset)
		j++;
	if (i == PIECES_REGIONS || j == pieces.list[i].n) {
		pieces.n_wrong++;
		lost = true;
	} else if (pieces.list[i].piece[j].idle) {
		bytes = pieces.list[i].piece[j].bytes;
		lost = pieces.lost >> (pieces.n_woken++ % 64) & 1;
		pieces.n_lost += lost;
		pieces.n_idle--;
		pieces.list[i].piece[j].idle = false;
		if (mprotect(r->addr + offset, bytes, PROT_READ | PROT_WRITE))
			abort();
	}
	pthread_mutex_unlock(&pieces.lock);
	if (lost)
		pieces_discard(e, r, offset, bytes);
	return !lost;
}

static inline void pieces_destroy(struct linnet_engine *e, struct linnet_region *r)
{
	unsigned i;

	pieces_discard(e, r, 0, SIZE_MAX / 2);
	pthread_mutex_lock(&pieces.lock);
	i = pieces_find(r);
	if (r && i < PIECES_REGIONS)
		pieces.list[i].region = NULL;
	pthread_mutex_unlock(&pieces.lock);
	linnet_region_host_destroy(r);
}

/* All of it is in one piece. */
static inline bool pieces_have(const struct linnet_region *r, size_t offset, size_t bytes)
{
	const unsigned i = pieces_find(r);

	for (size_t j = 0; i < PIECES_REGIONS && j < pieces.list[i].n; j++) {
		const size_t at = pieces.list[i].piece[j].at, n = pieces.list[i].piece[j].bytes;

		if (offset >= at && offset + bytes <= at + n)
			return !pieces.list[i].piece[j].idle;
	}
	/* or in a region that has all of its memory */
	return i == PIECES_REGIONS;
}

static inline int pieces_submit(struct linnet_engine *e, struct linnet_job *job)
{
	pthread_mutex_lock(&pieces.lock);
	pieces.n_jobs++;
	for (uint32_t i = 0; i < job->n_bindings; i++)
		pieces.n_wrong += !pieces_have(job->binding[i].region,
					       job->binding[i].offset, job->binding[i].bytes);
	pthread_mutex_unlock(&pieces.lock);
	return linnet_engine_host.submit(e, job);
}

/* A unit that others have is a piece, too, and may be exchanged when no job is bound to it. */
static inline bool pieces_share_has(const struct linnet_share_unit *u)
{
	bool has;

	pthread_mutex_lock(&pieces.lock);
	has = pieces_have(u->region, u->at, u->bytes);
	pthread_mutex_unlock(&pieces.lock);
	return has;
}

static inline int pieces_share_make(struct linnet_engine *e, const struct linnet_share_unit *u,
				    struct linnet_error *err)
{
	return pieces_share_has(u) ? 0 : pieces_take(e, u->region, u->at, u->bytes, err);
}

static inline bool pieces_share_take(struct linnet_engine *e, const struct linnet_share_unit *u,
				     int fd)
{
	return !pieces_share_make(e, u, NULL) && linnet_share_memfd.take(e, u, fd);
}

static inline void pieces_share_drop(struct linnet_engine *e, const struct linnet_share_unit *u)
{
	pieces.n_wrong += !pieces_share_has(u);
	linnet_share_memfd.drop(e, u);
	pieces_discard(e, u->region, u->at, u->bytes);
}

/* Let a model that was just opened have it. */
static inline void pieces_use(struct linnet_model *m)
{
	static struct linnet_engine_ops ops;
	static struct linnet_share_ops share;

	share = linnet_share_memfd;
	share.at_once = false;
	share.take = pieces_share_take;
	share.make = pieces_share_make;
	share.drop = pieces_share_drop;
	ops = linnet_engine_host;
	ops.share = &share;
	ops.in_pieces = true;
	ops.together = 24;
	ops.region_reserve = pieces_reserve;
	ops.region_destroy = pieces_destroy;
	ops.region_take = pieces_take;
	ops.region_discard = pieces_discard;
	ops.region_idle = pieces_idle;
	ops.region_wake = pieces_wake;
	ops.region_border = NULL;
	ops.submit = pieces_submit;
	m->engine->ops = &ops;
}

#endif
