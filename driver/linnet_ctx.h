/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Contexts, their attachments and streams.
 */
#ifndef __LINNET_CTX_H__
#define __LINNET_CTX_H__

#include <linux/atomic.h>
#include <linux/cleanup.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/xarray.h>

#include <drm/gpu_scheduler.h>

#include <linnet/stream.h>

#include "linnet_device.h"

struct linnet_bo;

/**
 * struct linnet_segment - a piece of memory that is contiguous for the device
 */
struct linnet_segment {
	/** @addr: where it begins, as the device sees it. */
	u64 addr;
	/** @len: bytes. */
	u64 len;
};

/**
 * enum linnet_kind - what a context has
 */
enum linnet_kind {
	/** @LINNET_ATTACHMENT: struct linnet_attachment. */
	LINNET_ATTACHMENT,
	/** @LINNET_STREAM: struct linnet_stream. */
	LINNET_STREAM,
	/** @LINNET_KINDS: their number. */
	LINNET_KINDS,
};

/**
 * struct linnet_object - the first member of an attachment or a stream
 */
struct linnet_object {
	/** @refs: one of the context, one of each job. */
	struct kref refs;
	/** @busy: unfinished jobs. */
	atomic_t busy;
	/** @id: number in the context. */
	u32 id;
};

/**
 * struct linnet_attachment - a buffer that jobs of a context may use
 */
struct linnet_attachment {
	/** @base: what it shares with a stream. */
	struct linnet_object base;
	/** @node: in &linnet_device.leaked. */
	struct list_head node;
	/** @bo: the buffer, pinned. */
	struct linnet_bo *bo;
	/** @sgt: its pages: @own, or the list of whoever exported the buffer. */
	struct sg_table *sgt;
	/** @own: a list of the attachment's own. */
	struct sg_table own;
	/** @dma: the device uses the DMA addresses of @sgt, not the physical ones. */
	bool dma;
	/** @read_only: the device may not write. */
	bool read_only;
	/** @size: bytes. */
	u64 size;
	/** @transport: the transport's own data. */
	void *transport;
};

/**
 * struct linnet_stream - a stream of a context
 */
struct linnet_stream {
	/** @base: what it shares with an attachment. */
	struct linnet_object base;
	/** @size: bytes at @data. */
	u32 size;
	/** @n_slots: slots that may be bound. */
	u32 n_slots;
	/** @n_params: parameters of a submission. */
	u32 n_params;
	/** @max: largest value of each parameter. */
	u32 max[LINNET_MAX_PARAMS];
	/** @data: the stream as user space gave it. */
	void *data;
};

/**
 * struct linnet_ctx - an ordered queue of jobs
 */
struct linnet_ctx {
	/** @refs: one of the file, one of each job. */
	struct kref refs;
	/** @ldev: the device. */
	struct linnet_device *ldev;
	/** @node: in &linnet_device.ctxs. */
	struct list_head node;
	/** @id: number on the device, for the transport and for traces. */
	u32 id;
	/** @handle: number in the file. */
	u32 handle;
	/** @priority: enum drm_linnet_priority. */
	u32 priority;
	/** @client: &drm_file.client_id of the owner. */
	u64 client;

	/** @lock: serializes control functions of the transport for this context. */
	struct mutex lock;
	/** @destroyed: no commands are taken any more; protected by @lock. */
	bool destroyed;
	/** @live: the transport knows the context; protected by @lock. */
	bool live;
	/** @objects: for each kind, id to object. */
	struct xarray objects[LINNET_KINDS];

	/** @entity: the context's queue in the scheduler. */
	struct drm_sched_entity entity;
	/** @submit_lock: orders arming and pushing of jobs. */
	struct mutex submit_lock;
	/** @fence_context: timeline of the jobs' fences. */
	u64 fence_context;
	/** @fence_seqno: last fence; protected by @submit_lock. */
	u64 fence_seqno;

	/** @jobs: unfinished jobs in order; protected by &linnet_device.queue_lock. */
	struct list_head jobs;
	/** @n_jobs: their number and of those about to be pushed. */
	u32 n_jobs;
	/** @n_queued: those of @jobs that the device has. */
	u32 n_queued;
	/** @job_ns: how long a job keeps the device, about. */
	u64 job_ns;
	/** @error: 0, or why it takes no more jobs: -EIO banned, -ECANCELED destroyed. */
	int error;
	/** @generation: &linnet_device.generation when it was created. */
	u32 generation;
	/** @room: woken when @n_jobs has become less. */
	wait_queue_head_t room;
	/** @last_end_ns: end of the last job. */
	u64 last_end_ns;

	/** @owner: the file. */
	struct linnet_file *owner;
	/** @free_work: frees the context when the last job has gone. */
	struct work_struct free_work;
	/** @transport: the transport's own data. */
	void *transport;
};

/**
 * struct linnet_file - an open file
 */
struct linnet_file {
	/** @refs: one of the open file, one of each context. */
	struct kref refs;
	/** @ctxs: handle to context. */
	struct xarray ctxs;
	/** @busy_ns: time that jobs kept the device. */
	atomic64_t busy_ns;
	/** @jobs: jobs that ended. */
	atomic64_t jobs;
};

/* For transports: the device has forgotten the context, or was told to stop it. */
bool linnet_ctx_lost(const struct linnet_ctx *ctx);

struct linnet_ctx *linnet_ctx_lookup(struct linnet_file *lfile, u32 handle);
void linnet_ctx_put(struct linnet_ctx *ctx);
DEFINE_FREE(linnet_ctx_put, struct linnet_ctx *, linnet_ctx_put(_T))
bool linnet_ctx_idle(struct linnet_ctx *ctx);
void linnet_ctx_teardown(struct linnet_ctx *ctx);
void linnet_attachment_reap(struct linnet_attachment *att);

/* For jobs: find an object and use it; NULL: there is none. The end of the use, in two steps. */
struct linnet_object *linnet_object_use(struct linnet_ctx *ctx, enum linnet_kind kind, u32 id);
void linnet_object_put(struct linnet_object *obj);

int linnet_file_open(struct drm_device *drm, struct drm_file *file);
void linnet_file_close(struct drm_device *drm, struct drm_file *file);

int linnet_ioctl_ctx_create(struct drm_device *drm, void *data, struct drm_file *file);
int linnet_ioctl_ctx_destroy(struct drm_device *drm, void *data, struct drm_file *file);
int linnet_ioctl_attach(struct drm_device *drm, void *data, struct drm_file *file);
int linnet_ioctl_detach(struct drm_device *drm, void *data, struct drm_file *file);
int linnet_ioctl_stream_create(struct drm_device *drm, void *data, struct drm_file *file);
int linnet_ioctl_stream_destroy(struct drm_device *drm, void *data, struct drm_file *file);

#endif /* __LINNET_CTX_H__ */
