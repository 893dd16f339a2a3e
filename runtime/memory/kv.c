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
		if (linnet_add_overflow(at, l->k_bytes, &at) ||
		    linnet_add_overflow(at, l->v_bytes, &at))
			return -EOVERFLOW;
	}
	/* pages are read and written by direct I/O */
	return linnet_align_overflow(at, BLOCK, page_bytes) ? -EOVERFLOW : 0;
}

int linnet_kv_create(struct linnet_kv **out, struct linnet_engine *e, uint32_t type,
		     const struct linnet_kv_layer *layer, uint32_t n_layers, uint64_t page_bytes,
		     uint32_t n_pages, bool huge, struct linnet_error *err)
{
	struct linnet_kv *kv = calloc(1, sizeof(*kv));
	uint64_t bytes;
	int ret = -ENOMEM;

	if (!kv)
		return linnet_err(err, -ENOMEM, "out of memory");
	kv->engine = e;
	kv->type = type;
	kv->n_pages = kv->n_free = n_pages;
	kv->page_bytes = page_bytes;
	kv->n_layers = n_layers;
	kv->layer = malloc(n_layers * sizeof(*layer));
	kv->free = malloc(n_pages * sizeof(*kv->free));
	kv->users = calloc(n_pages, sizeof(*kv->users));
	if (!kv->layer || !kv->free || !kv->users) {
		linnet_err(err, ret, "out of memory");
		goto err_destroy;
	}
	memcpy(kv->layer, layer, n_layers * sizeof(*layer));
	for (uint32_t i = 0; i < n_pages; i++)
		kv->free[i] = n_pages - 1 - i;
	ret = -EOVERFLOW;
	if (linnet_mul_overflow(page_bytes, n_pages, &bytes)) {
		linnet_err(err, ret, "the KV cache is too large (pages, %u)", n_pages);
		goto err_destroy;
	}
	ret = e->ops->region_create(e, &kv->region, bytes, huge, err);
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
	if (!--kv->users[page])
		kv->free[kv->n_free++] = page;
}

void *linnet_kv_page_memory(const struct linnet_kv *kv, int32_t page)
{
	return kv->region->addr + (uint64_t)page * kv->page_bytes;
}
