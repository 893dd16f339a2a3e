// SPDX-License-Identifier: MIT
/* Keeps kv.h. */
#include "kv.h"

#include "kernels/kernels.h"
#include "runtime/util/error.h"
#include "runtime/util/overflow.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK 4096

int linnet_kv_measure(uint32_t type, struct linnet_kv_layer *layer, uint32_t n_layers,
		      uint64_t *page_bytes, uint32_t *bad)
{
	const struct linnet_type_info *info = linnet_type_info(type);
	uint64_t at = 0;

	for (uint32_t i = 0; i < n_layers; i++) {
		struct linnet_kv_layer *l = &layer[i];

		*bad = i;
		if (l->dk % info->block_elems || l->dv % info->block_elems)
			return -EINVAL;
		l->offset = at;
		l->k_bytes = linnet_row_bytes(info, l->dk) * LINNET_KV_PAGE * l->n_heads;
		l->v_bytes = linnet_row_bytes(info, l->dv) * LINNET_KV_PAGE * l->n_heads;
		/* a layer's share of a page is read and written by direct I/O */
		if (linnet_add_overflow(at, l->k_bytes, &at) ||
		    linnet_add_overflow(at, l->v_bytes, &at) ||
		    linnet_align_overflow(at, BLOCK, &at))
			return -EOVERFLOW;
	}
	*page_bytes = at;
	return 0;
}

uint64_t linnet_kv_bytes(uint64_t page_bytes, uint32_t n_layers, uint32_t n_pages,
			 uint32_t n_frames)
{
	return n_frames * page_bytes + 2 * (uint64_t)(n_pages - n_frames) * (page_bytes / n_layers);
}

int linnet_kv_create(struct linnet_kv **out, struct linnet_engine *e,
		     const struct linnet_kv_options *opts, struct linnet_error *err)
{
	struct linnet_kv *kv = calloc(1, sizeof(*kv));
	const uint32_t n_layers = opts->n_layers, n_pages = opts->n_pages;
	uint64_t bytes;
	int ret = -ENOMEM;

	if (!kv)
		return linnet_err(err, -ENOMEM, "out of memory");
	kv->engine = e;
	kv->type = opts->type;
	kv->n_pages = kv->n_free = n_pages;
	kv->page_bytes = opts->page_bytes;
	kv->n_layers = n_layers;
	kv->layer = malloc(n_layers * sizeof(*kv->layer));
	kv->free = malloc(n_pages * sizeof(*kv->free));
	kv->users = calloc(n_pages, sizeof(*kv->users));
	if (!kv->layer || !kv->free || !kv->users) {
		linnet_err(err, ret, "out of memory");
		goto err_destroy;
	}
	memcpy(kv->layer, opts->layer, n_layers * sizeof(*kv->layer));
	for (uint32_t i = 0; i < n_pages; i++)
		kv->free[i] = n_pages - 1 - i;
	ret = -EOVERFLOW;
	if (linnet_mul_overflow(opts->page_bytes, n_pages, &bytes)) {
		linnet_err(err, ret, "the KV cache is too large (pages, %u)", n_pages);
		goto err_destroy;
	}
	bytes = linnet_kv_bytes(opts->page_bytes, n_layers, n_pages, opts->n_frames);
	ret = e->ops->region_create(e, &kv->region, bytes,
				    opts->huge ? LINNET_PAGES_HUGE : LINNET_PAGES_SMALL, err);
	if (!ret && opts->n_frames < n_pages)
		ret = linnet_kv_cold_create(kv, opts, err);
	if (ret)
		goto err_destroy;
	*out = kv;
	return 0;

err_destroy:
	linnet_kv_destroy(kv);
	return ret;
}

void linnet_kv_destroy(struct linnet_kv *kv)
{
	if (!kv)
		return;
	linnet_kv_cold_destroy(kv);
	if (kv->region)
		kv->engine->ops->region_destroy(kv->engine, kv->region);
	free(kv->users);
	free(kv->free);
	free(kv->layer);
	free(kv);
}

int32_t linnet_kv_page_get(struct linnet_kv *kv)
{
	int32_t page;

	if (!kv->n_free)
		return -ENOSPC;
	page = kv->free[--kv->n_free];
	kv->users[page] = 1;
	return page;
}

void linnet_kv_page_share(struct linnet_kv *kv, int32_t page)
{
	kv->users[page]++;
}

void linnet_kv_page_put(struct linnet_kv *kv, int32_t page)
{
	if (--kv->users[page])
		return;
	kv->free[kv->n_free++] = page;
	if (kv->cold)
		linnet_kv_cold_put(kv, page);
}
