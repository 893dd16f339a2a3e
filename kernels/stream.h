/* SPDX-License-Identifier: MIT */
/*
 * Streams after validation. linnet_stream_parse() is the one validator, used by
 * the host engine and by the device: what it accepts can be executed with any
 * parameters up to their maxima and any bindings of at least the extents, without
 * touching a byte outside them. Values that live in memory (token ids, page
 * tables, experts) are checked by the executor when it reads them.
 */
#ifndef LINNET_KERNELS_STREAM_H
#define LINNET_KERNELS_STREAM_H

#include <linnet/stream.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a slot must provide. */
struct linnet_slot_info {
	uint64_t extent;	/* bytes; 0: the slot is not used */
	uint32_t align;		/* of the binding's address */
	bool written;
};

/* One operation; operands point into the stream's own copy. */
struct linnet_op {
	uint32_t code;
	uint32_t n_operands;
	const uint32_t *attr;
	const struct linnet_operand *operand;
};

struct linnet_stream {
	uint32_t n_params, n_slots, n_ops;
	uint32_t param_max[LINNET_MAX_PARAMS];
	struct linnet_slot_info slot[LINNET_MAX_SLOTS];
	struct linnet_op *op;
	void *copy;
};

/* Where and why a stream was refused; what is a constant string. */
struct linnet_stream_error {
	int32_t op;		/* -1: the header */
	int32_t operand;	/* -1: the operation as a whole */
	const char *what;
};

/*
 * Copy, decode and validate. -EINVAL (why says where), -ENOTSUP for a version or
 * operation that is not known, -ENOMEM. why may be NULL.
 */
int linnet_stream_parse(struct linnet_stream **out, const void *data, size_t bytes,
			struct linnet_stream_error *why);
void linnet_stream_free(struct linnet_stream *s);

static inline float linnet_attr_f32(const struct linnet_op *op, unsigned i)
{
	float f;

	__builtin_memcpy(&f, &op->attr[i], sizeof(f));
	return f;
}

/* Value of a dimension for given parameters. */
static inline uint32_t linnet_dim(uint32_t ne, const uint32_t *params)
{
	return ne & LINNET_DIM_PARAM ? params[ne & ~LINNET_DIM_PARAM] : ne;
}

static inline bool linnet_operand_present(const struct linnet_operand *o)
{
	return o->slot != LINNET_SLOT_NONE;
}

/* Name of an operation ("matmul"), of its operand i, of its attribute i; NULL past the end. */
const char *linnet_op_name(uint32_t code);
const char *linnet_op_operand_name(uint32_t code, unsigned i);
const char *linnet_op_attr_name(uint32_t code, unsigned i, bool *is_float);

#endif
