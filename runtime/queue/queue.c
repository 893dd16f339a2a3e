// SPDX-License-Identifier: MIT
/* The queue above its back ends, keeps queue.h: order, limits, continued reads. */
#include "queue.h"

#include "runtime/util/error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

/* Deep enough that the disk works on while a thread computes, shallow enough that an
 * urgent read does not wait behind much. */
#define DEFAULT_DEPTH 12

/*
 * A read that brings nothing is tried again. Calls that were interrupted or refused for
 * want of resources are tried often; a disk that fails a few times, each after a pause
 * four times as long as the one before: a path that comes back, a controller's reset.
 */
#define TRIES_AGAIN 200
#define TRIES_EIO 4
#define PAUSE_NS 1000000u

/* Errors of a disk, as the block layer tells them (blk_errors[] in block/blk-core.c). */
static bool of_disk(int error)
{
	return error == -EIO || error == -ETIMEDOUT || error == -ENOLINK || error == -EREMOTEIO ||
	       error == -EILSEQ;
}

#define CACHE_PAGE ((uint64_t)4096)

/* Of a rate that was not used, so much may be caught up with. */
#define BURST_NS 5000000u
/* A wait for the time to read returns at least so often. */
#define SLEEP_NS 20000000u

struct linnet_queue {
	const struct linnet_queue_backend *ops;
	void *backend;
	unsigned depth, room;		/* reads in flight: now, and that there is room for */
	unsigned in_flight, commands;	/* reads, commands */
	struct linnet_read *first, **last;	/* wait for room in the back end */
	bool (*run)(void *ctx);
	void *run_ctx;
	void (*tick)(void *ctx);
	void *tick_ctx;
	bool is_uring, delivering, leave_cache;
	int refused;
	uint64_t rate, next_ns;		/* bytes per second; when the next read may start */
	_Atomic uint64_t retries;
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

int linnet_queue_create(struct linnet_queue **out, const struct linnet_queue_options *opts,
			struct linnet_error *err)
{
	struct linnet_queue *q = calloc(1, sizeof(*q));
	int ret = -ENOSYS;

	if (!q)
		return linnet_err(err, -ENOMEM, "out of memory");
	q->depth = opts->depth ? opts->depth : DEFAULT_DEPTH;
	q->room = q->depth;
	q->last = &q->first;
	q->rate = opts->bytes_per_second;
	q->leave_cache = opts->leave_cache;
	if (!opts->no_io_uring) {
		ret = linnet_queue_uring(&q->backend, &q->ops, q->depth);
		q->refused = ret;
		q->is_uring = !ret;
	}
	if (ret)
		ret = linnet_queue_threads(&q->backend, &q->ops, q->depth);
	if (ret) {
		free(q);
		return linnet_err(err, ret, "cannot set up a queue for reading: %s",
				  strerror(-ret));
	}
	*out = q;
	return 0;
}

/*
 * Take the first read whose time has come, or NULL; *until gets the time at which there
 * may be one (left alone when there is none).
 */
static struct linnet_read *next_read(struct linnet_queue *q, uint64_t *until)
{
	struct linnet_read **at = &q->first, *r;
	uint64_t now = 0;

	if (!q->first)
		return NULL;
	if (q->rate) {
		now = now_ns();
		if (now < q->next_ns) {
			*until = q->next_ns;
			return NULL;
		}
	}
	for (; (r = *at); at = &r->next) {
		if (r->not_before && !now)
			now = now_ns();
		if (r->not_before <= now)
			break;
		if (r->not_before < *until)
			*until = r->not_before;
	}
	if (!r)
		return NULL;
	*at = r->next;
	if (q->last == &r->next)
		q->last = at;
	if (q->rate) {
		/* in parts, so that nothing overflows */
		const uint64_t n = r->bytes - r->got;
		const uint64_t took = n / q->rate * 1000000000u +
				      (uint64_t)((double)(n % q->rate) / q->rate * 1e9);

		if (q->next_ns + BURST_NS < now)
			q->next_ns = now - BURST_NS;
		q->next_ns += took;
	}
	return r;
}

/* Hand what may be started to the back end; when more could be: *until. */
static void prepare(struct linnet_queue *q, uint64_t *until)
{
	while (q->in_flight < q->depth) {
		struct linnet_read *r = next_read(q, until);

		if (!r)
			break;
		q->in_flight++;
		q->ops->start(q->backend, r);
	}
}

/* And let the kernel see it. */
static void start(struct linnet_queue *q, uint64_t *until)
{
	prepare(q, until);
	q->ops->flush(q->backend);
}

void linnet_queue_read(struct linnet_queue *q, struct linnet_read *r)
{
	r->command = NULL;
	r->got = 0;
	r->tries = 0;
	r->not_before = 0;
	if (r->urgent && q->first) {
		r->next = q->first;
		q->first = r;
		return;
	}
	r->next = NULL;
	*q->last = r;
	q->last = &r->next;
}

int linnet_queue_command(struct linnet_queue *q, struct linnet_read *r,
			 const struct linnet_command *c)
{
	if (!q->is_uring)
		return -EOPNOTSUPP;
	if (q->commands == LINNET_QUEUE_COMMANDS)
		return -EAGAIN;
	r->command = c;
	q->commands++;
	q->ops->start(q->backend, r);
	return 0;
}

/* The file ends where the read came to, or so it must be taken. */
static bool at_end(const struct linnet_read *r)
{
	struct stat st;

	return fstat(r->fd, &st) || (uint64_t)st.st_size <= r->offset + r->got;
}

/* Nothing came, by `error` (0: no error): true when the read is to be tried again. */
static bool try_again(struct linnet_queue *q, struct linnet_read *r, int error)
{
	const bool disk = of_disk(error);

	if (++r->tries >= (disk ? TRIES_EIO : TRIES_AGAIN))
		return false;
	if (disk)
		r->not_before = now_ns() + ((uint64_t)PAUSE_NS << 2 * (r->tries - 1));
	else if (r->tries > 2)
		r->not_before = now_ns() + PAUSE_NS;
	q->retries++;
	return true;
}

/* Take note of an end; true when the read is over. */
static bool finish(struct linnet_queue *q, struct linnet_read *r, int *result)
{
	const size_t before = r->got;

	/* so the kernel calls a medium that cannot be read, and we the end of a file */
	if (r->result == -ENODATA)
		r->result = -EIO;
	*result = r->result;
	if (r->result == -EINTR || r->result == -EAGAIN || of_disk(r->result))
		return !try_again(q, r, r->result);
	if (r->result < 0)
		return true;
	*result = r->write ? -EIO : -ENODATA;
	if (!r->result)
		return !r->write || !try_again(q, r, 0);
	r->got += r->result;
	*result = 0;
	if (r->got >= r->need)
		return true;
	/* Go on at a block's border: what comes after it is read again. When the file ends
	 * there, that would go on for ever. */
	*result = -ENODATA;
	if (!r->write && r->got % r->align && at_end(r))
		return true;
	r->got -= r->got % r->align;
	*result = -EIO;
	if (r->got == before)
		return !try_again(q, r, 0);
	r->tries = 0;
	q->retries++;
	return false;
}

/* Only whole pages go: those at both ends are no more needed for what lies beyond. */
static void leave_cache(const struct linnet_read *r)
{
	const uint64_t from = r->offset & ~(CACHE_PAGE - 1);
	const uint64_t to = (r->offset + r->bytes + CACHE_PAGE - 1) & ~(CACHE_PAGE - 1);

	posix_fadvise(r->fd, (off_t)from, (off_t)(to - from), POSIX_FADV_DONTNEED);
}

/* Deliver one end, if there is one; with n, wait for it, or until there are n. */
static bool deliver(struct linnet_queue *q, unsigned n)
{
	struct linnet_read *r = q->ops->reap(q->backend, n);
	int result;

	if (!r)
		return false;
	if (r->command) {
		q->commands--;
		r->done(r, r->result);
		return true;
	}
	q->in_flight--;
	if (finish(q, r, &result)) {
		if (q->leave_cache && r->align == 1 && !r->write)
			leave_cache(r);
		r->done(r, result);
	} else {
		/* before all others, when its time comes */
		r->next = q->first;
		if (!q->first)
			q->last = &r->next;
		q->first = r;
	}
	return true;
}

void linnet_queue_poll(struct linnet_queue *q)
{
	uint64_t until = UINT64_MAX;

	/* done() may queue reads but not poll: ends are delivered one after another */
	if (q->delivering)
		return;
	if (q->tick)
		q->tick(q->tick_ctx);
	q->delivering = true;
	while (deliver(q, 0))
		;
	start(q, &until);
	q->delivering = false;
}

/* Nothing is in flight, and nothing may be started before `until`. */
static void sleep_until(uint64_t until)
{
	const uint64_t now = now_ns();
	uint64_t ns = until > now ? until - now : 0;
	struct timespec ts = { 0 };

	ns = ns < SLEEP_NS ? ns : SLEEP_NS;
	ts.tv_nsec = ns;
	/* a signal may end it */
	nanosleep(&ts, NULL);
}

int linnet_queue_wait_many(struct linnet_queue *q, unsigned n)
{
	uint64_t until = UINT64_MAX;
	bool some = false;

	if (q->tick)
		q->tick(q->tick_ctx);
	q->delivering = true;
	prepare(q, &until);
	/* commands alone are sent by the call that waits for them */
	if (q->in_flight || !q->commands)
		q->ops->flush(q->backend);
	while (deliver(q, 0))
		some = true;
	if (some)
		start(q, &until);
	q->delivering = false;
	if (some)
		return 0;
	/* the worker polls while it works */
	if (q->run && q->run(q->run_ctx))
		return 0;
	if (!q->in_flight && !q->commands) {
		if (!q->first)
			return -ENOENT;
		sleep_until(until);
		return 0;
	}
	q->delivering = true;
	/* a read that ends may be waited for by another */
	if (q->in_flight || q->first || !n)
		n = 1;
	else if (n > q->commands)
		n = q->commands;
	deliver(q, n);
	start(q, &until);
	q->delivering = false;
	return 0;
}

int linnet_queue_wait(struct linnet_queue *q)
{
	return linnet_queue_wait_many(q, 1);
}

void linnet_queue_set_worker(struct linnet_queue *q, bool (*run)(void *ctx), void *ctx)
{
	q->run = run;
	q->run_ctx = ctx;
}

void linnet_queue_set_tick(struct linnet_queue *q, void (*tick)(void *ctx), void *ctx)
{
	q->tick = tick;
	q->tick_ctx = ctx;
}

void linnet_queue_destroy(struct linnet_queue *q)
{
	if (!q)
		return;
	q->run = NULL;
	q->tick = NULL;
	q->rate = 0;
	while (q->first || q->in_flight || q->commands)
		linnet_queue_wait(q);
	q->ops->destroy(q->backend);
	free(q);
}

bool linnet_queue_is_io_uring(const struct linnet_queue *q)
{
	return q->is_uring;
}

int linnet_queue_refused(const struct linnet_queue *q)
{
	return q->refused;
}

uint64_t linnet_queue_retries(const struct linnet_queue *q)
{
	return q->retries;
}

void linnet_queue_set_rate(struct linnet_queue *q, uint64_t bytes_per_second)
{
	q->rate = bytes_per_second;
	q->next_ns = 0;
}

void linnet_queue_set_depth(struct linnet_queue *q, unsigned depth)
{
	q->depth = depth && depth < q->room ? depth : q->room;
}
