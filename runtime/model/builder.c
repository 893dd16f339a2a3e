// SPDX-License-Identifier: MIT
/* Keeps builder.h. */
#include "builder.h"

#include "kernels/kernels.h"

#include <stdlib.h>
#include <string.h>

static void *grow(struct linnet_builder *b, size_t n)
{
	void *p;

	if (b->failed)
		return NULL;
	if (b->cap - b->bytes < n) {
		size_t cap = 2 * b->cap + n + 1024;
		char *data = realloc(b->data, cap);

		if (!data) {
			b->failed = true;
			return NULL;
		}
		b->data = data;
		b->cap = cap;
	}
	p = b->data + b->bytes;
	memset(p, 0, n);
	b->bytes += n;
	return p;
}

void linnet_builder_start(struct linnet_builder *b, const uint32_t *param_max, uint32_t n_params,
			  uint32_t n_slots)
{
	struct linnet_stream_header *h;

	memset(b, 0, sizeof(*b));
	h = grow(b, sizeof(*h));
	if (!h)
		return;
	h->magic = LINNET_STREAM_MAGIC;
	h->version = LINNET_STREAM_VERSION;
	h->n_params = n_params;
	h->n_slots = n_slots;
	for (uint32_t i = 0; i < n_params; i++) {
		struct linnet_stream_param *p = grow(b, sizeof(*p));

		if (p)
			p->max = param_max[i];
	}
}

static struct linnet_stream_op *current(struct linnet_builder *b)
{
	return (struct linnet_stream_op *)(b->data + b->op);
}

void linnet_builder_op(struct linnet_builder *b, enum linnet_opcode code)
{
	struct linnet_stream_op *op = grow(b, sizeof(*op));

	if (!op)
		return;
	op->code = code;
	b->op = b->bytes - sizeof(*op);
	b->n_attrs = 0;
	((struct linnet_stream_header *)b->data)->n_ops++;
}

void linnet_builder_u32(struct linnet_builder *b, uint32_t attr)
{
	if (!b->failed)
		current(b)->attr[b->n_attrs++] = attr;
}

void linnet_builder_f32(struct linnet_builder *b, float attr)
{
	uint32_t bits;

	memcpy(&bits, &attr, sizeof(bits));
	linnet_builder_u32(b, bits);
}

void linnet_builder_operand(struct linnet_builder *b, const struct linnet_operand *o)
{
	struct linnet_operand *to = grow(b, sizeof(*to));

	if (!to)
		return;
	*to = *o;
	current(b)->n_operands++;
}

void linnet_builder_none(struct linnet_builder *b)
{
	const struct linnet_operand none = { .slot = LINNET_SLOT_NONE };

	linnet_builder_operand(b, &none);
}

void *linnet_builder_finish(struct linnet_builder *b, size_t *bytes)
{
	if (b->failed) {
		free(b->data);
		return NULL;
	}
	((struct linnet_stream_header *)b->data)->bytes = b->bytes;
	*bytes = b->bytes;
	return b->data;
}

struct linnet_operand linnet_operand_dense(uint32_t slot, uint64_t offset, uint32_t type,
					   uint32_t n_dims, const uint32_t *ne)
{
	struct linnet_operand o = { .slot = slot, .type = type, .n_dims = n_dims,
				    .offset = offset, .ne = { 1, 1, 1, 1 } };
	uint64_t nb = linnet_row_bytes(linnet_type_info(type), ne[0]);

	for (uint32_t i = 0; i < n_dims; i++)
		o.ne[i] = ne[i];
	for (uint32_t i = 1; i < n_dims; i++) {
		o.nb[i - 1] = nb;
		nb *= ne[i];
	}
	return o;
}
