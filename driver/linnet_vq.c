// SPDX-License-Identifier: GPL-2.0-only
/*
 * The virtio transport: a device of Documentation/device-spec.rst executes the streams.
 *
 * Control requests are built in one buffer, one request at a time. What is on the way to
 * a fence's signal (a reset, the end of a context) has a small buffer of its own, since
 * the other one may be with a device that does not answer; jobs and their cancellation
 * bring theirs along. So nothing is allocated there. For the same reason descriptors are
 * never indirect: the virtio core would allocate the table.
 *
 * A buffer that the device has is not freed before the device gave it back or was reset.
 * Everything that the device writes is copied, checked, and used from the copy.
 */
#include <linux/ctype.h>
#include <linux/kref.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/virtio.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

#include <drm/drm_managed.h>
#include <drm/drm_print.h>

#include <linux/virtio_linnet.h>
#include <linnet/stream.h>

#include "linnet_check.h"
#include "linnet_compat.h"
#include "linnet_ctx.h"
#include "linnet_drv.h"
#include "linnet_job.h"

static_assert(VIRTIO_LINNET_MAX_PARAMS == LINNET_MAX_PARAMS);
static_assert(VIRTIO_LINNET_MAX_BINDINGS == LINNET_MAX_SLOTS);
static_assert(VIRTIO_LINNET_MAX_BINDINGS == DRM_LINNET_MAX_BINDINGS);

/* The buffer of requests; most fit in a small part of it, lists of pages want it all. */
#define LINNET_VQ_REQUEST	SZ_64K

/* How long a device may take to answer a request; short of a hang it takes microseconds. */
#define LINNET_VQ_TIMEOUT	(10 * HZ)
#define LINNET_VQ_URGENT	(5 * HZ)

struct linnet_vq_job;

/**
 * struct linnet_vq_request - a request of the control queue and its response
 */
struct linnet_vq_request {
	/** @data: the request; what the device reads. */
	void *data;
	/** @response: what the device writes. */
	struct virtio_linnet_response *response;
	/** @len: bytes that the device says it has written. */
	u32 len;
	/** @queued: the device has it; written under &linnet_vq.lock. */
	bool queued;
	/** @job: the job that it cancels, or NULL. */
	struct linnet_vq_job *job;
};

/**
 * struct linnet_vq_job - a job's part of the transport
 */
struct linnet_vq_job {
	/** @refs: one of the job, one of each queue that the device may use it through. */
	struct kref refs;
	/** @node: in &linnet_vq.jobs, while the device has it. */
	struct list_head node;
	/** @job: whom to tell the end; NULL: nobody. Protected by &linnet_vq.lock. */
	struct linnet_job *job;
	/** @ctx: number of its context. */
	u32 ctx;
	/** @cancel: what asks the device to end it. */
	struct linnet_vq_request cancel;
	/** @cancel_data: the request of @cancel. */
	struct virtio_linnet_job_cancel cancel_data __aligned(ARCH_DMA_MINALIGN);
	/** @cancel_response: the response of @cancel. */
	struct virtio_linnet_response cancel_response __aligned(ARCH_DMA_MINALIGN);
	/** @done: what the device writes at the end. */
	struct virtio_linnet_done done __aligned(ARCH_DMA_MINALIGN);
	/** @submit: what the device reads. */
	struct virtio_linnet_submit submit __aligned(ARCH_DMA_MINALIGN);
};

/**
 * struct linnet_vq - a virtio device
 */
struct linnet_vq {
	/** @vdev: the device. */
	struct virtio_device *vdev;
	/** @ldev: what the core sees. */
	struct linnet_device *ldev;
	/** @ctrl: queue of requests. */
	struct virtqueue *ctrl;
	/** @jobq: queue of submissions. */
	struct virtqueue *jobq;
	/** @lock: protects both queues and @jobs. Inside the core's queue_lock. */
	spinlock_t lock;
	/** @jobs: jobs that the device has. */
	struct list_head jobs;
	/** @ending: threads that are about to tell the core of jobs' ends. */
	atomic_t ending;
	/** @wait: woken when the device gave something back, and at resets. */
	wait_queue_head_t wait;
	/** @request_lock: one request at a time. Nothing is allocated under it. */
	struct mutex request_lock;
	/** @request: of control functions, under @request_lock. */
	struct linnet_vq_request request;
	/** @urgent: of resets; the core makes one at a time. */
	struct linnet_vq_request urgent;
	/** @resets: begins and ends of resets, so odd during one; ends waiting for @request. */
	u32 resets;
	/** @epoch: number of resets that were done, plus 1; contexts know theirs. */
	unsigned long epoch;
	/** @stopped: 0, or what functions return as the device is not to be used. */
	int stopped;
	/** @frozen: it is stopped only until the machine wakes. */
	bool frozen;
	/** @max_contexts: from the configuration. */
	u32 max_contexts;
};

static struct linnet_vq *to_linnet_vq(struct linnet_device *ldev)
{
	return ldev->transport;
}

static int linnet_vq_errno(u32 status)
{
	switch (status) {
	case VIRTIO_LINNET_S_OK:
		return 0;
	case VIRTIO_LINNET_S_INVALID:
	case VIRTIO_LINNET_S_STREAM:
	case VIRTIO_LINNET_S_BINDING:
		return -EINVAL;
	case VIRTIO_LINNET_S_UNSUPPORTED:
		return -EOPNOTSUPP;
	case VIRTIO_LINNET_S_BUSY:
		return -EBUSY;
	case VIRTIO_LINNET_S_NOMEM:
		return -ENOSPC;
	case VIRTIO_LINNET_S_ACCESS:
		return -EACCES;
	case VIRTIO_LINNET_S_RANGE:
		return -ERANGE;
	case VIRTIO_LINNET_S_CANCELLED:
		return -ECANCELED;
	}
	/* numbers that only the driver chooses, and what is no status */
	return -EIO;
}

static bool linnet_vq_broken(struct linnet_vq *lv)
{
	return lv->ctrl && (virtqueue_is_broken(lv->ctrl) || virtqueue_is_broken(lv->jobq));
}

static void linnet_vq_job_release(struct kref *refs)
{
	kfree(container_of(refs, struct linnet_vq_job, refs));
}

static void linnet_vq_job_put(struct linnet_vq_job *vj)
{
	kref_put(&vj->refs, linnet_vq_job_release);
}

/* Have the device reset, unless that was done for good. */
static void linnet_vq_complain(struct linnet_vq *lv)
{
	if (!READ_ONCE(lv->stopped))
		linnet_device_error(lv->ldev);
}

/* --------------------------------------------------------------- control queue */

/* Give a request to the device. */
static int linnet_vq_send(struct linnet_vq *lv, struct linnet_vq_request *r, size_t bytes)
{
	struct scatterlist out, in, *sgs[] = { &out, &in };
	unsigned long flags;
	bool notify = false;
	int ret = -EIO;

	sg_init_one(&out, r->data, bytes);
	sg_init_one(&in, r->response, sizeof(*r->response));
	spin_lock_irqsave(&lv->lock, flags);
	/* one that nobody waits for any more may still be there */
	if (!lv->stopped && !r->queued) {
		ret = virtqueue_add_sgs(lv->ctrl, sgs, 1, 1, r, GFP_ATOMIC);
		if (!ret) {
			r->queued = true;
			notify = virtqueue_kick_prepare(lv->ctrl);
		}
	}
	spin_unlock_irqrestore(&lv->lock, flags);
	if (notify)
		virtqueue_notify(lv->ctrl);
	return ret;
}

/* The device has answered; the response is copied. */
static int linnet_vq_answer(struct linnet_vq *lv, struct linnet_vq_request *r,
			    struct virtio_linnet_response *response)
{
	u32 status;

	if (r->len != sizeof(*response)) {
		drm_dbg(&lv->ldev->drm, "device answered with %u bytes\n", r->len);
		return -EIO;
	}
	*response = *r->response;
	/* what is checked is what is used */
	barrier();
	status = le32_to_cpu(response->status);
	if (status == VIRTIO_LINNET_S_NOENT)
		return -ENOENT;
	if (status)
		drm_dbg(&lv->ldev->drm, "device answered with status %u (%u, %u)\n", status,
			le32_to_cpu(response->op), le32_to_cpu(response->operand));
	return linnet_vq_errno(status);
}

/*
 * Wait for the device's answer. -ENODEV: the device is gone; -EIO: it did not answer, or
 * a reset has begun; then it still has the buffers.
 */
static int linnet_vq_wait(struct linnet_vq *lv, struct linnet_vq_request *r,
			  unsigned long timeout, u32 resets)
{
	const unsigned long end = jiffies + timeout;

	/* A queue that the transport breaks calls nobody: look from time to time. */
	while (!wait_event_timeout(lv->wait, !READ_ONCE(r->queued) ||
				   READ_ONCE(lv->resets) != resets ||
				   READ_ONCE(lv->stopped), HZ / 10)) {
		if (virtqueue_is_broken(lv->ctrl))
			return -ENODEV;
		if (time_after(jiffies, end))
			return -EIO;
	}
	/* pairs with the release in linnet_vq_ctrl_done(): the response is there */
	if (!smp_load_acquire(&r->queued))
		return 0;
	return READ_ONCE(lv->stopped) ?: -EIO;
}

static struct virtio_linnet_head linnet_vq_head(u32 type, u32 ctx, u32 id)
{
	return (struct virtio_linnet_head){
		.type = cpu_to_le32(type), .ctx = cpu_to_le32(ctx), .id = cpu_to_le32(id),
	};
}

/**
 * linnet_vq_call - have the device do something
 * @lv: the device
 * @head: the request, or its beginning
 * @bytes: of @head
 * @more: what follows it, or NULL
 * @more_bytes: of @more
 *
 * Return: what the device says, -ENODEV when it is gone, -EIO when it does not answer.
 */
static int linnet_vq_call(struct linnet_vq *lv, const void *head, size_t bytes, const void *more,
			  size_t more_bytes)
{
	struct linnet_vq_request *r = &lv->request;
	struct virtio_linnet_response response;
	int ret = -EIO;
	u32 resets;

	guard(mutex)(&lv->request_lock);
	resets = READ_ONCE(lv->resets);
	/*
	 * Pairs with the release in linnet_vq_ctrl_done(): the buffer is ours, or with a
	 * device that does not answer. A reset that waits for the lock goes first.
	 */
	if (!smp_load_acquire(&r->queued) && !(resets & 1)) {
		memcpy(r->data, head, bytes);
		if (more_bytes)
			memcpy(r->data + bytes, more, more_bytes);
		ret = linnet_vq_send(lv, r, bytes + more_bytes);
	}
	if (ret)
		return READ_ONCE(lv->stopped) ?: -EIO;
	ret = linnet_vq_wait(lv, r, LINNET_VQ_TIMEOUT, resets);
	if (!ret)
		return linnet_vq_answer(lv, r, &response);
	if (READ_ONCE(lv->resets) == resets) {
		drm_dbg(&lv->ldev->drm, "device did not answer\n");
		linnet_vq_complain(lv);
	}
	return ret;
}

/*
 * A request that is a head alone: have the device forget something. One that was started
 * anew, as QEMU allows it to be, has done so before.
 */
static int linnet_vq_forget(struct linnet_vq *lv, u32 type, u32 ctx, u32 id)
{
	struct virtio_linnet_head head = linnet_vq_head(type, ctx, id);
	int ret = linnet_vq_call(lv, &head, sizeof(head), NULL, 0);

	return ret == -ENOENT ? 0 : ret;
}

/* The same on the way to a fence's signal. */
static int linnet_vq_urgent(struct linnet_vq *lv, u32 type, u32 ctx)
{
	struct linnet_vq_request *r = &lv->urgent;
	struct virtio_linnet_response response;
	int ret;

	/* pairs with the release in linnet_vq_ctrl_done(): the buffer is ours */
	if (smp_load_acquire(&r->queued))
		return -EIO;
	*(struct virtio_linnet_head *)r->data = linnet_vq_head(type, ctx, 0);
	ret = linnet_vq_send(lv, r, sizeof(struct virtio_linnet_head));
	if (!ret)
		ret = linnet_vq_wait(lv, r, LINNET_VQ_URGENT, READ_ONCE(lv->resets));
	return ret ?: linnet_vq_answer(lv, r, &response);
}

static void linnet_vq_ctrl_done(struct virtqueue *vq)
{
	struct linnet_vq *lv = vq->vdev->priv;
	struct linnet_vq_request *r;
	unsigned long flags;
	unsigned int len;

	spin_lock_irqsave(&lv->lock, flags);
	do {
		virtqueue_disable_cb(lv->ctrl);
		while ((r = virtqueue_get_buf(lv->ctrl, &len))) {
			struct linnet_vq_job *vj = r->job;

			r->len = len;
			/* the device has written before; r is its owner's from here on */
			smp_store_release(&r->queued, false);
			if (vj)
				linnet_vq_job_put(vj);
		}
	} while (!virtqueue_enable_cb(lv->ctrl));
	spin_unlock_irqrestore(&lv->lock, flags);
	wake_up_all(&lv->wait);
}

/* ------------------------------------------------------ contexts and their objects */

/* Whether the device knows the context. */
static bool linnet_vq_ctx_live(struct linnet_vq *lv, struct linnet_ctx *ctx)
{
	return READ_ONCE(ctx->transport) == (void *)READ_ONCE(lv->epoch);
}

static int linnet_vq_ctx_create(struct linnet_device *ldev, struct linnet_ctx *ctx)
{
	const struct virtio_linnet_ctx_create create = {
		.head = linnet_vq_head(VIRTIO_LINNET_CTX_CREATE, ctx->id, 0),
	};
	struct linnet_vq *lv = to_linnet_vq(ldev);
	unsigned long epoch = READ_ONCE(lv->epoch);
	int ret;

	if (ctx->id >= lv->max_contexts)
		return -ENOSPC;
	ret = linnet_vq_call(lv, &create, sizeof(create), NULL, 0);
	if (!ret)
		WRITE_ONCE(ctx->transport, (void *)epoch);
	return ret;
}

static void linnet_vq_ctx_destroy(struct linnet_device *ldev, struct linnet_ctx *ctx)
{
	struct linnet_vq *lv = to_linnet_vq(ldev);

	if (!linnet_vq_ctx_live(lv, ctx))
		return;
	if (linnet_vq_forget(lv, VIRTIO_LINNET_CTX_DESTROY, ctx->id, 0))
		linnet_vq_complain(lv);
	WRITE_ONCE(ctx->transport, NULL);
}

/* The memory of an attachment, to be freed by kvfree(), or an error; *n gets the number. */
static struct virtio_linnet_entry *linnet_vq_entries(const struct linnet_attachment *att,
						     unsigned int *n)
{
	struct virtio_linnet_entry *e;
	struct linnet_segment *seg;

	*n = linnet_sg_segments(att->sgt, att->dma, NULL, 0);
	/* An entry replaces its segment. */
	BUILD_BUG_ON(sizeof(*e) != sizeof(*seg));
	seg = kvmalloc_array(*n, sizeof(*seg), GFP_KERNEL);
	if (!seg)
		return ERR_PTR(-ENOMEM);
	linnet_sg_segments(att->sgt, att->dma, seg, *n);
	e = (void *)seg;
	for (unsigned int i = 0; i < *n; i++) {
		const struct linnet_segment s = seg[i];

		if (!IS_ALIGNED(s.addr | s.len, VIRTIO_LINNET_ENTRY_ALIGN)) {
			kvfree(seg);
			return ERR_PTR(-EINVAL);
		}
		e[i] = (struct virtio_linnet_entry){
			.addr = cpu_to_le64(s.addr), .length = cpu_to_le32(s.len),
		};
	}
	return e;
}

static int linnet_vq_bo_attach(struct linnet_device *ldev, struct linnet_ctx *ctx,
			       struct linnet_attachment *att)
{
	struct virtio_linnet_resource_attach attach = {
		.head = linnet_vq_head(VIRTIO_LINNET_RESOURCE_ATTACH, ctx->id, att->base.id),
		.bytes = cpu_to_le64(att->size),
		.flags = cpu_to_le32(att->read_only ? VIRTIO_LINNET_ATTACH_READ_ONLY : 0),
	};
	struct virtio_linnet_resource_add add = {
		.head = linnet_vq_head(VIRTIO_LINNET_RESOURCE_ADD, ctx->id, att->base.id),
	};
	const unsigned int room = (LINNET_VQ_REQUEST - sizeof(attach)) /
				  sizeof(struct virtio_linnet_entry);
	struct linnet_vq *lv = to_linnet_vq(ldev);
	struct virtio_linnet_entry *entries;
	unsigned int n, at, part;
	int ret;

	entries = linnet_vq_entries(att, &n);
	if (IS_ERR(entries))
		return PTR_ERR(entries);
	part = min(n, room);
	attach.n_entries = cpu_to_le32(part);
	ret = linnet_vq_call(lv, &attach, sizeof(attach), entries, part * sizeof(*entries));
	if (ret)
		goto out;
	for (at = part; at < n && !ret; at += part) {
		part = min(n - at, room);
		add.n_entries = cpu_to_le32(part);
		ret = linnet_vq_call(lv, &add, sizeof(add), entries + at, part * sizeof(*entries));
	}
	/* the pages go back when this fails: the device must not keep the first of them */
	if (ret && linnet_vq_ctx_live(lv, ctx) &&
	    linnet_vq_forget(lv, VIRTIO_LINNET_RESOURCE_DETACH, ctx->id, att->base.id))
		linnet_vq_complain(lv);
out:
	kvfree(entries);
	return ret;
}

static int linnet_vq_bo_detach(struct linnet_device *ldev, struct linnet_ctx *ctx,
			       struct linnet_attachment *att)
{
	struct linnet_vq *lv = to_linnet_vq(ldev);

	if (!linnet_vq_ctx_live(lv, ctx))
		return 0;
	return linnet_vq_forget(lv, VIRTIO_LINNET_RESOURCE_DETACH, ctx->id, att->base.id);
}

static int linnet_vq_stream_create(struct linnet_device *ldev, struct linnet_ctx *ctx,
				   struct linnet_stream *stream)
{
	const u32 id = stream->base.id, size = stream->size;
	const struct virtio_linnet_stream_create create = {
		.head = linnet_vq_head(VIRTIO_LINNET_STREAM_CREATE, ctx->id, id),
		.bytes = cpu_to_le32(size),
	};
	const struct virtio_linnet_head add = linnet_vq_head(VIRTIO_LINNET_STREAM_ADD, ctx->id, id);
	u32 part = min_t(u32, size, LINNET_VQ_REQUEST - sizeof(create)), at;
	struct linnet_vq *lv = to_linnet_vq(ldev);
	int ret;

	ret = linnet_vq_call(lv, &create, sizeof(create), stream->data, part);
	for (at = part; at < size && !ret; at += part) {
		part = min_t(u32, size - at, LINNET_VQ_REQUEST - sizeof(add));
		ret = linnet_vq_call(lv, &add, sizeof(add), stream->data + at, part);
		/* one that the device refuses at its end is gone there */
		if (ret && at + part < size)
			linnet_vq_forget(lv, VIRTIO_LINNET_STREAM_DESTROY, ctx->id, id);
	}
	return ret;
}

static void linnet_vq_stream_destroy(struct linnet_device *ldev, struct linnet_ctx *ctx,
				     struct linnet_stream *stream)
{
	struct linnet_vq *lv = to_linnet_vq(ldev);

	if (linnet_vq_ctx_live(lv, ctx) &&
	    linnet_vq_forget(lv, VIRTIO_LINNET_STREAM_DESTROY, ctx->id, stream->base.id))
		linnet_vq_complain(lv);
}

/* ----------------------------------------------------------------------- jobs */

static int linnet_vq_job_init(struct linnet_device *ldev, struct linnet_job *job)
{
	struct linnet_vq_job *vj;

	vj = kzalloc(struct_size(vj, submit.bindings, job->n_bindings), GFP_KERNEL);
	if (!vj)
		return -ENOMEM;
	kref_init(&vj->refs);
	INIT_LIST_HEAD(&vj->node);
	vj->ctx = job->ctx->id;
	vj->submit.ctx = cpu_to_le32(job->ctx->id);
	vj->submit.stream = cpu_to_le32(job->stream->base.id);
	vj->submit.n_bindings = cpu_to_le32(job->n_bindings);
	for (unsigned int i = 0; i < VIRTIO_LINNET_MAX_PARAMS; i++)
		vj->submit.params[i] = cpu_to_le32(job->params[i]);
	for (unsigned int i = 0; i < job->n_bindings; i++) {
		struct virtio_linnet_binding *b = &vj->submit.bindings[i];

		b->slot = cpu_to_le32(job->bindings[i].slot);
		b->resource = cpu_to_le32(job->bindings[i].att->base.id);
		b->offset = cpu_to_le64(job->bindings[i].offset);
		b->length = cpu_to_le64(job->bindings[i].length);
	}
	vj->cancel.data = &vj->cancel_data;
	vj->cancel.response = &vj->cancel_response;
	vj->cancel.job = vj;
	vj->cancel_data.head = linnet_vq_head(VIRTIO_LINNET_JOB_CANCEL, job->ctx->id, 0);
	job->transport = vj;
	return 0;
}

static void linnet_vq_job_fini(struct linnet_device *ldev, struct linnet_job *job)
{
	struct linnet_vq *lv = to_linnet_vq(ldev);
	struct linnet_vq_job *vj = job->transport;

	if (!vj)
		return;
	/* the device may have it still: then it goes with the queue */
	scoped_guard(spinlock_irqsave, &lv->lock)
		vj->job = NULL;
	job->transport = NULL;
	linnet_vq_job_put(vj);
}

static int linnet_vq_job_queue(struct linnet_device *ldev, struct linnet_job *job)
{
	struct linnet_vq *lv = to_linnet_vq(ldev);
	struct linnet_vq_job *vj = job->transport;
	struct scatterlist out, in, *sgs[] = { &out, &in };
	unsigned long flags;
	bool notify = false;
	int ret;

	vj->submit.job = cpu_to_le64(job->id);
	vj->cancel_data.job = cpu_to_le64(job->id);
	sg_init_one(&out, &vj->submit, struct_size(&vj->submit, bindings, job->n_bindings));
	sg_init_one(&in, &vj->done, sizeof(vj->done));
	spin_lock_irqsave(&lv->lock, flags);
	ret = lv->stopped ?: virtqueue_add_sgs(lv->jobq, sgs, 1, 1, vj, GFP_ATOMIC);
	if (!ret) {
		kref_get(&vj->refs);
		vj->job = job;
		list_add_tail(&vj->node, &lv->jobs);
		notify = virtqueue_kick_prepare(lv->jobq);
	}
	spin_unlock_irqrestore(&lv->lock, flags);
	if (notify)
		virtqueue_notify(lv->jobq);
	return ret;
}

static void linnet_vq_job_cancel(struct linnet_device *ldev, struct linnet_job *job)
{
	struct linnet_vq *lv = to_linnet_vq(ldev);
	struct linnet_vq_job *vj = job->transport;

	/* of the request; when it cannot be sent, the job ends later */
	kref_get(&vj->refs);
	if (linnet_vq_send(lv, &vj->cancel, sizeof(vj->cancel_data)))
		linnet_vq_job_put(vj);
}

/* What the device says about a job's end. */
static int linnet_vq_job_result(struct linnet_vq_job *vj, u32 len)
{
	return len == sizeof(vj->done) ? linnet_vq_errno(le32_to_cpu(READ_ONCE(vj->done.status))) :
					 -EIO;
}

/* Take back what the device has done, and tell the core. */
static void linnet_vq_jobs_done(struct virtqueue *vq)
{
	struct linnet_vq *lv = vq->vdev->priv;
	struct linnet_vq_job *vj;
	struct linnet_job *job;
	unsigned long flags;
	unsigned int len;
	int result = 0;

	/* before the lock: who has cleared vj->job under it waits for 0 */
	atomic_inc(&lv->ending);
	for (;;) {
		spin_lock_irqsave(&lv->lock, flags);
		virtqueue_disable_cb(lv->jobq);
		vj = virtqueue_get_buf(lv->jobq, &len);
		if (!vj && virtqueue_enable_cb(lv->jobq)) {
			spin_unlock_irqrestore(&lv->lock, flags);
			break;
		}
		job = NULL;
		if (vj) {
			job = vj->job;
			vj->job = NULL;
			list_del_init(&vj->node);
			result = linnet_vq_job_result(vj, len);
		}
		spin_unlock_irqrestore(&lv->lock, flags);
		/* outside: the core queues jobs with its own lock held */
		if (job)
			linnet_job_done(job, result);
		if (vj)
			linnet_vq_job_put(vj);
	}
	if (atomic_dec_and_test(&lv->ending))
		wake_up_all(&lv->wait);
}

/* ---------------------------------------------------------------------- resets */

/* From here on the core is not told of ends of jobs, of a context or (0) of all. */
static bool linnet_vq_forget_jobs(struct linnet_vq *lv, u32 ctx)
{
	struct linnet_vq_job *vj;

	scoped_guard(spinlock_irqsave, &lv->lock)
		list_for_each_entry(vj, &lv->jobs, node)
			if (!ctx || vj->ctx == ctx)
				vj->job = NULL;
	return wait_event_timeout(lv->wait, !atomic_read(&lv->ending), HZ);
}

/* Whether the device still has jobs, of a context or (0) any. */
static bool linnet_vq_has_jobs(struct linnet_vq *lv, u32 ctx)
{
	struct linnet_vq_job *vj;
	bool found = false;

	if (lv->jobq)
		linnet_vq_jobs_done(lv->jobq);
	scoped_guard(spinlock_irqsave, &lv->lock)
		list_for_each_entry(vj, &lv->jobs, node)
			found |= !ctx || vj->ctx == ctx;
	return found;
}

static int linnet_vq_ctx_reset(struct linnet_device *ldev, struct linnet_ctx *ctx)
{
	struct linnet_vq *lv = to_linnet_vq(ldev);
	int ret;

	if (!linnet_vq_forget_jobs(lv, ctx->id))
		return -EIO;
	if (!linnet_vq_ctx_live(lv, ctx))
		return linnet_vq_has_jobs(lv, ctx->id) ? -EIO : 0;
	ret = linnet_vq_urgent(lv, VIRTIO_LINNET_CTX_DESTROY, ctx->id);
	if (ret && ret != -ENOENT)
		return ret;
	/* the device gives them back before it answers */
	if (linnet_vq_has_jobs(lv, ctx->id))
		return -EIO;
	WRITE_ONCE(ctx->transport, NULL);
	return 0;
}

/* Take the queues down, which stops a device for good; what it had is ours again. */
static void linnet_vq_take_down(struct linnet_vq *lv)
{
	struct linnet_vq_request *r;
	struct linnet_vq_job *vj;

	if (!lv->ctrl)
		return;
	virtio_reset_device(lv->vdev);
	while ((vj = virtqueue_detach_unused_buf(lv->jobq))) {
		list_del_init(&vj->node);
		linnet_vq_job_put(vj);
	}
	while ((r = virtqueue_detach_unused_buf(lv->ctrl))) {
		r->queued = false;
		if (r->job)
			linnet_vq_job_put(r->job);
	}
	lv->vdev->config->del_vqs(lv->vdev);
	lv->ctrl = NULL;
	lv->jobq = NULL;
}

static int linnet_vq_reset(struct linnet_device *ldev, bool final)
{
	struct linnet_vq *lv = to_linnet_vq(ldev);
	int ret;

	/* who waits for an answer leaves, and nobody asks for anything meanwhile */
	WRITE_ONCE(lv->resets, lv->resets + 1);
	wake_up_all(&lv->wait);
	guard(mutex)(&lv->request_lock);
	ret = lv->stopped;
	if (!linnet_vq_forget_jobs(lv, 0))
		ret = ret ?: -EIO;
	if (!ret)
		ret = linnet_vq_urgent(lv, VIRTIO_LINNET_RESET, 0);
	if (lv->ctrl)
		linnet_vq_ctrl_done(lv->ctrl);
	/* the device answers in order: it has nothing of ours any more */
	if (!ret && (linnet_vq_has_jobs(lv, 0) || READ_ONCE(lv->request.queued)))
		ret = -EIO;
	if (ret && ret != -ENODEV)
		ret = -EIO;
	if (ret == -EIO && lv->ctrl) {
		/* It is told to stop, and not used again: new queues would need memory. */
		virtio_reset_device(lv->vdev);
		if (linnet_vq_broken(lv))
			ret = -ENODEV;
	}
	scoped_guard(spinlock_irqsave, &lv->lock) {
		if (ret || final)
			lv->stopped = ret == -EIO && !final ? -EIO : -ENODEV;
		/* a device that is gone has forgotten everything, too */
		if (ret != -EIO || final)
			WRITE_ONCE(lv->epoch, lv->epoch + 1);
	}
	WRITE_ONCE(lv->resets, lv->resets + 1);
	wake_up_all(&lv->wait);
	if (!final)
		return ret;
	linnet_vq_take_down(lv);
	return 0;
}

static void linnet_vq_print(struct linnet_device *ldev, struct drm_printer *p)
{
	struct linnet_vq *lv = to_linnet_vq(ldev);

	drm_printf(p, "control queue: %u of %u descriptors free%s\n", lv->ctrl->num_free,
		   virtqueue_get_vring_size(lv->ctrl),
		   READ_ONCE(lv->request.queued) ? ", a request is pending" : "");
	drm_printf(p, "job queue: %u of %u descriptors free%s\n", lv->jobq->num_free,
		   virtqueue_get_vring_size(lv->jobq), linnet_vq_broken(lv) ? ", broken" : "");
}

static const struct linnet_transport_ops linnet_vq_ops = {
	.name = "virtio",
	.ctx_create = linnet_vq_ctx_create,
	.ctx_destroy = linnet_vq_ctx_destroy,
	.bo_attach = linnet_vq_bo_attach,
	.bo_detach = linnet_vq_bo_detach,
	.stream_create = linnet_vq_stream_create,
	.stream_destroy = linnet_vq_stream_destroy,
	.job_init = linnet_vq_job_init,
	.job_fini = linnet_vq_job_fini,
	.job_queue = linnet_vq_job_queue,
	.job_cancel = linnet_vq_job_cancel,
	.ctx_reset = linnet_vq_ctx_reset,
	.reset = linnet_vq_reset,
	.print = linnet_vq_print,
};

/* ------------------------------------------------------------- coming and going */

static int linnet_vq_find(struct linnet_vq *lv)
{
	struct virtqueue_info info[VIRTIO_LINNET_QUEUES] = {
		[VIRTIO_LINNET_CONTROLQ] = { "control", linnet_vq_ctrl_done },
		[VIRTIO_LINNET_JOBQ] = { "jobs", linnet_vq_jobs_done },
	};
	struct virtqueue *vqs[VIRTIO_LINNET_QUEUES];
	int ret = virtio_find_vqs(lv->vdev, VIRTIO_LINNET_QUEUES, vqs, info, NULL);

	if (ret)
		return ret;
	lv->ctrl = vqs[VIRTIO_LINNET_CONTROLQ];
	lv->jobq = vqs[VIRTIO_LINNET_JOBQ];
	return 0;
}

/* A limit of ours is that of the device, where numbers begin at 0, if that is lower. */
static void linnet_vq_limit(u32 *limit, __le32 theirs)
{
	*limit = min(*limit, le32_to_cpu(theirs) - 1);
}

static int linnet_vq_read_config(struct linnet_vq *lv, struct drm_linnet_dev_info *info)
{
	struct virtio_linnet_config c;

	virtio_cread_bytes(lv->vdev, 0, &c, sizeof(c));
	if (le32_to_cpu(c.version) != VIRTIO_LINNET_VERSION ||
	    le32_to_cpu(c.stream_version) != LINNET_STREAM_VERSION) {
		dev_err(&lv->vdev->dev, "device speaks version %u, streams %u\n",
			le32_to_cpu(c.version), le32_to_cpu(c.stream_version));
		return -EOPNOTSUPP;
	}
	/* numbers begin at 1 here */
	if (le32_to_cpu(c.max_contexts) < 2 || le32_to_cpu(c.max_resources) < 2 ||
	    le32_to_cpu(c.max_streams) < 2 || !le32_to_cpu(c.max_stream_bytes) ||
	    le64_to_cpu(c.max_resource_bytes) < PAGE_SIZE ||
	    le32_to_cpu(c.max_request_bytes) < LINNET_VQ_REQUEST) {
		dev_err(&lv->vdev->dev, "limits of the device are too low\n");
		return -EOPNOTSUPP;
	}
	lv->max_contexts = le32_to_cpu(c.max_contexts);
	info->engine = DRM_LINNET_ENGINE_VIRTIO;
	info->device_version = VIRTIO_LINNET_VERSION;
	info->features |= DRM_LINNET_FEATURE_READ_ONLY;
	info->max_bo_bytes = min_t(u64, info->max_bo_bytes,
				   round_down(le64_to_cpu(c.max_resource_bytes), PAGE_SIZE));
	info->max_stream_bytes = le32_to_cpu(c.max_stream_bytes);
	info->stream_magic = LINNET_STREAM_MAGIC;
	linnet_vq_limit(&info->max_contexts, c.max_contexts);
	linnet_vq_limit(&info->max_streams, c.max_streams);
	linnet_vq_limit(&info->max_attachments, c.max_resources);
	info->n_threads = le16_to_cpu(c.n_threads);
	BUILD_BUG_ON(sizeof(c.isa) >= sizeof(info->isa));
	memcpy(info->isa, c.isa, sizeof(c.isa));
	/* it is shown to people */
	for (char *p = info->isa; *p; p++)
		if (!isprint(*p))
			*p = '?';
	return 0;
}

static int linnet_vq_alloc_request(struct linnet_vq *lv, struct linnet_vq_request *r, size_t bytes)
{
	struct drm_device *drm = &lv->ldev->drm;

	r->data = drmm_kmalloc(drm, bytes, GFP_KERNEL);
	r->response = drmm_kmalloc(drm, sizeof(*r->response), GFP_KERNEL);
	return r->data && r->response ? 0 : -ENOMEM;
}

static int linnet_vq_probe(struct virtio_device *vdev)
{
	struct linnet_device *ldev;
	struct linnet_vq *lv;
	int ret;

	ldev = linnet_device_alloc(&vdev->dev, &linnet_vq_ops);
	if (IS_ERR(ldev))
		return PTR_ERR(ldev);
	/* it is used until the last job is freed, which may be after remove() */
	lv = drmm_kzalloc(&ldev->drm, sizeof(*lv), GFP_KERNEL);
	if (!lv)
		return -ENOMEM;
	lv->vdev = vdev;
	lv->ldev = ldev;
	lv->epoch = 1;
	spin_lock_init(&lv->lock);
	INIT_LIST_HEAD(&lv->jobs);
	init_waitqueue_head(&lv->wait);
	ret = drmm_mutex_init(&ldev->drm, &lv->request_lock) ?:
	      linnet_vq_alloc_request(lv, &lv->request, LINNET_VQ_REQUEST) ?:
	      linnet_vq_alloc_request(lv, &lv->urgent, sizeof(struct virtio_linnet_head)) ?:
	      linnet_vq_read_config(lv, &ldev->info);
	if (ret)
		return ret;
	ldev->transport = lv;
	ldev->dma_dev = vdev->dev.parent;
	ldev->use_dma_api = !virtio_has_dma_quirk(vdev);
	vdev->priv = lv;
	ret = linnet_vq_find(lv);
	if (ret)
		return ret;
	/* a job takes two descriptors, and so does each request; all cancels must fit, too */
	ldev->info.queue_depth = min(virtqueue_get_vring_size(lv->jobq) / 2,
				     virtqueue_get_vring_size(lv->ctrl) / 2 - 2);
	ret = -EOPNOTSUPP;
	if (virtqueue_get_vring_size(lv->ctrl) >= 8 && ldev->info.queue_depth) {
		virtio_device_ready(vdev);
		ret = linnet_device_register(ldev);
	}
	if (ret)
		linnet_vq_take_down(lv);
	return ret;
}

static void linnet_vq_remove(struct virtio_device *vdev)
{
	struct linnet_vq *lv = vdev->priv;

	/* a device that is gone answers nobody who waits */
	if (linnet_vq_broken(lv)) {
		scoped_guard(spinlock_irqsave, &lv->lock)
			lv->stopped = -ENODEV;
		wake_up_all(&lv->wait);
	}
	linnet_device_unplug(lv->ldev);
}

static int linnet_vq_validate(struct virtio_device *vdev)
{
	if (!virtio_has_feature(vdev, VIRTIO_F_VERSION_1))
		return -ENODEV;
	/* adding to a queue with indirect descriptors allocates */
	__virtio_clear_bit(vdev, VIRTIO_RING_F_INDIRECT_DESC);
	return 0;
}

static void linnet_vq_config_changed(struct virtio_device *vdev)
{
	struct linnet_vq *lv = vdev->priv;

	if (vdev->config->get_status(vdev) & VIRTIO_CONFIG_S_NEEDS_RESET)
		linnet_device_error(lv->ldev);
}

#ifdef CONFIG_PM_SLEEP
/* Contexts do not survive: after a restore they are lost, as after any reset. */
static int linnet_vq_freeze(struct virtio_device *vdev)
{
	struct linnet_vq *lv = vdev->priv;

	linnet_device_error(lv->ldev);
	flush_work(&lv->ldev->reset_work);
	/* one that was stopped for good stays so */
	lv->frozen = !READ_ONCE(lv->stopped);
	if (lv->frozen)
		WRITE_ONCE(lv->stopped, -EIO);
	linnet_vq_take_down(lv);
	return 0;
}

static int linnet_vq_restore(struct virtio_device *vdev)
{
	struct linnet_vq *lv = vdev->priv;
	int ret;

	if (!lv->frozen)
		return 0;
	lv->frozen = false;
	ret = linnet_vq_find(lv);
	if (ret)
		return ret;
	virtio_device_ready(vdev);
	WRITE_ONCE(lv->stopped, 0);
	return 0;
}
#endif

static unsigned int virtio_id;
module_param(virtio_id, uint, 0444);
MODULE_PARM_DESC(virtio_id, "also bind to virtio devices of this number; for tests only");

static struct virtio_device_id linnet_vq_ids[] = {
	{ VIRTIO_ID_LINNET, VIRTIO_DEV_ANY_ID },
	{ 0 },		/* virtio_id */
	{ 0 },
};
MODULE_DEVICE_TABLE(virtio, linnet_vq_ids);

static struct virtio_driver linnet_vq_driver = {
	.driver.name = "linnet",
	.id_table = linnet_vq_ids,
	.validate = linnet_vq_validate,
	.probe = linnet_vq_probe,
	.remove = linnet_vq_remove,
	.config_changed = linnet_vq_config_changed,
#ifdef CONFIG_PM_SLEEP
	.freeze = linnet_vq_freeze,
	.restore = linnet_vq_restore,
#endif
};

int linnet_vq_init(void)
{
	if (virtio_id) {
		linnet_vq_ids[1].device = virtio_id;
		linnet_vq_ids[1].vendor = VIRTIO_DEV_ANY_ID;
	}
	return register_virtio_driver(&linnet_vq_driver);
}

void linnet_vq_exit(void)
{
	unregister_virtio_driver(&linnet_vq_driver);
}
