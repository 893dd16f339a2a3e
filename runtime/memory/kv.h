/* SPDX-License-Identifier: MIT */
/*
 * The KV cache: pages of LINNET_KV_PAGE positions. A page holds the keys and values
 * of all layers, layer after layer, so that it can be moved, shared or saved as one
 * piece; its layout within a layer is that of uapi/linnet/stream.h. A page table
 * for each sequence says which page holds which positions.
 *
 * Not all pages need be in memory. Then there are frames for some of them; the others,
 * the cold ones, are in an unlinked file, written once when a page is full, ahead of the
 * time when it gives up its frame. A pass takes the pages it writes to and as many others as
 * there are frames from memory, and reads the cold ones' share of a layer ahead of that
 * layer's attention into one of two halves of a ring. As every pass goes over all pages of a
 * text, which frames are kept hardly matters as long as they stay: see take_frame().
 */
#ifndef LINNET_MEMORY_KV_H
#define LINNET_MEMORY_KV_H

#include "region.h"

#include "runtime/engine/engine.h"

/* Heads and sizes of one layer. */
struct linnet_kv_layer {
	uint32_t n_heads, dk, dv;
	uint32_t window;			/* positions that it sees; 0: all */
	uint64_t offset, k_bytes, v_bytes;	/* in a page; linnet_kv_measure() fills them */
};

struct linnet_kv_cold;

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
	struct linnet_kv_cold *cold;	/* NULL: all pages are in memory */
};

/*
 * Fill the layers' places and return the bytes of a page; both are multiples of what direct
 * I/O needs. -EINVAL: a head size that the type cannot hold; *bad gets the layer.
 */
int linnet_kv_measure(uint32_t type, struct linnet_kv_layer *layer, uint32_t n_layers,
		      uint64_t *page_bytes, uint32_t *bad);

struct linnet_kv_options {
	uint32_t type, n_layers, n_pages;
	const struct linnet_kv_layer *layer;	/* measured; copied */
	uint64_t page_bytes;
	bool huge;
	uint32_t n_frames;	/* pages in memory: n_pages, or fewer: then layers are alike */
	const char *dir;	/* for the others' file */
	struct linnet_queue *queue;
};

int linnet_kv_create(struct linnet_kv **out, struct linnet_engine *e,
		     const struct linnet_kv_options *opts, struct linnet_error *err);
/* No pass may be under way. */
void linnet_kv_destroy(struct linnet_kv *kv);

/* Bytes of memory for n_frames of n_pages pages. Layers are alike when that is fewer. */
uint64_t linnet_kv_bytes(uint64_t page_bytes, uint32_t n_layers, uint32_t n_pages,
			 uint32_t n_frames);

/* A page with one user, or -ENOSPC. */
int32_t linnet_kv_page_get(struct linnet_kv *kv);
/* One user more; one less, and with the last the page is free. */
void linnet_kv_page_share(struct linnet_kv *kv, int32_t page);
void linnet_kv_page_put(struct linnet_kv *kv, int32_t page);

enum linnet_kv_hold {
	LINNET_KV_READ,		/* what the page holds is looked at */
	LINNET_KV_WRITE,	/* and changed */
	LINNET_KV_NEW,		/* what it holds does not matter */
};

/*
 * Let a page be in memory until linnet_kv_release(). May wait on the queue. -ENOSPC, -EIO
 * and others: the file cannot be written or read, the message says why; the page's content
 * is as it was. At most n_frames pages can be held.
 */
int linnet_kv_hold(struct linnet_kv *kv, int32_t page, enum linnet_kv_hold how,
		   struct linnet_error *err);
/* Hold `to` with what `from` has in it. */
int linnet_kv_copy(struct linnet_kv *kv, int32_t to, int32_t from, struct linnet_error *err);
void linnet_kv_release(struct linnet_kv *kv);
/* Where a page is that is held, or any page when all are in memory. */
void *linnet_kv_page_memory(const struct linnet_kv *kv, int32_t page);

/*
 * A pass, when pages are cold: want() for every page that it reads or writes, hold() for
 * those that it writes, read() for the others, start(); then for each layer in order
 * ready() until it is 1, the attention, done(); end() when all jobs have ended.
 * distance: positions from the page's last one to the first that looks at it: a layer with
 * a window of so many positions does not see the page.
 */
void linnet_kv_want(struct linnet_kv *kv, int32_t page);
int linnet_kv_read(struct linnet_kv *kv, int32_t page, uint32_t distance,
		   struct linnet_error *err);
void linnet_kv_start(struct linnet_kv *kv);
int linnet_kv_ready(struct linnet_kv *kv, uint32_t layer, struct linnet_error *err);
void linnet_kv_done(struct linnet_kv *kv, uint32_t layer);
void linnet_kv_end(struct linnet_kv *kv);

/*
 * For the page tables of a layer: the number of a page, when pages are `stride` bytes apart
 * from offset on in the region. With cold pages there is a table for each layer.
 */
struct linnet_kv_view {
	uint64_t offset, stride;
	uint32_t n;			/* numbers are below */
};
struct linnet_kv_view linnet_kv_view(const struct linnet_kv *kv, uint32_t layer);
int32_t linnet_kv_number(const struct linnet_kv *kv, int32_t page, uint32_t layer);

/* Bytes that the file got and gave, ever. */
void linnet_kv_traffic(const struct linnet_kv *kv, uint64_t *written, uint64_t *read);

/* kv_cold.c */
int linnet_kv_cold_create(struct linnet_kv *kv, const struct linnet_kv_options *opts,
			  struct linnet_error *err);
void linnet_kv_cold_destroy(struct linnet_kv *kv);
void linnet_kv_cold_put(struct linnet_kv *kv, int32_t page);

#endif
