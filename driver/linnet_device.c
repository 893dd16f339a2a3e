// SPDX-License-Identifier: GPL-2.0-only
/*
 * The device: coming, going, and what is done when it does not answer.
 *
 * There is one time limit: the oldest job that the device holds must end within
 * timeout_ms of becoming the oldest. When it does not, its context is stopped and banned;
 * the other contexts do not notice. Only when that fails the whole device is reset: then
 * all contexts are lost, and user space creates new ones. When that fails too, the device
 * is not used again, and the pages that it may still access are not given back.
 */
#include <linux/mm.h>
#include <linux/module.h>

#include <drm/drm_drv.h>
#include <drm/drm_managed.h>
#include <drm/drm_print.h>

#include "linnet_compat.h"
#include "linnet_ctx.h"
#include "linnet_drv.h"
#include "linnet_gem.h"
#include "linnet_job.h"
#include "linnet_trace.h"

static unsigned int timeout_ms = 10000;
module_param(timeout_ms, uint, 0444);
MODULE_PARM_DESC(timeout_ms, "time that a job may keep the device (default 10000)");

/*
 * The oldest job must end in time. Called with the queue locked whenever the oldest job
 * may be another one than before.
 */
void linnet_device_watch(struct linnet_device *ldev)
{
	unsigned long timeout = msecs_to_jiffies(ldev->info.timeout_ms);
	struct linnet_job *job;

	lockdep_assert_held(&ldev->queue_lock);
	job = list_first_entry_or_null(&ldev->running, struct linnet_job, run_node);
	if (!job || job->deadline)
		return;
	job->deadline = jiffies + timeout ?: 1;
	/* One that is pending comes too early, and sees that, unless the limit was lowered. */
	if (time_before(job->deadline, ldev->watchdog.timer.expires))
		mod_delayed_work(ldev->reset_wq, &ldev->watchdog, timeout);
	else
		queue_delayed_work(ldev->reset_wq, &ldev->watchdog, timeout);
}

/* Stop the whole device, with @final for good. Called with the reset lock held. */
static void linnet_device_reset(struct linnet_device *ldev, struct linnet_job *guilty, bool final)
{
	const int error = final ? -ENODEV : -EIO;
	struct linnet_job *job, *next;
	int ret;

	scoped_guard(spinlock_irq, &ldev->queue_lock) {
		if (ldev->gone == -ENODEV && !final)
			return;
		ldev->gone = error;
		ldev->generation += !final;
	}

	ret = ldev->ops->reset(ldev, final);
	trace_linnet_reset(ldev, ret);

	scoped_guard(spinlock_irq, &ldev->queue_lock) {
		ldev->gone = ret || final ? -ENODEV : 0;
		ldev->stuck = ret && ret != -ENODEV;
		/* From the end: a job is freed in the order of its context. */
		list_for_each_entry_safe_reverse(job, next, &ldev->running, run_node)
			linnet_job_finish_locked(job, job == guilty ? -ETIMEDOUT : error);
	}

	if (ret)
		drm_err(&ldev->drm, "reset failed (%d), device is not used any more\n", ret);
	queue_work(linnet_wq, &ldev->reap_work);
}

/**
 * linnet_device_stop_ctx - end all jobs of a context, whatever the device does
 * @ctx: the context; it takes no more jobs
 * @guilty: the job that kept the device too long, or NULL
 * @error: what the context's owner learns
 *
 * Called with the reset lock held.
 */
void linnet_device_stop_ctx(struct linnet_ctx *ctx, struct linnet_job *guilty, int error)
{
	struct linnet_device *ldev = ctx->ldev;
	int ret;

	lockdep_assert_held(&ldev->reset_lock);
	spin_lock_irq(&ldev->queue_lock);
	ctx->error = ctx->error ?: error;
	linnet_ctx_finish_locked(ctx, NULL, -ECANCELED, false);
	spin_unlock_irq(&ldev->queue_lock);
	wake_up_all(&ctx->room);

	trace_linnet_ctx_ban(ctx, error);
	ret = ldev->ops->ctx_reset(ldev, ctx);
	if (ret) {
		linnet_device_reset(ldev, guilty, false);
		return;
	}
	spin_lock_irq(&ldev->queue_lock);
	linnet_ctx_finish_locked(ctx, guilty, -ECANCELED, true);
	spin_unlock_irq(&ldev->queue_lock);
}

static void linnet_device_watchdog(struct work_struct *work)
{
	struct linnet_device *ldev = container_of(to_delayed_work(work), struct linnet_device,
						  watchdog);
	bool cookie = dma_fence_begin_signalling();
	struct linnet_job *job;

	mutex_lock(&ldev->reset_lock);
	spin_lock_irq(&ldev->queue_lock);
	job = list_first_entry_or_null(&ldev->running, struct linnet_job, run_node);
	if (ldev->gone) {
		job = NULL;
	} else if (job && time_before(jiffies, job->deadline)) {
		queue_delayed_work(ldev->reset_wq, &ldev->watchdog, job->deadline - jiffies);
		job = NULL;
	} else if (job) {
		kref_get(&job->refs);
		trace_linnet_job_timeout(job);
		linnet_dump_locked(job);
	}
	spin_unlock_irq(&ldev->queue_lock);

	if (job) {
		drm_dbg(&ldev->drm, "job %llu of context %u timed out\n", job->id, job->ctx->id);
		linnet_device_stop_ctx(job->ctx, job, -EIO);
		linnet_job_put(job);
	}
	mutex_unlock(&ldev->reset_lock);
	dma_fence_end_signalling(cookie);
}

static void linnet_device_reset_work(struct work_struct *work)
{
	struct linnet_device *ldev = container_of(work, struct linnet_device, reset_work);
	bool cookie = dma_fence_begin_signalling();

	mutex_lock(&ldev->reset_lock);
	linnet_device_reset(ldev, NULL, false);
	mutex_unlock(&ldev->reset_lock);
	dma_fence_end_signalling(cookie);
}

void linnet_device_error(struct linnet_device *ldev)
{
	queue_work(ldev->reset_wq, &ldev->reset_work);
}

/* The device was reset: it uses none of the pages that it was said to use. */
static void linnet_device_reap(struct linnet_device *ldev)
{
	struct linnet_attachment *att, *next;
	LIST_HEAD(leaked);

	spin_lock_irq(&ldev->queue_lock);
	list_splice_init(&ldev->leaked, &leaked);
	spin_unlock_irq(&ldev->queue_lock);
	list_for_each_entry_safe(att, next, &leaked, node) {
		list_del(&att->node);
		linnet_attachment_reap(att);
	}
}

/*
 * Tell the administrator that the device could not be brought back. This is what
 * drm_dev_wedged_event() says, which knows of no accelerators: it takes the primary node,
 * and these have none.
 */
static void linnet_device_wedged(struct linnet_device *ldev)
{
	char *envp[2] = { "WEDGED=rebind" };
	int idx;

	/* not for one that is being removed */
	if (!drm_dev_enter(&ldev->drm, &idx))
		return;
	kobject_uevent_env(&ldev->drm.accel->kdev->kobj, KOBJ_CHANGE, envp);
	drm_dev_exit(idx);
}

/* After a reset, where memory may be allocated. */
static void linnet_device_reap_work(struct work_struct *work)
{
	struct linnet_device *ldev = container_of(work, struct linnet_device, reap_work);

	if (READ_ONCE(ldev->gone) == -ENODEV)
		linnet_device_wedged(ldev);
	else
		linnet_device_reap(ldev);
}

static void linnet_device_fini_wq(struct drm_device *drm, void *wq)
{
	destroy_workqueue(wq);
}

static void linnet_device_fini_sched(struct drm_device *drm, void *data)
{
	drm_sched_fini(&to_linnet_device(drm)->sched);
}

static int linnet_device_wq(struct linnet_device *ldev, const char *name,
			    struct workqueue_struct **out)
{
	*out = alloc_ordered_workqueue("linnet-%s", WQ_MEM_RECLAIM | WQ_HIGHPRI, name);
	if (!*out)
		return -ENOMEM;
	return drmm_add_action_or_reset(&ldev->drm, linnet_device_fini_wq, *out);
}

/**
 * linnet_device_alloc - begin a device
 * @parent: the device that it is made of
 * @ops: the transport
 *
 * Return: the device, to be filled in and registered, or an error. It is freed some time
 * after @parent is unbound.
 */
struct linnet_device *linnet_device_alloc(struct device *parent,
					  const struct linnet_transport_ops *ops)
{
	struct linnet_device *ldev;
	int ret;

	ldev = devm_drm_dev_alloc(parent, &linnet_drm_driver, struct linnet_device, drm);
	if (IS_ERR(ldev))
		return ldev;
	ldev->ops = ops;
	ldev->dma_dev = parent;
	ida_init(&ldev->ctx_ids);
	spin_lock_init(&ldev->queue_lock);
	spin_lock_init(&ldev->lru_lock);
	INIT_LIST_HEAD(&ldev->ctxs);
	INIT_LIST_HEAD(&ldev->running);
	INIT_LIST_HEAD(&ldev->leaked);
	INIT_LIST_HEAD(&ldev->purgeable);
	init_waitqueue_head(&ldev->idle);
	INIT_DELAYED_WORK(&ldev->watchdog, linnet_device_watchdog);
	INIT_WORK(&ldev->reset_work, linnet_device_reset_work);
	INIT_WORK(&ldev->reap_work, linnet_device_reap_work);
	ret = drmm_mutex_init(&ldev->drm, &ldev->ctx_lock) ?:
	      drmm_mutex_init(&ldev->drm, &ldev->reset_lock) ?:
	      linnet_dump_init(ldev) ?:
	      linnet_device_wq(ldev, "submit", &ldev->submit_wq) ?:
	      linnet_device_wq(ldev, "reset", &ldev->reset_wq);
	if (ret)
		return ERR_PTR(ret);

	ldev->info.features = DRM_LINNET_FEATURE_PURGE | DRM_LINNET_FEATURE_IMPORT |
			      DRM_LINNET_FEATURE_CTX_RESET;
	if (IS_ENABLED(CONFIG_IO_URING))
		ldev->info.features |= DRM_LINNET_FEATURE_URING;
	/* A buffer is pinned as a whole: its list of pages alone must not eat the memory. */
	ldev->info.max_bo_bytes = min_t(u64, 1ull << 40, (u64)totalram_pages() << PAGE_SHIFT);
	ldev->info.max_contexts = 64;
	ldev->info.max_streams = 4096;
	ldev->info.max_attachments = 4096;
	ldev->info.max_bindings = DRM_LINNET_MAX_BINDINGS;
	ldev->info.max_params = DRM_LINNET_MAX_PARAMS;
	ldev->info.max_jobs = 256;
	ldev->info.timeout_ms = clamp(timeout_ms, 10U, 3600000U);
	return ldev;
}

/**
 * linnet_device_register - show a device to user space
 * @ldev: the device, filled in by the transport
 *
 * Return: 0 or -errno; then nothing has to be undone.
 */
int linnet_device_register(struct linnet_device *ldev)
{
	const struct drm_sched_init_args args = {
		.ops = &linnet_sched_ops,
		.submit_wq = ldev->submit_wq,
		.num_rqs = DRM_SCHED_PRIORITY_COUNT,
		.credit_limit = ldev->info.queue_depth,
		.timeout = MAX_SCHEDULE_TIMEOUT,
		.name = "linnet",
		.dev = ldev->drm.dev,
	};
	int ret;

	ret = drm_sched_init(&ldev->sched, &args);
	if (ret)
		return ret;
	ret = drmm_add_action_or_reset(&ldev->drm, linnet_device_fini_sched, NULL);
	if (ret)
		return ret;
	linnet_huge_mnt_create(&ldev->drm);
	ret = linnet_shrinker_init(ldev);
	if (ret)
		return ret;
	linnet_debugfs_init(ldev);
	ret = drm_dev_register(&ldev->drm, 0);
	if (ret)
		linnet_shrinker_fini(ldev);
	return ret;
}

/**
 * linnet_device_unplug - take a device from user space
 * @ldev: a registered device
 *
 * When it returns, the device has been stopped for good, all jobs have ended with -ENODEV
 * or what they had, and the transport is not called again but for job_fini(). Mappings of
 * buffers stay.
 */
void linnet_device_unplug(struct linnet_device *ldev)
{
	struct linnet_ctx *ctx;

	drm_dev_unplug(&ldev->drm);

	scoped_guard(mutex, &ldev->reset_lock)
		linnet_device_reset(ldev, NULL, true);

	mutex_lock(&ldev->ctx_lock);
	list_for_each_entry(ctx, &ldev->ctxs, node) {
		spin_lock_irq(&ldev->queue_lock);
		ctx->error = ctx->error ?: -ENODEV;
		linnet_ctx_finish_locked(ctx, NULL, -ENODEV, false);
		spin_unlock_irq(&ldev->queue_lock);
		wake_up_all(&ctx->room);
		wait_event(ldev->idle, linnet_ctx_idle(ctx));
		linnet_ctx_teardown(ctx);
	}
	mutex_unlock(&ldev->ctx_lock);

	cancel_delayed_work_sync(&ldev->watchdog);
	cancel_work_sync(&ldev->reset_work);
	cancel_work_sync(&ldev->reap_work);
	flush_work(&ldev->dump_work);
	if (!ldev->stuck)
		linnet_device_reap(ldev);
	linnet_shrinker_fini(ldev);
}
