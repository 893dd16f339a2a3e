/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Rules about numbers from user space that need nothing but the numbers.
 */
#ifndef __LINNET_CHECK_H__
#define __LINNET_CHECK_H__

#include <linux/scatterlist.h>
#include <linux/types.h>

#include "linnet_ctx.h"

int linnet_check_stream(const void *data, u32 size, u32 magic, struct linnet_stream *out);
int linnet_check_params(const struct linnet_stream *stream, u32 n_params, const u32 *params);
int linnet_check_piece(u64 offset, u64 length, u64 size);
int linnet_check_slots(const struct drm_linnet_binding *in, u32 n, u32 n_slots,
		       const struct drm_linnet_binding **slot);
int linnet_check_array(const struct drm_linnet_array *array, u32 max, size_t known);
unsigned int linnet_sg_segments(const struct sg_table *sgt, bool dma,
				struct linnet_segment *out, unsigned int n);

#endif /* __LINNET_CHECK_H__ */
