// SPDX-License-Identifier: GPL-2.0-only
/*
 * Contexts, their attachments and streams.
 *
 * A context is known to the file (handle), to the device (id) and to its jobs. It is
 * closed by its owner or when the file is: no further job, the present ones are cancelled,
 * and when the device has let go of them, attachments and streams are taken from it. The
 * memory of the context stays until its last job is freed.
 *
 * An attachment pins a buffer and lists its pages for the device. Its pages are let go only
 * when the device has said that it does not use them, or was reset.
 */
#include <linux/capability.h>
#include <linux/dma-mapping.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include <drm/drm_drv.h>
#include <drm/drm_file.h>

#include "linnet_check.h"
#include "linnet_gem.h"
#include "linnet_job.h"
#include "linnet_trace.h"

/* How long jobs that were asked to end may take before they are stopped. */
#define LINNET_CLOSE_GRACE	msecs_to_jiffies(500)

static_assert(!offsetof(struct linnet_attachment, base) && !offsetof(struct linnet_stream, base));

static void linnet_object_release(struct kref *refs)
{
	kfree(container_of(refs, struct linnet_object, refs));
}

void linnet_object_put(struct linnet_object *obj)
{
	kref_put(&obj->refs, linnet_object_release);
}

struct linnet_object *linnet_object_use(struct linnet_ctx *ctx, enum linnet_kind kind, u32 id)
{
	struct linnet_object *obj;

	xa_lock(&ctx->objects[kind]);
	obj = xa_load(&ctx->objects[kind], id);
	if (obj) {
		kref_get(&obj->refs);
		atomic_inc(&obj->busy);
	}
	xa_unlock(&ctx->objects[kind]);
	return obj;
}

static void linnet_file_release(struct kref *refs)
{
	kfree(container_of(refs, struct linnet_file, refs));
}

/* The last reference may be dropped by the scheduler, which this may destroy. */
static void linnet_ctx_free_work(struct work_struct *work)
{
	struct linnet_ctx *ctx = container_of(work, struct linnet_ctx, free_work);
	struct linnet_device *ldev = ctx->ldev;

	ida_free(&ldev->ctx_ids, ctx->id);
	kref_put(&ctx->owner->refs, linnet_file_release);
	mutex_destroy(&ctx->lock);
	mutex_destroy(&ctx->submit_lock);
	kfree(ctx);
	drm_dev_put(&ldev->drm);
}

static void linnet_ctx_release(struct kref *refs)
{
	struct linnet_ctx *ctx = container_of(refs, struct linnet_ctx, refs);

	queue_work(linnet_wq, &ctx->free_work);
}

void linnet_ctx_put(struct linnet_ctx *ctx)
{
	if (ctx)
		kref_put(&ctx->refs, linnet_ctx_release);
}

struct linnet_ctx *linnet_ctx_lookup(struct linnet_file *lfile, u32 handle)
{
	struct linnet_ctx *ctx;

	xa_lock(&lfile->ctxs);
	ctx = xa_load(&lfile->ctxs, handle);
	if (ctx)
		kref_get(&ctx->refs);
	xa_unlock(&lfile->ctxs);
	return ctx;
}

bool linnet_ctx_lost(const struct linnet_ctx *ctx)
{
	return READ_ONCE(ctx->error) == -EIO ||
	       READ_ONCE(ctx->generation) != READ_ONCE(ctx->ldev->generation);
}

/* Whether commands may be given to the context; @ctx->lock is held. */
static int linnet_ctx_usable(struct linnet_ctx *ctx)
{
	if (ctx->destroyed)
		return -ENOENT;
	if (!ctx->live)
		return -ENODEV;
	return linnet_ctx_lost(ctx) ? -EIO : 0;
}

/* Undo linnet_attachment_map(), however far it came, and the pin. */
static void linnet_attachment_unmap(struct linnet_device *ldev, struct linnet_attachment *att)
{
	if (att->sgt == &att->own) {
		if (att->dma)
			dma_unmap_sgtable(ldev->dma_dev, att->sgt, DMA_BIDIRECTIONAL, 0);
		sg_free_table(att->sgt);
	}
	att->sgt = NULL;
	linnet_bo_unpin(att->bo);
	att->bo = NULL;
}

/* A bounce buffer would have to be copied around each job: such memory is refused. */
static bool linnet_sgt_bounced(struct device *dev, struct sg_table *sgt)
{
	struct scatterlist *sg;
	int i;

	for_each_sgtable_dma_sg(sgt, sg, i)
		if (dma_need_sync(dev, sg_dma_address(sg)))
			return true;
	return false;
}

/* List the pages of a pinned buffer for the device. */
static int linnet_attachment_map(struct linnet_device *ldev, struct linnet_attachment *att)
{
	struct drm_gem_object *obj = &att->bo->base.base;
	struct device *dev = ldev->dma_dev;
	int ret;

	if (drm_gem_is_imported(obj)) {
		att->sgt = att->bo->base.sgt;
		att->dma = true;
	} else {
		ret = sg_alloc_table_from_pages_segment(&att->own, att->bo->base.pages,
							obj->size >> PAGE_SHIFT, 0, obj->size,
							dma_get_max_seg_size(dev),
							GFP_KERNEL_ACCOUNT);
		if (ret)
			return ret;
		att->sgt = &att->own;
		if (ldev->use_dma_api) {
			ret = dma_map_sgtable(dev, att->sgt, DMA_BIDIRECTIONAL, 0);
			if (ret)
				return ret;
			att->dma = true;
		}
	}
	return att->dma && linnet_sgt_bounced(dev, att->sgt) ? -EOPNOTSUPP : 0;
}

/* Free an attachment that the device was kept from using by a reset. */
void linnet_attachment_reap(struct linnet_attachment *att)
{
	linnet_attachment_unmap(to_linnet_device(att->bo->base.base.dev), att);
	linnet_object_put(&att->base);
}

static void linnet_attachment_destroy(struct linnet_ctx *ctx, struct linnet_object *obj)
{
	struct linnet_attachment *att = container_of(obj, struct linnet_attachment, base);
	struct linnet_device *ldev = ctx->ldev;
	int ret;

	trace_linnet_bo_detach(ctx, att);
	ret = ldev->ops->bo_detach(ldev, ctx, att);
	if (ldev->stuck || (ret && ret != -ENODEV)) {
		/* The device may use the pages until it is reset. */
		scoped_guard(spinlock_irq, &ldev->queue_lock)
			list_add(&att->node, &ldev->leaked);
		linnet_device_error(ldev);
		return;
	}
	linnet_attachment_unmap(ldev, att);
	linnet_object_put(obj);
}

static void linnet_stream_destroy(struct linnet_ctx *ctx, struct linnet_object *obj)
{
	struct linnet_stream *stream = container_of(obj, struct linnet_stream, base);

	if (ctx->ldev->ops->stream_destroy)
		ctx->ldev->ops->stream_destroy(ctx->ldev, ctx, stream);
	kvfree(stream->data);
	stream->data = NULL;
	linnet_object_put(obj);
}

/* Take an idle object, which no job can find any more, from the device. */
static void linnet_object_destroy(struct linnet_ctx *ctx, enum linnet_kind kind,
				  struct linnet_object *obj)
{
	lockdep_assert_held(&ctx->lock);
	if (kind == LINNET_ATTACHMENT)
		linnet_attachment_destroy(ctx, obj);
	else
		linnet_stream_destroy(ctx, obj);
}

/**
 * linnet_ctx_teardown - take a context from the device
 * @ctx: the context; it has no unfinished jobs, and gets no more
 *
 * Called when it is closed, and when the device is unplugged; the first does it.
 */
void linnet_ctx_teardown(struct linnet_ctx *ctx)
{
	struct linnet_object *obj;
	unsigned long id;

	guard(mutex)(&ctx->lock);
	if (!ctx->live)
		return;
	for (int kind = 0; kind < LINNET_KINDS; kind++) {
		xa_for_each(&ctx->objects[kind], id, obj) {
			xa_erase(&ctx->objects[kind], id);
			linnet_object_destroy(ctx, kind, obj);
		}
	}
	ctx->ldev->ops->ctx_destroy(ctx->ldev, ctx);
	ctx->live = false;
}

/* No job of the context is unfinished or about to be made. */
bool linnet_ctx_idle(struct linnet_ctx *ctx)
{
	bool idle;

	scoped_guard(spinlock_irq, &ctx->ldev->queue_lock)
		idle = !ctx->n_jobs;
	return idle;
}

/*
 * Take the context from the scheduler. A worker that is just taking one of its jobs would put
 * the entity back among those that have some, after drm_sched_entity_fini() has removed it
 * and before that has waited for the worker: so no worker runs meanwhile. The scheduler's own
 * pause is not enough: who has looked at it before may queue the worker after.
 */
static void linnet_ctx_leave_sched(struct linnet_ctx *ctx)
{
	struct linnet_device *ldev = ctx->ldev;

	disable_work_sync(&ldev->sched.work_run_job);
	drm_sched_entity_fini(&ctx->entity);
	enable_and_queue_work(ldev->submit_wq, &ldev->sched.work_run_job);
}

/* End a context that no new command can find. Drops the owner's reference. */
static void linnet_ctx_close(struct linnet_ctx *ctx)
{
	struct linnet_device *ldev = ctx->ldev;
	struct linnet_job *job, *next;

	scoped_guard(mutex, &ctx->lock)
		ctx->destroyed = true;

	/* From here on no job is pushed. */
	mutex_lock(&ctx->submit_lock);
	spin_lock_irq(&ldev->queue_lock);
	ctx->error = ctx->error ?: -ECANCELED;
	/* From the end, so that none ends before its turn. */
	list_for_each_entry_safe_reverse(job, next, &ctx->jobs, ctx_node)
		linnet_job_cancel_locked(job);
	spin_unlock_irq(&ldev->queue_lock);
	mutex_unlock(&ctx->submit_lock);
	wake_up_all(&ctx->room);

	linnet_ctx_leave_sched(ctx);

	if (!wait_event_timeout(ldev->idle, linnet_ctx_idle(ctx), LINNET_CLOSE_GRACE)) {
		mutex_lock(&ldev->reset_lock);
		linnet_device_stop_ctx(ctx, NULL, -ECANCELED);
		mutex_unlock(&ldev->reset_lock);
		wait_event(ldev->idle, linnet_ctx_idle(ctx));
	}
	linnet_ctx_teardown(ctx);

	scoped_guard(mutex, &ldev->ctx_lock)
		list_del(&ctx->node);
	linnet_ctx_put(ctx);
}

int linnet_file_open(struct drm_device *drm, struct drm_file *file)
{
	struct linnet_file *lfile = kzalloc_obj(*lfile, GFP_KERNEL_ACCOUNT);

	if (!lfile)
		return -ENOMEM;
	kref_init(&lfile->refs);
	xa_init_flags(&lfile->ctxs, XA_FLAGS_ALLOC1 | XA_FLAGS_ACCOUNT);
	file->driver_priv = lfile;
	return 0;
}

void linnet_file_close(struct drm_device *drm, struct drm_file *file)
{
	struct linnet_file *lfile = file->driver_priv;
	struct linnet_ctx *ctx;
	unsigned long handle;

	xa_for_each(&lfile->ctxs, handle, ctx) {
		xa_erase(&lfile->ctxs, handle);
		linnet_ctx_close(ctx);
	}
	kref_put(&lfile->refs, linnet_file_release);
}

static const enum drm_sched_priority linnet_priorities[] = {
	[DRM_LINNET_PRIORITY_LOW] = DRM_SCHED_PRIORITY_LOW,
	[DRM_LINNET_PRIORITY_NORMAL] = DRM_SCHED_PRIORITY_NORMAL,
	[DRM_LINNET_PRIORITY_HIGH] = DRM_SCHED_PRIORITY_HIGH,
};

static int linnet_ctx_create(struct linnet_device *ldev, struct drm_file *file, u32 priority,
			     struct linnet_ctx **out)
{
	struct drm_gpu_scheduler *sched = &ldev->sched;
	struct linnet_file *lfile = file->driver_priv;
	struct linnet_ctx *ctx;
	int ret;

	ctx = kzalloc_obj(*ctx, GFP_KERNEL_ACCOUNT);
	if (!ctx)
		return -ENOMEM;
	ret = ida_alloc_min(&ldev->ctx_ids, 1, GFP_KERNEL);
	if (ret < 0) {
		kfree(ctx);
		return ret;
	}
	ctx->id = ret;
	ctx->ldev = ldev;
	ctx->owner = lfile;
	ctx->priority = priority;
	ctx->client = file->client_id;
	kref_init(&ctx->refs);
	mutex_init(&ctx->lock);
	mutex_init(&ctx->submit_lock);
	for (int kind = 0; kind < LINNET_KINDS; kind++)
		xa_init_flags(&ctx->objects[kind], XA_FLAGS_ALLOC1 | XA_FLAGS_ACCOUNT);
	INIT_LIST_HEAD(&ctx->jobs);
	INIT_WORK(&ctx->free_work, linnet_ctx_free_work);
	init_waitqueue_head(&ctx->room);
	ctx->fence_context = dma_fence_context_alloc(1);
	/* As long as nothing is known about them. */
	ctx->job_ns = LINNET_JOBS_AHEAD_NS;
	scoped_guard(spinlock_irq, &ldev->queue_lock)
		ctx->generation = ldev->generation;

	kref_get(&lfile->refs);
	drm_dev_get(&ldev->drm);

	ret = drm_sched_entity_init(&ctx->entity, linnet_priorities[priority], &sched, 1, NULL);
	if (!ret) {
		ret = ldev->ops->ctx_create(ldev, ctx);
		if (ret)
			drm_sched_entity_fini(&ctx->entity);
	}
	if (ret) {
		linnet_ctx_put(ctx);
		return ret;
	}
	ctx->live = true;
	scoped_guard(mutex, &ldev->ctx_lock)
		list_add_tail(&ctx->node, &ldev->ctxs);
	*out = ctx;
	return 0;
}

int linnet_ioctl_ctx_create(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct linnet_device *ldev = to_linnet_device(drm);
	struct linnet_file *lfile = file->driver_priv;
	struct drm_linnet_ctx_create *args = data;
	struct linnet_ctx *ctx;
	int ret, idx;

	if (args->flags || args->reserved || args->priority > DRM_LINNET_PRIORITY_HIGH)
		return -EINVAL;
	if (args->priority == DRM_LINNET_PRIORITY_HIGH && !capable(CAP_SYS_NICE))
		return -EACCES;
	if (READ_ONCE(ldev->gone) == -ENODEV || !drm_dev_enter(drm, &idx))
		return -ENODEV;
	ret = linnet_ctx_create(ldev, file, args->priority, &ctx);
	if (ret)
		goto out;
	/* It can be found, and destroyed, once it is in the table. */
	ret = xa_alloc(&lfile->ctxs, &args->ctx, ctx, XA_LIMIT(1, ldev->info.max_contexts),
		       GFP_KERNEL);
	if (ret) {
		ret = ret == -EBUSY ? -ENOSPC : ret;
		linnet_ctx_close(ctx);
	}
out:
	drm_dev_exit(idx);
	return ret;
}

int linnet_ioctl_ctx_destroy(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct linnet_file *lfile = file->driver_priv;
	struct drm_linnet_ctx_destroy *args = data;
	struct linnet_ctx *ctx;

	if (args->reserved)
		return -EINVAL;
	ctx = xa_erase(&lfile->ctxs, args->ctx);
	if (!ctx)
		return -ENOENT;
	linnet_ctx_close(ctx);
	return 0;
}

/*
 * Give an object that is all set up to the device, and its number to *@id. User space can
 * have it destroyed from then on.
 */
static int linnet_object_create(struct linnet_ctx *ctx, enum linnet_kind kind,
				struct linnet_object *obj, u32 *id)
{
	struct linnet_attachment *att = container_of(obj, struct linnet_attachment, base);
	struct linnet_stream *stream = container_of(obj, struct linnet_stream, base);
	struct xarray *objects = &ctx->objects[kind];
	struct linnet_device *ldev = ctx->ldev;
	u32 max = kind == LINNET_STREAM ? ldev->info.max_streams : ldev->info.max_attachments;
	int ret;

	ret = mutex_lock_interruptible(&ctx->lock);
	if (ret)
		return ret;
	ret = linnet_ctx_usable(ctx);
	if (ret)
		goto out;
	/* Reserves the number: jobs find the object when the device has it. */
	ret = xa_alloc(objects, &obj->id, NULL, XA_LIMIT(1, max), GFP_KERNEL);
	if (ret) {
		ret = ret == -EBUSY ? -ENOSPC : ret;
		goto out;
	}
	if (kind == LINNET_STREAM)
		ret = ldev->ops->stream_create(ldev, ctx, stream);
	else
		ret = ldev->ops->bo_attach(ldev, ctx, att);
	if (ret) {
		xa_erase(objects, obj->id);
		goto out;
	}
	if (kind == LINNET_ATTACHMENT)
		trace_linnet_bo_attach(ctx, att);
	*id = obj->id;
	xa_store(objects, obj->id, obj, GFP_KERNEL);
out:
	mutex_unlock(&ctx->lock);
	return ret;
}

/* DETACH and STREAM_DESTROY. */
static int linnet_object_remove(struct drm_file *file, u32 handle, enum linnet_kind kind, u32 id)
{
	struct linnet_ctx *ctx __free(linnet_ctx_put) =
		linnet_ctx_lookup(file->driver_priv, handle);
	struct linnet_object *obj;
	int ret;

	if (!ctx)
		return -ENOENT;
	ret = mutex_lock_interruptible(&ctx->lock);
	if (ret)
		return ret;
	xa_lock(&ctx->objects[kind]);
	obj = xa_load(&ctx->objects[kind], id);
	if (!obj)
		ret = -ENOENT;
	else if (atomic_read(&obj->busy))
		ret = -EBUSY;
	else
		__xa_erase(&ctx->objects[kind], id);
	xa_unlock(&ctx->objects[kind]);
	if (!ret)
		linnet_object_destroy(ctx, kind, obj);
	mutex_unlock(&ctx->lock);
	return ret;
}

/* The buffer of @args, pinned and listed, for a context. */
static int linnet_attachment_create(struct linnet_ctx *ctx, struct drm_gem_object *obj,
				    struct drm_linnet_attach *args)
{
	struct linnet_attachment *att __free(kfree) = kzalloc_obj(*att, GFP_KERNEL_ACCOUNT);
	struct linnet_device *ldev = ctx->ldev;
	int ret;

	if (!att)
		return -ENOMEM;
	kref_init(&att->base.refs);
	att->bo = to_linnet_bo(obj);
	att->size = obj->size;
	att->read_only = args->flags & DRM_LINNET_ATTACH_READ_ONLY;
	ret = linnet_bo_pin(att->bo);
	if (ret)
		return ret;
	ret = linnet_attachment_map(ldev, att);
	if (!ret)
		ret = linnet_object_create(ctx, LINNET_ATTACHMENT, &att->base, &args->attachment);
	if (ret)
		linnet_attachment_unmap(ldev, att);
	else
		retain_and_null_ptr(att);
	return ret;
}

int linnet_ioctl_attach(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct linnet_device *ldev = to_linnet_device(drm);
	struct drm_linnet_attach *args = data;
	struct linnet_ctx *ctx __free(linnet_ctx_put) = NULL;
	struct drm_gem_object *obj __free(linnet_gem_put) = NULL;
	int ret, idx;

	if (args->flags & ~DRM_LINNET_ATTACH_READ_ONLY)
		return -EINVAL;
	if (args->flags & DRM_LINNET_ATTACH_READ_ONLY &&
	    !(ldev->info.features & DRM_LINNET_FEATURE_READ_ONLY))
		return -EOPNOTSUPP;
	ctx = linnet_ctx_lookup(file->driver_priv, args->ctx);
	if (!ctx)
		return -ENOENT;
	obj = drm_gem_object_lookup(file, args->handle);
	if (!obj)
		return -ENOENT;
	if (!drm_dev_enter(drm, &idx))
		return -ENODEV;
	ret = linnet_attachment_create(ctx, obj, args);
	drm_dev_exit(idx);
	return ret;
}

int linnet_ioctl_detach(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_linnet_detach *args = data;

	return linnet_object_remove(file, args->ctx, LINNET_ATTACHMENT, args->attachment);
}

int linnet_ioctl_stream_create(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct linnet_device *ldev = to_linnet_device(drm);
	struct drm_linnet_stream_create *args = data;
	struct linnet_ctx *ctx __free(linnet_ctx_put) = NULL;
	struct linnet_stream *stream __free(kfree) = NULL;
	void *copy __free(kvfree) = NULL;
	int ret, idx;

	if (args->flags || !args->size)
		return -EINVAL;
	ctx = linnet_ctx_lookup(file->driver_priv, args->ctx);
	if (!ctx)
		return -ENOENT;
	if (args->size > ldev->info.max_stream_bytes)
		return -E2BIG;
	stream = kzalloc_obj(*stream, GFP_KERNEL_ACCOUNT);
	copy = kvmalloc(args->size, GFP_KERNEL_ACCOUNT);
	if (!stream || !copy)
		return -ENOMEM;
	if (copy_from_user(copy, u64_to_user_ptr(args->ptr), args->size))
		return -EFAULT;
	ret = linnet_check_stream(copy, args->size, ldev->info.stream_magic, stream);
	if (ret)
		return ret;
	kref_init(&stream->base.refs);
	stream->size = args->size;
	stream->data = copy;
	if (!drm_dev_enter(drm, &idx))
		return -ENODEV;
	ret = linnet_object_create(ctx, LINNET_STREAM, &stream->base, &args->stream);
	drm_dev_exit(idx);
	if (!ret) {
		retain_and_null_ptr(stream);
		retain_and_null_ptr(copy);
	}
	return ret;
}

int linnet_ioctl_stream_destroy(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_linnet_stream_destroy *args = data;

	return linnet_object_remove(file, args->ctx, LINNET_STREAM, args->stream);
}
