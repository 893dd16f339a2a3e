/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The device and the contract between the driver's core and a transport.
 *
 * The core (linnet_gem, _ctx, _job, _uring) owns every object that user space knows
 * and every rule of uapi/drm/linnet_accel.h. A transport (linnet_sim, linnet_vq)
 * carries contexts, attachments, streams and jobs to something that executes them;
 * it sees only objects that the core has checked.
 */
#ifndef __LINNET_DEVICE_H__
#define __LINNET_DEVICE_H__

#include <linux/idr.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/seq_buf.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include <drm/drm_device.h>
#include <drm/drm_gem.h>
#include <drm/gpu_scheduler.h>

#include <drm/linnet_accel.h>

struct drm_printer;
struct linnet_attachment;
struct linnet_ctx;
struct linnet_device;
struct linnet_job;
struct linnet_stream;

/**
 * struct linnet_transport_ops - what a transport does for the core
 *
 * Three kinds of functions:
 *
 * *control* functions (ctx_create to stream_destroy, and job_init) run in
 * process context, may sleep, may allocate with GFP_KERNEL, and are synchronous: when
 * they return, the device has answered. The core calls those of one context one after
 * the other; those of different contexts and job_init run concurrently.
 *
 * *signalling* functions (job_queue, job_cancel, ctx_reset, reset) are on the way to
 * the signal of a fence: they allocate nothing (not even with GFP_NOWAIT and a
 * fallback), take no lock that is held around an allocation elsewhere, and end in
 * bounded time whatever the device does.
 *
 * A reset may overtake control functions that wait for the device: those must then
 * return at once, -EIO, or -ENODEV after a final reset. linnet_ctx_lost() tells whether a
 * context is one that the device has forgotten or was told to stop. Before it calls
 * linnet_device_unplug() for a device that does not answer any more, the transport makes
 * waiting control functions return. After linnet_device_unplug() only @job_fini follows.
 *
 * The core blames the oldest job that the device holds when that makes no progress, so a
 * device must have started it: a job may overtake an older one only while that waits for
 * its own context.
 */
struct linnet_transport_ops {
	/** @name: name of the transport, a constant string. */
	const char *name;

	/**
	 * @ctx_create: control. A context of number &linnet_ctx.id, unique on the
	 * device, comes into being. @ctx->transport is for the transport's own use.
	 */
	int (*ctx_create)(struct linnet_device *ldev, struct linnet_ctx *ctx);

	/**
	 * @ctx_destroy: control. The context has no jobs, streams or attachments left;
	 * also called for a context that @ctx_reset or @reset ended.
	 */
	void (*ctx_destroy)(struct linnet_device *ldev, struct linnet_ctx *ctx);

	/**
	 * @bo_attach: control. The device may access the segments of @att (see
	 * linnet_sg_segments()) for jobs of @ctx that name @att->id, from now
	 * on; only read them if @att->read_only.
	 */
	int (*bo_attach)(struct linnet_device *ldev, struct linnet_ctx *ctx,
			 struct linnet_attachment *att);

	/**
	 * @bo_detach: control. No job uses @att. After a return of 0 the device does
	 * not access the segments. After any other value it might: the core then
	 * keeps the pages until @reset has succeeded.
	 */
	int (*bo_detach)(struct linnet_device *ldev, struct linnet_ctx *ctx,
			 struct linnet_attachment *att);

	/**
	 * @stream_create: control. Header, size and magic of @stream->data were
	 * checked; nothing else. The data stay until after @stream_destroy. -EINVAL
	 * when the device rejects it.
	 */
	int (*stream_create)(struct linnet_device *ldev, struct linnet_ctx *ctx,
			     struct linnet_stream *stream);

	/** @stream_destroy: control, optional. No job uses @stream. */
	void (*stream_destroy)(struct linnet_device *ldev, struct linnet_ctx *ctx,
			       struct linnet_stream *stream);

	/**
	 * @job_init: control. Allocate all that @job_queue and @job_cancel
	 * need, to @job->transport. Everything in @job is final but for its id.
	 */
	int (*job_init)(struct linnet_device *ldev, struct linnet_job *job);

	/**
	 * @job_fini: any context, also with spinlocks held. Undo @job_init. The job has
	 * ended or was never queued. This may come after the context's @ctx_destroy.
	 */
	void (*job_fini)(struct linnet_device *ldev, struct linnet_job *job);

	/**
	 * @job_queue: signalling, atomic (a spinlock is held). Give the job to the
	 * device, which never holds more than &drm_linnet_dev_info.queue_depth. Jobs
	 * of one context are executed in this order. Return 0, then call
	 * linnet_job_done() once, from elsewhere; or an error, and never call it.
	 */
	int (*job_queue)(struct linnet_device *ldev, struct linnet_job *job);

	/**
	 * @job_cancel: signalling, atomic (a spinlock is held). Ask the device to end a
	 * queued job early. It still has to be ended by linnet_job_done(). May be called
	 * more than once.
	 */
	void (*job_cancel)(struct linnet_device *ldev, struct linnet_job *job);

	/**
	 * @ctx_reset: signalling, may sleep. Stop all jobs of @ctx. After
	 * a return of 0 the device touches nothing for these jobs and linnet_job_done()
	 * is not called for them; the other contexts have not noticed. Only @bo_detach,
	 * @stream_destroy and @ctx_destroy follow for @ctx. An error makes the core call
	 * @reset.
	 */
	int (*ctx_reset)(struct linnet_device *ldev, struct linnet_ctx *ctx);

	/**
	 * @reset: signalling, may sleep. Stop everything: afterwards the device touches
	 * no page, has forgotten all contexts, and linnet_job_done() is not called for
	 * any job that was queued before. With @final the device is not used again;
	 * otherwise it must take new contexts when 0 is returned. Every error but
	 * -ENODEV means that the device may still access memory. Destroy functions may
	 * follow for objects that the device has forgotten.
	 */
	int (*reset)(struct linnet_device *ldev, bool final);

	/**
	 * @print: signalling, atomic (a spinlock is held), optional. Describe the state of
	 * queues for the record of a job that @ldev does not end.
	 */
	void (*print)(struct linnet_device *ldev, struct drm_printer *p);
};

/**
 * struct linnet_device - one accelerator
 */
struct linnet_device {
	/** @drm: the DRM device. */
	struct drm_device drm;

	/**
	 * @dma_dev: who does DMA. The parent, unless the transport sets another one
	 * before linnet_device_register().
	 */
	struct device *dma_dev;

	/** @ops: the transport. */
	const struct linnet_transport_ops *ops;

	/** @transport: the transport's own data. */
	void *transport;

	/**
	 * @info: what DEV_QUERY reports. Set by the transport before
	 * linnet_device_register(): engine, device_version, features of the device
	 * (READ_ONLY, CTX_RESET), max_stream_bytes, stream_magic, queue_depth,
	 * n_threads, isa; and the other limits where the device's are smaller than
	 * the defaults that linnet_device_alloc() has put there.
	 */
	struct drm_linnet_dev_info info;

	/**
	 * @use_dma_api: the device sees DMA addresses of @dma_dev, not physical ones.
	 * Set by the transport before linnet_device_register().
	 */
	bool use_dma_api;

	/** @sched: one queue of jobs for the whole device. */
	struct drm_gpu_scheduler sched;

	/** @submit_wq: runs @sched; ordered. */
	struct workqueue_struct *submit_wq;

	/** @reset_wq: runs @watchdog and @reset_work; ordered. */
	struct workqueue_struct *reset_wq;

	/** @ctx_ids: numbers of contexts. */
	struct ida ctx_ids;

	/** @next_job: id of the last job. */
	atomic64_t next_job;

	/** @ctx_lock: protects @ctxs; taken before any context's lock. */
	struct mutex ctx_lock;

	/** @ctxs: all contexts. */
	struct list_head ctxs;

	/**
	 * @queue_lock: protects @running to @generation, the lists of jobs of all
	 * contexts and the state of those jobs. Taken in hard interrupts.
	 */
	spinlock_t queue_lock;

	/** @running: jobs that the device holds, the oldest first. */
	struct list_head running;

	/** @n_busy: contexts that have some of them. */
	u32 n_busy;

	/** @last_end_ns: end of the last of them. */
	u64 last_end_ns;

	/** @gone: the device takes no jobs: 0, -EIO in a reset, -ENODEV for good. */
	int gone;

	/** @stuck: a reset failed: pages that the device knows are never given back. */
	bool stuck;

	/** @generation: number of resets; older contexts are lost. */
	u32 generation;

	/** @idle: woken when a job has ended. */
	wait_queue_head_t idle;

	/** @reset_lock: held during resets. Nothing is allocated under it. */
	struct mutex reset_lock;

	/** @watchdog: looks whether the oldest job has kept the device too long. */
	struct delayed_work watchdog;

	/** @reset_work: resets the device after linnet_device_error(). */
	struct work_struct reset_work;

	/**
	 * @leaked: attachments whose pages the device may still use, until it is reset;
	 * protected by @queue_lock.
	 */
	struct list_head leaked;

	/** @reap_work: frees @leaked after a reset. */
	struct work_struct reap_work;

	/** @dump: text about a job that hung, if any; protected by @queue_lock. */
	struct seq_buf dump;

	/** @dump_work: hands it out, and empties @dump. */
	struct work_struct dump_work;

	/** @lru_lock: protects @purgeable. Taken while memory is reclaimed. */
	spinlock_t lru_lock;

	/** @purgeable: buffers whose pages the kernel may take, the oldest first. */
	struct list_head purgeable;

	/** @shrinker: takes them. */
	struct shrinker *shrinker;

	/** @purged: bytes that it took. */
	atomic64_t purged;
};

#define to_linnet_device(dev) container_of(dev, struct linnet_device, drm)

/*
 * For transports. alloc, fill in, register; to end: unplug, which calls ops->reset with
 * final set, ends all jobs and releases all buffers and contexts, so that the transport
 * can take its queues down. The memory is managed: it goes when the parent is unbound and
 * the last file is closed.
 */
struct linnet_device *linnet_device_alloc(struct device *parent,
					  const struct linnet_transport_ops *ops);
int linnet_device_register(struct linnet_device *ldev);
void linnet_device_unplug(struct linnet_device *ldev);

/*
 * The device asks for a reset, or has written something that cannot be. Any context.
 */
void linnet_device_error(struct linnet_device *ldev);

/* For the core. */
void linnet_device_stop_ctx(struct linnet_ctx *ctx, struct linnet_job *guilty, int error);
void linnet_device_watch(struct linnet_device *ldev);

/* Frees what cannot be freed where its last reference is dropped; flushed on unload. */
extern struct workqueue_struct *linnet_wq;
extern const struct drm_driver linnet_drm_driver;

#endif /* __LINNET_DEVICE_H__ */
