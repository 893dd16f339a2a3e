// SPDX-License-Identifier: GPL-2.0-only
/*
 * What is left of a job that kept the device too long: a device core dump, which the kernel
 * keeps for some minutes as /sys/class/devcoredump/devcdN/data. It is text for people;
 * nothing in it is stable.
 *
 * The state is of interest as it was when time ran out, on the way to a fence's signal,
 * where no memory can be had. So it is printed to a buffer that was there from the
 * beginning, and a worker hands out a copy. One record at a time: the first of many is the
 * one that tells.
 */
#include <linux/devcoredump.h>
#include <linux/utsname.h>
#include <linux/vmalloc.h>

#include <drm/drm_managed.h>
#include <drm/drm_print.h>

#include "linnet_drv.h"
#include "linnet_job.h"

#define LINNET_DUMP_BYTES	SZ_16K

static void linnet_dump_printfn(struct drm_printer *p, struct va_format *vaf)
{
	seq_buf_printf(p->arg, "%pV", vaf);
}

/**
 * linnet_dump_locked - record a job that keeps the device too long
 * @job: the job; the device has it
 */
void linnet_dump_locked(struct linnet_job *job)
{
	struct linnet_device *ldev = job->ctx->ldev;
	struct drm_printer p = { .printfn = linnet_dump_printfn, .arg = &ldev->dump };
	const struct linnet_stream *stream = job->stream;
	const struct linnet_job_binding *b;
	u64 now = ktime_get_ns();
	struct linnet_job *other;
	u32 i;

	lockdep_assert_held(&ldev->queue_lock);
	/* The last one is still being handed out. */
	if (seq_buf_used(&ldev->dump))
		return;
	drm_printf(&p, "linnet %u.%u on Linux %s\n", DRM_LINNET_MAJOR, DRM_LINNET_MINOR,
		   init_utsname()->release);
	drm_printf(&p, "engine %u, device version %u, stream magic 0x%08x\n", ldev->info.engine,
		   ldev->info.device_version, ldev->info.stream_magic);
	linnet_print_device_locked(&p, ldev);
	if (ldev->ops->print)
		ldev->ops->print(ldev, &p);
	drm_printf(&p, "job %llu of context %u timed out: user_data 0x%llx, fence %llu:%llu\n",
		   job->id, job->ctx->id, job->user_data, job->fence->context,
		   job->fence->seqno);
	drm_printf(&p, "stream %u: %u bytes, %u slots\n", stream->base.id, stream->size,
		   stream->n_slots);
	for (i = 0; i < stream->n_params; i++)
		drm_printf(&p, "parameter %u: %u of %u\n", i, job->params[i], stream->max[i]);
	for (b = job->bindings; b < job->bindings + job->n_bindings; b++)
		drm_printf(&p, "slot %u: attachment %u%s, offset %llu, length %llu of %llu\n",
			   b->slot, b->att->base.id, b->att->read_only ? " (read-only)" : "",
			   b->offset, b->length, b->att->size);
	list_for_each_entry(other, &ldev->running, run_node)
		drm_printf(&p, "in the device: job %llu of context %u for %llu us\n", other->id,
			   other->ctx->id, div_u64(now - other->queued_ns, NSEC_PER_USEC));
	linnet_print_ctx_locked(&p, job->ctx);
	queue_work(linnet_wq, &ldev->dump_work);
}

static void linnet_dump_work(struct work_struct *work)
{
	struct linnet_device *ldev = container_of(work, struct linnet_device, dump_work);
	size_t size = seq_buf_used(&ldev->dump);
	void *copy = vmalloc(size);

	if (copy) {
		memcpy(copy, ldev->dump.buffer, size);
		/* Frees the copy, at once where the kernel keeps none or has one already. */
		dev_coredumpv(ldev->drm.dev, copy, size, GFP_KERNEL);
	}
	scoped_guard(spinlock_irq, &ldev->queue_lock)
		seq_buf_clear(&ldev->dump);
}

int linnet_dump_init(struct linnet_device *ldev)
{
	char *buffer = drmm_kmalloc(&ldev->drm, LINNET_DUMP_BYTES, GFP_KERNEL);

	if (!buffer)
		return -ENOMEM;
	seq_buf_init(&ldev->dump, buffer, LINNET_DUMP_BYTES);
	INIT_WORK(&ldev->dump_work, linnet_dump_work);
	return 0;
}
