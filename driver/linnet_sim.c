// SPDX-License-Identifier: GPL-2.0-only
/*
 * A simulated device: the operations of enum drm_linnet_sim_code, executed by kernel
 * workers. It lets every path of the core be tested without any device, so it behaves like
 * one: jobs that were queued first start first, a few run at a time, those of one context
 * one after the other, a hanging one stops for nothing but a reset, and the files in
 * debugfs (sim/fail_*) make the next calls of a kind fail.
 */
#include <linux/debugfs.h>
#include <linux/dma-mapping.h>
#include <linux/iosys-map.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/slab.h>
#include <linux/unaligned.h>

#include "linnet_compat.h"
#include "linnet_drv.h"
#include "linnet_gem.h"
#include "linnet_job.h"

#define LINNET_SIM_ENGINES	2
#define LINNET_SIM_MAX_DEVICES	4
#define LINNET_SIM_CHUNK	SZ_256K		/* bytes between looks at the outside world */

static unsigned int sim;
module_param(sim, uint, 0444);
MODULE_PARM_DESC(sim, "number of simulated devices, at most 4 (default 0)");

static unsigned int sim_depth = 16;
module_param(sim_depth, uint, 0444);
MODULE_PARM_DESC(sim_depth, "jobs that a simulated device holds at a time (default 16)");

enum linnet_sim_fail {
	LINNET_SIM_FAIL_CTX_CREATE,
	LINNET_SIM_FAIL_ATTACH,
	LINNET_SIM_FAIL_DETACH,
	LINNET_SIM_FAIL_STREAM_CREATE,
	LINNET_SIM_FAIL_JOB_INIT,
	LINNET_SIM_FAIL_QUEUE,
	LINNET_SIM_FAIL_CTX_RESET,
	LINNET_SIM_FAIL_RESET,
	LINNET_SIM_FAILS,
};

static const char * const linnet_sim_fail_names[LINNET_SIM_FAILS] = {
	[LINNET_SIM_FAIL_CTX_CREATE] = "fail_ctx_create",
	[LINNET_SIM_FAIL_ATTACH] = "fail_attach",
	[LINNET_SIM_FAIL_DETACH] = "fail_detach",
	[LINNET_SIM_FAIL_STREAM_CREATE] = "fail_stream_create",
	[LINNET_SIM_FAIL_JOB_INIT] = "fail_job_init",
	[LINNET_SIM_FAIL_QUEUE] = "fail_queue",
	[LINNET_SIM_FAIL_CTX_RESET] = "fail_ctx_reset",
	[LINNET_SIM_FAIL_RESET] = "fail_reset",
};

/**
 * struct linnet_sim - a simulated device
 */
struct linnet_sim {
	/** @ldev: what the core sees. */
	struct linnet_device *ldev;
	/** @wq: runs @engines. */
	struct workqueue_struct *wq;
	/** @engines: each executes one job at a time. */
	struct linnet_sim_engine {
		struct work_struct work;
		struct linnet_sim *sim;
	} engines[LINNET_SIM_ENGINES];
	/** @lock: protects @fifo, @n_busy, @stopping and the contexts' state. */
	spinlock_t lock;
	/** @fifo: jobs that have not started. */
	struct list_head fifo;
	/** @n_busy: jobs that have. */
	u32 n_busy;
	/** @stopping: all jobs have to stop; their ends are not reported. */
	bool stopping;
	/** @wake: jobs wait here for time to pass, or a cancellation. */
	wait_queue_head_t wake;
	/** @idle: woken when a job has left its engine. */
	wait_queue_head_t idle;
	/** @debugfs: folder of the switches. */
	struct dentry *debugfs;
	/** @fail: how many of the next calls fail, by enum linnet_sim_fail. */
	atomic_t fail[LINNET_SIM_FAILS];
};

/**
 * struct linnet_sim_ctx - a context in the device
 */
struct linnet_sim_ctx {
	/** @busy: one of its jobs is in an engine. */
	bool busy;
	/** @dead: its jobs have to stop; their ends are not reported. */
	bool dead;
};

/**
 * struct linnet_sim_job - a job in the device
 */
struct linnet_sim_job {
	/** @node: in &linnet_sim.fifo. */
	struct list_head node;
	/** @job: the job. */
	struct linnet_job *job;
};

static struct linnet_sim *to_sim(struct linnet_device *ldev)
{
	return ldev->transport;
}

/* Whether to fail now; counts down. */
static bool linnet_sim_fail(struct linnet_sim *s, enum linnet_sim_fail what)
{
	return atomic_dec_if_positive(&s->fail[what]) >= 0;
}

/* Execution */

static bool linnet_sim_stopped(struct linnet_sim *s, struct linnet_job *job)
{
	struct linnet_sim_ctx *sc = job->ctx->transport;

	return READ_ONCE(s->stopping) || READ_ONCE(sc->dead);
}

static bool linnet_sim_leave(struct linnet_sim *s, struct linnet_job *job)
{
	return linnet_sim_stopped(s, job) || READ_ONCE(job->cancelled);
}

/* The memory of a piece of a slot, checked: to read, or to write. */
static void *linnet_sim_memory(struct linnet_job *job, u32 slot, u64 offset, u64 length,
			       bool write)
{
	u32 i;

	for (i = 0; i < job->n_bindings; i++) {
		const struct linnet_job_binding *b = &job->bindings[i];

		if (b->slot != slot)
			continue;
		if (offset > b->length || length > b->length - offset)
			return ERR_PTR(-EINVAL);
		if (write && b->att->read_only)
			return ERR_PTR(-EACCES);
		return (u8 *)b->att->transport + b->offset + offset;
	}
	return ERR_PTR(-EINVAL);
}

/* Copy memory, or fill it where there is no @src. */
static int linnet_sim_copy(struct linnet_sim *s, struct linnet_job *job, u8 *dst, const u8 *src,
			   u8 value, u64 length)
{
	bool back = dst > src;
	u64 done, n, at;

	for (done = 0; done < length; done += n) {
		if (linnet_sim_leave(s, job))
			return -ECANCELED;
		n = min_t(u64, length - done, LINNET_SIM_CHUNK);
		at = back ? length - done - n : done;
		if (src)
			memmove(dst + at, src + at, n);
		else
			memset(dst + at, value, n);
		cond_resched();
	}
	return 0;
}

static int linnet_sim_checksum(struct linnet_sim *s, struct linnet_job *job, u8 *dst,
			       const u8 *src, u64 length, u64 hash)
{
	u64 i;

	for (i = 0; i < length; i++) {
		if (!(i % LINNET_SIM_CHUNK)) {
			if (linnet_sim_leave(s, job))
				return -ECANCELED;
			cond_resched();
		}
		hash = (hash ^ READ_ONCE(src[i])) * 0x100000001b3;
	}
	put_unaligned_le64(hash, dst);
	return 0;
}

static int linnet_sim_op(struct linnet_sim *s, struct linnet_job *job,
			 const struct drm_linnet_sim_op *op)
{
	u64 value = op->param == DRM_LINNET_SIM_NONE ? op->value : job->params[op->param];
	u64 us = min_t(u64, value, 60 * USEC_PER_SEC);
	u8 *dst = NULL, *src = NULL;

	switch (op->code) {
	case DRM_LINNET_SIM_COPY:
	case DRM_LINNET_SIM_CHECKSUM:
		src = linnet_sim_memory(job, op->src_slot, op->src_offset, op->length, false);
		if (IS_ERR(src))
			return PTR_ERR(src);
		fallthrough;
	case DRM_LINNET_SIM_FILL:
		dst = linnet_sim_memory(job, op->dst_slot, op->dst_offset,
					op->code == DRM_LINNET_SIM_CHECKSUM ? 8 : op->length, true);
		if (IS_ERR(dst))
			return PTR_ERR(dst);
	}

	switch (op->code) {
	case DRM_LINNET_SIM_COPY:
	case DRM_LINNET_SIM_FILL:
		return linnet_sim_copy(s, job, dst, src, value, op->length);
	case DRM_LINNET_SIM_CHECKSUM:
		return linnet_sim_checksum(s, job, dst, src, op->length, value);
	case DRM_LINNET_SIM_DELAY:
		wait_event_hrtimeout(s->wake, linnet_sim_leave(s, job),
				     ns_to_ktime(us * NSEC_PER_USEC));
		return linnet_sim_leave(s, job) ? -ECANCELED : 0;
	case DRM_LINNET_SIM_HANG:
		wait_event(s->wake, linnet_sim_stopped(s, job));
		return -EIO;
	case DRM_LINNET_SIM_FAULT:
		return -(int)clamp_t(u64, value, 1, MAX_ERRNO);
	}
	return -EIO;
}

static int linnet_sim_execute(struct linnet_sim *s, struct linnet_job *job)
{
	const struct linnet_stream_header *head = job->stream->data;
	const struct drm_linnet_sim_op *op;
	u32 i;
	int ret;

	op = job->stream->data + sizeof(*head) +
	     head->n_params * sizeof(struct linnet_stream_param);
	for (i = 0; i < head->n_ops; i++) {
		if (linnet_sim_leave(s, job))
			return -ECANCELED;
		ret = linnet_sim_op(s, job, &op[i]);
		if (ret)
			return ret;
	}
	return 0;
}

/* The oldest job whose context is idle. */
static struct linnet_job *linnet_sim_next(struct linnet_sim *s)
{
	struct linnet_sim_job *sj;
	struct linnet_sim_ctx *sc;

	list_for_each_entry(sj, &s->fifo, node) {
		sc = sj->job->ctx->transport;
		if (!sc->busy) {
			list_del_init(&sj->node);
			sc->busy = true;
			s->n_busy++;
			return sj->job;
		}
	}
	return NULL;
}

static void linnet_sim_work(struct work_struct *work)
{
	struct linnet_sim *s = container_of(work, struct linnet_sim_engine, work)->sim;
	struct linnet_sim_ctx *sc;
	struct linnet_job *job;
	int ret;

	spin_lock_irq(&s->lock);
	while (!s->stopping && (job = linnet_sim_next(s))) {
		sc = job->ctx->transport;
		spin_unlock_irq(&s->lock);
		ret = linnet_sim_execute(s, job);
		/* The context is busy until its end is known, so that a reset waits. */
		if (!linnet_sim_stopped(s, job))
			linnet_job_done(job, ret);
		spin_lock_irq(&s->lock);
		/* pairs with the loads of who waits for the context */
		smp_store_release(&sc->busy, false);
		/* pairs with that of linnet_sim_reset() */
		smp_store_release(&s->n_busy, s->n_busy - 1);
		wake_up_all(&s->idle);
	}
	spin_unlock_irq(&s->lock);
}

/* Transport */

static int linnet_sim_ctx_create(struct linnet_device *ldev, struct linnet_ctx *ctx)
{
	struct linnet_sim_ctx *sc;

	if (linnet_sim_fail(to_sim(ldev), LINNET_SIM_FAIL_CTX_CREATE))
		return -EIO;
	sc = kzalloc_obj(*sc, GFP_KERNEL_ACCOUNT);
	ctx->transport = sc;
	return sc ? 0 : -ENOMEM;
}

static void linnet_sim_ctx_destroy(struct linnet_device *ldev, struct linnet_ctx *ctx)
{
	struct linnet_sim_ctx *sc = ctx->transport;

	/*
	 * The last job is known to have ended a moment before its engine lets go: pairs
	 * with the release in linnet_sim_work().
	 */
	wait_event(to_sim(ldev)->idle, !smp_load_acquire(&sc->busy));
	kfree(sc);
	ctx->transport = NULL;
}

static int linnet_sim_attach(struct linnet_device *ldev, struct linnet_ctx *ctx,
			     struct linnet_attachment *att)
{
	struct iosys_map map;
	int ret;

	if (linnet_sim_fail(to_sim(ldev), LINNET_SIM_FAIL_ATTACH))
		return -EIO;
	ret = linnet_gem_vmap(&att->bo->base.base, &map);
	if (ret)
		return ret;
	if (map.is_iomem) {
		linnet_gem_vunmap(&att->bo->base.base, &map);
		return -EOPNOTSUPP;
	}
	att->transport = map.vaddr;
	return 0;
}

static int linnet_sim_detach(struct linnet_device *ldev, struct linnet_ctx *ctx,
			     struct linnet_attachment *att)
{
	struct iosys_map map = IOSYS_MAP_INIT_VADDR(att->transport);

	linnet_gem_vunmap(&att->bo->base.base, &map);
	att->transport = NULL;
	return linnet_sim_fail(to_sim(ldev), LINNET_SIM_FAIL_DETACH) ? -EIO : 0;
}

/* Fields that the operation does not use are zero, and those that it uses are valid. */
static bool linnet_sim_op_valid(const struct drm_linnet_sim_op *op,
				const struct linnet_stream *stream)
{
	bool src = op->code == DRM_LINNET_SIM_COPY || op->code == DRM_LINNET_SIM_CHECKSUM;
	bool dst = src || op->code == DRM_LINNET_SIM_FILL;
	bool value = op->code != DRM_LINNET_SIM_COPY && op->code != DRM_LINNET_SIM_HANG;

	if (op->code < DRM_LINNET_SIM_COPY || op->code > DRM_LINNET_SIM_FAULT)
		return false;
	if (dst ? op->dst_slot >= stream->n_slots : op->dst_slot || op->dst_offset)
		return false;
	if (src ? op->src_slot >= stream->n_slots : op->src_slot || op->src_offset)
		return false;
	if (!dst && op->length)
		return false;
	if (op->param != DRM_LINNET_SIM_NONE && (!value || op->param >= stream->n_params))
		return false;
	if (!value && op->value)
		return false;
	return op->code != DRM_LINNET_SIM_FAULT || op->param != DRM_LINNET_SIM_NONE ||
	       (op->value && op->value <= MAX_ERRNO);
}

static int linnet_sim_stream_create(struct linnet_device *ldev, struct linnet_ctx *ctx,
				    struct linnet_stream *stream)
{
	const struct linnet_stream_header *head = stream->data;
	size_t begin = sizeof(*head) + head->n_params * sizeof(struct linnet_stream_param);
	const struct drm_linnet_sim_op *op = stream->data + begin;
	u32 i;

	if (linnet_sim_fail(to_sim(ldev), LINNET_SIM_FAIL_STREAM_CREATE))
		return -EIO;
	if (head->version != DRM_LINNET_SIM_VERSION)
		return -EINVAL;
	if (stream->size - begin != head->n_ops * sizeof(*op))
		return -EINVAL;
	for (i = 0; i < head->n_ops; i++)
		if (!linnet_sim_op_valid(&op[i], stream))
			return -EINVAL;
	return 0;
}

static int linnet_sim_job_init(struct linnet_device *ldev, struct linnet_job *job)
{
	struct linnet_sim_job *sj;

	if (linnet_sim_fail(to_sim(ldev), LINNET_SIM_FAIL_JOB_INIT))
		return -ENOMEM;
	sj = kzalloc_obj(*sj, GFP_KERNEL_ACCOUNT);
	if (!sj)
		return -ENOMEM;
	INIT_LIST_HEAD(&sj->node);
	sj->job = job;
	job->transport = sj;
	return 0;
}

static void linnet_sim_job_fini(struct linnet_device *ldev, struct linnet_job *job)
{
	kfree(job->transport);
}

static int linnet_sim_job_queue(struct linnet_device *ldev, struct linnet_job *job)
{
	struct linnet_sim_job *sj = job->transport;
	struct linnet_sim *s = to_sim(ldev);
	int i;

	if (linnet_sim_fail(s, LINNET_SIM_FAIL_QUEUE))
		return -EIO;
	spin_lock(&s->lock);
	list_add_tail(&sj->node, &s->fifo);
	spin_unlock(&s->lock);
	for (i = 0; i < LINNET_SIM_ENGINES; i++)
		queue_work(s->wq, &s->engines[i].work);
	return 0;
}

static void linnet_sim_job_cancel(struct linnet_device *ldev, struct linnet_job *job)
{
	wake_up_all(&to_sim(ldev)->wake);
}

static int linnet_sim_ctx_reset(struct linnet_device *ldev, struct linnet_ctx *ctx)
{
	struct linnet_sim_ctx *sc = ctx->transport;
	struct linnet_sim *s = to_sim(ldev);
	struct linnet_sim_job *sj, *next;

	if (linnet_sim_fail(s, LINNET_SIM_FAIL_CTX_RESET))
		return -EIO;
	spin_lock_irq(&s->lock);
	WRITE_ONCE(sc->dead, true);
	list_for_each_entry_safe(sj, next, &s->fifo, node)
		if (sj->job->ctx == ctx)
			list_del_init(&sj->node);
	spin_unlock_irq(&s->lock);
	wake_up_all(&s->wake);
	/* pairs with the release in linnet_sim_work() */
	wait_event(s->idle, !smp_load_acquire(&sc->busy));
	return 0;
}

static int linnet_sim_reset(struct linnet_device *ldev, bool final)
{
	struct linnet_sim *s = to_sim(ldev);
	struct linnet_sim_job *sj, *next;

	spin_lock_irq(&s->lock);
	WRITE_ONCE(s->stopping, true);
	list_for_each_entry_safe(sj, next, &s->fifo, node)
		list_del_init(&sj->node);
	spin_unlock_irq(&s->lock);
	wake_up_all(&s->wake);
	/* pairs with the release in linnet_sim_work() */
	wait_event(s->idle, !smp_load_acquire(&s->n_busy));
	if (linnet_sim_fail(s, LINNET_SIM_FAIL_RESET))
		return -EIO;
	WRITE_ONCE(s->stopping, final);
	return 0;
}

static const struct linnet_transport_ops linnet_sim_ops = {
	.name = "sim",
	.ctx_create = linnet_sim_ctx_create,
	.ctx_destroy = linnet_sim_ctx_destroy,
	.bo_attach = linnet_sim_attach,
	.bo_detach = linnet_sim_detach,
	.stream_create = linnet_sim_stream_create,
	.job_init = linnet_sim_job_init,
	.job_fini = linnet_sim_job_fini,
	.job_queue = linnet_sim_job_queue,
	.job_cancel = linnet_sim_job_cancel,
	.ctx_reset = linnet_sim_ctx_reset,
	.reset = linnet_sim_reset,
};

/* Platform device */

static int linnet_sim_probe(struct platform_device *pdev)
{
	struct linnet_device *ldev;
	struct linnet_sim *s;
	int ret, i;

	ret = dma_coerce_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64));
	if (ret)
		return ret;
	s = devm_kzalloc(&pdev->dev, sizeof(*s), GFP_KERNEL);
	if (!s)
		return -ENOMEM;
	ldev = linnet_device_alloc(&pdev->dev, &linnet_sim_ops);
	if (IS_ERR(ldev))
		return PTR_ERR(ldev);
	spin_lock_init(&s->lock);
	INIT_LIST_HEAD(&s->fifo);
	init_waitqueue_head(&s->wake);
	init_waitqueue_head(&s->idle);
	for (i = 0; i < LINNET_SIM_ENGINES; i++) {
		INIT_WORK(&s->engines[i].work, linnet_sim_work);
		s->engines[i].sim = s;
	}
	s->ldev = ldev;
	s->wq = alloc_workqueue("linnet-sim", WQ_UNBOUND | WQ_MEM_RECLAIM, 0);
	if (!s->wq)
		return -ENOMEM;
	platform_set_drvdata(pdev, s);

	ldev->transport = s;
	ldev->info.engine = DRM_LINNET_ENGINE_SIM;
	ldev->info.device_version = DRM_LINNET_SIM_VERSION;
	ldev->info.features |= DRM_LINNET_FEATURE_READ_ONLY;
	ldev->info.max_stream_bytes = sizeof(struct linnet_stream_header) +
		LINNET_MAX_PARAMS * sizeof(struct linnet_stream_param) +
		LINNET_MAX_OPS * sizeof(struct drm_linnet_sim_op);
	ldev->info.stream_magic = DRM_LINNET_SIM_MAGIC;
	ldev->info.queue_depth = clamp(sim_depth, 1U, 256U);
	ldev->info.n_threads = LINNET_SIM_ENGINES;
	strscpy(ldev->info.isa, "none", sizeof(ldev->info.isa));

	s->debugfs = debugfs_create_dir("sim", ldev->drm.debugfs_root);
	for (i = 0; i < LINNET_SIM_FAILS; i++)
		debugfs_create_atomic_t(linnet_sim_fail_names[i], 0600, s->debugfs,
					&s->fail[i]);

	ret = linnet_device_register(ldev);
	if (ret) {
		debugfs_remove_recursive(s->debugfs);
		destroy_workqueue(s->wq);
	}
	return ret;
}

static void linnet_sim_remove(struct platform_device *pdev)
{
	struct linnet_sim *s = platform_get_drvdata(pdev);

	/* Before the folder that it lies in. */
	debugfs_remove_recursive(s->debugfs);
	linnet_device_unplug(s->ldev);
	destroy_workqueue(s->wq);
}

static struct platform_driver linnet_sim_driver = {
	.probe = linnet_sim_probe,
	.remove = linnet_sim_remove,
	.driver = { .name = "linnet-sim" },
};

static struct platform_device *linnet_sim_devices[LINNET_SIM_MAX_DEVICES];
static unsigned int linnet_sim_n;

int linnet_sim_init(void)
{
	struct platform_device *pdev;
	unsigned int n = min(sim, LINNET_SIM_MAX_DEVICES);
	int ret;

	if (!n)
		return 0;
	ret = platform_driver_register(&linnet_sim_driver);
	if (ret)
		return ret;
	while (linnet_sim_n < n) {
		pdev = platform_device_register_simple("linnet-sim", linnet_sim_n, NULL, 0);
		if (IS_ERR(pdev)) {
			linnet_sim_exit();
			return PTR_ERR(pdev);
		}
		linnet_sim_devices[linnet_sim_n++] = pdev;
	}
	return 0;
}

void linnet_sim_exit(void)
{
	if (!sim)
		return;
	while (linnet_sim_n)
		platform_device_unregister(linnet_sim_devices[--linnet_sim_n]);
	platform_driver_unregister(&linnet_sim_driver);
}
