/* SPDX-License-Identifier: MIT */
/*
 * User space API of the Linnet accelerator driver, /dev/accel/accelN.
 *
 * Objects. A buffer is a GEM object: memory that the CPU and the device both see.
 * A context is an ordered queue of jobs with its own streams and attachments. A
 * buffer is attached to a context once; that pins its pages and tells the device
 * where they are. A stream is a list of operations, copied and checked once. A job
 * is one run of a stream: parameters, and for each slot of the stream a piece of
 * an attached buffer. Handles belong to the open file, numbers of streams and
 * attachments to their context.
 *
 * Order. Jobs of one context run and end in the order of their submission; jobs
 * of different contexts are ordered by sync objects alone.
 *
 * Two ways in. Every command is an ioctl. SUBMIT, CANCEL and BO_WAIT are io_uring
 * commands as well (IORING_OP_URING_CMD with struct drm_linnet_uring_cmd): there
 * the completion of the request is the end of the job or of the wait.
 *
 * Errors, for all commands:
 *
 *	EINVAL	a flag, reserved field or value is not valid, or the device
 *		rejected the stream or the bindings
 *	E2BIG	a count or size is above a limit of struct drm_linnet_dev_info, or an
 *		array's element or an io_uring command's argument is longer than
 *		this version's, and not zero beyond it
 *	ENOENT	no object has this handle or number
 *	EFAULT	a pointer does not point to readable (writable) memory
 *	EOVERFLOW  offset + length lies outside of a buffer, or wraps around
 *	EBUSY	the object is in use: jobs, attachments or other users are left
 *	ENOMEM	no memory; nothing was changed
 *	ENOSPC	the context or the device has no room for another object
 *	EACCES	the priority is not permitted, or the job writes to an attachment
 *		that is read-only
 *	EAGAIN	the queue is full, and waiting was not wanted
 *	EINTR	a signal arrived before anything was changed (restarted if the
 *		signal handler permits)
 *	EIO	the device failed, or the context was banned after a failure; the
 *		context accepts no more jobs
 *	ETIME	the deadline of a wait passed
 *	ETIMEDOUT  the job kept the device longer than permitted; its context is
 *		banned
 *	ECANCELED  the job was cancelled, or its context destroyed
 *	ERANGE	a number that the job read in memory (a token, page or expert) was
 *		out of range
 *	ENODEV	the device is gone, or failed and is not used any more
 *	EOPNOTSUPP this device or kernel has not the feature
 *	ENOTTY	unknown io_uring command (an unknown ioctl: EINVAL, as DRM has it)
 *
 * A failed command changed nothing. ETIMEDOUT, ECANCELED, ERANGE and the device's errors
 * are results of jobs: of the io_uring command, and of the fence of a binary sync object
 * (SYNC_IOC_FILE_INFO of an exported sync file; timelines do not keep results).
 */
#ifndef _UAPI_DRM_LINNET_ACCEL_H
#define _UAPI_DRM_LINNET_ACCEL_H

#include "drm.h"

#if defined(__cplusplus)
extern "C" {
#endif

/* Version of this interface: DRM_IOCTL_VERSION reports it as major.minor. */
#define DRM_LINNET_MAJOR	1
#define DRM_LINNET_MINOR	0

/* The most that any device takes; struct drm_linnet_dev_info may say less. */
#define DRM_LINNET_MAX_BINDINGS	64
#define DRM_LINNET_MAX_PARAMS	8
#define DRM_LINNET_MAX_SYNCS	64

/**
 * enum drm_linnet_ioctl_id - numbers of the ioctls
 *
 * New ones are added at the end; the order never changes.
 */
enum drm_linnet_ioctl_id {
	/** @DRM_LINNET_DEV_QUERY: read properties of the device. */
	DRM_LINNET_DEV_QUERY = 0,
	/** @DRM_LINNET_BO_CREATE: create a buffer. */
	DRM_LINNET_BO_CREATE,
	/** @DRM_LINNET_BO_INFO: read the state of a buffer. */
	DRM_LINNET_BO_INFO,
	/** @DRM_LINNET_BO_MMAP_OFFSET: get the offset to mmap() a buffer. */
	DRM_LINNET_BO_MMAP_OFFSET,
	/** @DRM_LINNET_BO_MADVISE: let the kernel take a buffer's pages, or not. */
	DRM_LINNET_BO_MADVISE,
	/** @DRM_LINNET_BO_WAIT: wait until no job uses a buffer. */
	DRM_LINNET_BO_WAIT,
	/** @DRM_LINNET_CTX_CREATE: create a context. */
	DRM_LINNET_CTX_CREATE,
	/** @DRM_LINNET_CTX_DESTROY: destroy a context and cancel its jobs. */
	DRM_LINNET_CTX_DESTROY,
	/** @DRM_LINNET_ATTACH: make a buffer usable by jobs of a context. */
	DRM_LINNET_ATTACH,
	/** @DRM_LINNET_DETACH: undo ATTACH. */
	DRM_LINNET_DETACH,
	/** @DRM_LINNET_STREAM_CREATE: give a stream to a context. */
	DRM_LINNET_STREAM_CREATE,
	/** @DRM_LINNET_STREAM_DESTROY: undo STREAM_CREATE. */
	DRM_LINNET_STREAM_DESTROY,
	/** @DRM_LINNET_SUBMIT: queue a job. */
	DRM_LINNET_SUBMIT,
	/** @DRM_LINNET_CANCEL: end a job early. */
	DRM_LINNET_CANCEL,
};

/**
 * enum drm_linnet_query - what DEV_QUERY can read
 */
enum drm_linnet_query {
	/** @DRM_LINNET_QUERY_DEV_INFO: struct drm_linnet_dev_info. */
	DRM_LINNET_QUERY_DEV_INFO = 0,
};

/**
 * struct drm_linnet_dev_query - argument of DRM_IOCTL_LINNET_DEV_QUERY
 */
struct drm_linnet_dev_query {
	/** @type: in: enum drm_linnet_query. */
	__u32 type;
	/**
	 * @size: in: bytes at @ptr, at most 4096. out: bytes that the kernel has.
	 * The smaller number of bytes is copied, the rest at @ptr is zeroed. With
	 * @ptr zero only @size is returned.
	 */
	__u32 size;
	/** @ptr: in: where to copy to, or zero. */
	__u64 ptr;
};

/**
 * enum drm_linnet_engine - who executes streams
 */
enum drm_linnet_engine {
	/** @DRM_LINNET_ENGINE_SIM: the driver itself, struct drm_linnet_sim_op. */
	DRM_LINNET_ENGINE_SIM = 1,
	/** @DRM_LINNET_ENGINE_VIRTIO: a virtio device, linnet/stream.h. */
	DRM_LINNET_ENGINE_VIRTIO = 2,
};

/* Bits of drm_linnet_dev_info.features. */
/* SUBMIT, CANCEL and BO_WAIT are io_uring commands. */
#define DRM_LINNET_FEATURE_URING	(1ull << 0)
/* Pages of a buffer that is not needed go back to the kernel under pressure. */
#define DRM_LINNET_FEATURE_PURGE	(1ull << 1)
/* Buffers of other drivers can be imported and attached. */
#define DRM_LINNET_FEATURE_IMPORT	(1ull << 2)
/* The device holds jobs to DRM_LINNET_ATTACH_READ_ONLY. */
#define DRM_LINNET_FEATURE_READ_ONLY	(1ull << 3)
/* One context's failure does not touch the others. */
#define DRM_LINNET_FEATURE_CTX_RESET	(1ull << 4)

/**
 * struct drm_linnet_dev_info - properties of the device
 */
struct drm_linnet_dev_info {
	/** @engine: enum drm_linnet_engine. */
	__u32 engine;
	/** @device_version: version of the device's interface, for information. */
	__u32 device_version;
	/** @features: DRM_LINNET_FEATURE_*. */
	__u64 features;
	/** @max_bo_bytes: largest buffer; never more than the machine's memory. */
	__u64 max_bo_bytes;
	/** @max_stream_bytes: largest stream. */
	__u32 max_stream_bytes;
	/** @stream_magic: first word of the streams that this device executes. */
	__u32 stream_magic;
	/** @max_contexts: contexts of one open file. */
	__u32 max_contexts;
	/** @max_streams: streams of one context. */
	__u32 max_streams;
	/** @max_attachments: attachments of one context. */
	__u32 max_attachments;
	/** @max_bindings: bindings of one job. */
	__u32 max_bindings;
	/** @max_params: parameters of one job. */
	__u32 max_params;
	/** @max_jobs: unfinished jobs of one context. */
	__u32 max_jobs;
	/** @queue_depth: jobs that the device holds at a time. */
	__u32 queue_depth;
	/** @timeout_ms: time that a job may keep the device. */
	__u32 timeout_ms;
	/** @n_threads: threads of the device, for information; 0: unknown. */
	__u32 n_threads;
	/** @reserved: zero. */
	__u32 reserved;
	/** @isa: instruction set of the device, for information; a C string. */
	char isa[32];
};

/**
 * struct drm_linnet_bo_create - argument of DRM_IOCTL_LINNET_BO_CREATE
 *
 * The memory reads as zeroes. It is charged to the process that first touches it.
 */
struct drm_linnet_bo_create {
	/** @size: in: bytes, a multiple of the page size, not zero. */
	__u64 size;
	/** @flags: in: zero. */
	__u32 flags;
	/** @handle: out: the buffer. Freed by DRM_IOCTL_GEM_CLOSE. */
	__u32 handle;
};

/* Bits of drm_linnet_bo_info.state. */
/* It is a buffer of another driver. */
#define DRM_LINNET_BO_IMPORTED		(1u << 0)
/* It was exported as a dma-buf: others may know its pages. */
#define DRM_LINNET_BO_EXPORTED		(1u << 1)
/* It is attached to a context of this or of another file. */
#define DRM_LINNET_BO_ATTACHED		(1u << 2)
/* Its contents are not needed, see DRM_LINNET_MADV_DONTNEED. */
#define DRM_LINNET_BO_DONTNEED		(1u << 3)
/* Its contents were taken; they read as zeroes. */
#define DRM_LINNET_BO_PURGED		(1u << 4)
/* An unfinished job uses it. */
#define DRM_LINNET_BO_BUSY		(1u << 5)

/**
 * struct drm_linnet_bo_info - argument of DRM_IOCTL_LINNET_BO_INFO
 */
struct drm_linnet_bo_info {
	/** @handle: in: the buffer. */
	__u32 handle;
	/** @state: out: DRM_LINNET_BO_*. */
	__u32 state;
	/** @size: out: bytes. */
	__u64 size;
	/** @resident: out: bytes that are in memory now; @size if imported. */
	__u64 resident;
};

/**
 * struct drm_linnet_bo_mmap_offset - argument of DRM_IOCTL_LINNET_BO_MMAP_OFFSET
 *
 * Map the whole buffer with MAP_SHARED at this offset of the device file. Such a
 * mapping is ordinary shared memory: O_DIRECT reads, registered buffers, mbind()
 * and transparent huge pages work on it, and it outlives the handle, the file and
 * the device. (A buffer of another driver is mapped as that driver permits.)
 */
struct drm_linnet_bo_mmap_offset {
	/** @handle: in: the buffer. */
	__u32 handle;
	/** @flags: in: zero. */
	__u32 flags;
	/** @offset: out: offset for mmap(). */
	__u64 offset;
};

/**
 * enum drm_linnet_madv - what is expected of a buffer's contents
 */
enum drm_linnet_madv {
	/** @DRM_LINNET_MADV_WILLNEED: keep them. */
	DRM_LINNET_MADV_WILLNEED = 0,
	/**
	 * @DRM_LINNET_MADV_DONTNEED: they can be made again; the kernel may take
	 * the pages under memory pressure. They then read as zeroes. EBUSY while
	 * the buffer is attached or in use by a job, and for good once it was
	 * exported; EOPNOTSUPP for an imported one. It cannot be attached or exported until
	 * WILLNEED.
	 */
	DRM_LINNET_MADV_DONTNEED = 1,
};

/**
 * struct drm_linnet_bo_madvise - argument of DRM_IOCTL_LINNET_BO_MADVISE
 */
struct drm_linnet_bo_madvise {
	/** @handle: in: the buffer. */
	__u32 handle;
	/** @madv: in: enum drm_linnet_madv. */
	__u32 madv;
	/**
	 * @retained: out: 1: the contents are there; 0: they were taken. WILLNEED
	 * makes a buffer whose contents were taken usable again: fill it.
	 */
	__u32 retained;
	/** @reserved: in: zero. */
	__u32 reserved;
};

/**
 * struct drm_linnet_bo_wait - argument of DRM_IOCTL_LINNET_BO_WAIT and
 * DRM_LINNET_URING_BO_WAIT
 *
 * Waits for all jobs that were submitted before and use the buffer, of any file.
 * ETIME when the deadline passes first. Results of the jobs are not reported.
 */
struct drm_linnet_bo_wait {
	/** @handle: in: the buffer. */
	__u32 handle;
	/** @flags: in: zero. */
	__u32 flags;
	/** @timeout_ns: in: deadline on CLOCK_MONOTONIC; in the past: only look. */
	__s64 timeout_ns;
};

/**
 * enum drm_linnet_priority - which context goes first
 */
enum drm_linnet_priority {
	/** @DRM_LINNET_PRIORITY_LOW: after all others. */
	DRM_LINNET_PRIORITY_LOW = 0,
	/** @DRM_LINNET_PRIORITY_NORMAL: the usual one. */
	DRM_LINNET_PRIORITY_NORMAL = 1,
	/** @DRM_LINNET_PRIORITY_HIGH: before all others; needs CAP_SYS_NICE. */
	DRM_LINNET_PRIORITY_HIGH = 2,
};

/**
 * struct drm_linnet_ctx_create - argument of DRM_IOCTL_LINNET_CTX_CREATE
 */
struct drm_linnet_ctx_create {
	/** @priority: in: enum drm_linnet_priority. */
	__u32 priority;
	/** @flags: in: zero. */
	__u32 flags;
	/** @ctx: out: the context. */
	__u32 ctx;
	/** @reserved: in: zero. */
	__u32 reserved;
};

/**
 * struct drm_linnet_ctx_destroy - argument of DRM_IOCTL_LINNET_CTX_DESTROY
 *
 * Unfinished jobs end with ECANCELED. Streams and attachments go with the context.
 */
struct drm_linnet_ctx_destroy {
	/** @ctx: in: the context. */
	__u32 ctx;
	/** @reserved: in: zero. */
	__u32 reserved;
};

/* Jobs may read, but not write this buffer. Needs DRM_LINNET_FEATURE_READ_ONLY. */
#define DRM_LINNET_ATTACH_READ_ONLY	(1u << 0)

/**
 * struct drm_linnet_attach - argument of DRM_IOCTL_LINNET_ATTACH
 *
 * Brings all pages of the buffer into memory and keeps them there. The attachment
 * does not need the handle any more.
 */
struct drm_linnet_attach {
	/** @ctx: in: the context. */
	__u32 ctx;
	/** @handle: in: the buffer. */
	__u32 handle;
	/** @flags: in: DRM_LINNET_ATTACH_*. */
	__u32 flags;
	/** @attachment: out: number of the attachment in the context, not zero. */
	__u32 attachment;
};

/**
 * struct drm_linnet_detach - argument of DRM_IOCTL_LINNET_DETACH
 *
 * Fails with EBUSY while an unfinished job uses the attachment. When it returns 0,
 * the device does not touch the memory any more.
 */
struct drm_linnet_detach {
	/** @ctx: in: the context. */
	__u32 ctx;
	/** @attachment: in: the attachment. */
	__u32 attachment;
};

/**
 * struct drm_linnet_stream_create - argument of DRM_IOCTL_LINNET_STREAM_CREATE
 *
 * The stream is copied: the memory at @ptr is not used afterwards. It begins with
 * the header of linnet/stream.h, whatever its magic.
 */
struct drm_linnet_stream_create {
	/** @ctx: in: the context. */
	__u32 ctx;
	/** @size: in: bytes at @ptr. */
	__u32 size;
	/** @ptr: in: the stream. */
	__u64 ptr;
	/** @flags: in: zero. */
	__u32 flags;
	/** @stream: out: number of the stream in the context, not zero. */
	__u32 stream;
};

/**
 * struct drm_linnet_stream_destroy - argument of DRM_IOCTL_LINNET_STREAM_DESTROY
 *
 * Fails with EBUSY while an unfinished job uses the stream.
 */
struct drm_linnet_stream_destroy {
	/** @ctx: in: the context. */
	__u32 ctx;
	/** @stream: in: the stream. */
	__u32 stream;
};

/**
 * struct drm_linnet_array - an array in user space whose elements may grow
 */
struct drm_linnet_array {
	/** @stride: bytes from one element to the next; zero if @count is zero. */
	__u32 stride;
	/** @count: number of elements. */
	__u32 count;
	/** @ptr: first element; zero if @count is zero. */
	__u64 ptr;
};

/**
 * struct drm_linnet_binding - what a slot of a stream is in one job
 */
struct drm_linnet_binding {
	/** @slot: slot of the stream; each at most once. */
	__u32 slot;
	/** @attachment: attachment of the context. */
	__u32 attachment;
	/** @offset: bytes from the start of the buffer. */
	__u64 offset;
	/** @length: bytes of the piece, not zero. */
	__u64 length;
};

/* The job starts after this sync object's point. */
#define DRM_LINNET_SYNC_WAIT		(1u << 0)
/* The end of the job signals this sync object's point. */
#define DRM_LINNET_SYNC_SIGNAL		(1u << 1)

/**
 * struct drm_linnet_sync - a point of a sync object
 */
struct drm_linnet_sync {
	/** @handle: the sync object. */
	__u32 handle;
	/** @flags: DRM_LINNET_SYNC_WAIT or DRM_LINNET_SYNC_SIGNAL, not both. */
	__u32 flags;
	/** @point: point of the timeline; zero: a binary sync object. */
	__u64 point;
};

/* Fail with EAGAIN rather than wait while the context has max_jobs jobs. */
#define DRM_LINNET_SUBMIT_NOWAIT	(1u << 0)
/*
 * Order the job with users of the same buffers in other drivers: wait for their
 * fences, and show this job's fence to those who synchronize implicitly.
 */
#define DRM_LINNET_SUBMIT_IMPLICIT	(1u << 1)

/**
 * struct drm_linnet_submit - argument of DRM_IOCTL_LINNET_SUBMIT and
 * DRM_LINNET_URING_SUBMIT
 */
struct drm_linnet_submit {
	/** @ctx: in: the context. */
	__u32 ctx;
	/** @stream: in: the stream. */
	__u32 stream;
	/** @flags: in: DRM_LINNET_SUBMIT_*. */
	__u32 flags;
	/** @n_params: in: number of values in @params, that of the stream. */
	__u32 n_params;
	/** @params: in: values of the stream's parameters; unused ones are zero. */
	__u32 params[DRM_LINNET_MAX_PARAMS];
	/** @bindings: in: struct drm_linnet_binding. */
	struct drm_linnet_array bindings;
	/** @syncs: in: struct drm_linnet_sync. */
	struct drm_linnet_array syncs;
	/**
	 * @user_data: in: any number; it appears with the job's id in traces. A
	 * caller of io_uring puts the user_data of the request here.
	 */
	__u64 user_data;
	/**
	 * @job: out: id of the job, unique on this device until it is unbound,
	 * never zero. Written before the job can start, by the io_uring command as
	 * well; that also returns it in the second result of a 32-byte CQE.
	 */
	__u64 job;
};

/**
 * struct drm_linnet_cancel - argument of DRM_IOCTL_LINNET_CANCEL and
 * DRM_LINNET_URING_CANCEL
 *
 * A job that has not started does not start; the device is asked to stop one that
 * has. It ends with ECANCELED in its turn, unless it had come to its end. Returns
 * at once; ENOENT when the job has ended.
 */
struct drm_linnet_cancel {
	/** @ctx: in: the context. */
	__u32 ctx;
	/** @flags: in: zero. */
	__u32 flags;
	/** @job: in: the job. */
	__u64 job;
};

/**
 * enum drm_linnet_uring_op - cmd_op of IORING_OP_URING_CMD on the device file
 */
enum drm_linnet_uring_op {
	/**
	 * @DRM_LINNET_URING_SUBMIT: struct drm_linnet_submit. Completes when the
	 * job ends, with its result: 0 or a negative error.
	 */
	DRM_LINNET_URING_SUBMIT = 1,
	/** @DRM_LINNET_URING_CANCEL: struct drm_linnet_cancel. */
	DRM_LINNET_URING_CANCEL = 2,
	/**
	 * @DRM_LINNET_URING_BO_WAIT: struct drm_linnet_bo_wait. Completes with 0
	 * or -ETIME. The deadline is that of the argument.
	 */
	DRM_LINNET_URING_BO_WAIT = 3,
};

/**
 * struct drm_linnet_uring_cmd - payload of an IORING_OP_URING_CMD
 *
 * Fills the 16 bytes at sqe->cmd of a 64-byte SQE. A linked request
 * READ -> DRM_LINNET_URING_SUBMIT starts the job when the whole of the read has
 * succeeded. The memory at @ptr must stay until the request has completed.
 */
struct drm_linnet_uring_cmd {
	/** @ptr: the argument, as for the ioctl. */
	__u64 ptr;
	/** @size: bytes at @ptr; a newer, longer argument must be zero at its end. */
	__u32 size;
	/** @flags: zero. */
	__u32 flags;
};

/*
 * Streams of the engine DRM_LINNET_ENGINE_SIM, to test everything but arithmetic.
 * Header and parameters as in linnet/stream.h with this magic; after them n_ops
 * times struct drm_linnet_sim_op.
 */
#define DRM_LINNET_SIM_MAGIC	0x4d53534cu	/* "LSSM" */
#define DRM_LINNET_SIM_VERSION	1
#define DRM_LINNET_SIM_NONE	0xffffffffu	/* no parameter */

/**
 * enum drm_linnet_sim_code - operations of the simulated device
 */
enum drm_linnet_sim_code {
	/** @DRM_LINNET_SIM_COPY: length bytes from src to dst; they may overlap. */
	DRM_LINNET_SIM_COPY = 1,
	/** @DRM_LINNET_SIM_FILL: length bytes of dst become the low byte of value. */
	DRM_LINNET_SIM_FILL = 2,
	/**
	 * @DRM_LINNET_SIM_CHECKSUM: the 8 bytes at dst, little-endian, become the
	 * FNV-1a hash of length bytes of src: h = value; for each byte:
	 * h = (h ^ byte) * 0x100000001b3.
	 */
	DRM_LINNET_SIM_CHECKSUM = 3,
	/** @DRM_LINNET_SIM_DELAY: wait for value microseconds, or for a cancel. */
	DRM_LINNET_SIM_DELAY = 4,
	/** @DRM_LINNET_SIM_HANG: never end; only a reset helps. */
	DRM_LINNET_SIM_HANG = 5,
	/** @DRM_LINNET_SIM_FAULT: the job fails with the error value (1..4095). */
	DRM_LINNET_SIM_FAULT = 6,
};

/**
 * struct drm_linnet_sim_op - one operation of the simulated device
 */
struct drm_linnet_sim_op {
	/** @code: enum drm_linnet_sim_code. */
	__u32 code;
	/** @dst_slot: slot that is written; zero for operations without dst. */
	__u32 dst_slot;
	/** @src_slot: slot that is read; zero for operations without src. */
	__u32 src_slot;
	/** @param: parameter that replaces @value, or DRM_LINNET_SIM_NONE. */
	__u32 param;
	/** @dst_offset: bytes from the start of the slot. */
	__u64 dst_offset;
	/** @src_offset: bytes from the start of the slot. */
	__u64 src_offset;
	/** @length: bytes. */
	__u64 length;
	/** @value: see enum drm_linnet_sim_code. */
	__u64 value;
};

#define DRM_IOCTL_LINNET(dir, name, type) \
	DRM_IO##dir(DRM_COMMAND_BASE + DRM_LINNET_##name, struct drm_linnet_##type)

#define DRM_IOCTL_LINNET_DEV_QUERY	DRM_IOCTL_LINNET(WR, DEV_QUERY, dev_query)
#define DRM_IOCTL_LINNET_BO_CREATE	DRM_IOCTL_LINNET(WR, BO_CREATE, bo_create)
#define DRM_IOCTL_LINNET_BO_INFO	DRM_IOCTL_LINNET(WR, BO_INFO, bo_info)
#define DRM_IOCTL_LINNET_BO_MMAP_OFFSET	DRM_IOCTL_LINNET(WR, BO_MMAP_OFFSET, bo_mmap_offset)
#define DRM_IOCTL_LINNET_BO_MADVISE	DRM_IOCTL_LINNET(WR, BO_MADVISE, bo_madvise)
#define DRM_IOCTL_LINNET_BO_WAIT	DRM_IOCTL_LINNET(W, BO_WAIT, bo_wait)
#define DRM_IOCTL_LINNET_CTX_CREATE	DRM_IOCTL_LINNET(WR, CTX_CREATE, ctx_create)
#define DRM_IOCTL_LINNET_CTX_DESTROY	DRM_IOCTL_LINNET(W, CTX_DESTROY, ctx_destroy)
#define DRM_IOCTL_LINNET_ATTACH		DRM_IOCTL_LINNET(WR, ATTACH, attach)
#define DRM_IOCTL_LINNET_DETACH		DRM_IOCTL_LINNET(W, DETACH, detach)
#define DRM_IOCTL_LINNET_STREAM_CREATE	DRM_IOCTL_LINNET(WR, STREAM_CREATE, stream_create)
#define DRM_IOCTL_LINNET_STREAM_DESTROY	DRM_IOCTL_LINNET(W, STREAM_DESTROY, stream_destroy)
#define DRM_IOCTL_LINNET_SUBMIT		DRM_IOCTL_LINNET(WR, SUBMIT, submit)
#define DRM_IOCTL_LINNET_CANCEL		DRM_IOCTL_LINNET(W, CANCEL, cancel)

/*
 * The same layout for 32 and 64 bit programs: every field lies at a multiple of its
 * size, every size is a multiple of 8 and no byte is left between fields.
 */
#if defined(__cplusplus)
#define DRM_LINNET_ASSERT(what)	static_assert(what, #what)
#else
#define DRM_LINNET_ASSERT(what)	_Static_assert(what, #what)
#endif
#define DRM_LINNET_LAYOUT(type, bytes, last) \
	DRM_LINNET_ASSERT(sizeof(struct drm_linnet_##type) == (bytes) && \
			  __builtin_offsetof(struct drm_linnet_##type, last) + \
			  sizeof(((struct drm_linnet_##type *)0)->last) == (bytes))

DRM_LINNET_LAYOUT(dev_query, 16, ptr);
DRM_LINNET_LAYOUT(dev_info, 104, isa);
DRM_LINNET_LAYOUT(bo_create, 16, handle);
DRM_LINNET_LAYOUT(bo_info, 24, resident);
DRM_LINNET_LAYOUT(bo_mmap_offset, 16, offset);
DRM_LINNET_LAYOUT(bo_madvise, 16, reserved);
DRM_LINNET_LAYOUT(bo_wait, 16, timeout_ns);
DRM_LINNET_LAYOUT(ctx_create, 16, reserved);
DRM_LINNET_LAYOUT(ctx_destroy, 8, reserved);
DRM_LINNET_LAYOUT(attach, 16, attachment);
DRM_LINNET_LAYOUT(detach, 8, attachment);
DRM_LINNET_LAYOUT(stream_create, 24, stream);
DRM_LINNET_LAYOUT(stream_destroy, 8, stream);
DRM_LINNET_LAYOUT(array, 16, ptr);
DRM_LINNET_LAYOUT(binding, 24, length);
DRM_LINNET_LAYOUT(sync, 16, point);
DRM_LINNET_LAYOUT(submit, 96, job);
DRM_LINNET_LAYOUT(cancel, 16, job);
DRM_LINNET_LAYOUT(uring_cmd, 16, flags);
DRM_LINNET_LAYOUT(sim_op, 48, value);

#if defined(__cplusplus)
}
#endif

#endif /* _UAPI_DRM_LINNET_ACCEL_H */
