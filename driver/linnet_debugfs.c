// SPDX-License-Identifier: GPL-2.0-only
/*
 * State of the device for people, in debugfs. Nothing here is stable.
 */
#include <linux/debugfs.h>
#include <linux/seq_file.h>

#include <drm/drm_debugfs.h>
#include <drm/drm_file.h>
#include <drm/drm_print.h>

#include "linnet_drv.h"
#include "linnet_gem.h"
#include "linnet_job.h"

void linnet_print_ctx_locked(struct drm_printer *p, struct linnet_ctx *ctx)
{
	static const char * const state[] = { "waiting", "queued", "done" };
	struct linnet_job *job;

	drm_printf(p, "context %u client %llu priority %u error %d jobs %u\n", ctx->id,
		   ctx->client, ctx->priority, ctx->error, ctx->n_jobs);
	list_for_each_entry(job, &ctx->jobs, ctx_node)
		drm_printf(p, "  job %llu user_data 0x%llx stream %u %s%s\n", job->id,
			   job->user_data, job->stream->base.id, state[job->state],
			   job->cancelled ? " cancelled" : "");
}

void linnet_print_device_locked(struct drm_printer *p, struct linnet_device *ldev)
{
	struct linnet_attachment *att;
	unsigned long leaked = 0;

	list_for_each_entry(att, &ldev->leaked, node)
		leaked += att->size;
	drm_printf(p, "transport %s\nresets %u\ngone %d\nheld by the device %lu\n",
		   ldev->ops->name, ldev->generation, ldev->gone, leaked);
}

static int linnet_debugfs_state(struct seq_file *m, void *unused)
{
	struct drm_debugfs_entry *entry = m->private;
	struct linnet_device *ldev = to_linnet_device(entry->dev);
	struct drm_printer p = drm_seq_file_printer(m);
	struct linnet_ctx *ctx;

	mutex_lock(&ldev->ctx_lock);
	list_for_each_entry(ctx, &ldev->ctxs, node)
		scoped_guard(spinlock_irq, &ldev->queue_lock)
			linnet_print_ctx_locked(&p, ctx);
	mutex_unlock(&ldev->ctx_lock);
	scoped_guard(spinlock_irq, &ldev->queue_lock)
		linnet_print_device_locked(&p, ldev);
	drm_printf(&p, "purgeable pages %lu\npurged bytes %llu\n", linnet_gem_purgeable(ldev),
		   (u64)atomic64_read(&ldev->purged));
	return 0;
}

static const struct drm_debugfs_info linnet_debugfs_files[] = {
	{ "linnet_state", linnet_debugfs_state, 0, NULL },
};

void linnet_debugfs_init(struct linnet_device *ldev)
{
	drm_debugfs_add_files(&ldev->drm, linnet_debugfs_files, ARRAY_SIZE(linnet_debugfs_files));
	/* Of jobs that become the oldest from now on. */
	debugfs_create_u32("timeout_ms", 0600, ldev->drm.debugfs_root, &ldev->info.timeout_ms);
}
