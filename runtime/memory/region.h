/* SPDX-License-Identifier: MIT */
/*
 * A region: memory that the CPU and an engine both see. Weights, the KV cache and
 * scratch live in regions; streams address them through bindings.
 */
#ifndef LINNET_MEMORY_REGION_H
#define LINNET_MEMORY_REGION_H

#include <linnet/linnet.h>

struct linnet_region {
	char *addr;		/* 2 MiB-aligned; zero-filled at creation */
	size_t bytes;
	size_t mapped_bytes;
	bool huge;		/* huge pages were asked for and granted */
};

/*
 * Anonymous memory of the process; pages are taken when they are touched. huge asks
 * for transparent huge pages: direct reads into 4 KiB pages are bound by the number
 * of scatter-gather segments, not by bytes.
 */
int linnet_region_host_create(struct linnet_region **out, size_t bytes, bool huge,
			      struct linnet_error *err);
/* Address space for so many bytes may be had without a limit feeling it. */
bool linnet_region_reservable(uint64_t bytes);
void linnet_region_host_destroy(struct linnet_region *r);
/* Give the pages of a range back to the system, whole (huge) pages only: they read as
 * zeros from then on, and are taken again when they are touched. */
void linnet_region_host_discard(struct linnet_region *r, size_t offset, size_t bytes);

#endif
