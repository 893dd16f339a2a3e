/* SPDX-License-Identifier: MIT */
/*
 * An engine executes streams. It is a table of functions; what engine it is matters
 * to nothing outside this folder. Jobs of an engine run in the order of submission
 * and end on the queue it was opened with.
 */
#ifndef LINNET_ENGINE_ENGINE_H
#define LINNET_ENGINE_ENGINE_H

#include "runtime/memory/region.h"
#include "runtime/queue/queue.h"

#include <linnet/stream.h>

struct linnet_engine;
struct linnet_share_ops;
struct linnet_engine_stream;	/* a stream as the engine keeps it */

struct linnet_engine_options {
	unsigned n_threads;	/* 0: one for each core the process may use */
	const char *level;	/* of the kernels; NULL: LINNET_CPU, or the best */
	bool no_numa;		/* leave the placement on memory nodes to the kernel */
	struct linnet_queue *queue;
};

struct linnet_engine_info {
	const char *name, *isa;
	unsigned n_threads;
	unsigned n_nodes;	/* memory nodes that threads and weights are placed on; 1: none */
	uint64_t scratch_bytes;
	uint64_t max_memory_bytes;	/* all regions together; 0: no limit of its own */
	uint64_t device;	/* the same for all processes that use it; 0: the process itself */
};

/* Put `bytes` of a region from `offset` on into a slot. */
struct linnet_binding {
	uint32_t slot;
	const struct linnet_region *region;
	uint64_t offset, bytes;
};

/*
 * A submission, owned by the caller until done() is called from a poll or wait of
 * the queue. result: 0, -EINTR (interrupted) or -errno; failed_op then is the
 * operation that failed, or LINNET_OP_UNKNOWN.
 */
#define LINNET_OP_UNKNOWN UINT32_MAX

struct linnet_job {
	const struct linnet_engine_stream *stream;
	uint32_t params[LINNET_MAX_PARAMS];
	const struct linnet_binding *binding;
	uint32_t n_bindings;
	/* The disk sets the pace: an engine that shares memory with it may leave that alone
	 * and work with less of itself. */
	bool gentle;
	const _Atomic int *interrupt;	/* or NULL */
	void (*done)(struct linnet_job *job, int result);
	void *ctx;
	uint32_t failed_op;
	struct linnet_job *next;	/* the engine's own */
};

struct linnet_engine_ops {
	const char *name;
	/* Regions are private memory of the process, pages of the system's pool if it is wished. */
	bool regions_are_private;
	/*
	 * The memory of a reserved region is made of pieces: each is had by one region_take(),
	 * given back as a whole, and holds all that a binding is. Otherwise pages come when they
	 * are touched, and go one by one.
	 */
	bool in_pieces;
	/* How processes have memory of regions together (share.h). */
	const struct linnet_share_ops *share;
	/* Jobs that are sent together where they are short: the way to the engine and back
	 * is what costs. 0: one by one, as soon as each can be. */
	unsigned together;
	int (*open)(struct linnet_engine **out, const struct linnet_engine_options *opts,
		    struct linnet_error *err);
	/* No job may be pending. */
	void (*close)(struct linnet_engine *e);
	void (*info)(const struct linnet_engine *e, struct linnet_engine_info *info);
	/* On a machine of several memory nodes a region of LINNET_PAGES_POOL is spread over
	 * them, the others are near to who touches them first. */
	int (*region_create)(struct linnet_engine *e, struct linnet_region **out, size_t bytes,
			     enum linnet_pages pages, struct linnet_error *err);
	/* Addresses alone: region_take() is called for a part before it is used. */
	int (*region_reserve)(struct linnet_engine *e, struct linnet_region **out, size_t bytes,
			      enum linnet_pages pages, struct linnet_error *err);
	void (*region_destroy)(struct linnet_engine *e, struct linnet_region *r);
	/* Have memory for a part, as one piece, of whole blocks of 4 KiB and apart from all that
	 * are there. Failed, it changed nothing. */
	int (*region_take)(struct linnet_engine *e, struct linnet_region *r, size_t offset,
			   size_t bytes, struct linnet_error *err);
	/* Give memory of a reserved region back, of the pieces or pages that lie in this part as a
	 * whole. What was there is lost; the part may be taken again. */
	void (*region_discard)(struct linnet_engine *e, struct linnet_region *r, size_t offset,
			       size_t bytes);
	/* A piece's memory is the machine's to take until region_wake(): no job is bound to it. 0,
	 * or -errno: it is not. NULL: none can be taken. */
	int (*region_idle)(struct linnet_engine *e, struct linnet_region *r, size_t offset,
			   size_t bytes);
	/* Have the piece as it was. False: it is gone, as if it had been discarded. */
	bool (*region_wake)(struct linnet_engine *e, struct linnet_region *r, size_t offset,
			    size_t bytes);
	/* Only what lies before `at` is used for now: no page that begins there takes memory for
	 * what lies behind, as far as the engine can help it. NULL: it need not. */
	void (*region_border)(struct linnet_engine *e, struct linnet_region *r, size_t at);
	/* Scratch that the engine would need for the stream, in bytes. */
	int (*stream_scratch)(struct linnet_engine *e, const void *data, size_t bytes,
			      uint64_t *scratch, struct linnet_error *err);
	/* Copies and validates; the engine's scratch grows to what the stream needs. */
	int (*stream_create)(struct linnet_engine *e, struct linnet_engine_stream **out,
			     const void *data, size_t bytes, struct linnet_error *err);
	void (*stream_destroy)(struct linnet_engine *e, struct linnet_engine_stream *s);
	/* -EINVAL: a parameter over its maximum, a slot that is not bound, bound twice or
	 * too small. Then done() is not called. */
	int (*submit)(struct linnet_engine *e, struct linnet_job *job);
};

/* What every engine starts with. */
struct linnet_engine {
	const struct linnet_engine_ops *ops;
};

/* Engine by name; "auto" or NULL opens the best there is. NULL: no such engine. */
const struct linnet_engine_ops *linnet_engine_find(const char *name);

extern const struct linnet_engine_ops linnet_engine_host, linnet_engine_accel;

#endif
