// SPDX-License-Identifier: GPL-2.0-only
/*
 * Rules about numbers from user space that need nothing but the numbers, so that a unit
 * test can try each of them without a device.
 */
#include <linux/overflow.h>
#include <linux/string.h>

#include <kunit/visibility.h>

#include "linnet_check.h"

/**
 * linnet_check_stream - check the head of a stream
 * @data: the stream; @size bytes, aligned to 8
 * @size: its size as user space gave it
 * @magic: first word of the streams that the device takes
 * @out: where to put n_slots, n_params and max
 *
 * The head is the same for all engines, see linnet/stream.h; what follows is the
 * device's to check.
 *
 * Return: 0, -EINVAL, or -E2BIG when a count is above the limits of the interface.
 */
int linnet_check_stream(const void *data, u32 size, u32 magic, struct linnet_stream *out)
{
	const struct linnet_stream_header *head = data;
	const struct linnet_stream_param *param;
	u32 i, n_params, n_slots, n_ops;

	if (size < sizeof(*head) || size % 8)
		return -EINVAL;
	if (le32_to_cpu((__force __le32)head->magic) != magic ||
	    le32_to_cpu((__force __le32)head->bytes) != size)
		return -EINVAL;

	n_params = le32_to_cpu((__force __le32)head->n_params);
	n_slots = le32_to_cpu((__force __le32)head->n_slots);
	n_ops = le32_to_cpu((__force __le32)head->n_ops);
	if (n_params > LINNET_MAX_PARAMS || n_slots > LINNET_MAX_SLOTS || n_ops > LINNET_MAX_OPS)
		return -E2BIG;
	if (!n_ops || size - sizeof(*head) < n_params * sizeof(*param))
		return -EINVAL;

	param = data + sizeof(*head);
	for (i = 0; i < n_params; i++) {
		if (param[i].reserved)
			return -EINVAL;
		out->max[i] = le32_to_cpu((__force __le32)param[i].max);
	}
	out->n_params = n_params;
	out->n_slots = n_slots;
	return 0;
}
EXPORT_SYMBOL_IF_KUNIT(linnet_check_stream);

/**
 * linnet_check_params - check the parameters of a job
 * @stream: what it runs
 * @n_params: number of values
 * @params: LINNET_MAX_PARAMS values
 *
 * Return: 0 or -EINVAL.
 */
int linnet_check_params(const struct linnet_stream *stream, u32 n_params, const u32 *params)
{
	u32 i;

	if (n_params != stream->n_params)
		return -EINVAL;
	for (i = 0; i < LINNET_MAX_PARAMS; i++)
		if (params[i] > (i < n_params ? stream->max[i] : 0))
			return -EINVAL;
	return 0;
}
EXPORT_SYMBOL_IF_KUNIT(linnet_check_params);

/**
 * linnet_check_piece - check a piece of a buffer
 * @offset: bytes before it
 * @length: its bytes
 * @size: bytes of the buffer
 *
 * Return: 0, -EINVAL when it is empty, -EOVERFLOW when it is not within the buffer.
 */
int linnet_check_piece(u64 offset, u64 length, u64 size)
{
	u64 end;

	if (!length)
		return -EINVAL;
	if (check_add_overflow(offset, length, &end) || end > size)
		return -EOVERFLOW;
	return 0;
}
EXPORT_SYMBOL_IF_KUNIT(linnet_check_piece);

/**
 * linnet_check_slots - the table of a job's slots
 * @in: the bindings; @n of them
 * @n: their number
 * @n_slots: slots of the stream
 * @slot: LINNET_MAX_SLOTS elements that are NULL: gets the binding of each slot that has one
 *
 * Return: 0, or -EINVAL when a slot is not one of the stream, or is bound twice.
 */
int linnet_check_slots(const struct drm_linnet_binding *in, u32 n, u32 n_slots,
		       const struct drm_linnet_binding **slot)
{
	for (; n--; in++) {
		if (in->slot >= n_slots || slot[in->slot])
			return -EINVAL;
		slot[in->slot] = in;
	}
	return 0;
}
EXPORT_SYMBOL_IF_KUNIT(linnet_check_slots);

/**
 * linnet_check_array - check an array's description
 * @array: the description
 * @max: most elements
 * @known: bytes of an element of this version
 *
 * Return: 0, -EINVAL, or -E2BIG when there are too many elements.
 */
int linnet_check_array(const struct drm_linnet_array *array, u32 max, size_t known)
{
	if (!array->count)
		return array->stride || array->ptr ? -EINVAL : 0;
	if (array->count > max)
		return -E2BIG;
	/* An element of another version is at most a page. */
	if (array->stride < known || array->stride > PAGE_SIZE || array->stride % 8)
		return -EINVAL;
	return 0;
}
EXPORT_SYMBOL_IF_KUNIT(linnet_check_array);

/**
 * linnet_sg_segments - list the memory behind a scatter list as few segments
 * @sgt: the list
 * @dma: take DMA addresses, not physical ones
 * @out: where to put the segments, or NULL to count them
 * @n: room in @out
 *
 * Neighbours that touch become one segment of at most UINT_MAX bytes, so that a
 * segment's length fits into 32 bits.
 *
 * Return: the number of segments, whether or not they all fit.
 */
unsigned int linnet_sg_segments(const struct sg_table *sgt, bool dma,
				struct linnet_segment *out, unsigned int n)
{
	unsigned int i, entries = dma ? sgt->nents : sgt->orig_nents, count = 0;
	struct linnet_segment last = { };
	struct scatterlist *sg;

	for_each_sg(sgt->sgl, sg, entries, i) {
		u64 addr = dma ? sg_dma_address(sg) : sg_phys(sg);
		u64 len = dma ? sg_dma_len(sg) : sg->length;

		if (count && last.addr + last.len == addr && last.len + len <= U32_MAX) {
			last.len += len;
		} else {
			last.addr = addr;
			last.len = len;
			count++;
		}
		if (out && count <= n)
			out[count - 1] = last;
	}
	return count;
}
EXPORT_SYMBOL_IF_KUNIT(linnet_sg_segments);
