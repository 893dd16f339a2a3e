/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tracepoints. A job is known by its id everywhere, and by the number that its
 * submitter gave it (the user_data of its io_uring request).
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM linnet

#if !defined(__LINNET_TRACE_H__) || defined(TRACE_HEADER_MULTI_READ)
#define __LINNET_TRACE_H__

#include <linux/tracepoint.h>

#include "linnet_gem.h"
#include "linnet_job.h"

DECLARE_EVENT_CLASS(linnet_attachment,
	TP_PROTO(const struct linnet_ctx *ctx, const struct linnet_attachment *att),
	TP_ARGS(ctx, att),
	TP_STRUCT__entry(
		__field(u32, dev)
		__field(u32, ctx)
		__field(u32, attachment)
		__field(bool, read_only)
		__field(u64, size)
	),
	TP_fast_assign(
		__entry->dev = ctx->ldev->drm.accel->index;
		__entry->ctx = ctx->id;
		__entry->attachment = att->base.id;
		__entry->read_only = att->read_only;
		__entry->size = att->size;
	),
	TP_printk("dev=%u ctx=%u attachment=%u size=%llu read_only=%d", __entry->dev,
		  __entry->ctx, __entry->attachment, __entry->size, __entry->read_only)
);

DEFINE_EVENT(linnet_attachment, linnet_bo_attach,
	TP_PROTO(const struct linnet_ctx *ctx, const struct linnet_attachment *att),
	TP_ARGS(ctx, att));

DEFINE_EVENT(linnet_attachment, linnet_bo_detach,
	TP_PROTO(const struct linnet_ctx *ctx, const struct linnet_attachment *att),
	TP_ARGS(ctx, att));

TRACE_EVENT(linnet_bo_purge,
	TP_PROTO(const struct linnet_bo *bo, u64 bytes),
	TP_ARGS(bo, bytes),
	TP_STRUCT__entry(
		__field(u32, dev)
		__field(u64, size)
		__field(u64, bytes)
	),
	TP_fast_assign(
		__entry->dev = bo->base.base.dev->accel->index;
		__entry->size = bo->base.base.size;
		__entry->bytes = bytes;
	),
	TP_printk("dev=%u size=%llu freed=%llu", __entry->dev, __entry->size, __entry->bytes)
);

DECLARE_EVENT_CLASS(linnet_job,
	TP_PROTO(const struct linnet_job *job),
	TP_ARGS(job),
	TP_STRUCT__entry(
		__field(u32, dev)
		__field(u32, ctx)
		__field(u32, stream)
		__field(int, result)
		__field(u64, job)
		__field(u64, user_data)
	),
	TP_fast_assign(
		__entry->dev = job->ctx->ldev->drm.accel->index;
		__entry->ctx = job->ctx->id;
		__entry->stream = job->stream->base.id;
		__entry->result = job->result;
		__entry->job = job->id;
		__entry->user_data = job->user_data;
	),
	TP_printk("dev=%u ctx=%u stream=%u job=%llu user_data=0x%llx result=%d", __entry->dev,
		  __entry->ctx, __entry->stream, __entry->job, __entry->user_data,
		  __entry->result)
);

/* Accepted: it is in the scheduler. */
DEFINE_EVENT(linnet_job, linnet_job_submit, TP_PROTO(const struct linnet_job *job), TP_ARGS(job));
/* The device has it. */
DEFINE_EVENT(linnet_job, linnet_job_run, TP_PROTO(const struct linnet_job *job), TP_ARGS(job));
/* It has ended and its fence signals. */
DEFINE_EVENT(linnet_job, linnet_job_done, TP_PROTO(const struct linnet_job *job), TP_ARGS(job));
/* It shall end early. */
DEFINE_EVENT(linnet_job, linnet_job_cancel, TP_PROTO(const struct linnet_job *job), TP_ARGS(job));
/* It has kept the device too long. */
DEFINE_EVENT(linnet_job, linnet_job_timeout, TP_PROTO(const struct linnet_job *job), TP_ARGS(job));

TRACE_EVENT(linnet_ctx_ban,
	TP_PROTO(const struct linnet_ctx *ctx, int error),
	TP_ARGS(ctx, error),
	TP_STRUCT__entry(
		__field(u32, dev)
		__field(u32, ctx)
		__field(int, error)
	),
	TP_fast_assign(
		__entry->dev = ctx->ldev->drm.accel->index;
		__entry->ctx = ctx->id;
		__entry->error = error;
	),
	TP_printk("dev=%u ctx=%u error=%d", __entry->dev, __entry->ctx, __entry->error)
);

TRACE_EVENT(linnet_reset,
	TP_PROTO(const struct linnet_device *ldev, int result),
	TP_ARGS(ldev, result),
	TP_STRUCT__entry(
		__field(u32, dev)
		__field(int, result)
	),
	TP_fast_assign(
		__entry->dev = ldev->drm.accel->index;
		__entry->result = result;
	),
	TP_printk("dev=%u result=%d", __entry->dev, __entry->result)
);

#endif

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE linnet_trace
#include <trace/define_trace.h>
