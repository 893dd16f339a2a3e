/* SPDX-License-Identifier: MIT */
/*
 * A Linnet device for one guest: what lies behind one vhost-user connection. Two
 * threads use it. The connection's thread takes messages of the front end and
 * requests of the control queue; the jobs' thread takes submissions, one at a time,
 * and executes them together with the threads of a pool. What both use is under
 * `lock`; objects are changed by the connection's thread alone, so that it may read
 * them without. Tests and the fuzzer call the same functions from one thread.
 *
 * Everything the guest says is bounded: its objects by number and by the memory that
 * they take here, what it asks to be printed by a count.
 */
#ifndef LINNET_DEVICE_DEVICE_H
#define LINNET_DEVICE_DEVICE_H

#include "guest.h"
#include "vq.h"

#include "kernels/exec.h"
#include "runtime/engine/pool.h"

#include <linux/virtio_linnet.h>
#include <pthread.h>

#define DEVICE_MAX_CONTEXTS	1024
#define DEVICE_MAX_RESOURCES	4096
#define DEVICE_MAX_STREAMS	4096
#define DEVICE_MAX_STREAM_BYTES	(4u << 20)
#define DEVICE_MAX_REQUEST	(64u << 10)
#define DEVICE_MAX_RESOURCE	(1ull << 40)

#define VHOST_USER_MAX_PAYLOAD	512

struct device_options {
	unsigned n_threads;		/* 0: one for each core */
	uint64_t memory;		/* bytes that a guest's streams and scratch may take */
	const char *level;		/* of the kernels; NULL: the best */
	bool verbose;
	/* A line about the guest, without a newline; may be called by any thread. */
	void (*say)(void *ctx, const char *line);
	void *say_ctx;
};

struct device_resource {
	char *at;			/* where it is mapped */
	uint64_t bytes, filled;
	char *reserved;			/* the addresses that at is in */
	uint64_t reserved_bytes;
	uint64_t huge_bytes;		/* in huge pages, when it was mapped */
	bool read_only;
	unsigned n_maps;
	unsigned busy;			/* jobs that run and bind it */
};

struct device_stream {
	struct linnet_stream *s;	/* NULL: not complete */
	char *data;			/* until it is */
	uint32_t bytes, filled;
	size_t scratch, cost;
	unsigned busy;
};

struct device_ctx {
	struct device_resource *resource[DEVICE_MAX_RESOURCES];
	struct device_stream *stream[DEVICE_MAX_STREAMS];
	uint64_t n_jobs, ns;		/* executed, and the time that took */
};

/* A submission that was taken from the ring. */
struct device_job {
	struct device_job *next;
	struct vq_chain chain;
	struct {
		struct virtio_linnet_submit head;
		struct virtio_linnet_binding binding[VIRTIO_LINNET_MAX_BINDINGS];
	} request;
};

struct device {
	struct device_options opts;
	struct linnet_kernels kernels;
	struct linnet_pool *pool;
	struct linnet_team alone;

	pthread_mutex_t lock;
	pthread_cond_t job_ended;
	struct guest_memory memory;
	struct vq queue[VIRTIO_LINNET_QUEUES];
	struct device_ctx *ctx[DEVICE_MAX_CONTEXTS];
	struct device_job *first, **last;	/* taken and not begun, in order */
	unsigned n_waiting;
	bool holes;				/* one was given back before an older one */
	struct device_job *running;
	_Atomic int interrupt;			/* the running job */
	bool quit;

	uint64_t used_bytes;			/* of opts.memory */
	uint64_t scratch_charged;		/* of these, what scratch may take */
	unsigned n_maps, max_maps;		/* mappings of resources */
	size_t scratch_bytes;
	char *scratch;				/* the running job's */
	struct linnet_exec exec;

	uint64_t features, protocol;
	char *inflight;				/* of the rings, see vq.h */
	size_t inflight_bytes;
	int reply_fd;				/* goes with the next reply; -1: none */
	int backend_fd, wake;			/* wake: the jobs' thread, from its sleep */
	bool may_watch;				/* the ring, for a moment before it sleeps */
	bool has_thread;
	pthread_t thread;
	_Atomic unsigned n_said;
	char request[DEVICE_MAX_REQUEST] __attribute__((aligned(8)));
};

/* 0 or -errno and *why. */
int device_create(struct device **out, const struct device_options *opts, const char **why);
void device_destroy(struct device *d);
uint64_t device_now_ns(void);	/* CLOCK_MONOTONIC */
/* Say something about the guest, as long as it was not too often. */
void device_say(struct device *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* ------------------------------------------------------------- objects.c */

/* Execute a control request of n bytes. */
struct virtio_linnet_response device_request(struct device *d, const void *request, size_t n);
/* All contexts end; no job may be running. */
void device_objects_clear(struct device *d);

/* ---------------------------------------------------------------- jobs.c */

int device_jobs_start(struct device *d);
/* Run the next submission; false when there was none. */
bool device_job_run(struct device *d);
/*
 * With the lock held: no submission is running and none has been taken any more when it
 * returns; those that had not begun are in the ring again. The running one is
 * interrupted, after patience_ms if that is not zero.
 */
void device_jobs_stop(struct device *d, unsigned patience_ms);
/*
 * With the lock held: cancel a job by its number, which ends the one that runs some time
 * later; or all of a context; or all. Of the latter two, none is left at the return.
 */
bool device_job_cancel(struct device *d, uint32_t ctx, uint64_t job);
void device_jobs_cancel_ctx(struct device *d, uint32_t ctx);
void device_jobs_cancel_all(struct device *d);
void device_jobs_wake(struct device *d);

/* ------------------------------------------------------------- message.c */

/* As it travels: the payload follows the head's 12 bytes at once. */
struct vhost_user_message {
	uint32_t request, flags, size;
	union {
		uint64_t u64;
		struct {
			uint32_t index, num;
		} state;
		struct {
			uint32_t index, flags;
			uint64_t desc, used, avail, log;
		} addr;
		struct {
			uint32_t num, padding;
			struct {
				uint64_t gpa, bytes, user, offset;
			} region[GUEST_MAX_REGIONS];
		} memory;
		struct {
			uint32_t offset, size, flags;
			uint8_t data[256];
		} config;
		struct {
			uint64_t bytes, offset;
			uint16_t n_queues, queue_size;
		} inflight;
		uint8_t raw[VHOST_USER_MAX_PAYLOAD];
	};
} __attribute__((packed));

#define VHOST_USER_HEADER 12u

/*
 * Handle a message and its descriptors, which are taken over. 1: m is the reply, which
 * d->reply_fd goes with; 0: there is none; -EPROTO: the connection must end.
 */
int device_message(struct device *d, struct vhost_user_message *m, int *fds, unsigned n_fds);
/* Execute what is in the control queue. */
void device_control(struct device *d);

/* ---------------------------------------------------------- connection.c */

/* Serve a front end until it goes away; closes fd. 0 or -errno. */
int device_connection(struct device *d, int fd);

#endif
