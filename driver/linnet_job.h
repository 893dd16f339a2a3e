/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Jobs: one run of a stream.
 */
#ifndef __LINNET_JOB_H__
#define __LINNET_JOB_H__

#include <linux/dma-fence.h>
#include <linux/kref.h>
#include <linux/list.h>

#include <drm/gpu_scheduler.h>

#include "linnet_ctx.h"

/**
 * struct linnet_job_binding - a slot of a job, checked
 */
struct linnet_job_binding {
	/** @slot: slot of the stream. */
	u32 slot;
	/** @att: what it is; the job holds a reference. */
	struct linnet_attachment *att;
	/** @offset: bytes from the start of the buffer. */
	u64 offset;
	/** @length: bytes; offset + length <= att->size. */
	u64 length;
};

/**
 * enum linnet_job_state - where a job is
 */
enum linnet_job_state {
	/** @LINNET_JOB_WAITING: in the scheduler. */
	LINNET_JOB_WAITING,
	/** @LINNET_JOB_QUEUED: given to the device. */
	LINNET_JOB_QUEUED,
	/** @LINNET_JOB_DONE: it has a result; older jobs may not have. */
	LINNET_JOB_DONE,
};

/**
 * struct linnet_job - one run of a stream
 *
 * Transports read id, ctx, stream, params and bindings.
 */
struct linnet_job {
	/** @base: the scheduler's part. */
	struct drm_sched_job base;
	/** @refs: one of the scheduler, of &linnet_ctx.jobs, and of @cmd. */
	struct kref refs;
	/** @id: unique on the device. */
	u64 id;
	/** @user_data: the submitter's own number. */
	u64 user_data;
	/** @ctx: its context. */
	struct linnet_ctx *ctx;
	/** @stream: what is run. */
	struct linnet_stream *stream;
	/** @params: the values of the stream's parameters. */
	u32 params[LINNET_MAX_PARAMS];
	/** @n_bindings: elements of @bindings. */
	u32 n_bindings;
	/** @fence: signals the end, in the order of the context. */
	struct dma_fence *fence;
	/** @state: enum linnet_job_state; protected by &linnet_device.queue_lock. */
	u8 state;
	/** @cancelled: shall not be run, or be stopped; protected by the same. */
	bool cancelled;
	/** @fence_init: @fence is live; before, it is only memory. */
	bool fence_init;
	/** @sched_init: @base was initialized. */
	bool sched_init;
	/** @transport_init: the transport's job_init() was done. */
	bool transport_init;
	/** @result: 0 or -errno, once done. */
	int result;
	/** @ctx_node: in &linnet_ctx.jobs. */
	struct list_head ctx_node;
	/** @run_node: in &linnet_device.running. */
	struct list_head run_node;
	/** @queued_ns: when the device got it. */
	u64 queued_ns;
	/** @deadline: when it has kept the device too long, in jiffies. */
	unsigned long deadline;
	/** @cmd: the io_uring command that waits for the end and is not claimed, or NULL. */
	struct io_uring_cmd *cmd;
	/** @cmd_marked: there is or was one, and io_uring may cancel it. */
	bool cmd_marked;
	/** @transport: the transport's own data. */
	void *transport;
	/** @bindings: the slots, in ascending order of slot. */
	struct linnet_job_binding bindings[] __counted_by(n_bindings);
};

/*
 * The device holds as many jobs of a context as take it this long together, if it has no
 * fewer anyway: enough that it never waits for the next one.
 */
#define LINNET_JOBS_AHEAD_NS	(10 * NSEC_PER_MSEC)

#define to_linnet_job(job) container_of(job, struct linnet_job, base)

/*
 * For transports: the job has ended with @result (0 or -errno). Any context, also hard
 * interrupts; once per job that job_queue() took.
 */
void linnet_job_done(struct linnet_job *job, int result);

/* For the core. Names that end in _locked want &linnet_device.queue_lock. */
extern const struct drm_sched_backend_ops linnet_sched_ops;

void linnet_job_put(struct linnet_job *job);
void linnet_job_finish_locked(struct linnet_job *job, int result);
void linnet_job_cancel_locked(struct linnet_job *job);
void linnet_ctx_finish_locked(struct linnet_ctx *ctx, struct linnet_job *guilty, int result,
			      bool queued_too);

int linnet_job_submit(struct drm_device *drm, struct drm_file *file,
		      struct drm_linnet_submit *args, struct io_uring_cmd *cmd,
		      u64 __user *job_out, unsigned int issue_flags);
int linnet_job_cancel(struct drm_file *file, const struct drm_linnet_cancel *args);

int linnet_ioctl_submit(struct drm_device *drm, void *data, struct drm_file *file);
int linnet_ioctl_cancel(struct drm_device *drm, void *data, struct drm_file *file);

#endif /* __LINNET_JOB_H__ */
