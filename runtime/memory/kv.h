/* SPDX-License-Identifier: MIT */
/*
 * The KV cache: pages of LINNET_KV_PAGE positions. A page holds the keys and values
 * of all layers, layer after layer, so that it can be moved, shared or saved as one
 * piece; its layout within a layer is that of uapi/linnet/stream.h. A page table
 * for each sequence says which page holds which positions.
 */
#ifndef LINNET_MEMORY_KV_H
#define LINNET_MEMORY_KV_H

#include "region.h"

#include "runtime/engine/engine.h"

/* Heads and sizes of one layer. */
struct linnet_kv_layer {
	uint32_t n_heads, dk, dv;
	uint64_t offset, k_bytes, v_bytes;	/* in a page; linnet_kv_measure() fills them */
};

struct linnet_kv {
	uint32_t type;			/* enum linnet_type */
	uint32_t n_pages;
	uint64_t page_bytes;
	struct linnet_kv_layer *layer;
	uint32_t n_layers;
	struct linnet_region *region;
	struct linnet_engine *engine;
	/* free pages, last in first out */
	int32_t *free;
	uint32_t n_free;
	uint32_t *users;		/* of each page: tables that name it */
};

/* Fill the layers' places and return the bytes of a page. -EINVAL: a head size that
 * the type cannot hold; *bad gets the layer. */
int linnet_kv_measure(uint32_t type, struct linnet_kv_layer *layer, uint32_t n_layers,
		      uint64_t *page_bytes, uint32_t *bad);

/* layer[] is measured and copied. */
int linnet_kv_create(struct linnet_kv **out, struct linnet_engine *e, uint32_t type,
		     const struct linnet_kv_layer *layer, uint32_t n_layers, uint64_t page_bytes,
		     uint32_t n_pages, bool huge, struct linnet_error *err);
void linnet_kv_destroy(struct linnet_kv *kv);

/* A page with one user, or -ENOSPC. */
int32_t linnet_kv_page_get(struct linnet_kv *kv);
/* One user more; one less, and with the last the page is free. */
void linnet_kv_page_share(struct linnet_kv *kv, int32_t page);
void linnet_kv_page_put(struct linnet_kv *kv, int32_t page);
/* Where a page is. */
void *linnet_kv_page_memory(const struct linnet_kv *kv, int32_t page);

#endif
