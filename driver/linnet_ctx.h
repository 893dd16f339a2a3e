/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Contexts, their attachments and streams.
 */
#ifndef __LINNET_CTX_H__
#define __LINNET_CTX_H__

#include <linux/atomic.h>
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
 * struct linnet_attachment - a buffer that jobs of a context may use
 */
struct linnet_attachment {
	/** @refs: one of the context, one of each job. */
	struct kref refs;
	/** @node: in &linnet_device.leaked. */
	struct list_head node;
	/** @bo: the buffer, pinned. */
	struct linnet_bo *bo;
	/** @sgt: its pages. */
	struct sg_table *sgt;
	/** @dma: the device uses the DMA addresses of @sgt, not the physical ones. */
	bool dma;
	/** @owned: @sgt (and its mapping) belongs to the attachment. */
	bool owned;
	/** @read_only: the device may not write. */
	bool read_only;
	/** @live: the device knows it. */
	bool live;
	/** @id: number in the context. */
	u32 id;
	/** @size: bytes. */
	u64 size;
	/** @busy: unfinished jobs. */
	atomic_t busy;
	/** @transport: the transport's own data. */
	void *transport;
};

/**
 * struct linnet_stream - a stream of a context
 */
struct linnet_stream {
	/** @refs: one of the context, one of each job. */
	struct kref refs;
	/** @id: number in the context. */
	u32 id;
	/** @size: bytes at @data. */
	u32 size;
	/** @n_slots: slots that may be bound. */
	u32 n_slots;
	/** @n_params: parameters of a submission. */
	u32 n_params;
	/** @max: largest value of each parameter. */
	u32 max[LINNET_MAX_PARAMS];
	/** @busy: unfinished jobs. */
	atomic_t busy;
	/** @data: the stream as user space gave it. */
	void *data;
	/** @transport: the transport's own data. */
	void *transport;
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
	/** @attachments: id to attachment. */
	struct xarray attachments;
	/** @streams: id to stream. */
	struct xarray streams;

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
	/** @error: 0, or result of all further jobs. */
	int error;
	/** @room: woken when @n_jobs has become less. */
	wait_queue_head_t room;
	/** @last_end_ns: end of the last job. */
	u64 last_end_ns;

	/** @stats: counters of the owner's file, for fdinfo. */
	struct linnet_file_stats *stats;
	/** @transport: the transport's own data. */
	void *transport;
};

/* Number of segments of @att, and the segments: at most UINT_MAX bytes each. */
unsigned int linnet_attachment_count(const struct linnet_attachment *att);
void linnet_attachment_segments(const struct linnet_attachment *att,
				struct linnet_segment *out, unsigned int n);

#endif /* __LINNET_CTX_H__ */
