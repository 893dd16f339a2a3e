// SPDX-License-Identifier: MIT
/* The queue above its back ends, keeps queue.h: order, limits, continued reads. */
#include "queue.h"

#include "runtime/util/error.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Deep enough that the disk works on while a thread computes, shallow enough that an
 * urgent read does not wait behind much. */
#define DEFAULT_DEPTH 12

struct linnet_queue {
	const struct linnet_queue_backend *ops;
	void *backend;
	unsigned depth, in_flight;
	struct linnet_read *first, **last;	/* wait for room in the back end */
	bool (*run)(void *ctx);
	void *run_ctx;
	bool is_uring, delivering;
	int refused;
};

int linnet_queue_create(struct linnet_queue **out, const struct linnet_queue_options *opts,
			struct linnet_error *err)
{
	struct linnet_queue *q = calloc(1, sizeof(*q));
	int ret = -ENOSYS;

	if (!q)
		return linnet_err(err, -ENOMEM, "out of memory");
	q->depth = opts->depth ? opts->depth : DEFAULT_DEPTH;
	q->last = &q->first;
	if (!opts->no_io_uring) {
		ret = linnet_queue_uring(&q->backend, &q->ops, q->depth);
		q->refused = ret;
		q->is_uring = !ret;
	}
	if (ret)
		ret = linnet_queue_threads(&q->backend, &q->ops, q->depth);
	if (ret) {
		free(q);
		return linnet_err(err, ret, "cannot set up a queue for reading: %s", strerror(-ret));
	}
	*out = q;
	return 0;
}

static void start(struct linnet_queue *q)
{
	while (q->first && q->in_flight < q->depth) {
		struct linnet_read *r = q->first;

		q->first = r->next;
		if (!q->first)
			q->last = &q->first;
		q->in_flight++;
		q->ops->start(q->backend, r);
	}
	q->ops->flush(q->backend);
}

void linnet_queue_read(struct linnet_queue *q, struct linnet_read *r)
{
	r->got = 0;
	if (r->urgent && q->first) {
		r->next = q->first;
		q->first = r;
		return;
	}
	r->next = NULL;
	*q->last = r;
	q->last = &r->next;
}

/* The file ends where the read came to, or so it must be taken. */
static bool at_end(const struct linnet_read *r)
{
	struct stat st;

	return fstat(r->fd, &st) || (uint64_t)st.st_size <= r->offset + r->got;
}

/* Take note of an end; true when the read is over. */
static bool finish(struct linnet_read *r, int *result)
{
	*result = r->result;
	if (r->result == -EINTR || r->result == -EAGAIN)
		return false;
	if (r->result < 0)
		return true;
	*result = -ENODATA;
	if (!r->result)
		return true;
	r->got += r->result;
	*result = 0;
	if (r->got >= r->need)
		return true;
	/* Go on at a block's border: what comes after it is read again. When the file ends
	 * there, that would go on for ever. */
	*result = -ENODATA;
	if (r->got % r->align && at_end(r))
		return true;
	r->got -= r->got % r->align;
	return false;
}

static bool deliver(struct linnet_queue *q, bool block)
{
	struct linnet_read *r = q->ops->reap(q->backend, block);
	int result;

	if (!r)
		return false;
	q->in_flight--;
	if (finish(r, &result)) {
		r->done(r, result);
	} else {
		q->in_flight++;
		q->ops->start(q->backend, r);
	}
	return true;
}

void linnet_queue_poll(struct linnet_queue *q)
{
	/* done() may queue reads but not poll: ends are delivered one after another */
	if (q->delivering)
		return;
	q->delivering = true;
	while (deliver(q, false))
		;
	start(q);
	q->delivering = false;
}

int linnet_queue_wait(struct linnet_queue *q)
{
	bool some = false;

	q->delivering = true;
	start(q);
	while (deliver(q, false))
		some = true;
	if (some)
		start(q);
	q->delivering = false;
	if (some)
		return 0;
	/* the worker polls while it works */
	if (q->run && q->run(q->run_ctx))
		return 0;
	if (!q->in_flight)
		return -ENOENT;
	q->delivering = true;
	deliver(q, true);
	start(q);
	q->delivering = false;
	return 0;
}

void linnet_queue_set_worker(struct linnet_queue *q, bool (*run)(void *ctx), void *ctx)
{
	q->run = run;
	q->run_ctx = ctx;
}

void linnet_queue_destroy(struct linnet_queue *q)
{
	if (!q)
		return;
	q->run = NULL;
	while (q->first || q->in_flight)
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
