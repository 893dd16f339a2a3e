// SPDX-License-Identifier: GPL-2.0-only
/*
 * io_uring commands on the device file.
 *
 * A command that cannot end at once is marked cancelable, so that the end of a ring or of
 * its task does not wait for the device: io_uring then calls linnet_uring_cmd() with
 * IO_URING_F_CANCEL, the command completes, and the job ends when it can. Each command is
 * completed once: by whoever claims it under a spinlock. What it refers to lives until the
 * completion, because io_uring may come with a cancellation until then.
 */
#include <linux/dma-resv.h>
#include <linux/hrtimer.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include <drm/drm_drv.h>
#include <drm/drm_file.h>

#include "linnet_compat.h"
#include "linnet_gem.h"
#include "linnet_job.h"
#include "linnet_uring.h"

/**
 * struct linnet_uring_pdu - what a pending command waits for; one pointer is set
 */
struct linnet_uring_pdu {
	/** @job: a job; the command has a reference. */
	struct linnet_job *job;
	/** @wait: the users of a buffer. */
	struct linnet_uring_wait *wait;
};

/**
 * struct linnet_uring_wait - a BO_WAIT
 */
struct linnet_uring_wait {
	/** @lock: protects the next three. */
	spinlock_t lock;
	/** @armed: all is set up; who ends it now completes the command. */
	bool armed;
	/** @ended: it has a result. */
	bool ended;
	/** @result: 0 or -errno. */
	int result;
	/** @cmd: the command. */
	struct io_uring_cmd *cmd;
	/** @fence: signals when the buffer is idle. */
	struct dma_fence *fence;
	/** @cb: called then. */
	struct dma_fence_cb cb;
	/** @timer: runs out at the deadline. */
	struct hrtimer timer;
};

static struct linnet_uring_pdu *linnet_pdu(struct io_uring_cmd *cmd)
{
	return io_uring_cmd_to_pdu(cmd, struct linnet_uring_pdu);
}

/* Jobs */

LINNET_URING_TASK(linnet_uring_job_complete)
{
	struct linnet_job *job = linnet_pdu(cmd)->job;

	linnet_uring_done(cmd, job->result, job->id, issue_flags);
	linnet_job_put(job);
}

/* The job is complete in every way but for its push; from here on cancellations come. */
void linnet_uring_job_begins(struct linnet_job *job, struct io_uring_cmd *cmd,
			     unsigned int issue_flags)
{
	struct linnet_uring_pdu *pdu = linnet_pdu(cmd);

	kref_get(&job->refs);
	pdu->job = job;
	pdu->wait = NULL;
	job->cmd = cmd;
	job->cmd_marked = true;
	io_uring_cmd_mark_cancelable(cmd, issue_flags);
}

/* Called with the queue locked, in any context, by the one that took job->cmd. */
void linnet_uring_job_ended(struct io_uring_cmd *cmd)
{
	io_uring_cmd_do_in_task_lazy(cmd, linnet_uring_job_complete);
}

static struct io_uring_cmd *linnet_uring_job_claim(struct linnet_job *job, bool cancel)
{
	struct linnet_device *ldev = job->ctx->ldev;
	struct io_uring_cmd *cmd;
	unsigned long flags;

	spin_lock_irqsave(&ldev->queue_lock, flags);
	cmd = job->cmd;
	job->cmd = NULL;
	/* A job that was not pushed yet is not on the list; linnet_job_push() looks. */
	if (cancel && cmd) {
		job->cancelled = true;
		if (!list_empty(&job->ctx_node))
			linnet_job_cancel_locked(job);
	}
	spin_unlock_irqrestore(&ldev->queue_lock, flags);
	return cmd;
}

/*
 * The creation failed with @result. Returns false if io_uring does not know of the job
 * yet: then the caller returns the error. The reference of the command is dropped.
 */
bool linnet_uring_job_failed(struct linnet_job *job, int result, unsigned int issue_flags)
{
	struct io_uring_cmd *cmd;

	if (!job->cmd_marked)
		return false;
	cmd = linnet_uring_job_claim(job, false);
	if (cmd) {
		linnet_uring_done(cmd, result, job->id, issue_flags);
		linnet_job_put(job);
	}
	return true;
}

/* Buffers */

/* Returns whether the caller must complete the command. */
static bool linnet_wait_claim(struct linnet_uring_wait *wait, int result)
{
	unsigned long flags;
	bool won;

	spin_lock_irqsave(&wait->lock, flags);
	won = wait->armed && !wait->ended;
	if (!wait->ended)
		wait->result = result;
	wait->ended = true;
	spin_unlock_irqrestore(&wait->lock, flags);
	return won;
}

/* For the one that claimed it, in task context. */
static void linnet_wait_complete(struct linnet_uring_wait *wait, unsigned int issue_flags)
{
	hrtimer_cancel(&wait->timer);
	dma_fence_remove_callback(wait->fence, &wait->cb);
	dma_fence_put(wait->fence);
	linnet_uring_done(wait->cmd, wait->result, 0, issue_flags);
	kfree(wait);
}

LINNET_URING_TASK(linnet_wait_task)
{
	linnet_wait_complete(linnet_pdu(cmd)->wait, issue_flags);
}

static void linnet_wait_fence(struct dma_fence *fence, struct dma_fence_cb *cb)
{
	struct linnet_uring_wait *wait = container_of(cb, struct linnet_uring_wait, cb);

	if (linnet_wait_claim(wait, 0))
		io_uring_cmd_do_in_task_lazy(wait->cmd, linnet_wait_task);
}

static enum hrtimer_restart linnet_wait_timer(struct hrtimer *timer)
{
	struct linnet_uring_wait *wait = container_of(timer, struct linnet_uring_wait, timer);

	if (linnet_wait_claim(wait, -ETIME))
		io_uring_cmd_do_in_task_lazy(wait->cmd, linnet_wait_task);
	return HRTIMER_NORESTART;
}

static int linnet_wait_start(struct linnet_uring_wait *wait, s64 deadline,
			     unsigned int issue_flags)
{
	bool ended;

	io_uring_cmd_mark_cancelable(wait->cmd, issue_flags);
	hrtimer_start(&wait->timer, ns_to_ktime(deadline), HRTIMER_MODE_ABS);
	if (dma_fence_add_callback(wait->fence, &wait->cb, linnet_wait_fence))
		linnet_wait_claim(wait, 0);

	/* What came until now could not complete the command: it is still in use here. */
	spin_lock_irq(&wait->lock);
	wait->armed = true;
	ended = wait->ended;
	spin_unlock_irq(&wait->lock);
	if (ended)
		linnet_wait_complete(wait, issue_flags);
	return -EIOCBQUEUED;
}

static int linnet_uring_bo_wait(struct drm_file *file, struct io_uring_cmd *cmd,
				const struct drm_linnet_bo_wait *args, unsigned int issue_flags)
{
	struct linnet_uring_wait *wait;
	struct drm_gem_object *obj;
	struct dma_fence *fence;
	int ret;

	if (args->flags)
		return -EINVAL;
	obj = drm_gem_object_lookup(file, args->handle);
	if (!obj)
		return -ENOENT;
	ret = dma_resv_get_singleton(obj->resv, DMA_RESV_USAGE_BOOKKEEP, &fence);
	drm_gem_object_put(obj);
	if (ret)
		return ret;
	if (!fence)
		return 0;
	if (dma_fence_is_signaled(fence) || args->timeout_ns <= ktime_get_ns()) {
		ret = dma_fence_is_signaled(fence) ? 0 : -ETIME;
		dma_fence_put(fence);
		return ret;
	}
	wait = kzalloc_obj(*wait, GFP_KERNEL_ACCOUNT);
	if (!wait) {
		dma_fence_put(fence);
		return -ENOMEM;
	}
	spin_lock_init(&wait->lock);
	INIT_LIST_HEAD(&wait->cb.node);
	hrtimer_setup(&wait->timer, linnet_wait_timer, CLOCK_MONOTONIC, HRTIMER_MODE_ABS);
	wait->cmd = cmd;
	wait->fence = fence;
	linnet_pdu(cmd)->job = NULL;
	linnet_pdu(cmd)->wait = wait;

	return linnet_wait_start(wait, args->timeout_ns, issue_flags);
}

/* Entry */

static int linnet_uring_cancel(struct io_uring_cmd *cmd, unsigned int issue_flags)
{
	struct linnet_uring_pdu *pdu = linnet_pdu(cmd);

	if (pdu->wait) {
		if (linnet_wait_claim(pdu->wait, -ECANCELED))
			linnet_wait_complete(pdu->wait, issue_flags);
	} else {
		struct linnet_job *job = pdu->job;

		if (linnet_uring_job_claim(job, true)) {
			linnet_uring_done(cmd, -ECANCELED, job->id, issue_flags);
			linnet_job_put(job);
		}
	}
	return 0;
}

/* Copy the argument of a command, which may be of another version. */
static int linnet_uring_args(const struct drm_linnet_uring_cmd *payload, void *args, size_t size)
{
	if (!payload->size)
		return -EINVAL;
	return copy_struct_from_user(args, size, u64_to_user_ptr(payload->ptr), payload->size);
}

static int linnet_uring_submit(struct drm_device *drm, struct drm_file *file,
			       struct io_uring_cmd *cmd, const struct drm_linnet_uring_cmd *payload,
			       unsigned int issue_flags)
{
	struct drm_linnet_submit __user *user = u64_to_user_ptr(payload->ptr);
	struct drm_linnet_submit args;
	int ret;

	ret = linnet_uring_args(payload, &args, sizeof(args));
	if (ret)
		return ret;
	return linnet_job_submit(drm, file, &args, cmd,
				 payload->size >= offsetofend(struct drm_linnet_submit, job) ?
				 &user->job : NULL, issue_flags);
}

/**
 * linnet_uring_cmd - an io_uring command, or the wish to end one
 * @cmd: the command
 * @issue_flags: how it is issued
 *
 * Return: see &file_operations.uring_cmd.
 */
int linnet_uring_cmd(struct io_uring_cmd *cmd, unsigned int issue_flags)
{
	struct drm_file *file = cmd->file->private_data;
	struct drm_device *drm = file->minor->dev;
	const struct drm_linnet_uring_cmd *sqe;
	struct drm_linnet_uring_cmd payload;
	struct drm_linnet_cancel cancel;
	struct drm_linnet_bo_wait wait;
	int ret;

	if (issue_flags & IO_URING_F_CANCEL)
		return linnet_uring_cancel(cmd, issue_flags);

	/* User space may change the entry while it is read. */
	sqe = linnet_uring_payload(cmd, struct drm_linnet_uring_cmd);
	payload.ptr = READ_ONCE(sqe->ptr);
	payload.size = READ_ONCE(sqe->size);
	payload.flags = READ_ONCE(sqe->flags);
	if (payload.flags || cmd->flags & IORING_URING_CMD_MASK)
		return -EINVAL;
	if (drm_dev_is_unplugged(drm))
		return -ENODEV;

	switch (cmd->cmd_op) {
	case DRM_LINNET_URING_SUBMIT:
		ret = linnet_uring_submit(drm, file, cmd, &payload, issue_flags);
		break;
	case DRM_LINNET_URING_CANCEL:
		ret = linnet_uring_args(&payload, &cancel, sizeof(cancel));
		if (!ret)
			ret = linnet_job_cancel(file, &cancel);
		break;
	case DRM_LINNET_URING_BO_WAIT:
		ret = linnet_uring_args(&payload, &wait, sizeof(wait));
		if (!ret)
			ret = linnet_uring_bo_wait(file, cmd, &wait, issue_flags);
		break;
	default:
		ret = -ENOTTY;
	}
	/* There is no system call that could be restarted. */
	return ret == -ERESTARTSYS ? -EINTR : ret;
}
