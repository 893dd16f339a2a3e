/* SPDX-License-Identifier: MIT */
/*
 * Weights in memory. Tensors come in groups that are used together (a layer); each
 * group is read from the file as it lies there, whole blocks by direct I/O where the
 * file system allows it, into a region of its own. Groups are read in order, several
 * requests in flight, and become ready one after another, so that computing can begin
 * before reading has ended.
 */
#ifndef LINNET_MEMORY_WEIGHTS_H
#define LINNET_MEMORY_WEIGHTS_H

#include "region.h"

#include "runtime/engine/engine.h"
#include "runtime/format/gguf.h"
#include "runtime/queue/queue.h"

struct linnet_weights;

struct linnet_weights_options {
	struct linnet_engine *engine;
	struct linnet_queue *queue;
	bool no_direct_io, no_huge_pages;
};

/* A group to be: tensors in any order, each at most once over all groups. */
struct linnet_weight_group {
	const struct linnet_gguf_tensor **tensor;
	size_t n;
};

/* Where a tensor is. */
struct linnet_weight {
	const struct linnet_region *region;
	uint64_t offset, bytes;
};

struct linnet_weights_stats {
	uint64_t bytes_read, total_bytes, read_ns, region_bytes;
	bool direct_io, huge_pages;
};

/* Bytes of memory that the groups will take, before anything is done. */
int linnet_weights_measure(const struct linnet_gguf *g, const struct linnet_weight_group *group,
			   size_t n_groups, uint64_t *bytes);

/* Opens the files and lays out the groups; reads nothing. */
int linnet_weights_create(struct linnet_weights **out, const struct linnet_gguf *g,
			  const struct linnet_weight_group *group, size_t n_groups,
			  const struct linnet_weights_options *opts, struct linnet_error *err);
/* Waits for the reads in flight. */
void linnet_weights_destroy(struct linnet_weights *w);

/* Queue all reads; once. Allocates the regions. */
int linnet_weights_start(struct linnet_weights *w, struct linnet_error *err);

/* 1: the group is in memory; 0: not yet, wait on the queue; -errno: a read failed. */
int linnet_weights_ready(const struct linnet_weights *w, size_t group, struct linnet_error *err);

/* Place of tensor number i of a group, as it was given; its region exists after start. */
struct linnet_weight linnet_weights_find(const struct linnet_weights *w, size_t group, size_t i);

void linnet_weights_stats(const struct linnet_weights *w, struct linnet_weights_stats *stats);

#endif
