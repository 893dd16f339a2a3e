/* SPDX-License-Identifier: (GPL-2.0-only WITH Linux-syscall-note) OR MIT */
/*
 * Linnet command streams.
 *
 * A stream is a list of typed operations on operands of the form
 * {slot, offset, type, shape, strides}; it never holds a pointer. It is created
 * once (copied, validated, measured) and submitted many times. A submission is
 * {stream, parameters, bindings}: parameters are small integers such as the
 * number of tokens, a binding puts a piece of a region into a slot. Creation
 * computes, for the declared maximum of every parameter, how many bytes each
 * slot must provide; accepting a submission compares that extent with each
 * binding and nothing more.
 *
 * Layout of a stream, little-endian, every part a multiple of 8 bytes:
 *
 *	struct linnet_stream_header
 *	struct linnet_stream_param	[n_params]
 *	n_ops times:
 *		struct linnet_stream_op
 *		struct linnet_operand	[n_operands]
 *
 * The numeric meaning of every operation is defined by the plain C code in
 * kernels/ref/ and described in Documentation/stream.rst.
 */
#ifndef _UAPI_LINNET_STREAM_H
#define _UAPI_LINNET_STREAM_H

#include <linux/types.h>

#define LINNET_STREAM_MAGIC	0x54534e4cu	/* "LNST" */
#define LINNET_STREAM_VERSION	2

#define LINNET_MAX_SLOTS	64
#define LINNET_MAX_PARAMS	8
#define LINNET_MAX_OPS		4096
#define LINNET_MAX_OPERANDS	16
#define LINNET_MAX_DIMS		4
#define LINNET_OP_ATTRS		8
#define LINNET_MATMUL_MAX	4	/* products that share one left operand */
#define LINNET_KV_PAGE		256	/* positions in one KV page */
#define LINNET_KV_TILE		16	/* positions in one tile of a K page */
#define LINNET_PLACE_NONE	(-1)	/* place of an expert that is left out */

/*
 * Element types. The numbers are those of the GGUF file format, so that a
 * tensor's type needs no translation.
 */
enum linnet_type {
	LINNET_TYPE_F32		= 0,
	LINNET_TYPE_F16		= 1,
	LINNET_TYPE_Q4_0	= 2,
	LINNET_TYPE_Q4_1	= 3,
	LINNET_TYPE_Q5_0	= 6,
	LINNET_TYPE_Q5_1	= 7,
	LINNET_TYPE_Q8_0	= 8,
	LINNET_TYPE_Q2_K	= 10,
	LINNET_TYPE_Q3_K	= 11,
	LINNET_TYPE_Q4_K	= 12,
	LINNET_TYPE_Q5_K	= 13,
	LINNET_TYPE_Q6_K	= 14,
	LINNET_TYPE_IQ4_NL	= 20,
	LINNET_TYPE_IQ4_XS	= 23,
	LINNET_TYPE_I32		= 26,
	LINNET_TYPE_BF16	= 30,
	LINNET_TYPE_MXFP4	= 39,
	LINNET_TYPE_COUNT	= 40,
};

/*
 * Operations. "Operands" gives the operands in order; [a, b, c] is a shape with
 * the innermost dimension first; (x) marks an operand that may be absent.
 * T is a number of tokens. "Attributes" gives attr[] in order; u is an unsigned
 * integer, f a float.
 */
enum linnet_opcode {
	/*
	 * dst F32 [D, T] = scale * table[ids[t]]
	 * Operands: dst, table any [D, V], ids I32 [T]
	 * Attributes: f scale
	 */
	LINNET_OP_GET_ROWS	= 1,
	/*
	 * dst = src / sqrt(mean(src^2) + eps) * weight over the innermost dimension
	 * Operands: dst F32 [D, H, T], src F32 [D, H, T], (weight) F32 [D]
	 * Attributes: f eps
	 */
	LINNET_OP_RMS_NORM	= 2,
	/*
	 * dst_i = weight_i * src + bias_i, for i < n
	 * Operands: src F32 [K, T], then n times:
	 *	dst F32 [N, T], weight any [K, N], (bias) F32 [N]
	 * Attributes: u n (1..LINNET_MATMUL_MAX)
	 */
	LINNET_OP_MATMUL	= 3,
	/*
	 * dst[:, j, t] = weight[place[ids[j, t]]] * src[:, j or 0, t]
	 * Operands: dst F32 [N, J, T], src F32 [K, J or 1, T],
	 *	weight any [K, N, P], ids I32 [J, T], (place) I32 [E]
	 * Without a place table the expert's number is its place, and E = P. Where
	 * place is LINNET_PLACE_NONE, dst[:, j, t] is left as it is: several
	 * submissions may compute the experts part by part.
	 */
	LINNET_OP_MATMUL_EXPERTS = 4,
	/*
	 * Rotary angles: dst[2i] = m * cos(a_i), dst[2i + 1] = m * sin(a_i) for i < R/2,
	 *	e_i  = pos * freq_base^(-2i / R) / factors[i]
	 *	r_i  = 1 - clamp((i - corr_low) / max(0.001, corr_high - corr_low), 0, 1)
	 *	mix  = r_i * ext_factor
	 *	a_i  = freq_scale * e_i * (1 - mix) + e_i * mix
	 * Operands: dst F32 [R, T], pos I32 [T], (factors) F32 [R/2]
	 * Attributes: f freq_base, f freq_scale, f ext_factor, f corr_low,
	 *	f corr_high, f m
	 */
	LINNET_OP_ROPE_TABLE	= 5,
	/*
	 * Rotate the first R elements of each head by the angles of its token.
	 * Operands: dst F32 [D, H, T], src F32 [D, H, T], table F32 [R, T]
	 * Attributes: u mode (enum linnet_rope_mode)
	 */
	LINNET_OP_ROPE		= 6,
	/*
	 * Put src into the KV pages of its token's sequence. The page of position
	 * p of sequence s is pages[p / LINNET_KV_PAGE, s]. A head's block within a
	 * page is stored in the layout of its role, see enum linnet_kv_role.
	 * Operands: cache F32, F16, Q8_0 or Q4_0 [D, LINNET_KV_PAGE, H, P], src F32 [D, H, T],
	 *	pos I32 [T], seq I32 [T], pages I32 [M, S]
	 * Attributes: u role
	 */
	LINNET_OP_KV_WRITE	= 7,
	/*
	 * Causal attention of each token over positions 0..pos of its sequence, or
	 * over the last `window` of them when window is not zero. Query head h uses
	 * KV head h / (H / G). score = cap(scale * q.k), cap(x) = x or, when softcap
	 * is not zero, softcap * tanh(x / softcap).
	 * Operands: dst F32 [DV, H, T], q F32 [DK, H, T],
	 *	k cache [DK, LINNET_KV_PAGE, G, P], v cache [DV, LINNET_KV_PAGE, G, P],
	 *	pos I32 [T], seq I32 [T], pages I32 [M, S]
	 * Attributes: f scale, f softcap, u window
	 */
	LINNET_OP_ATTENTION	= 8,
	/*
	 * dst = act(gate) * up
	 * Operands: dst, gate, up F32 [N, J, T]
	 * Attributes: u kind (enum linnet_glu_kind)
	 */
	LINNET_OP_GLU		= 9,
	/* dst = a + b. Operands: dst, a, b F32 [D, T] */
	LINNET_OP_ADD		= 10,
	/*
	 * dst = cap * tanh(src / cap)
	 * Operands: dst, src F32 [D, T]. Attributes: f cap
	 */
	LINNET_OP_SOFTCAP	= 11,
	/*
	 * Choose J of E experts by softmax(logits); equal values: the lower number
	 * first. weights = scale * softmax probability, divided before by the sum of
	 * the chosen ones when norm is 1.
	 * Operands: ids I32 [J, T], weights F32 [J, T], logits F32 [E, T]
	 * Attributes: u norm (0 or 1), f scale
	 */
	LINNET_OP_ROUTE		= 12,
	/*
	 * dst[:, t] = sum over j, in order, of weights[j, t] * src[:, j, t]
	 * Operands: dst F32 [D, T], src F32 [D, J, T], weights F32 [J, T]
	 */
	LINNET_OP_COMBINE	= 13,
	LINNET_OP_COUNT		= 14,
};

enum linnet_rope_mode {
	LINNET_ROPE_NORM	= 0,	/* pairs (2i, 2i + 1) */
	LINNET_ROPE_NEOX	= 1,	/* pairs (i, i + R/2) */
};

enum linnet_glu_kind {
	LINNET_GLU_SILU		= 0,	/* x / (1 + exp(-x)) */
	LINNET_GLU_GELU_TANH	= 1,	/* 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) */
};

/*
 * Layout of one head's block of LINNET_KV_PAGE positions, D values each, in the
 * bytes [LINNET_KV_PAGE * row_bytes(D)]:
 *
 * K, F16:  tiles of 16 positions: f16 [D][16 positions]; F32: the same in f32
 * K, Q8_0: tiles of 16 positions: f16 scale [D/32][16 positions], then
 *          int8 [D/4][16 positions][4 values]
 * K, Q4_0: the same scales, then [D/8][16 positions][4 bytes]: byte j has value j of the 8 in
 *          its low four bits and value 4 + j in its high ones, each plus 8
 * V, F16:  f16 [256 positions][D]; F32: the same in f32
 * V, Q8_0: D/32 blocks of 32 values: f16 scale [256 positions], then
 *          int8 [64][32 values][4 positions]
 * V, Q4_0: the same scales, then [64][16 bytes][4 positions]: byte j has value j of the 32
 *          in its low four bits and value 16 + j in its high ones, each plus 8
 *
 * The bytes are as many as 256 GGUF rows of that type would take.
 */
enum linnet_kv_role {
	LINNET_KV_K		= 0,
	LINNET_KV_V		= 1,
};

/* A dimension is a constant, or LINNET_DIM_PARAM | index of a parameter. */
#define LINNET_DIM_PARAM	0x80000000u

#define LINNET_SLOT_NONE	0xffffu		/* slot of an operand that is absent */

/**
 * struct linnet_operand - one tensor of an operation
 * @slot: slot that holds it, or LINNET_SLOT_NONE (then all else is zero)
 * @type: enum linnet_type
 * @n_dims: 1..LINNET_MAX_DIMS; dimensions beyond are 1
 * @reserved: zero
 * @offset: bytes from the start of the slot
 * @ne: elements of each dimension, innermost first
 * @nb: bytes between neighbours of dimension 1, 2, 3. The innermost dimension
 *	is dense: whole blocks of @type. Neighbours may overlap only where an
 *	operand is read and is neither a weight nor a table of rows
 */
struct linnet_operand {
	__u16 slot;
	__u16 type;
	__u16 n_dims;
	__u16 reserved;
	__u64 offset;
	__u32 ne[LINNET_MAX_DIMS];
	__u64 nb[LINNET_MAX_DIMS - 1];
};

/**
 * struct linnet_stream_op - head of one operation
 * @code: enum linnet_opcode
 * @n_operands: operands that follow
 * @attr: attributes of the operation; unused ones are zero. Floats are stored
 *	as their bits and must be finite
 */
struct linnet_stream_op {
	__u32 code;
	__u32 n_operands;
	__u32 attr[LINNET_OP_ATTRS];
};

/**
 * struct linnet_stream_param - a parameter of a stream
 * @max: largest value that a submission may give; the smallest is 0
 * @reserved: zero
 */
struct linnet_stream_param {
	__u32 max;
	__u32 reserved;
};

/**
 * struct linnet_stream_header - start of a stream
 * @magic: LINNET_STREAM_MAGIC
 * @version: LINNET_STREAM_VERSION
 * @bytes: length of the whole stream
 * @n_params: at most LINNET_MAX_PARAMS
 * @n_slots: at most LINNET_MAX_SLOTS
 * @n_ops: at most LINNET_MAX_OPS
 */
struct linnet_stream_header {
	__u32 magic;
	__u32 version;
	__u32 bytes;
	__u32 n_params;
	__u32 n_slots;
	__u32 n_ops;
};

#endif /* _UAPI_LINNET_STREAM_H */
