/* SPDX-License-Identifier: MIT */
/*
 * The queue: reads and the ends of jobs meet here, one wait in one place. Reads go
 * through one io_uring, or, where that is refused, through threads with preadv2.
 * An engine whose jobs run on the caller's thread lends its worker to the wait; one
 * whose jobs run in a device sends them as commands on the same io_uring.
 * A queue is used by one thread.
 */
#ifndef LINNET_QUEUE_QUEUE_H
#define LINNET_QUEUE_QUEUE_H

#include <linnet/linnet.h>

struct linnet_queue;

/*
 * A read, owned by the caller until done() is called. The first `need` bytes of
 * `bytes` must arrive; direct I/O asks for whole blocks and may end at the end of
 * the file. Short reads are continued; what the disk or the kernel refuses for now is
 * tried again, a bounded number of times. done() gets 0 or -errno (-ENODATA: the file
 * ended before `need`).
 *
 * With `write` set the bytes go to the file instead; all of them are needed.
 */
struct linnet_read {
	int fd;
	char *buf;
	uint64_t offset;
	size_t bytes, need;
	size_t align;		/* of a continued read; 1 for buffered files */
	bool urgent;		/* goes before all that has not been started */
	bool write;
	void (*done)(struct linnet_read *r, int result);
	void *ctx, *owner;	/* the caller's */
	/* the queue's own */
	const struct linnet_command *command;
	size_t got;
	struct linnet_read *next;
	int result;
	unsigned tries;		/* in a row that brought nothing */
	uint64_t not_before;	/* a clock time: when it is tried again */
};

/* A request of IORING_OP_URING_CMD: its number and the 16 bytes of its payload. */
struct linnet_command {
	uint32_t op;
	struct {
		uint64_t ptr;
		uint32_t size, flags;
	} payload;
};

/* Commands that may be in flight at once. */
#define LINNET_QUEUE_COMMANDS 32

struct linnet_queue_options {
	unsigned depth;		/* reads in flight at once; 0: 12 */
	bool no_io_uring;
	uint64_t bytes_per_second;	/* of reads and writes, evenly paced; 0: no bound */
	/* What is read through the page cache leaves it at once: it counts as ours. */
	bool leave_cache;
};

int linnet_queue_create(struct linnet_queue **out, const struct linnet_queue_options *opts,
			struct linnet_error *err);
/* Waits for the reads in flight, whose done() is called. */
void linnet_queue_destroy(struct linnet_queue *q);

/* Queue a read. done() is called from poll or wait, never from here. */
void linnet_queue_read(struct linnet_queue *q, struct linnet_read *r);

/*
 * Send a command to r->fd; of r only fd, done, ctx and owner are used. r and c are the
 * caller's until done() is called, from poll or wait, with the kernel's result. Commands
 * are sent by the next poll or wait, in the order of the calls, and do not wait for reads.
 * -EOPNOTSUPP: not on io_uring. -EAGAIN: LINNET_QUEUE_COMMANDS are in flight.
 */
int linnet_queue_command(struct linnet_queue *q, struct linnet_read *r,
			 const struct linnet_command *c);

/* run(ctx) does a piece of work on this thread and returns true, or false: there is none. */
void linnet_queue_set_worker(struct linnet_queue *q, bool (*run)(void *ctx), void *ctx);

/* tick(ctx) is called at every poll and wait, on the caller's thread; it may queue reads. */
void linnet_queue_set_tick(struct linnet_queue *q, void (*tick)(void *ctx), void *ctx);

/* Start what was queued and deliver what has ended; never blocks. */
void linnet_queue_poll(struct linnet_queue *q);

/*
 * Deliver at least one end: of a read, or of a piece of the worker's work. Returns
 * early, with nothing delivered, after a signal and while reads have to wait for their
 * time. -ENOENT: nothing is in flight or waits.
 */
int linnet_queue_wait(struct linnet_queue *q);

/*
 * The same for a caller who can do nothing before n commands have ended: it may sleep until
 * then, which saves waking for each of them. Reads in flight make it an ordinary wait.
 */
int linnet_queue_wait_many(struct linnet_queue *q, unsigned n);

bool linnet_queue_is_io_uring(const struct linnet_queue *q);
/* Why io_uring is not used: 0 (it is, or was not wanted) or -errno of its set-up. */
int linnet_queue_refused(const struct linnet_queue *q);

/* Reads that were tried again, ever. May be called from another thread. */
uint64_t linnet_queue_retries(const struct linnet_queue *q);
/* As linnet_queue_options.bytes_per_second, from now on. */
void linnet_queue_set_rate(struct linnet_queue *q, uint64_t bytes_per_second);

/* Reads in flight at once from now on, at most as many as at first (0: as many). */
void linnet_queue_set_depth(struct linnet_queue *q, unsigned depth);

/* What a back end does. */
struct linnet_queue_backend {
	/* Start a read or a command; the back end always has room for `depth` reads and, if
	 * it takes commands, for LINNET_QUEUE_COMMANDS of those. */
	void (*start)(void *b, struct linnet_read *r);
	/* Make the kernel see what was started. What it refuses for good ends with an error. */
	void (*flush)(void *b);
	/* Take one end: the read with ->result set (bytes or -errno), or NULL when there
	 * is none; with n, wait for one, or until there are n (NULL after a signal). */
	struct linnet_read *(*reap)(void *b, unsigned n);
	void (*destroy)(void *b);
};

int linnet_queue_uring(void **out, const struct linnet_queue_backend **ops, unsigned depth);
int linnet_queue_threads(void **out, const struct linnet_queue_backend **ops, unsigned depth);

#endif
