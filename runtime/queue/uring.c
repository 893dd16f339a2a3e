// SPDX-License-Identifier: MIT
/* The queue's back end on io_uring. */
#include "queue.h"

#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* One request; a multiple of every block size. A longer read is continued. */
#define MAX_BYTES ((size_t)1 << 30)

struct uring {
	struct io_uring ring;
	struct linnet_read *first, **last;	/* in the ring, not seen by the kernel */
	int broken;				/* -errno: the kernel takes no requests */
};

static struct linnet_read *take(struct uring *u)
{
	struct linnet_read *r = u->first;

	u->first = r->next;
	if (!u->first)
		u->last = &u->first;
	return r;
}

/* Let the kernel see what is in the ring and, with wait, wait until so many have ended;
 * false: it lacks room now, the next call tries again. */
static bool enter(struct uring *u, unsigned wait)
{
	int n = wait ? io_uring_submit_and_wait(&u->ring, wait) : io_uring_submit(&u->ring);

	if (n == -EAGAIN || n == -EBUSY)
		return false;
	if (n < 0 && n != -EINTR && u->first)
		u->broken = n;
	for (; n > 0 && u->first; n--)
		take(u);
	return true;
}

static void uring_flush(void *b)
{
	struct uring *u = b;

	while (u->first && !u->broken && enter(u, 0))
		;
}

static void prep_command(struct io_uring_sqe *sqe, int fd, const struct linnet_command *c)
{
	io_uring_prep_rw(IORING_OP_URING_CMD, sqe, fd, NULL, 0, 0);
	sqe->cmd_op = c->op;
	memcpy(sqe->cmd, &c->payload, sizeof(c->payload));
}

static void uring_start(void *b, struct linnet_read *r)
{
	struct uring *u = b;
	size_t n = r->bytes - r->got;

	r->next = NULL;
	*u->last = r;
	u->last = &r->next;
	if (!u->broken) {
		/* the ring has an entry for each read and command that may be in flight */
		struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);

		if (r->command)
			prep_command(sqe, r->fd, r->command);
		else if (r->write)
			io_uring_prep_write(sqe, r->fd, r->buf + r->got,
					    n < MAX_BYTES ? n : MAX_BYTES, r->offset + r->got);
		else
			io_uring_prep_read(sqe, r->fd, r->buf + r->got,
					   n < MAX_BYTES ? n : MAX_BYTES, r->offset + r->got);
		io_uring_sqe_set_data(sqe, r);
	}
}

static struct linnet_read *uring_reap(void *b, unsigned n)
{
	struct uring *u = b;
	struct io_uring_cqe *cqe;
	struct linnet_read *r;

	if (u->broken && u->first) {
		/* never to be submitted, so nobody will write to its buffer */
		r = take(u);
		r->result = u->broken;
		return r;
	}
	/* no room in the kernel: what it has may not be ours */
	if (n && !enter(u, n))
		usleep(1000);
	if (io_uring_peek_cqe(&u->ring, &cqe))
		return NULL;
	r = io_uring_cqe_get_data(cqe);
	r->result = cqe->res;
	io_uring_cqe_seen(&u->ring, cqe);
	return r;
}

static void uring_destroy(void *b)
{
	struct uring *u = b;

	io_uring_queue_exit(&u->ring);
	free(u);
}

static const struct linnet_queue_backend uring_ops = {
	.start = uring_start,
	.flush = uring_flush,
	.reap = uring_reap,
	.destroy = uring_destroy,
};

int linnet_queue_uring(void **out, const struct linnet_queue_backend **ops, unsigned depth)
{
	struct uring *u = calloc(1, sizeof(*u));
	int ret;

	if (!u)
		return -ENOMEM;
	/* twice: a continued read takes an entry before flush has emptied the others */
	ret = io_uring_queue_init(2 * (depth + LINNET_QUEUE_COMMANDS), &u->ring,
				  IORING_SETUP_CLAMP);
	if (ret) {
		free(u);
		return ret;
	}
	u->last = &u->first;
	*out = u;
	*ops = &uring_ops;
	return 0;
}
