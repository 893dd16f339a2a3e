/* SPDX-License-Identifier: MIT */
/*
 * A region: memory that the CPU and an engine both see. Weights, the KV cache and
 * scratch live in regions; streams address them through bindings.
 */
#ifndef LINNET_MEMORY_REGION_H
#define LINNET_MEMORY_REGION_H

#include <linnet/linnet.h>

/* What a region is made of. */
enum linnet_pages {
	LINNET_PAGES_SMALL,
	LINNET_PAGES_HUGE,	/* transparent huge pages, where the system gives them */
	/* As far as there are any, pages of the system's pool (vm.nr_hugepages), then as above.
	 * Memory that the kernel touches first, by reading to it: a control group's limit on
	 * such pages is an error of the read then, not a signal. */
	LINNET_PAGES_POOL,
};

struct linnet_region {
	char *addr;		/* 2 MiB-aligned; zero-filled at creation */
	size_t bytes;
	size_t mapped_bytes;
	size_t pool_bytes;	/* at the beginning: pages of the system's pool */
	size_t border;		/* where what is used ends for now; 0: nowhere */
	bool huge;		/* huge pages were asked for and granted */
};

/*
 * Anonymous memory of the process; pages are taken when they are touched. Huge pages
 * are for speed: direct reads into 4 KiB pages are bound by the number of scatter-gather
 * segments, not by bytes.
 */
int linnet_region_host_create(struct linnet_region **out, size_t bytes, enum linnet_pages pages,
			      struct linnet_error *err);
/* Bytes of the system's pool of huge pages that nobody has. root: as of budget.h. */
uint64_t linnet_region_pool_free(const char *root);
/* Address space for so many bytes may be had without a limit feeling it. */
bool linnet_region_reservable(uint64_t bytes);
void linnet_region_host_destroy(struct linnet_region *r);
/* The region is used up to `at` for now: there, and at its end, are small pages, so that no huge
 * one takes memory for what is not used. */
void linnet_region_host_border(struct linnet_region *r, size_t at);
/* Give the pages of a range back to the system, whole (huge) pages only: they read as
 * zeros from then on, and are taken again when they are touched. */
void linnet_region_host_discard(struct linnet_region *r, size_t offset, size_t bytes);

#endif
