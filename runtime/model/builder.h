/* SPDX-License-Identifier: MIT */
/*
 * Writes streams in the format of uapi/linnet/stream.h. Failing to allocate sticks;
 * finish reports it.
 */
#ifndef LINNET_MODEL_BUILDER_H
#define LINNET_MODEL_BUILDER_H

#include <linnet/stream.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct linnet_builder {
	char *data;
	size_t bytes, cap;
	size_t op;		/* where the current operation begins */
	unsigned n_attrs;	/* it has so far */
	bool failed;
};

/* Start a stream with these maxima of its parameters. */
void linnet_builder_start(struct linnet_builder *b, const uint32_t *param_max, uint32_t n_params,
			  uint32_t n_slots);

/* Start an operation; its attributes and operands follow in order. */
void linnet_builder_op(struct linnet_builder *b, enum linnet_opcode code);
void linnet_builder_u32(struct linnet_builder *b, uint32_t attr);
void linnet_builder_f32(struct linnet_builder *b, float attr);
void linnet_builder_operand(struct linnet_builder *b, const struct linnet_operand *o);
void linnet_builder_none(struct linnet_builder *b);

/* The stream, which the caller frees; NULL: out of memory. */
void *linnet_builder_finish(struct linnet_builder *b, size_t *bytes);

/* Operand of n_dims dense dimensions: strides follow from the type. */
struct linnet_operand linnet_operand_dense(uint32_t slot, uint64_t offset, uint32_t type,
					   uint32_t n_dims, const uint32_t *ne);

#endif
