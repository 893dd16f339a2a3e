/* SPDX-License-Identifier: (GPL-2.0-only WITH Linux-syscall-note) OR MIT */
/*
 * The virtio interface of a Linnet device: what driver and device say to each
 * other over virtqueues. Documentation/device-spec.rst is the specification; this
 * header fixes the bytes.
 *
 * Queue 0 (controlq) carries requests that make and end objects: contexts,
 * resources (memory of the guest) and streams (see <linnet/stream.h>). Queue 1
 * (jobq) carries submissions; a submission's end is its buffer in the used ring.
 *
 * Every buffer is a device-readable request followed by a device-writable
 * response, however they are cut into descriptors. All fields are little-endian
 * and naturally aligned from the start of the request or response. Reserved
 * fields are zero.
 *
 * The driver chooses the numbers of objects: contexts below max_contexts,
 * resources and streams of a context below max_resources and max_streams.
 */
#ifndef _UAPI_LINUX_VIRTIO_LINNET_H
#define _UAPI_LINUX_VIRTIO_LINNET_H

#include <linux/types.h>

/*
 * Not registered. The highest number that PCI transports can carry, which leaves
 * it the PCI device id 0x107f.
 */
#define VIRTIO_ID_LINNET		63

#define VIRTIO_LINNET_VERSION		1

enum virtio_linnet_queue {
	VIRTIO_LINNET_CONTROLQ	= 0,
	VIRTIO_LINNET_JOBQ	= 1,
	VIRTIO_LINNET_QUEUES	= 2,
};

#define VIRTIO_LINNET_MAX_PARAMS	8	/* LINNET_MAX_PARAMS */
#define VIRTIO_LINNET_MAX_BINDINGS	64	/* LINNET_MAX_SLOTS */

/* A device takes control requests of at least this many bytes. */
#define VIRTIO_LINNET_MIN_REQUEST	4096

/**
 * struct virtio_linnet_config - configuration space, read-only, never changes
 * @version: VIRTIO_LINNET_VERSION
 * @stream_version: the newest LINNET_STREAM_VERSION that the device takes
 * @max_resource_bytes: of one resource
 * @max_contexts: contexts that can be there at a time
 * @max_resources: resources of one context
 * @max_streams: streams of one context
 * @max_stream_bytes: of one stream
 * @n_threads: threads that execute a stream; for information
 * @reserved: ignored by the driver
 * @max_request_bytes: of one control request, at least VIRTIO_LINNET_MIN_REQUEST
 * @isa: name of the instruction set that is used, padded with zeros; for information
 */
struct virtio_linnet_config {
	__le32 version;
	__le32 stream_version;
	__le64 max_resource_bytes;
	__le32 max_contexts;
	__le32 max_resources;
	__le32 max_streams;
	__le32 max_stream_bytes;
	__le16 n_threads;
	__le16 reserved;
	__le32 max_request_bytes;
	__u8 isa[16];
};

/* Results of requests and submissions. */
enum virtio_linnet_status {
	VIRTIO_LINNET_S_OK		= 0,
	VIRTIO_LINNET_S_INVALID		= 1,	/* malformed, or a value out of range */
	VIRTIO_LINNET_S_UNSUPPORTED	= 2,	/* request, stream version or operation */
	VIRTIO_LINNET_S_NOENT		= 3,	/* no such context, resource or stream */
	VIRTIO_LINNET_S_EXIST		= 4,	/* the number is taken */
	VIRTIO_LINNET_S_BUSY		= 5,	/* jobs use the object */
	VIRTIO_LINNET_S_NOMEM		= 6,	/* memory, or a limit, of the device */
	VIRTIO_LINNET_S_ADDRESS		= 7,	/* not memory that the device can reach */
	VIRTIO_LINNET_S_STREAM		= 8,	/* the stream is not valid */
	VIRTIO_LINNET_S_BINDING		= 9,	/* a slot is bound wrongly, or not */
	VIRTIO_LINNET_S_RANGE		= 10,	/* an id, page or expert in memory */
	VIRTIO_LINNET_S_CANCELLED	= 11,
	VIRTIO_LINNET_S_DEVICE		= 12,	/* the device failed */
	VIRTIO_LINNET_S_ACCESS		= 13,	/* a read-only resource would be written */
	VIRTIO_LINNET_S_COUNT		= 14,
};

/* --------------------------------------------------------------- controlq */

enum virtio_linnet_request {
	VIRTIO_LINNET_RESET		= 0x001,	/* the head alone */
	VIRTIO_LINNET_CTX_CREATE	= 0x100,	/* struct virtio_linnet_ctx_create */
	VIRTIO_LINNET_CTX_DESTROY	= 0x101,	/* the head alone */
	VIRTIO_LINNET_RESOURCE_ATTACH	= 0x200,	/* struct virtio_linnet_resource_attach */
	VIRTIO_LINNET_RESOURCE_ADD	= 0x201,	/* struct virtio_linnet_resource_add */
	VIRTIO_LINNET_RESOURCE_DETACH	= 0x202,	/* the head alone */
	VIRTIO_LINNET_STREAM_CREATE	= 0x300,	/* struct virtio_linnet_stream_create */
	VIRTIO_LINNET_STREAM_ADD	= 0x301,	/* the head, then bytes */
	VIRTIO_LINNET_STREAM_DESTROY	= 0x302,	/* the head alone */
	VIRTIO_LINNET_JOB_CANCEL	= 0x400,	/* struct virtio_linnet_job_cancel */
};

/**
 * struct virtio_linnet_head - start of every control request
 * @type: enum virtio_linnet_request
 * @ctx: number of the context; zero in a request that has none
 * @id: number of the resource or stream; zero in requests that have neither
 * @reserved: zero
 */
struct virtio_linnet_head {
	__le32 type;
	__le32 ctx;
	__le32 id;
	__le32 reserved;
};

/**
 * struct virtio_linnet_response - the response to every control request
 * @status: enum virtio_linnet_status
 * @op: with VIRTIO_LINNET_S_STREAM or _UNSUPPORTED of a stream, the operation that
 *	is at fault; ~0 for the stream's header; else zero
 * @operand: and its operand; ~0 for the operation as a whole; else zero
 * @reserved: zero
 */
struct virtio_linnet_response {
	__le32 status;
	__le32 op;
	__le32 operand;
	__le32 reserved;
};

/**
 * struct virtio_linnet_ctx_create - make a context
 * @head: its @id is zero
 * @flags: zero
 * @reserved: zero
 */
struct virtio_linnet_ctx_create {
	struct virtio_linnet_head head;
	__le32 flags;
	__le32 reserved;
};

/**
 * struct virtio_linnet_entry - a piece of the guest's memory
 * @addr: guest-physical address, a multiple of 4096
 * @length: bytes, a multiple of 4096, not zero
 * @reserved: zero
 */
struct virtio_linnet_entry {
	__le64 addr;
	__le32 length;
	__le32 reserved;
};

#define VIRTIO_LINNET_ENTRY_ALIGN	4096

/* The device never writes to the resource. */
#define VIRTIO_LINNET_ATTACH_READ_ONLY	(1u << 0)

/**
 * struct virtio_linnet_resource_attach - give memory to a context
 * @head: its @id is the resource's number
 * @bytes: of the resource, a multiple of 4096, not zero
 * @flags: VIRTIO_LINNET_ATTACH_*
 * @n_entries: entries in this request
 * @entries: pieces of the resource in their order. When they do not make up @bytes
 *	yet, RESOURCE_ADD requests follow
 */
struct virtio_linnet_resource_attach {
	struct virtio_linnet_head head;
	__le64 bytes;
	__le32 flags;
	__le32 n_entries;
	struct virtio_linnet_entry entries[];
};

/**
 * struct virtio_linnet_resource_add - more pieces of a resource
 * @head: its @id is the resource's number
 * @n_entries: entries in this request
 * @reserved: zero
 * @entries: the pieces that follow those before
 */
struct virtio_linnet_resource_add {
	struct virtio_linnet_head head;
	__le32 n_entries;
	__le32 reserved;
	struct virtio_linnet_entry entries[];
};

/**
 * struct virtio_linnet_stream_create - make a stream
 * @head: its @id is the stream's number
 * @bytes: of the stream
 * @reserved: zero
 * @data: the stream's first bytes. When they are fewer than @bytes, STREAM_ADD
 *	requests follow; the stream is validated when it is complete
 */
struct virtio_linnet_stream_create {
	struct virtio_linnet_head head;
	__le32 bytes;
	__le32 reserved;
	__u8 data[];
};

/**
 * struct virtio_linnet_job_cancel - end a job early
 * @head: its @id is zero
 * @job: the job's number
 */
struct virtio_linnet_job_cancel {
	struct virtio_linnet_head head;
	__le64 job;
};

/* ------------------------------------------------------------------- jobq */

/**
 * struct virtio_linnet_binding - put a piece of a resource into a slot
 * @slot: of the stream
 * @resource: of the context
 * @offset: of the piece, in bytes
 * @length: of the piece, in bytes
 */
struct virtio_linnet_binding {
	__le32 slot;
	__le32 resource;
	__le64 offset;
	__le64 length;
};

/**
 * struct virtio_linnet_submit - execute a stream once
 * @ctx: number of the context
 * @stream: number of the stream
 * @job: the job's number, chosen by the driver; unique among those that are pending
 * @flags: zero
 * @n_bindings: at most VIRTIO_LINNET_MAX_BINDINGS
 * @params: values of the stream's parameters; those beyond are zero
 * @bindings: one for each slot that the stream uses
 */
struct virtio_linnet_submit {
	__le32 ctx;
	__le32 stream;
	__le64 job;
	__le32 flags;
	__le32 n_bindings;
	__le32 params[VIRTIO_LINNET_MAX_PARAMS];
	struct virtio_linnet_binding bindings[];
};

/**
 * struct virtio_linnet_done - the response to a submission
 * @status: enum virtio_linnet_status
 * @op: with VIRTIO_LINNET_S_RANGE, _CANCELLED or _DEVICE, the operation at which the
 *	job ended; else zero
 * @ns: nanoseconds that the device worked on the job
 */
struct virtio_linnet_done {
	__le32 status;
	__le32 op;
	__le64 ns;
};

/* Driver and device are built by different compilers, and must agree on every byte. */
#if defined(__cplusplus)
#define VIRTIO_LINNET_SIZE(type, bytes) \
	static_assert(sizeof(struct virtio_linnet_##type) == (bytes), #type)
#else
#define VIRTIO_LINNET_SIZE(type, bytes) \
	_Static_assert(sizeof(struct virtio_linnet_##type) == (bytes), #type)
#endif
VIRTIO_LINNET_SIZE(config, 56);
VIRTIO_LINNET_SIZE(head, 16);
VIRTIO_LINNET_SIZE(response, 16);
VIRTIO_LINNET_SIZE(ctx_create, 24);
VIRTIO_LINNET_SIZE(entry, 16);
VIRTIO_LINNET_SIZE(resource_attach, 32);
VIRTIO_LINNET_SIZE(resource_add, 24);
VIRTIO_LINNET_SIZE(stream_create, 24);
VIRTIO_LINNET_SIZE(job_cancel, 24);
VIRTIO_LINNET_SIZE(binding, 24);
VIRTIO_LINNET_SIZE(submit, 56);
VIRTIO_LINNET_SIZE(done, 16);

#endif /* _UAPI_LINUX_VIRTIO_LINNET_H */
