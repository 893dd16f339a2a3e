// SPDX-License-Identifier: GPL-2.0-only
/*
 * Jobs: creation, order, end.
 *
 * A job is checked and all that it needs is allocated in linnet_job_submit(); from then on
 * nothing can fail but the device. It is on the list of its context until it has ended.
 * drm_sched decides when the device gets it. A job may get its result out of order (it is
 * cancelled while an older one still runs, or the device confuses things); it then waits
 * on the list, so that fences of a context signal in order and an end means that all
 * before have ended.
 *
 * The fence that the world sees is our own and not that of the scheduler: it names nothing
 * that goes away with the device. It holds the module.
 *
 * Time limits are kept in linnet_device.c: the scheduler's way to handle a timeout forgets
 * the hardware fences of the innocent jobs, which here go on.
 */
#include <linux/dma-fence-chain.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include <drm/drm_drv.h>
#include <drm/drm_exec.h>
#include <drm/drm_file.h>
#include <drm/drm_print.h>
#include <drm/drm_syncobj.h>

#include "linnet_check.h"
#include "linnet_compat.h"
#include "linnet_gem.h"
#include "linnet_job.h"
#include "linnet_trace.h"
#include "linnet_uring.h"

struct linnet_fence {
	struct dma_fence base;
	spinlock_t lock;	/* of the fence; it may outlive the device */
	struct rcu_head rcu;
};

static const char *linnet_fence_driver_name(struct dma_fence *fence)
{
	return "linnet";
}

static const char *linnet_fence_timeline_name(struct dma_fence *fence)
{
	return "context";
}

static void linnet_fence_free_rcu(struct rcu_head *rcu)
{
	kfree(container_of(rcu, struct linnet_fence, rcu));
	/* The module's exit waits for the end of this callback. */
	module_put(THIS_MODULE);
}

static void linnet_fence_release(struct dma_fence *fence)
{
	call_rcu(&container_of(fence, struct linnet_fence, base)->rcu, linnet_fence_free_rcu);
}

static const struct dma_fence_ops linnet_fence_ops = {
	.get_driver_name = linnet_fence_driver_name,
	.get_timeline_name = linnet_fence_timeline_name,
	.release = linnet_fence_release,
};

/* In any context, also with the queue locked. */
static void linnet_job_release(struct kref *refs)
{
	struct linnet_job *job = container_of(refs, struct linnet_job, refs);
	struct linnet_device *ldev = job->ctx->ldev;
	struct linnet_ctx *ctx = job->ctx;
	u32 i;

	if (job->transport_init)
		ldev->ops->job_fini(ldev, job);
	for (i = 0; i < job->n_bindings; i++)
		if (job->bindings[i].att)
			linnet_object_put(&job->bindings[i].att->base);
	if (job->stream)
		linnet_object_put(&job->stream->base);
	if (job->fence_init)
		dma_fence_put(job->fence);
	else
		kfree(container_of(job->fence, struct linnet_fence, base));
	kfree(job);
	linnet_ctx_put(ctx);
}

void linnet_job_put(struct linnet_job *job)
{
	kref_put(&job->refs, linnet_job_release);
}

/* The stream and attachments of a job are not in use any more. */
static void linnet_job_idle(struct linnet_job *job)
{
	u32 i;

	for (i = 0; i < job->n_bindings; i++)
		if (job->bindings[i].att)
			atomic_dec(&job->bindings[i].att->base.busy);
	if (job->stream)
		atomic_dec(&job->stream->base.busy);
}

/* Give back the room that linnet_job_reserve() took. */
static void linnet_ctx_release_room_locked(struct linnet_ctx *ctx)
{
	ctx->n_jobs--;
	wake_up_all(&ctx->room);
	wake_up_all(&ctx->ldev->idle);
}

/* End all jobs that have a result and no older one without. */
static void linnet_ctx_retire_locked(struct linnet_ctx *ctx)
{
	struct linnet_job *job;
	struct io_uring_cmd *cmd;

	while ((job = list_first_entry_or_null(&ctx->jobs, struct linnet_job, ctx_node)) &&
	       job->state == LINNET_JOB_DONE) {
		list_del_init(&job->ctx_node);
		trace_linnet_job_done(job);
		linnet_job_idle(job);
		if (job->result)
			dma_fence_set_error(job->fence, job->result);
		dma_fence_signal(job->fence);
		cmd = job->cmd;
		job->cmd = NULL;
		if (cmd)
			linnet_uring_job_ended(cmd);
		atomic64_inc(&ctx->owner->jobs);
		linnet_ctx_release_room_locked(ctx);
		linnet_job_put(job);
	}
}

/**
 * linnet_job_finish_locked - give a job its result
 * @job: the job
 * @result: 0 or -errno; ignored if it has one
 */
void linnet_job_finish_locked(struct linnet_job *job, int result)
{
	struct linnet_ctx *ctx = job->ctx;
	struct linnet_device *ldev = ctx->ldev;

	lockdep_assert_held(&ldev->queue_lock);
	if (job->state == LINNET_JOB_DONE)
		return;
	if (job->state == LINNET_JOB_QUEUED) {
		u64 now = ktime_get_ns(), begin = max(job->queued_ns, ctx->last_end_ns);

		/* Jobs of a context do not overlap: one's time begins where another's ends. */
		atomic64_add(now - begin, &ctx->owner->busy_ns);
		ctx->last_end_ns = now;
		/* Part of that it may have spent behind others. */
		ctx->job_ns = (3 * ctx->job_ns + now - max(begin, ldev->last_end_ns)) / 4;
		ldev->last_end_ns = now;
		list_del_init(&job->run_node);
		if (!--ctx->n_queued)
			ldev->n_busy--;
		linnet_device_watch(ldev);
	}
	job->state = LINNET_JOB_DONE;
	job->result = result;
	linnet_ctx_retire_locked(ctx);
}

/**
 * linnet_job_cancel_locked - end a job early
 * @job: the job; it may be freed
 */
void linnet_job_cancel_locked(struct linnet_job *job)
{
	struct linnet_device *ldev = job->ctx->ldev;

	lockdep_assert_held(&ldev->queue_lock);
	if (job->state == LINNET_JOB_DONE)
		return;
	job->cancelled = true;
	trace_linnet_job_cancel(job);
	if (job->state == LINNET_JOB_WAITING)
		linnet_job_finish_locked(job, -ECANCELED);
	else
		ldev->ops->job_cancel(ldev, job);
}

/**
 * linnet_ctx_finish_locked - give all jobs of a context a result
 * @ctx: the context
 * @guilty: gets -ETIMEDOUT; or NULL
 * @result: what the others get
 * @queued_too: also those that the device has had and has not any more
 */
void linnet_ctx_finish_locked(struct linnet_ctx *ctx, struct linnet_job *guilty, int result,
			      bool queued_too)
{
	struct linnet_job *job, *next;

	/* From the end: none is freed before its turn, so @next stays. */
	list_for_each_entry_safe_reverse(job, next, &ctx->jobs, ctx_node)
		if (queued_too || job->state == LINNET_JOB_WAITING)
			linnet_job_finish_locked(job, job == guilty ? -ETIMEDOUT : result);
}

void linnet_job_done(struct linnet_job *job, int result)
{
	struct linnet_device *ldev = job->ctx->ldev;
	bool cookie = dma_fence_begin_signalling();
	unsigned long flags;

	if (result > 0 || result < -MAX_ERRNO)
		result = -EIO;
	spin_lock_irqsave(&ldev->queue_lock, flags);
	if (!drm_WARN_ON_ONCE(&ldev->drm, job->state != LINNET_JOB_QUEUED))
		linnet_job_finish_locked(job, result);
	spin_unlock_irqrestore(&ldev->queue_lock, flags);
	dma_fence_end_signalling(cookie);
}

/*
 * How many jobs of a context the device may hold, so that its queue does not stand before
 * the jobs of others: each context with jobs there has an equal share, and one share is
 * free for the next that comes; and not more than LINNET_JOBS_AHEAD_NS of work. One is
 * enough where others keep the device from waiting.
 */
static u32 linnet_ctx_share(const struct linnet_ctx *ctx)
{
	const struct linnet_device *ldev = ctx->ldev;
	u64 share = ldev->info.queue_depth / (ldev->n_busy + 1);

	share = min(share, div64_u64(LINNET_JOBS_AHEAD_NS, max(ctx->job_ns, 1)));
	return max_t(u64, share, ldev->n_busy > 1 ? 1 : 2);
}

/* The dependencies of a job are met: what else it waits for. */
static struct dma_fence *linnet_sched_prepare_job(struct drm_sched_job *base,
						  struct drm_sched_entity *entity)
{
	struct linnet_job *job = to_linnet_job(base), *older;
	struct linnet_ctx *ctx = job->ctx;
	struct dma_fence *fence = NULL;
	u32 share, ends;

	spin_lock_irq(&ctx->ldev->queue_lock);
	share = linnet_ctx_share(ctx);
	if (job->state == LINNET_JOB_WAITING && ctx->n_queued >= share) {
		/* Half of the share, so that the scheduler is not woken for each job. */
		ends = ctx->n_queued - share / 2;
		list_for_each_entry(older, &ctx->jobs, ctx_node)
			if (!--ends)
				break;
		fence = dma_fence_get(older->fence);
	}
	spin_unlock_irq(&ctx->ldev->queue_lock);
	return fence;
}

/* The scheduler has chosen a job that waits for nothing. */
static struct dma_fence *linnet_sched_run_job(struct drm_sched_job *base)
{
	struct linnet_job *job = to_linnet_job(base);
	struct linnet_ctx *ctx = job->ctx;
	struct linnet_device *ldev = ctx->ldev;
	bool cookie = dma_fence_begin_signalling();
	unsigned long flags;
	int ret;

	spin_lock_irqsave(&ldev->queue_lock, flags);
	if (job->state != LINNET_JOB_WAITING)
		goto out;
	ret = ldev->gone ?: ctx->error;
	if (!ret && ctx->generation != ldev->generation)
		ret = -EIO;
	if (ret) {
		linnet_job_finish_locked(job, ret == -EIO ? -ECANCELED : ret);
		goto out;
	}
	job->state = LINNET_JOB_QUEUED;
	job->queued_ns = ktime_get_ns();
	if (!ctx->n_queued++)
		ldev->n_busy++;
	list_add_tail(&job->run_node, &ldev->running);
	linnet_device_watch(ldev);
	trace_linnet_job_run(job);
	ret = ldev->ops->job_queue(ldev, job);
	if (ret)
		linnet_job_finish_locked(job, ret);
out:
	spin_unlock_irqrestore(&ldev->queue_lock, flags);
	dma_fence_end_signalling(cookie);
	return dma_fence_get(job->fence);
}

static void linnet_sched_free_job(struct drm_sched_job *base)
{
	struct linnet_job *job = to_linnet_job(base);
	struct linnet_device *ldev = job->ctx->ldev;

	drm_sched_job_cleanup(base);
	/* Killed before it was run. */
	scoped_guard(spinlock_irq, &ldev->queue_lock)
		if (job->state == LINNET_JOB_WAITING)
			linnet_job_finish_locked(job, -ECANCELED);
	linnet_job_put(job);
}

const struct drm_sched_backend_ops linnet_sched_ops = {
	.prepare_job = linnet_sched_prepare_job,
	.run_job = linnet_sched_run_job,
	.free_job = linnet_sched_free_job,
};

/* One place of the max_jobs of a context: 1 when there is none now. */
static int linnet_job_try_reserve(struct linnet_ctx *ctx)
{
	struct linnet_device *ldev = ctx->ldev;
	int ret;

	spin_lock_irq(&ldev->queue_lock);
	if (ldev->gone == -ENODEV)
		ret = -ENODEV;
	else if (ctx->error == -ECANCELED)
		ret = -ENOENT;
	else if (linnet_ctx_lost(ctx))
		ret = -EIO;
	else
		ret = ctx->n_jobs >= ldev->info.max_jobs;
	ctx->n_jobs += !ret;
	spin_unlock_irq(&ldev->queue_lock);
	return ret;
}

static int linnet_job_reserve(struct linnet_ctx *ctx, bool wait)
{
	int ret = linnet_job_try_reserve(ctx), err;

	if (ret <= 0)
		return ret;
	if (!wait)
		return -EAGAIN;
	err = wait_event_interruptible(ctx->room, (ret = linnet_job_try_reserve(ctx)) <= 0);
	return err ?: ret;
}

static void linnet_job_unreserve(struct linnet_ctx *ctx)
{
	scoped_guard(spinlock_irq, &ctx->ldev->queue_lock)
		linnet_ctx_release_room_locked(ctx);
}

/**
 * linnet_copy_array - copy an array whose elements may be of another version
 * @array: where it is; checked and not empty
 * @known: bytes of an element that we know
 *
 * Return: the elements, to be freed by kfree(), or an error.
 */
static void *linnet_copy_array(const struct drm_linnet_array *array, size_t known)
{
	void *to __free(kfree) = NULL;
	void __user *from = u64_to_user_ptr(array->ptr);
	int ret;
	u32 i;

	if (array->stride == known)
		return memdup_array_user(from, array->count, known);
	to = kmalloc_array(array->count, known, GFP_KERNEL_ACCOUNT);
	if (!to)
		return ERR_PTR(-ENOMEM);
	for (i = 0; i < array->count; i++) {
		ret = copy_struct_from_user(to + i * known, known, from + i * (u64)array->stride,
					    array->stride);
		if (ret)
			return ERR_PTR(ret);
	}
	return_ptr(to);
}

/* Find the stream and the attachments, and keep them. */
static int linnet_job_bind(struct linnet_job *job, u32 stream_id,
			   const struct drm_linnet_binding *in)
{
	const struct drm_linnet_binding *slot[LINNET_MAX_SLOTS] = { };
	struct linnet_job_binding *b = job->bindings;
	struct linnet_object *obj;
	u32 i;
	int ret;

	obj = linnet_object_use(job->ctx, LINNET_STREAM, stream_id);
	if (!obj)
		return -ENOENT;
	job->stream = container_of(obj, struct linnet_stream, base);
	ret = linnet_check_slots(in, job->n_bindings, job->stream->n_slots, slot);
	if (ret)
		return ret;
	for (i = 0; i < job->stream->n_slots; i++) {
		if (!slot[i])
			continue;
		obj = linnet_object_use(job->ctx, LINNET_ATTACHMENT, slot[i]->attachment);
		if (!obj)
			return -ENOENT;
		b->att = container_of(obj, struct linnet_attachment, base);
		b->slot = i;
		b->offset = slot[i]->offset;
		b->length = slot[i]->length;
		ret = linnet_check_piece(b->offset, b->length, b->att->size);
		if (ret)
			return ret;
		b++;
	}
	return 0;
}

/* A point that the end of a job signals. */
struct linnet_signal {
	struct drm_syncobj *syncobj;
	struct dma_fence_chain *chain;
	u64 point;
};

static void linnet_signals_free(struct linnet_signal *signals, u32 n)
{
	u32 i;

	for (i = 0; i < n; i++) {
		if (signals[i].syncobj)
			drm_syncobj_put(signals[i].syncobj);
		dma_fence_chain_free(signals[i].chain);
	}
	kfree(signals);
}

static int linnet_job_sync(struct linnet_job *job, struct drm_file *file,
			   const struct drm_linnet_sync *sync, struct linnet_signal *signal)
{
	struct dma_fence *fence;
	int ret;

	switch (sync->flags) {
	case DRM_LINNET_SYNC_WAIT:
		/* The scheduler's helper takes points of 32 bits. */
		ret = drm_syncobj_find_fence(file, sync->handle, sync->point, 0, &fence);
		if (ret)
			return ret;
		return drm_sched_job_add_dependency(&job->base, fence);
	case DRM_LINNET_SYNC_SIGNAL:
		signal->syncobj = drm_syncobj_find(file, sync->handle);
		if (!signal->syncobj)
			return -ENOENT;
		signal->point = sync->point;
		if (!sync->point)
			return 0;
		signal->chain = dma_fence_chain_alloc();
		return signal->chain ? 0 : -ENOMEM;
	default:
		return -EINVAL;
	}
}

/* Dependencies of the job, and to *out the points that it signals: n_syncs elements. */
static int linnet_job_syncs(struct linnet_job *job, struct drm_file *file,
			    const struct drm_linnet_array *array, struct linnet_signal **out)
{
	struct drm_linnet_sync *syncs;
	int ret = 0;
	u32 i;

	syncs = linnet_copy_array(array, sizeof(*syncs));
	if (IS_ERR(syncs))
		return PTR_ERR(syncs);
	*out = kcalloc(array->count, sizeof(**out), GFP_KERNEL_ACCOUNT);
	if (!*out)
		ret = -ENOMEM;
	for (i = 0; !ret && i < array->count; i++)
		ret = linnet_job_sync(job, file, &syncs[i], &(*out)[i]);
	kfree(syncs);
	return ret;
}

/*
 * Hand a complete job to the scheduler. The buffers are locked and have room for a fence.
 * Nothing fails once the fence is live.
 */
static int linnet_job_push(struct linnet_job *job, struct linnet_signal *signals, u32 n_signals,
			   bool implicit)
{
	struct linnet_ctx *ctx = job->ctx;
	struct linnet_device *ldev = ctx->ldev;
	enum dma_resv_usage usage;
	u32 i;

	mutex_lock(&ctx->submit_lock);
	spin_lock_irq(&ldev->queue_lock);
	if (ctx->error || ldev->gone == -ENODEV) {
		int ret = ldev->gone == -ENODEV ? -ENODEV : ctx->error;

		spin_unlock_irq(&ldev->queue_lock);
		mutex_unlock(&ctx->submit_lock);
		return ret == -ECANCELED ? -ENOENT : ret;
	}
	__module_get(THIS_MODULE);
	dma_fence_init(job->fence, &linnet_fence_ops,
		       &container_of(job->fence, struct linnet_fence, base)->lock,
		       ctx->fence_context, ++ctx->fence_seqno);
	job->fence_init = true;
	spin_unlock_irq(&ldev->queue_lock);

	drm_sched_job_arm(&job->base);
	for (i = 0; i < job->n_bindings; i++) {
		struct linnet_attachment *att = job->bindings[i].att;

		usage = DMA_RESV_USAGE_BOOKKEEP;
		if (implicit)
			usage = att->read_only ? DMA_RESV_USAGE_READ : DMA_RESV_USAGE_WRITE;
		dma_resv_add_fence(att->bo->base.base.resv, job->fence, usage);
	}
	for (i = 0; i < n_signals; i++) {
		if (!signals[i].syncobj)
			continue;
		if (signals[i].chain)
			drm_syncobj_add_point(signals[i].syncobj, signals[i].chain, job->fence,
					      signals[i].point);
		else
			drm_syncobj_replace_fence(signals[i].syncobj, job->fence);
		signals[i].chain = NULL;
	}

	/* From here on it can be cancelled, and its buffers detached. */
	spin_lock_irq(&ldev->queue_lock);
	kref_get(&job->refs);
	list_add_tail(&job->ctx_node, &ctx->jobs);
	trace_linnet_job_submit(job);
	if (job->cancelled)
		linnet_job_cancel_locked(job);
	spin_unlock_irq(&ldev->queue_lock);
	drm_sched_entity_push_job(&job->base);
	mutex_unlock(&ctx->submit_lock);
	return 0;
}

/* Lock the buffers of the job and make room for its fence. */
static int linnet_job_lock(struct linnet_job *job, struct drm_exec *exec, bool implicit)
{
	struct linnet_job_binding *b;
	int ret;

	drm_exec_until_all_locked(exec) {
		for (b = job->bindings; b < job->bindings + job->n_bindings; b++) {
			/* Buffers of one origin may share a lock: one that is read, one written. */
			ret = drm_exec_prepare_obj(exec, &b->att->bo->base.base, 2);
			drm_exec_retry_on_contention(exec);
			if (ret)
				return ret;
		}
	}
	for (b = job->bindings; implicit && b < job->bindings + job->n_bindings; b++) {
		ret = drm_sched_job_add_implicit_dependencies(&job->base, &b->att->bo->base.base,
							      !b->att->read_only);
		if (ret)
			return ret;
	}
	return 0;
}

/* A job that was pushed may be gone, and its buffers detached: @exec has references. */
static int linnet_job_lock_and_push(struct linnet_job *job, struct linnet_signal *signals,
				    u32 n_signals, bool implicit)
{
	struct drm_exec exec;
	int ret;

	drm_exec_init(&exec, DRM_EXEC_IGNORE_DUPLICATES, job->n_bindings);
	ret = linnet_job_lock(job, &exec, implicit);
	if (!ret)
		ret = linnet_job_push(job, signals, n_signals, implicit);
	drm_exec_fini(&exec);
	return ret;
}

static struct linnet_job *linnet_job_alloc(struct linnet_ctx *ctx,
					   const struct drm_linnet_submit *args)
{
	u32 n = args->bindings.count;
	struct linnet_fence *fence;
	struct linnet_job *job;

	job = kzalloc(struct_size(job, bindings, n), GFP_KERNEL_ACCOUNT);
	fence = kzalloc_obj(*fence, GFP_KERNEL_ACCOUNT);
	if (!job || !fence) {
		kfree(job);
		kfree(fence);
		return NULL;
	}
	spin_lock_init(&fence->lock);
	kref_init(&job->refs);
	kref_get(&ctx->refs);
	job->ctx = ctx;
	job->fence = &fence->base;
	job->n_bindings = n;
	job->user_data = args->user_data;
	job->id = atomic64_inc_return(&ctx->ldev->next_job);
	memcpy(job->params, args->params, sizeof(job->params));
	INIT_LIST_HEAD(&job->ctx_node);
	INIT_LIST_HEAD(&job->run_node);
	return job;
}

/* All that can fail without anyone noticing. */
static int linnet_job_prepare(struct linnet_job *job, struct drm_file *file,
			      const struct drm_linnet_submit *args,
			      struct linnet_signal **signals)
{
	struct drm_linnet_binding *bindings = NULL;
	struct linnet_device *ldev = job->ctx->ldev;
	int ret;

	if (args->bindings.count) {
		bindings = linnet_copy_array(&args->bindings, sizeof(*bindings));
		if (IS_ERR(bindings))
			return PTR_ERR(bindings);
	}
	ret = linnet_job_bind(job, args->stream, bindings);
	kfree(bindings);
	if (ret)
		return ret;
	ret = linnet_check_params(job->stream, args->n_params, args->params);
	if (ret)
		return ret;
	ret = drm_sched_job_init(&job->base, &job->ctx->entity, 1, NULL, file->client_id);
	if (ret)
		return ret;
	job->sched_init = true;
	if (args->syncs.count) {
		ret = linnet_job_syncs(job, file, &args->syncs, signals);
		if (ret)
			return ret;
	}
	ret = ldev->ops->job_init(ldev, job);
	job->transport_init = !ret;
	return ret;
}

/* Create a job in a context that has room for it. */
static int linnet_job_create(struct linnet_ctx *ctx, struct drm_file *file,
			     struct drm_linnet_submit *args, struct io_uring_cmd *cmd,
			     u64 __user *job_out, unsigned int issue_flags)
{
	bool implicit = args->flags & DRM_LINNET_SUBMIT_IMPLICIT;
	struct linnet_signal *signals = NULL;
	struct linnet_job *job;
	int ret;

	if (args->bindings.count > ctx->ldev->info.max_bindings)
		return -E2BIG;
	job = linnet_job_alloc(ctx, args);
	if (!job)
		return -ENOMEM;
	ret = linnet_job_prepare(job, file, args, &signals);
	if (!ret && job_out && put_user(job->id, job_out))
		ret = -EFAULT;
	if (!ret) {
		args->job = job->id;
		if (cmd)
			linnet_uring_job_begins(job, cmd, issue_flags);
		ret = linnet_job_lock_and_push(job, signals, args->syncs.count, implicit);
	}
	linnet_signals_free(signals, signals ? args->syncs.count : 0);
	if (!ret)
		return 0;

	if (job->sched_init)
		drm_sched_job_cleanup(&job->base);
	linnet_job_idle(job);
	/* What is known to io_uring ends there. */
	if (cmd && linnet_uring_job_failed(job, ret, issue_flags))
		ret = -EIOCBQUEUED;
	linnet_job_put(job);
	return ret;
}

/**
 * linnet_job_submit - the one way to create a job
 * @drm: the device
 * @file: who submits
 * @args: what, as user space gave it; @args->job is set
 * @cmd: the io_uring command that waits for the end, or NULL
 * @job_out: where in user space the id is wanted before the job starts, or NULL
 * @issue_flags: of @cmd
 *
 * Return: 0; -EIOCBQUEUED if @cmd will be completed; -EAGAIN if it would have to wait and
 * must not; or another error.
 */
int linnet_job_submit(struct drm_device *drm, struct drm_file *file,
		      struct drm_linnet_submit *args, struct io_uring_cmd *cmd,
		      u64 __user *job_out, unsigned int issue_flags)
{
	bool wait = !(args->flags & DRM_LINNET_SUBMIT_NOWAIT);
	struct linnet_ctx *ctx __free(linnet_ctx_put) = NULL;
	int ret, idx;

	if (args->flags & ~(DRM_LINNET_SUBMIT_NOWAIT | DRM_LINNET_SUBMIT_IMPLICIT))
		return -EINVAL;
	if (args->n_params > DRM_LINNET_MAX_PARAMS)
		return -E2BIG;
	/* Descriptions of empty arrays are not looked at further on. */
	ret = linnet_check_array(&args->bindings, DRM_LINNET_MAX_BINDINGS,
				 sizeof(struct drm_linnet_binding));
	if (!ret)
		ret = linnet_check_array(&args->syncs, DRM_LINNET_MAX_SYNCS,
					 sizeof(struct drm_linnet_sync));
	if (ret)
		return ret;
	ctx = linnet_ctx_lookup(file->driver_priv, args->ctx);
	if (!ctx)
		return -ENOENT;
	if (cmd && issue_flags & IO_URING_F_NONBLOCK)
		wait = false;
	ret = linnet_job_reserve(ctx, wait);
	if (ret)
		return ret;

	/* Not before: an unplug waits for the end of this, and may be what makes room. */
	if (drm_dev_enter(drm, &idx)) {
		ret = linnet_job_create(ctx, file, args, cmd, job_out, issue_flags);
		drm_dev_exit(idx);
	} else {
		ret = -ENODEV;
	}
	if (ret)
		linnet_job_unreserve(ctx);
	else if (cmd)
		ret = -EIOCBQUEUED;
	return ret;
}

int linnet_ioctl_submit(struct drm_device *drm, void *data, struct drm_file *file)
{
	return linnet_job_submit(drm, file, data, NULL, NULL, 0);
}

int linnet_job_cancel(struct drm_file *file, const struct drm_linnet_cancel *args)
{
	struct linnet_ctx *ctx __free(linnet_ctx_put) = NULL;
	struct linnet_job *job;
	int ret = -ENOENT;

	if (args->flags)
		return -EINVAL;
	ctx = linnet_ctx_lookup(file->driver_priv, args->ctx);
	if (!ctx)
		return -ENOENT;
	spin_lock_irq(&ctx->ldev->queue_lock);
	list_for_each_entry(job, &ctx->jobs, ctx_node) {
		if (job->id == args->job && job->state != LINNET_JOB_DONE) {
			linnet_job_cancel_locked(job);
			ret = 0;
			break;
		}
	}
	spin_unlock_irq(&ctx->ldev->queue_lock);
	return ret;
}

int linnet_ioctl_cancel(struct drm_device *drm, void *data, struct drm_file *file)
{
	return linnet_job_cancel(file, data);
}
