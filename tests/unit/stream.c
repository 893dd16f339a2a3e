// SPDX-License-Identifier: MIT
/*
 * The contract of kernels/stream.h and kernels/exec.h, from three sides:
 *
 *  - one valid stream for each operation, and each rule broken in turn: refused at the
 *    place that broke it, for the reason that it broke;
 *  - random valid streams: they run, touch nothing beside the rows that their operands
 *    write, and give the same bytes on one thread and on three;
 *  - random damaged streams: refused, or they run within the extents that were measured,
 *    with whatever ids, positions and pages memory holds, even when slots share memory
 *    and when another thread changes it meanwhile.
 *
 * A slot's memory ends, or begins, at a page that cannot be touched; the scratch, too.
 */
#include "kernels/exec.h"
#include "kernels/kernels.h"
#include "runtime/engine/pool.h"
#include "runtime/model/builder.h"
#include "tests/test.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* ------------------------------------------------------------------ random numbers */

static uint64_t rnd_state;
static volatile uint64_t case_seed;	/* of the case that runs, for the crash message */

static uint32_t rnd(void)
{
	rnd_state ^= rnd_state << 13;
	rnd_state ^= rnd_state >> 7;
	rnd_state ^= rnd_state << 17;
	return (uint32_t)(rnd_state >> 16);
}

static uint32_t below(uint32_t n)
{
	return rnd() % n;
}

static void start_case(uint64_t seed)
{
	case_seed = seed;
	rnd_state = seed * 0x9e3779b97f4a7c15u + 88172645463325252u;
}

static void crashed(int sig)
{
	char text[96];
	int n = snprintf(text, sizeof(text), "not ok - signal %d in case %" PRIu64 "\n", sig,
			 case_seed);

	if (write(1, text, (size_t)n) < 0)
		_exit(2);
	_exit(1);
}

/* --------------------------------------------------------------------- operands */

#define T (LINNET_DIM_PARAM | 0)	/* parameters of every stream here */
#define M (LINNET_DIM_PARAM | 1)
#define E (LINNET_DIM_PARAM | 2)	/* a row length */

static const uint32_t param_max[] = { 5, 3, 37 };
#define N_PARAMS 3

static struct linnet_builder b;
static uint32_t next_slot;

static void operand(uint32_t type, uint32_t n_dims, uint32_t n0, uint32_t n1, uint32_t n2,
		    uint32_t n3)
{
	const struct linnet_type_info *info = linnet_type_info(type);
	const uint32_t ne[4] = { n0, n1, n2, n3 };
	struct linnet_operand o = { .slot = (uint16_t)next_slot++, .type = (uint16_t)type,
				    .n_dims = (uint16_t)n_dims, .ne = { 1, 1, 1, 1 } };
	uint64_t nb = linnet_row_bytes(info, linnet_dim(n0, param_max));

	for (uint32_t i = 0; i < n_dims; i++)
		o.ne[i] = ne[i];
	for (uint32_t i = 1; i < n_dims; i++) {
		o.nb[i - 1] = nb;
		nb *= linnet_dim(ne[i], param_max);
	}
	linnet_builder_operand(&b, &o);
}

#define F32 LINNET_TYPE_F32
#define I32 LINNET_TYPE_I32
#define O1(type, a)		operand(type, 1, a, 1, 1, 1)
#define O2(type, a, c)		operand(type, 2, a, c, 1, 1)
#define O3(type, a, c, d)	operand(type, 3, a, c, d, 1)
#define O4(type, a, c, d, e)	operand(type, 4, a, c, d, e)
#define CACHE(d, heads)		O4(LINNET_TYPE_F16, d, LINNET_KV_PAGE, heads, 3)

/* The plainest valid operation of each kind. Its operands' slots are 0, 1, 2, ... */
static void plain_op(enum linnet_opcode code)
{
	next_slot = 0;
	linnet_builder_op(&b, code);
	switch (code) {
	case LINNET_OP_GET_ROWS:
		linnet_builder_f32(&b, 1);
		O2(F32, 32, T), O2(LINNET_TYPE_Q4_0, 32, 7), O1(I32, T);
		break;
	case LINNET_OP_RMS_NORM:
		linnet_builder_f32(&b, 1e-5f);
		O3(F32, 8, 2, T), O3(F32, 8, 2, T), O1(F32, 8);
		break;
	case LINNET_OP_MATMUL:
		linnet_builder_u32(&b, 2);
		O2(F32, 32, T);
		O2(F32, 6, T), O2(LINNET_TYPE_Q8_0, 32, 6), O1(F32, 6);
		O2(F32, 3, T), O2(F32, 32, 3);
		linnet_builder_none(&b);
		break;
	case LINNET_OP_MATMUL_EXPERTS:
		O3(F32, 6, 2, T), O3(F32, 32, 1, T), O3(LINNET_TYPE_Q4_0, 32, 6, 4);
		O2(I32, 2, T), O1(I32, 5);
		break;
	case LINNET_OP_ROPE_TABLE:
		linnet_builder_f32(&b, 10000);
		linnet_builder_f32(&b, 1);
		linnet_builder_f32(&b, 0);
		linnet_builder_f32(&b, 0);
		linnet_builder_f32(&b, 1);
		linnet_builder_f32(&b, 1);
		O2(F32, 8, T), O1(I32, T), O1(F32, 4);
		break;
	case LINNET_OP_ROPE:
		linnet_builder_u32(&b, LINNET_ROPE_NEOX);
		O3(F32, 10, 2, T), O3(F32, 10, 2, T), O2(F32, 8, T);
		break;
	case LINNET_OP_KV_WRITE:
		linnet_builder_u32(&b, LINNET_KV_V);
		CACHE(8, 2), O3(F32, 8, 2, T), O1(I32, T), O1(I32, T), O2(I32, M, 2);
		break;
	case LINNET_OP_ATTENTION:
		linnet_builder_f32(&b, 0.5f);
		linnet_builder_f32(&b, 0);
		linnet_builder_u32(&b, 0);
		O3(F32, 12, 4, T), O3(F32, 8, 4, T), CACHE(8, 2), CACHE(12, 2);
		O1(I32, T), O1(I32, T), O2(I32, M, 2);
		break;
	case LINNET_OP_GLU:
		linnet_builder_u32(&b, LINNET_GLU_SILU);
		O2(F32, E, T), O2(F32, E, T), O2(F32, E, T);
		break;
	case LINNET_OP_ADD:
		O2(F32, E, T), O2(F32, E, T), O2(F32, E, T);
		break;
	case LINNET_OP_SOFTCAP:
		linnet_builder_f32(&b, 30);
		O2(F32, E, T), O2(F32, E, T);
		break;
	case LINNET_OP_ROUTE:
		linnet_builder_u32(&b, 1);
		linnet_builder_f32(&b, 1);
		O2(I32, 2, T), O2(F32, 2, T), O2(F32, 5, T);
		break;
	case LINNET_OP_COMBINE:
		O2(F32, E, T), O3(F32, E, 2, T), O2(F32, 2, T);
		break;
	case LINNET_OP_COUNT:
		break;
	}
}

/* A stream of two operations: an addition, then `code`. */
static char *plain_stream(enum linnet_opcode code, size_t *bytes)
{
	linnet_builder_start(&b, param_max, N_PARAMS, 12);
	plain_op(LINNET_OP_ADD);
	plain_op(code);
	return linnet_builder_finish(&b, bytes);
}

static struct linnet_stream_op *op_at(char *stream, uint32_t index)
{
	char *p = stream + sizeof(struct linnet_stream_header) +
		  N_PARAMS * sizeof(struct linnet_stream_param);

	while (index--)
		p += sizeof(struct linnet_stream_op) +
		     ((struct linnet_stream_op *)p)->n_operands * sizeof(struct linnet_operand);
	return (struct linnet_stream_op *)p;
}

static struct linnet_operand *operand_at(char *stream, uint32_t op, uint32_t i)
{
	return (struct linnet_operand *)(op_at(stream, op) + 1) + i;
}

/* ------------------------------------------------------------------ broken rules */

enum field { SLOT, TYPE, DIMS, RESERVED, OFFSET, NE0, NE1, NE2, NE3, NB0, NB1, NB2, ATTR, OP,
	     OPERANDS };

struct rule {
	enum linnet_opcode code;
	int at;			/* operand that is changed, or attribute */
	enum field field;
	uint64_t value;
	int operand;		/* that is blamed; -1: the operation */
	const char *what;
};

#define NAN_BITS 0x7fc00000u
#define MINUS_1 0xbf800000u
#define GAP "a dimension's parameter is out of range"
#define PARTIAL "the row length of blocks is not a constant"
#define BAD_SIZE "a dimension is zero or too large"
#define KV_TOKENS "src, pos and seq differ in number of tokens"
#define KV_CONST "the head size or the number of heads is not a constant"
#define KV_PAGES "cache pages are not of LINNET_KV_PAGE positions"
#define KV_DENSE "cache positions are not dense"
#define EXPERT_TOKENS "dst, src and ids differ in number of tokens"

static const struct rule rules[] = {
	/* any operand */
	{ LINNET_OP_ADD, 1, SLOT, 12, 1, "slot out of range" },
	{ LINNET_OP_ADD, 2, SLOT, 0xfffe, 2, "slot out of range" },
	{ LINNET_OP_ADD, 0, SLOT, LINNET_SLOT_NONE, 0, "absent" },
	{ LINNET_OP_MATMUL, 3, SLOT, LINNET_SLOT_NONE, 3, "absent, but not all zero" },
	{ LINNET_OP_MATMUL, 6, OFFSET, 8, 6, "absent, but not all zero" },
	{ LINNET_OP_ADD, 0, RESERVED, 1, 0, "reserved field is not zero" },
	{ LINNET_OP_ADD, 0, TYPE, I32, 0, "type is not allowed here" },
	{ LINNET_OP_ADD, 1, TYPE, LINNET_TYPE_F16, 1, "type is not allowed here" },
	{ LINNET_OP_ADD, 1, TYPE, 4, 1, "type is not allowed here" },
	{ LINNET_OP_ADD, 1, TYPE, 0xffff, 1, "type is not allowed here" },
	{ LINNET_OP_GET_ROWS, 2, TYPE, F32, 2, "type is not allowed here" },
	{ LINNET_OP_GET_ROWS, 1, TYPE, I32, 1, "type is not allowed here" },
	{ LINNET_OP_MATMUL, 2, TYPE, I32, 2, "type is not allowed here" },
	{ LINNET_OP_KV_WRITE, 0, TYPE, LINNET_TYPE_BF16, 0, "type is not allowed here" },
	{ LINNET_OP_KV_WRITE, 0, TYPE, LINNET_TYPE_Q4_1, 0, "type is not allowed here" },
	{ LINNET_OP_ADD, 0, DIMS, 1, 0, "wrong number of dimensions" },
	{ LINNET_OP_ADD, 0, DIMS, 3, 0, "wrong number of dimensions" },
	{ LINNET_OP_ADD, 0, DIMS, 0, 0, "wrong number of dimensions" },
	{ LINNET_OP_ADD, 0, DIMS, 0xffff, 0, "wrong number of dimensions" },
	{ LINNET_OP_ADD, 0, NE0, LINNET_DIM_PARAM | 3, 0, GAP },
	{ LINNET_OP_ADD, 0, NE1, 0xffffffff, 0, GAP },
	{ LINNET_OP_GET_ROWS, 1, NE0, E, 1, PARTIAL },
	{ LINNET_OP_ADD, 0, NE2, 2, 0, "a dimension beyond n_dims is not 1" },
	{ LINNET_OP_ADD, 0, NE3, 0, 0, "a dimension beyond n_dims is not 1" },
	{ LINNET_OP_ADD, 0, NE3, T, 0, "a dimension beyond n_dims is not 1" },
	{ LINNET_OP_ADD, 0, NE0, 0, 0, BAD_SIZE },
	{ LINNET_OP_ADD, 0, NE1, (1u << 26) + 1, 0, BAD_SIZE },
	{ LINNET_OP_ADD, 0, NE1, 0x7fffffff, 0, BAD_SIZE },
	{ LINNET_OP_GET_ROWS, 1, NE0, 31, 1,
	  "the row length is not a multiple of the type's block" },
	{ LINNET_OP_ADD, 0, NB1, 4, 0, "a stride beyond n_dims is not zero" },
	{ LINNET_OP_ADD, 0, NB0, 4, 0, "rows that are written overlap" },
	{ LINNET_OP_ADD, 0, NB0, 0, 0, "rows that are written overlap" },
	{ LINNET_OP_ADD, 0, NB0, 37 * 4 - 4, 0, "rows that are written overlap" },
	{ LINNET_OP_RMS_NORM, 0, NB1, 2 * 8 * 4 - 4, 0, "rows that are written overlap" },
	{ LINNET_OP_KV_WRITE, 0, NB1, 256 * 8 * 2 - 16, 0, "rows that are written overlap" },
	{ LINNET_OP_MATMUL, 2, NB0, 0, 2, "rows of weights overlap" },
	{ LINNET_OP_MATMUL, 2, NB0, 33, 2, "rows of weights overlap" },
	{ LINNET_OP_MATMUL_EXPERTS, 2, NB1, 18 * 6 - 1, 2, "rows of weights overlap" },
	{ LINNET_OP_GET_ROWS, 1, NB0, 17, 1, "rows of weights overlap" },
	{ LINNET_OP_ADD, 0, NB0, 1ull << 63, 0, "the size overflows" },
	{ LINNET_OP_ADD, 1, NB0, 1ull << 62, 1, "the size overflows" },
	{ LINNET_OP_ADD, 1, NB0, INT64_MAX / 4 + 1, 1, "the size overflows" },
	{ LINNET_OP_ADD, 1, OFFSET, UINT64_MAX - 3, 1, "the size overflows" },
	{ LINNET_OP_ADD, 1, OFFSET, INT64_MAX - 3, 1, "the size overflows" },
	{ LINNET_OP_ADD, 1, OFFSET, 2, 1, "offset or stride is not a multiple of 4" },
	{ LINNET_OP_ADD, 1, NB0, 37 * 4 + 2, 1, "offset or stride is not a multiple of 4" },
	{ LINNET_OP_GET_ROWS, 2, OFFSET, 1, 2, "offset or stride is not a multiple of 4" },
	/* any operation */
	{ LINNET_OP_ADD, 0, OP, 0, -1, "unknown operation" },
	{ LINNET_OP_ADD, 0, OP, LINNET_OP_COUNT, -1, "unknown operation" },
	{ LINNET_OP_ADD, 0, OP, 0xffffffff, -1, "unknown operation" },
	{ LINNET_OP_ADD, 0, OPERANDS, 2, -1, "wrong number of operands" },
	{ LINNET_OP_ADD, 0, OPERANDS, 0xffffffff, -1, "wrong number of operands" },
	{ LINNET_OP_MATMUL, 0, OPERANDS, 17, -1, "wrong number of operands" },
	{ LINNET_OP_MATMUL, 0, OPERANDS, 10, -1, "truncated" },
	{ LINNET_OP_ADD, 0, ATTR, 1, -1, "an unused attribute is not zero" },
	{ LINNET_OP_GLU, 7, ATTR, 1, -1, "an unused attribute is not zero" },
	{ LINNET_OP_GET_ROWS, 0, ATTR, NAN_BITS, -1, "an attribute is not a finite number" },
	{ LINNET_OP_SOFTCAP, 0, ATTR, 0x7f800000, -1, "an attribute is not a finite number" },
	{ LINNET_OP_ROPE_TABLE, 5, ATTR, 0xff800000, -1, "an attribute is not a finite number" },
	/* one operation */
	{ LINNET_OP_GET_ROWS, 0, NE0, 31, -1, "dst and table differ in row length" },
	{ LINNET_OP_GET_ROWS, 2, NE0, 5, -1, "dst and ids differ in number of rows" },
	{ LINNET_OP_RMS_NORM, 1, NE1, 1, -1, "dst and src differ in shape" },
	{ LINNET_OP_RMS_NORM, 1, NE2, 5, -1, "dst and src differ in shape" },
	{ LINNET_OP_RMS_NORM, 2, NE0, 7, -1, "weight and dst differ in row length" },
	{ LINNET_OP_RMS_NORM, 0, ATTR, MINUS_1, -1, "eps is negative" },
	{ LINNET_OP_MATMUL, 0, ATTR, 0, -1, "n does not fit the number of operands" },
	{ LINNET_OP_MATMUL, 0, ATTR, 1, -1, "n does not fit the number of operands" },
	{ LINNET_OP_MATMUL, 0, ATTR, 0x55555557, -1, "n does not fit the number of operands" },
	{ LINNET_OP_MATMUL, 0, NE0, 16, -1, "weight and src differ in row length" },
	{ LINNET_OP_MATMUL, 4, NE0, 2, -1, "dst's row length is not weight's number of rows" },
	{ LINNET_OP_MATMUL, 1, NE1, 5, -1, "dst and src differ in number of tokens" },
	{ LINNET_OP_MATMUL, 3, NE0, 5, -1, "bias and dst differ in row length" },
	{ LINNET_OP_MATMUL_EXPERTS, 1, NE0, 31, -1, "weight and src differ in row length" },
	{ LINNET_OP_MATMUL_EXPERTS, 0, NE0, 5, -1,
	  "dst's row length is not weight's number of rows" },
	{ LINNET_OP_MATMUL_EXPERTS, 1, NE2, 5, -1, EXPERT_TOKENS },
	{ LINNET_OP_MATMUL_EXPERTS, 3, NE1, 5, -1, EXPERT_TOKENS },
	{ LINNET_OP_MATMUL_EXPERTS, 3, NE0, 1, -1, "dst and ids differ in number of experts used" },
	{ LINNET_OP_MATMUL_EXPERTS, 1, NE1, 3, -1,
	  "src has neither one row nor one for each expert used" },
	{ LINNET_OP_MATMUL_EXPERTS, 2, NE2, M, -1, "a number of experts is not a constant" },
	{ LINNET_OP_ROPE_TABLE, 0, NE0, 7, -1,
	  "the number of rotated elements is not an even constant" },
	{ LINNET_OP_ROPE_TABLE, 1, NE0, 5, -1, "dst and pos differ in number of tokens" },
	{ LINNET_OP_ROPE_TABLE, 2, NE0, 5, -1, "factors are not half the rotated elements" },
	{ LINNET_OP_ROPE_TABLE, 0, ATTR, 0, -1, "freq_base is not positive" },
	{ LINNET_OP_ROPE, 1, NE1, 1, -1, "dst and src differ in shape" },
	{ LINNET_OP_ROPE, 2, NE0, 12, -1, "the number of rotated elements does not fit the head" },
	{ LINNET_OP_ROPE, 2, NE0, 7, -1, "the number of rotated elements does not fit the head" },
	{ LINNET_OP_ROPE, 2, NE1, 5, -1, "dst and table differ in number of tokens" },
	{ LINNET_OP_ROPE, 0, ATTR, 2, -1, "unknown mode" },
	{ LINNET_OP_KV_WRITE, 1, NE1, 1, -1, "cache and src differ in heads" },
	{ LINNET_OP_KV_WRITE, 1, NE0, 7, -1, "cache and src differ in heads" },
	{ LINNET_OP_KV_WRITE, 0, ATTR, 2, -1, "unknown role" },
	{ LINNET_OP_KV_WRITE, 2, NE0, 5, -1, KV_TOKENS },
	{ LINNET_OP_KV_WRITE, 3, NE0, M, -1, KV_TOKENS },
	{ LINNET_OP_KV_WRITE, 0, NE1, 255, -1, KV_PAGES },
	{ LINNET_OP_KV_WRITE, 0, NB0, 8 * 2 + 2, 0, "rows that are written overlap" },
	{ LINNET_OP_ATTENTION, 2, NB0, 8 * 2 + 2, -1, KV_DENSE },
	{ LINNET_OP_ATTENTION, 3, NB0, 0, -1, KV_DENSE },
	{ LINNET_OP_ATTENTION, 1, NE0, 7, -1,
	  "head sizes of q and k, or of dst and v, differ" },
	{ LINNET_OP_ATTENTION, 0, NE0, 8, -1,
	  "head sizes of q and k, or of dst and v, differ" },
	{ LINNET_OP_ATTENTION, 1, NE1, 2, -1, "dst and q differ in heads or tokens" },
	{ LINNET_OP_ATTENTION, 1, NE2, 5, -1, "dst and q differ in heads or tokens" },
	{ LINNET_OP_ATTENTION, 3, TYPE, F32, -1, "k and v differ in type" },
	{ LINNET_OP_ATTENTION, 3, NE2, 1, -1, "k and v differ in heads or pages" },
	{ LINNET_OP_ATTENTION, 3, NE3, 2, -1, "k and v differ in heads or pages" },
	{ LINNET_OP_ATTENTION, 1, ATTR, MINUS_1, -1, "softcap is negative" },
	{ LINNET_OP_ATTENTION, 2, ATTR, 0x80000000, -1, "window is too large" },
	{ LINNET_OP_ATTENTION, 4, NE0, 5, -1, KV_TOKENS },
	{ LINNET_OP_ATTENTION, 5, NE0, 5, -1, KV_TOKENS },
	{ LINNET_OP_ATTENTION, 2, NE1, 128, -1, KV_PAGES },
	{ LINNET_OP_ATTENTION, 3, NE1, 128, -1, KV_PAGES },
	{ LINNET_OP_GLU, 2, NE1, 5, -1, "dst, gate and up differ in shape" },
	{ LINNET_OP_GLU, 0, ATTR, 2, -1, "unknown kind" },
	{ LINNET_OP_ADD, 2, NE0, 36, -1, "dst, a and b differ in shape" },
	{ LINNET_OP_SOFTCAP, 1, NE0, 36, -1, "dst and src differ in shape" },
	{ LINNET_OP_SOFTCAP, 0, ATTR, 0, -1, "cap is not positive" },
	{ LINNET_OP_ROUTE, 1, NE0, 1, -1, "ids and weights differ in shape" },
	{ LINNET_OP_ROUTE, 2, NE1, 5, -1, "ids and logits differ in number of tokens" },
	{ LINNET_OP_ROUTE, 2, NE0, 1, -1, "more experts are used than there are" },
	{ LINNET_OP_ROUTE, 0, ATTR, 2, -1, "norm is neither 0 nor 1" },
	{ LINNET_OP_COMBINE, 1, NE0, 36, -1, "dst and src differ in row length" },
	{ LINNET_OP_COMBINE, 2, NE0, 1, -1, "src and weights differ in experts or tokens" },
	{ LINNET_OP_COMBINE, 2, NE1, 5, -1, "src and weights differ in experts or tokens" },
};

static void set_field(char *stream, uint32_t op, int at, enum field field, uint64_t value)
{
	struct linnet_stream_op *head = op_at(stream, op);
	struct linnet_operand *o = (struct linnet_operand *)(head + 1) + at;

	switch (field) {
	case SLOT: o->slot = (uint16_t)value; break;
	case TYPE: o->type = (uint16_t)value; break;
	case DIMS: o->n_dims = (uint16_t)value; break;
	case RESERVED: o->reserved = (uint16_t)value; break;
	case OFFSET: o->offset = value; break;
	case NE0: case NE1: case NE2: case NE3: o->ne[field - NE0] = (uint32_t)value; break;
	case NB0: case NB1: case NB2: o->nb[field - NB0] = value; break;
	case ATTR: head->attr[at] = (uint32_t)value; break;
	case OP: head->code = (uint32_t)value; break;
	case OPERANDS: head->n_operands = (uint32_t)value; break;
	}
}

static void refused(const void *data, size_t bytes, int code, int op, int operand_,
		    const char *what, const char *name)
{
	struct linnet_stream_error why = { -9, -9, "" };
	struct linnet_stream *s = NULL;
	int ret = linnet_stream_parse(&s, data, bytes, &why);

	test_ok(ret == code && !s && why.op == op && why.operand == operand_ &&
		!strcmp(why.what, what), "%s: %s", name, what);
	if (ret != code || why.op != op || why.operand != operand_ || strcmp(why.what, what))
		printf("# returned %d, operation %d, operand %d: %s\n", ret, why.op, why.operand,
		       why.what);
	linnet_stream_free(s);
}

static void test_rules(void)
{
	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
		const struct rule *r = &rules[i];
		size_t bytes;
		char *data = plain_stream(r->code, &bytes);

		set_field(data, 1, r->at, r->field, r->value);
		refused(data, bytes, r->field == OP ? -ENOTSUP : -EINVAL, 1, r->operand, r->what,
			linnet_op_name(r->code));
		free(data);
	}
}

static void test_header(void)
{
	struct linnet_stream_header *h;
	struct linnet_stream_param *p;
	size_t bytes;
	char *data = plain_stream(LINNET_OP_ADD, &bytes), *copy = malloc(bytes + 8);

	h = (struct linnet_stream_header *)copy;
	p = (struct linnet_stream_param *)(h + 1);
#define HEADER(change, code, what) do {					\
	memcpy(copy, data, bytes);					\
	change;								\
	refused(copy, bytes, code, -1, -1, what, #change);		\
} while (0)
	HEADER(h->magic ^= 1, -EINVAL, "wrong magic");
	HEADER(h->version = LINNET_STREAM_VERSION + 1, -ENOTSUP, "unknown version");
	HEADER(h->version = 0, -ENOTSUP, "unknown version");
	HEADER(h->bytes--, -EINVAL, "wrong length");
	HEADER(h->bytes = 0xffffffff, -EINVAL, "wrong length");
	HEADER(h->n_params = 9, -EINVAL, "a count is out of range");
	HEADER(h->n_slots = 65, -EINVAL, "a count is out of range");
	HEADER(h->n_ops = 0, -EINVAL, "a count is out of range");
	HEADER(h->n_ops = 4097, -EINVAL, "a count is out of range");
	HEADER(h->n_ops = 1, -EINVAL, "bytes after the last operation");
	HEADER(p[1].max = 0, -EINVAL, "a parameter's maximum is out of range");
	HEADER(p[2].max = (1u << 26) + 1, -EINVAL, "a parameter's maximum is out of range");
	HEADER(p[0].reserved = 1, -EINVAL, "a parameter's maximum is out of range");
	memcpy(copy, data, bytes);
	h->n_ops = 3;
	refused(copy, bytes, -EINVAL, 2, -1, "truncated", "n_ops = 3");

	/* cut anywhere, a stream is refused; with its length put right, too */
	for (size_t n = 0; n < bytes; n++) {
		struct linnet_stream *s = NULL;
		char *cut = malloc(n ? n : 1);	/* exactly n, for the sanitizer */

		memcpy(cut, data, n);
		if (!linnet_stream_parse(&s, cut, n, NULL)) {
			test_ok(false, "cut to %zu bytes", n);
			break;
		}
		if (n >= sizeof(*h)) {
			((struct linnet_stream_header *)cut)->bytes = (uint32_t)n;
			if (!linnet_stream_parse(&s, cut, n, NULL)) {
				test_ok(false, "cut to %zu bytes with the length put right", n);
				break;
			}
		}
		free(cut);
		if (n == bytes - 1)
			test_ok(true, "a stream cut anywhere is refused");
	}
	free(copy);
	free(data);
}

static void test_plain(void)
{
	for (uint32_t code = 1; code < LINNET_OP_COUNT; code++) {
		struct linnet_stream_error why = { 0 };
		struct linnet_stream *s = NULL;
		size_t bytes;
		char *data = plain_stream(code, &bytes);
		int ret = linnet_stream_parse(&s, data, bytes, &why);

		test_ok(!ret && s->n_ops == 2 && s->op[1].code == code, "%s is accepted",
			linnet_op_name(code));
		if (ret)
			printf("# operation %d, operand %d: %s\n", why.op, why.operand, why.what);
		linnet_stream_free(s);
		free(data);
	}
}

/* Extents, alignment and what is written, as stream.h defines them. */
static void test_extents(void)
{
	struct linnet_stream *s = NULL;
	size_t bytes;
	char *data = plain_stream(LINNET_OP_GET_ROWS, &bytes);
	struct linnet_operand *dst = operand_at(data, 1, 0);

	for (uint32_t i = 0; i < 3; i++)
		operand_at(data, 0, i)->slot += 5;
	dst->offset = 64;
	dst->nb[0] = 200;
	operand_at(data, 1, 1)->offset = 7;
	test_ok(!linnet_stream_parse(&s, data, bytes, NULL), "a stream with offsets");
	if (s) {
		test_ok(s->slot[0].extent == 64 + 4 * 200 + 128 && s->slot[0].align == 4 &&
			s->slot[0].written, "extent of an operand that is written");
		test_ok(s->slot[1].extent == 7 + 7 * 18 && s->slot[1].align == 1 &&
			!s->slot[1].written, "extent of weights at an odd place");
		test_ok(s->slot[2].extent == 5 * 4 && !s->slot[2].written, "extent of ids");
		test_ok(!s->slot[3].extent && !s->slot[4].extent, "unused slots");
		test_ok(s->slot[5].extent == 5 * 37 * 4, "a parameter counts as its maximum");
	}
	linnet_stream_free(s);
	free(data);
}

/* ------------------------------------------------------------------ random streams */

static const uint32_t weight_types[] = { 0, 1, 2, 3, 6, 7, 8, 10, 11, 12, 13, 14, 20, 23, 30, 39 };
static const uint32_t cache_types[] = { F32, LINNET_TYPE_F16, LINNET_TYPE_Q8_0, LINNET_TYPE_Q4_0 };

static bool is_quantized(uint32_t type)
{
	return type == LINNET_TYPE_Q8_0 || type == LINNET_TYPE_Q4_0;
}

/* Gaps between rows and before the operand, where that is allowed. */
static void loosen(bool dense_rows)
{
	struct linnet_stream_op *op = (struct linnet_stream_op *)(b.data + b.op);
	struct linnet_operand *o = (struct linnet_operand *)(op + 1) + op->n_operands - 1;
	const struct linnet_type_info *info = linnet_type_info(o->type);
	/* F32 and I32 stay aligned */
	uint64_t step = info->block_elems == 1 && info->block_bytes == 4 ? 4 : 1;
	uint64_t nb = linnet_row_bytes(info, linnet_dim(o->ne[0], param_max));

	if (!below(3))
		o->offset = step * below(40);
	for (uint32_t i = 1; i < o->n_dims; i++) {
		if (below(3) == 0 && !(i == 1 && dense_rows))
			nb += step * below(30);
		o->nb[i - 1] = nb;
		nb *= linnet_dim(o->ne[i], param_max);
	}
}

#define R1(...) (O1(__VA_ARGS__), loosen(false))
#define R2(...) (O2(__VA_ARGS__), loosen(false))
#define R3(...) (O3(__VA_ARGS__), loosen(false))
#define R4(...) (O4(__VA_ARGS__), loosen(true))

static uint32_t random_float(void)
{
	float f = ((int)below(2000) - 1000) / 250.0f;
	uint32_t bits;

	memcpy(&bits, &f, sizeof(bits));
	return bits;
}

static uint32_t random_tokens(void)
{
	return below(4) ? T : 1 + below(20);
}

/* A row length that fits the type. */
static uint32_t random_cols(uint32_t type)
{
	uint32_t block = linnet_type_info(type)->block_elems;

	if (block == 1)
		return below(4) ? 1 + below(90) : E;
	return block * (1 + below(block == 32 ? 9 : 3));
}

static void random_op(enum linnet_opcode code)
{
	uint32_t t = random_tokens(), type = weight_types[below(16)], cols = random_cols(type);
	uint32_t rows = below(4) ? 1 + below(80) : E, used = 1 + below(4), d = 1 + below(40);
	uint32_t heads = 1 + below(3), group = 1 + below(5), n = 1 + below(4);
	uint32_t pages = below(2) ? M : 1 + below(4), seqs = 1 + below(3), places = 1 + below(6);

	linnet_builder_op(&b, code);
	switch (code) {
	case LINNET_OP_GET_ROWS:
		linnet_builder_u32(&b, below(2) ? 0x3f800000 : random_float());
		R2(F32, cols, t), R2(type, cols, 1 + below(9)), R1(I32, t);
		break;
	case LINNET_OP_RMS_NORM:
		linnet_builder_f32(&b, 1e-5f);
		if (below(2)) {
			R2(F32, d, t), R2(F32, d, t);
		} else {
			R3(F32, d, heads, t), R3(F32, d, heads, t);
		}
		if (below(2))
			R1(F32, d);
		else
			linnet_builder_none(&b);
		break;
	case LINNET_OP_MATMUL:
		linnet_builder_u32(&b, n);
		R2(F32, cols, t);
		for (uint32_t i = 0; i < n; i++) {
			/* another type with as many columns */
			if (i)
				do {
					type = weight_types[below(16)];
				} while (cols & LINNET_DIM_PARAM ?
						 linnet_type_info(type)->block_elems != 1 :
						 cols % linnet_type_info(type)->block_elems);
			R2(F32, rows, t), R2(type, cols, rows);
			if (below(2))
				R1(F32, rows);
			else
				linnet_builder_none(&b);
			rows = below(4) ? 1 + below(80) : E;
		}
		break;
	case LINNET_OP_MATMUL_EXPERTS:
		R3(F32, rows, used, t), R3(F32, cols, below(2) ? 1 : used, t);
		if (below(2)) {
			R3(type, cols, rows, places), R2(I32, used, t), R1(I32, used + below(6));
		} else {
			R3(type, cols, rows, used + places), R2(I32, used, t);
			linnet_builder_none(&b);
		}
		break;
	case LINNET_OP_ROPE_TABLE:
		linnet_builder_f32(&b, 10000);
		for (int i = 0; i < 5; i++)
			linnet_builder_u32(&b, random_float());
		R2(F32, 2 * d, t), R1(I32, t);
		if (below(2))
			R1(F32, d);
		else
			linnet_builder_none(&b);
		break;
	case LINNET_OP_ROPE:
		linnet_builder_u32(&b, below(2));
		n = 2 * d + below(9);
		R3(F32, n, heads, t), R3(F32, n, heads, t), R2(F32, 2 * d, t);
		break;
	case LINNET_OP_KV_WRITE:
		type = cache_types[below(4)];
		d = is_quantized(type) ? 32 * (1 + below(2)) : d;
		linnet_builder_u32(&b, below(2));
		R4(type, d, LINNET_KV_PAGE, heads, pages), R3(F32, d, heads, t);
		R1(I32, t), R1(I32, t), R2(I32, pages, seqs);
		break;
	case LINNET_OP_ATTENTION:
		type = cache_types[below(4)];
		d = is_quantized(type) ? 32 * (1 + below(2)) : d;
		linnet_builder_f32(&b, 0.3f);
		linnet_builder_f32(&b, below(2) ? 5 : 0);
		linnet_builder_u32(&b, below(2) ? 0 : below(700));
		n = is_quantized(type) ? 32 : 1 + below(40);
		R3(F32, n, heads * group, t), R3(F32, d, heads * group, t);
		R4(type, d, LINNET_KV_PAGE, heads, pages),
		R4(type, n, LINNET_KV_PAGE, heads, pages);
		R1(I32, t), R1(I32, t), R2(I32, pages, seqs);
		break;
	case LINNET_OP_GLU:
		linnet_builder_u32(&b, below(2));
		d = below(5) ? rows : 2000 + below(3000);
		if (below(2)) {
			R2(F32, d, t), R2(F32, d, t), R2(F32, d, t);
		} else {
			R3(F32, d, used, t), R3(F32, d, used, t), R3(F32, d, used, t);
		}
		break;
	case LINNET_OP_ADD:
		R2(F32, rows, t), R2(F32, rows, t), R2(F32, rows, t);
		break;
	case LINNET_OP_SOFTCAP:
		linnet_builder_f32(&b, 0.5f + (float)below(40));
		R2(F32, rows, t), R2(F32, rows, t);
		break;
	case LINNET_OP_ROUTE:
		linnet_builder_u32(&b, below(2));
		linnet_builder_u32(&b, random_float());
		R2(I32, used, t), R2(F32, used, t), R2(F32, used + below(9), t);
		break;
	case LINNET_OP_COMBINE:
		R2(F32, rows, t), R3(F32, rows, used, t), R2(F32, used, t);
		break;
	case LINNET_OP_COUNT:
		break;
	}
}

/* ------------------------------------------------------------------- execution */

#define SLOT_BYTES ((size_t)4 << 20)
#define SCRATCH_BYTES ((size_t)16 << 20)
#define MAX_WORK (1u << 25)
#define CANARY 64
#define N_SLOTS 48

struct memory {
	char *begin;		/* bytes between two pages that cannot be touched */
	size_t bytes;
};

static struct memory slots[N_SLOTS], scratch_memory;
static struct linnet_pool *pools[2];	/* of one thread, of three */
static struct linnet_kernels kernels[8];
static unsigned n_kernels;

static struct memory memory_new(size_t bytes)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	char *p = mmap(NULL, bytes + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED || mprotect(p + page, bytes, PROT_READ | PROT_WRITE)) {
		perror("mmap");
		exit(2);
	}
	return (struct memory){ p + page, bytes };
}

struct run {
	struct linnet_stream *s;
	char *base[LINNET_MAX_SLOTS];
	uint32_t params[LINNET_MAX_PARAMS];
	size_t scratch;
};

/* Where each slot lies: at one end of its memory, or within that of another. */
static bool place_slots(struct run *r, bool share)
{
	for (uint32_t i = 0; i < r->s->n_slots; i++) {
		size_t extent = r->s->slot[i].extent, align = r->s->slot[i].align;

		r->base[i] = NULL;
		if (!extent)
			continue;
		if (extent > SLOT_BYTES - CANARY)
			return false;
		r->base[i] = slots[i].begin;
		if (below(2))
			r->base[i] += (SLOT_BYTES - extent) / align * align;
		else if (align == 1)
			r->base[i] += below(2);
		for (uint32_t j = 0; share && j < i; j++) {
			char *at;

			if (!r->base[j] || r->s->slot[j].extent < extent || below(4))
				continue;
			at = r->base[j] + (r->s->slot[j].extent - extent) / 4 * 4 * below(2);
			/* an engine refuses a binding that is not aligned */
			if ((uintptr_t)at % align == 0)
				r->base[i] = at;
		}
	}
	return true;
}

/* A bound on the multiplications of the stream. */
static double work_of(const struct run *r)
{
	double total = 0;

	for (uint32_t i = 0; i < r->s->n_ops; i++) {
		const struct linnet_op *op = &r->s->op[i];
		double most = 0, longest = 1;

		for (uint32_t j = 0; j < op->n_operands; j++) {
			double n = 1;

			if (!linnet_operand_present(&op->operand[j]))
				continue;
			for (int k = 0; k < 4; k++) {
				uint32_t ne = linnet_dim(op->operand[j].ne[k], r->s->param_max);

				n *= ne;
				longest = ne > longest ? ne : longest;
			}
			most = n > most ? n : most;
		}
		total += most * longest;
	}
	return total;
}

static void fill_floats(char *p, size_t bytes)
{
	for (size_t i = 0; i + 4 <= bytes; i += 4) {
		uint32_t v = random_float();

		memcpy(p + i, &v, 4);
	}
}

static uint32_t dim(const struct run *r, const struct linnet_operand *o, int i)
{
	return linnet_dim(o->ne[i], r->params);
}

/* Set integer i of row j of an operand. */
static void put_int(const struct run *r, const struct linnet_operand *o, uint32_t i, uint32_t j,
		    int32_t v)
{
	memcpy(r->base[o->slot] + o->offset + j * o->nb[0] + 4ull * i, &v, 4);
}

/* Put numbers that are in range where the operation looks for them. */
static void fill_integers(struct run *r, const struct linnet_op *op)
{
	const struct linnet_operand *o = op->operand;
	uint32_t p;

	switch (op->code) {
	case LINNET_OP_GET_ROWS:
		for (uint32_t i = 0; i < dim(r, &o[2], 0); i++)
			put_int(r, &o[2], i, 0, (int32_t)below(dim(r, &o[1], 1)));
		break;
	case LINNET_OP_MATMUL_EXPERTS: {
		bool table = linnet_operand_present(&o[4]);
		uint32_t experts = table ? dim(r, &o[4], 0) : dim(r, &o[2], 2);

		for (uint32_t t = 0; t < dim(r, &o[3], 1); t++)
			for (uint32_t j = 0, at = below(experts); j < dim(r, &o[3], 0); j++)
				put_int(r, &o[3], j, t, (int32_t)((at + j) % experts));
		for (uint32_t e = 0; table && e < experts; e++)
			put_int(r, &o[4], e, 0, (int32_t)below(dim(r, &o[2], 2)));
		break;
	}
	case LINNET_OP_ROPE_TABLE:
		for (uint32_t i = 0; i < dim(r, &o[1], 0); i++)
			put_int(r, &o[1], i, 0, (int32_t)below(100000));
		break;
	case LINNET_OP_KV_WRITE:
	case LINNET_OP_ATTENTION:
		p = op->code == LINNET_OP_KV_WRITE ? 2 : 4;
		for (uint32_t i = 0; i < dim(r, &o[p], 0) && dim(r, &o[p + 2], 0); i++) {
			put_int(r, &o[p], i, 0,
				(int32_t)below(dim(r, &o[p + 2], 0) * LINNET_KV_PAGE));
			put_int(r, &o[p + 1], i, 0, (int32_t)below(dim(r, &o[p + 2], 1)));
		}
		for (uint32_t j = 0; j < dim(r, &o[p + 2], 1); j++)
			for (uint32_t i = 0; i < dim(r, &o[p + 2], 0); i++)
				put_int(r, &o[p + 2], i, j,
					(int32_t)below(dim(r, &o[p - 2], 3)));
		break;
	default:
		break;
	}
}

static int execute(const struct run *r, struct linnet_pool *pool, const struct linnet_kernels *k,
		   uint32_t *op)
{
	struct linnet_exec x = { .k = k, .s = r->s, .team = linnet_pool_team(pool) };
	int ret;

	x.scratch_bytes = linnet_exec_scratch(r->s, k, x.team->n);
	x.scratch = scratch_memory.begin + (SCRATCH_BYTES - x.scratch_bytes) / 64 * 64;
	memcpy(x.params, r->params, sizeof(x.params));
	memcpy(x.base, r->base, sizeof(x.base));
	ret = linnet_exec_begin(&x);
	if (ret)
		return ret;
	linnet_pool_run(pool, &x);
	return linnet_exec_result(&x, op);
}

/* True when there is memory for the scratch. */
static bool affordable(const struct run *r)
{
	for (unsigned i = 0; i < n_kernels; i++)
		if (linnet_exec_scratch(r->s, &kernels[i], 3) > SCRATCH_BYTES)
			return false;
	return true;
}

/* Clear the marks of all bytes that an operation of the stream may write. */
static void clear_written(const struct run *r, char **mark)
{
	for (uint32_t i = 0; i < r->s->n_ops; i++)
		for (uint32_t j = 0; j < r->s->op[i].n_operands; j++) {
			const struct linnet_operand *o = &r->s->op[i].operand[j];
			/* the validator's table knows what is written; dst, cache, ids, weights */
			bool first = j == 0 || (r->s->op[i].code == LINNET_OP_ROUTE && j == 1);

			if (r->s->op[i].code == LINNET_OP_MATMUL)
				first = j % 3 == 1;
			if (!first)
				continue;
			for (uint32_t x = 0; x < dim(r, o, 3); x++)
				for (uint32_t y = 0; y < dim(r, o, 2); y++)
					for (uint32_t z = 0; z < dim(r, o, 1); z++)
						memset(mark[o->slot] + o->offset + z * o->nb[0] +
						       y * o->nb[1] + x * o->nb[2], 0,
						       linnet_row_bytes(linnet_type_info(o->type),
									dim(r, o, 0)));
		}
}

/* Equal but for the payloads of NaN, which the kernels' contract leaves open. */
static bool same_bytes(const char *x, const char *y, size_t n)
{
	for (size_t i = 0; i < n; i += 4) {
		size_t len = n - i < 4 ? n - i : 4;
		float a = 0, c = 0;

		if (!memcmp(x + i, y + i, len))
			continue;
		memcpy(&a, x + i, len);
		memcpy(&c, y + i, len);
		if (len < 4 || !isnan(a) || !isnan(c))
			return false;
	}
	return true;
}

/* The same memory for every run of a case. */
static void fill_slots(struct run *r, uint64_t seed)
{
	start_case(seed);
	for (uint32_t i = 0; i < r->s->n_slots; i++)
		if (r->base[i])
			fill_floats(r->base[i], r->s->slot[i].extent);
	for (uint32_t i = 0; i < r->s->n_ops; i++)
		fill_integers(r, &r->s->op[i]);
}

static bool valid_case(uint64_t seed, enum linnet_opcode code)
{
	char *before[LINNET_MAX_SLOTS] = { NULL }, *after[LINNET_MAX_SLOTS] = { NULL };
	char *mark[LINNET_MAX_SLOTS] = { NULL };
	struct linnet_stream_error why = { 0 };
	struct run r = { 0 };
	bool ok = false;
	uint32_t op = 0;
	size_t bytes;
	char *data;
	int ret;

	start_case(seed);
	next_slot = 0;
	linnet_builder_start(&b, param_max, N_PARAMS, N_SLOTS);
	random_op(code);
	data = linnet_builder_finish(&b, &bytes);
	ret = linnet_stream_parse(&r.s, data, bytes, &why);
	free(data);
	if (ret) {
		printf("# case %" PRIu64 ": %s: operation %d, operand %d: %s\n", seed,
		       linnet_op_name(code), why.op, why.operand, why.what);
		return false;
	}
	for (uint32_t i = 0; i < N_PARAMS; i++)
		r.params[i] = below(4) ? param_max[i] : below(param_max[i] + 1);
	/* pages for every position, or none at all */
	if ((code == LINNET_OP_KV_WRITE || code == LINNET_OP_ATTENTION) && !r.params[1])
		r.params[0] = 0, r.params[1] = 1;
	if (!place_slots(&r, false) || !affordable(&r)) {
		printf("# case %" PRIu64 " is too large\n", seed);
		goto out;
	}
	for (unsigned k = 0; k < n_kernels; k++)
		for (unsigned p = 0; p < 2; p++) {
			const bool reference = !k && !p;

			fill_slots(&r, seed);
			for (uint32_t i = 0; i < r.s->n_slots; i++) {
				size_t n = r.s->slot[i].extent;

				if (!n || !reference)
					continue;
				before[i] = malloc(n);
				after[i] = malloc(n);
				mark[i] = memset(malloc(n), 1, n);
				memcpy(before[i], r.base[i], n);
			}
			ret = execute(&r, pools[p], &kernels[k], &op);
			if (ret) {
				printf("# case %" PRIu64 ": %s on %s: %d\n", seed,
				       linnet_op_name(code), kernels[k].isa, ret);
				goto out;
			}
			if (reference)
				clear_written(&r, mark);
			for (uint32_t i = 0; i < r.s->n_slots; i++) {
				size_t n = r.s->slot[i].extent;

				if (!n)
					continue;
				if (reference)
					memcpy(after[i], r.base[i], n);
				for (size_t j = 0; j < n; j++) {
					if (mark[i][j] && before[i][j] != r.base[i][j]) {
						printf("# case %" PRIu64
						       ": %s on %s wrote byte %zu of slot %u\n",
						       seed, linnet_op_name(code), kernels[k].isa,
						       j, i);
						goto out;
					}
				}
				if (!same_bytes(after[i], r.base[i], n)) {
					printf("# case %" PRIu64
					       ": %s on %s, %u threads: other bytes in slot %u\n",
					       seed, linnet_op_name(code), kernels[k].isa,
					       p ? 3 : 1, i);
					goto out;
				}
			}
		}
	ok = true;
out:
	for (uint32_t i = 0; i < LINNET_MAX_SLOTS; i++) {
		free(before[i]);
		free(after[i]);
		free(mark[i]);
	}
	linnet_stream_free(r.s);
	return ok;
}

static void test_valid(unsigned rounds)
{
	for (uint32_t code = 1; code < LINNET_OP_COUNT; code++) {
		bool ok = true;

		for (unsigned i = 0; i < rounds && ok; i++)
			ok = valid_case(code * 100000 + i, code);
		test_ok(ok,
			"%s: %u random shapes: same bytes on every level and number of threads, "
			"nothing else written",
			linnet_op_name(code), rounds);
	}
}

/* ------------------------------------------------------------------- hostile streams */

static int32_t hostile_int(void)
{
	static const int32_t bad[] = { -1, INT32_MIN, INT32_MAX, 1 << 20, 255, 256, 768, 4 };

	return below(6) ? (int32_t)below(3) : bad[below(8)];
}

static void fill_hostile(char *p, size_t bytes)
{
	bool ints = below(3);

	for (size_t i = 0; i + 4 <= bytes; i += 4) {
		uint32_t v = ints ? (uint32_t)hostile_int() : below(8) ? random_float() : rnd();

		memcpy(p + i, &v, 4);
	}
}

/* Change one thing. */
static void damage(char *data)
{
	struct linnet_stream_header *h = (struct linnet_stream_header *)data;
	uint32_t op = below(h->n_ops), n = op_at(data, op)->n_operands;
	struct linnet_operand *o = operand_at(data, op, below(n));
	struct linnet_operand *other = operand_at(data, op, below(n));
	static const uint32_t sizes[] = { 0, 1, 2, 3, 7, 8, 31, 32, 64, 255, 256, 512, 4096, T, M,
					  E, 1 << 20, 1u << 26 };
	uint32_t field = below(14), size = sizes[below(18)], i = below(4);

	switch (field) {
	case 0: o->slot = other->slot; break;
	case 1: o->slot = (uint16_t)below(N_SLOTS + 2); break;
	case 2: o->type = (uint16_t)below(41); break;
	case 3: o->n_dims = (uint16_t)below(6); break;
	case 4: o->offset = rnd() >> below(32); break;
	case 5: o->ne[i] = size; break;
	case 6: o->ne[i] = other->ne[below(4)]; break;
	case 7: if (i) o->nb[i - 1] = rnd() >> below(32) & ~(below(2) * 3); break;
	case 8: if (i) o->nb[i - 1] = 0; break;
	case 9: if (i) o->nb[i - 1] = (uint64_t)rnd() << below(33); break;
	case 10: op_at(data, op)->attr[below(8)] = below(2) ? size : rnd(); break;
	case 11: op_at(data, op)->code = below(15); break;
	default:
		/* the same size wherever it was: relations hold, extents change */
		i = o->ne[i];
		for (uint32_t j = 0; j < n; j++)
			for (int k = 0; k < 4; k++)
				if (operand_at(data, op, j)->ne[k] == i && (i != 1 || k < 2))
					operand_at(data, op, j)->ne[k] = size;
	}
}

/* Changes the integers of the slots while a stream runs: to what is good, now and then for
 * a moment to what is not, so that checks pass and what follows them is hit. */
struct scribbler {
	const struct run *r;
	_Atomic bool stop, running;
};

static void *scribble(void *arg)
{
	struct scribbler *s = arg;
	uint32_t x = 12345;

	s->running = true;
	while (!s->stop)
		for (uint32_t i = 0; i < s->r->s->n_ops; i++)
			for (uint32_t j = 0; j < s->r->s->op[i].n_operands; j++) {
				const struct linnet_operand *o = &s->r->s->op[i].operand[j];
				volatile int32_t *p;

				if (!linnet_operand_present(o) || o->type != I32)
					continue;
				p = (volatile int32_t *)(s->r->base[o->slot] + o->offset);
				x = x * 1664525 + 1013904223;
				p[(x >> 8) % linnet_dim(o->ne[0], s->r->s->param_max)] =
					x >> 20 ? 0 : (int32_t)(x << 12);
			}
	return NULL;
}

/* 1: it ran; 0: refused or too large; -1: wrong. */
static int hostile_case(uint64_t seed, bool race)
{
	struct linnet_stream_error why = { -9, -9, NULL };
	struct scribbler s;
	struct run r = { 0 };
	uint32_t op = 0, n_ops, code;
	unsigned k;
	pthread_t thread;
	size_t bytes;
	char *data;
	int ret, out = 0;

	start_case(seed);
	n_ops = 1 + below(3);
	next_slot = 0;
	linnet_builder_start(&b, param_max, N_PARAMS, N_SLOTS);
	for (uint32_t i = 0; i < n_ops; i++) {
		static const uint32_t with_ints[] = { LINNET_OP_GET_ROWS, LINNET_OP_MATMUL_EXPERTS,
						      LINNET_OP_KV_WRITE, LINNET_OP_ATTENTION };

		code = race || below(2) ? with_ints[below(4)] : 1 + below(LINNET_OP_COUNT - 1);
		random_op(code);
	}
	data = linnet_builder_finish(&b, &bytes);
	for (uint32_t i = race ? 0 : below(4); i; i--)
		damage(data);
	if (!race && !below(4))
		data[below((uint32_t)bytes)] ^= (char)(1 << below(8));
	ret = linnet_stream_parse(&r.s, data, bytes, &why);
	free(data);
	if (ret) {
		out = why.what && why.op >= -1 && (ret == -EINVAL || ret == -ENOTSUP) ? 0 : -1;
		goto out;
	}
	for (uint32_t i = 0; i < r.s->n_params; i++)
		r.params[i] = below(2) ? r.s->param_max[i] :
			      (uint32_t)(rnd() % ((uint64_t)r.s->param_max[i] + 1));
	if (!place_slots(&r, !race) || !affordable(&r) || work_of(&r) > MAX_WORK)
		goto out;
	for (uint32_t i = 0; i < r.s->n_slots; i++)
		if (r.base[i])
			fill_hostile(r.base[i], r.s->slot[i].extent);
	k = below(n_kernels);
	if (race) {
		for (uint32_t i = 0; i < r.s->n_ops; i++)
			fill_integers(&r, &r.s->op[i]);
		s = (struct scribbler){ .r = &r };
		if (pthread_create(&thread, NULL, scribble, &s)) {
			out = -1;
			goto out;
		}
		while (!s.running)
			;
	}
	for (int i = 0; i < (race ? 200 : 1); i++) {
		ret = execute(&r, pools[below(2)], &kernels[k], &op);
		if (ret && (ret != -ERANGE || op >= r.s->n_ops)) {
			printf("# case %" PRIu64 ": result %d, operation %u\n", seed, ret, op);
			out = -1;
		}
	}
	if (race) {
		s.stop = true;
		pthread_join(thread, NULL);
	}
	out = out ? out : 1;
out:
	linnet_stream_free(r.s);
	return out;
}

static void test_hostile(unsigned rounds, bool race)
{
	unsigned ran = 0;
	bool ok = true;

	for (unsigned i = 0; i < rounds && ok; i++) {
		int ret = hostile_case((race ? 20000000 : 10000000) + i, race);

		ran += ret > 0;
		ok = ret >= 0;
	}
	if (race)
		test_ok(ok && ran > rounds / 2, "%u of %u streams stay in their slots while their "
			"integers change", ran, rounds);
	else
		test_ok(ok && ran > rounds / 5,
			"%u of %u damaged streams were accepted, and stayed in their slots",
			ran, rounds);
}

/* Ids, places, positions, sequences and pages that are out of range. */
static void test_range(void)
{
	static const struct {
		enum linnet_opcode code;
		uint32_t operand, i, row;
		int32_t bad[4];
	} cases[] = {
		{ LINNET_OP_GET_ROWS, 2, 4, 0, { -1, 7, INT32_MIN, INT32_MAX } },
		{ LINNET_OP_MATMUL_EXPERTS, 3, 1, 4, { -1, 5, INT32_MIN, INT32_MAX } },
		{ LINNET_OP_MATMUL_EXPERTS, 4, 0, 0, { -2, 4, INT32_MIN, INT32_MAX } },
		{ LINNET_OP_KV_WRITE, 2, 2, 0, { -1, 768, INT32_MIN, INT32_MAX } },
		{ LINNET_OP_KV_WRITE, 3, 0, 0, { -1, 2, INT32_MIN, INT32_MAX } },
		{ LINNET_OP_KV_WRITE, 4, 2, 0, { -1, 3, INT32_MIN, INT32_MAX } },
		{ LINNET_OP_ATTENTION, 4, 2, 0, { -1, 768, INT32_MIN, INT32_MAX } },
		{ LINNET_OP_ATTENTION, 5, 0, 0, { -1, 2, INT32_MIN, INT32_MAX } },
		{ LINNET_OP_ATTENTION, 6, 2, 0, { -1, 3, INT32_MIN, INT32_MAX } },
	};

	for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
		const struct linnet_op *op;
		struct run r = { .params = { 5, 3, 37 } };
		bool ok = true;
		size_t bytes;
		char *data = plain_stream(cases[c].code, &bytes);

		start_case(c);
		for (uint32_t i = 0; i < 3; i++)
			operand_at(data, 0, i)->slot += 8;
		ok = !linnet_stream_parse(&r.s, data, bytes, NULL) && place_slots(&r, false);
		free(data);
		for (int i = -1; ok && i < 4; i++) {
			for (unsigned p = 0; p < 2 && ok; p++) {
				uint32_t failed = 9;
				int ret;

				op = &r.s->op[1];
				fill_slots(&r, c);
				/* all are seen: every token at the last position of sequence
				 * 0, every token with experts 0 and 1 */
				for (uint32_t t = 0; t < 5; t++) {
					uint32_t pos = op->code == LINNET_OP_ATTENTION ? 4 : 2;

					if (op->code == LINNET_OP_MATMUL_EXPERTS) {
						put_int(&r, &op->operand[3], 0, t, 0);
						put_int(&r, &op->operand[3], 1, t, 1);
					} else if (op->code != LINNET_OP_GET_ROWS) {
						put_int(&r, &op->operand[pos], t, 0, 767);
						put_int(&r, &op->operand[pos + 1], t, 0, 0);
					}
				}
				if (i >= 0)
					put_int(&r, &op->operand[cases[c].operand], cases[c].i,
						cases[c].row, cases[c].bad[i]);
				ret = execute(&r, pools[p], &kernels[0], &failed);
				ok = i < 0 ? !ret : ret == -ERANGE && failed == 1;
				if (!ok)
					printf("# value %d: result %d, operation %u\n",
					       i < 0 ? 0 : cases[c].bad[i], ret, failed);
			}
		}
		test_ok(ok, "%s: %s out of range is -ERANGE", linnet_op_name(cases[c].code),
			linnet_op_operand_name(cases[c].code, cases[c].operand));
		linnet_stream_free(r.s);
	}
}

/* An expert named twice by a token would need more room than was measured. */
static void test_expert_twice(void)
{
	struct run r = { .params = { 5, 3, 37 } };
	uint32_t failed = 0;
	size_t bytes;
	char *data = plain_stream(LINNET_OP_MATMUL_EXPERTS, &bytes);
	int ret = linnet_stream_parse(&r.s, data, bytes, NULL);

	free(data);
	if (!test_ok(!ret && place_slots(&r, false), "a stream with experts"))
		return;
	fill_slots(&r, 1);
	put_int(&r, &r.s->op[1].operand[3], 0, 3, 2);
	put_int(&r, &r.s->op[1].operand[3], 1, 3, 2);
	test_ok(execute(&r, pools[1], &kernels[0], &failed) == -ERANGE && failed == 1,
		"an expert that a token names twice is -ERANGE");
	linnet_stream_free(r.s);
}

/* Experts part by part come to what they come to at once; the others' rows stay. */
static void test_expert_left_out(void)
{
	struct run r = { .params = { 5, 3, 37 } };
	const struct linnet_operand *o;
	uint32_t failed = 0, n_experts, used;
	float want[5][4][64], is[5][4][64];
	int32_t place[8], id[5][4];
	size_t bytes;
	bool ok = true, stays = true;
	char *data = plain_stream(LINNET_OP_MATMUL_EXPERTS, &bytes);

	for (uint32_t i = 0; i < 3; i++)
		operand_at(data, 0, i)->slot += 8;
	if (!test_ok(!linnet_stream_parse(&r.s, data, bytes, NULL) && place_slots(&r, false),
		     "a stream with places"))
		return;
	free(data);
	o = r.s->op[1].operand;
	used = dim(&r, &o[3], 0);
	n_experts = dim(&r, &o[4], 0);
	fill_slots(&r, 5);
	for (uint32_t e = 0; e < n_experts; e++)
		memcpy(&place[e], r.base[o[4].slot] + o[4].offset + e * 4, 4);
	for (uint32_t t = 0; t < 5; t++)
		for (uint32_t j = 0; j < used; j++)
			memcpy(&id[t][j], r.base[o[3].slot] + o[3].offset + j * 4 + t * o[3].nb[0],
			       4);
	for (unsigned p = 0; p < 2; p++) {
		ok = ok && !execute(&r, pools[p], &kernels[0], &failed);
		for (uint32_t t = 0; t < 5; t++)
			for (uint32_t j = 0; j < used; j++)
				memcpy(want[t][j],
				       r.base[o[0].slot] + o[0].offset + j * o[0].nb[0] +
					       t * o[0].nb[1],
				       dim(&r, &o[0], 0) * 4);
		for (uint32_t t = 0; t < 5; t++)
			for (uint32_t j = 0; j < used; j++)
				memset(r.base[o[0].slot] + o[0].offset + j * o[0].nb[0] +
				       t * o[0].nb[1], 0x55, dim(&r, &o[0], 0) * 4);
		for (uint32_t round = 0; round < n_experts; round++) {
			for (uint32_t e = 0; e < n_experts; e++)
				put_int(&r, &o[4], e, 0, e == round ? place[e] : LINNET_PLACE_NONE);
			ok = ok && !execute(&r, pools[p], &kernels[0], &failed);
			for (uint32_t t = 0; t < 5; t++) {
				for (uint32_t j = 0; j < used; j++) {
					float *x = is[t][j], *y = want[t][j];
					const bool done = (uint32_t)id[t][j] <= round;
					const size_t n = dim(&r, &o[0], 0);

					memcpy(x, r.base[o[0].slot] + o[0].offset +
					       j * o[0].nb[0] + t * o[0].nb[1], n * 4);
					ok = ok && (!done || !memcmp(x, y, n * 4));
					for (size_t i = 0; !done && i < n * 4; i++)
						stays = stays && ((char *)x)[i] == 0x55;
				}
			}
		}
		for (uint32_t e = 0; e < n_experts; e++)
			put_int(&r, &o[4], e, 0, place[e]);
	}
	test_ok(ok, "experts one by one give the same bits");
	test_ok(stays, "and leave the others' rows as they are");
	linnet_stream_free(r.s);
}

/* Attention whose results overwrite the positions that other threads still look at. */
static void test_positions_overwritten(void)
{
	struct run r = { .params = { 2, 3, 37 } };
	unsigned seen = 0;
	size_t bytes;
	bool ok = true;
	char *data = plain_stream(LINNET_OP_ATTENTION, &bytes);

	for (uint32_t i = 0; i < 3; i++)
		operand_at(data, 0, i)->slot += 8;
	ok = !linnet_stream_parse(&r.s, data, bytes, NULL) && place_slots(&r, false);
	free(data);
	r.base[4] = r.base[0];
	for (int i = 0; ok && i < 300; i++) {
		uint32_t failed = 9;
		int ret;

		for (uint32_t j = 0; j < r.s->n_slots; j++)
			if (r.base[j])
				memset(r.base[j], 0, r.s->slot[j].extent);
		/* ones as values: the results, as positions, are far outside */
		for (size_t j = 0; j + 2 <= r.s->slot[3].extent; j += 2)
			memcpy(r.base[3] + j, &(uint16_t){ 0x3c00 }, 2);
		ret = execute(&r, pools[1], &kernels[0], &failed);
		ok = !ret || (ret == -ERANGE && failed == 1);
		seen += ret == -ERANGE;
	}
	test_ok(ok && seen, "positions that attention itself overwrites are checked again");
	linnet_stream_free(r.s);
}

/* A size that no memory has: asked for without overflow. */
static void test_huge_scratch(void)
{
	struct linnet_stream_error why = { 0 };
	struct linnet_stream *s = NULL;
	struct linnet_operand *o;
	const uint32_t big = 1u << 26;
	size_t bytes, n;
	char *data = plain_stream(LINNET_OP_ATTENTION, &bytes);

	/* 2^26 heads of 2^26 elements that see 2^26 pages */
	for (uint32_t i = 0; i < 4; i++) {
		o = operand_at(data, 1, i);
		if (i < 2) {
			o->ne[0] = o->ne[1] = big;
			o->ne[2] = 1;
			o->nb[0] = 4ull * big;
			o->nb[1] = 4ull * big * big;
		} else {
			o->ne[0] = big;
			o->ne[2] = 1;
			o->nb[0] = 2ull * big;
			o->nb[1] = o->nb[2] = 512ull * big;
		}
	}
	for (uint32_t i = 4; i < 6; i++)
		operand_at(data, 1, i)->ne[0] = 1;
	o = operand_at(data, 1, 6);
	o->ne[0] = big;
	o->nb[0] = 4ull * big;
	test_ok(!linnet_stream_parse(&s, data, bytes, &why), "a stream of enormous shapes");
	free(data);
	if (!s) {
		printf("# operation %d, operand %d: %s\n", why.op, why.operand, why.what);
		return;
	}
	for (unsigned i = 0; i < n_kernels; i++) {
		n = linnet_exec_scratch(s, &kernels[i], 1024);
		test_ok(n == SIZE_MAX, "%s: its scratch is more than can be asked for",
			kernels[i].isa);
	}
	linnet_stream_free(s);
}

static void test_limits(void)
{
	struct run r = { .params = { 6, 3, 37 } };
	_Atomic int stop = 1;
	struct linnet_exec x = { 0 };
	uint32_t failed = 9;
	size_t bytes;
	char *data = plain_stream(LINNET_OP_SOFTCAP, &bytes);
	int ret = linnet_stream_parse(&r.s, data, bytes, NULL);

	free(data);
	if (!test_ok(!ret && place_slots(&r, false), "a stream"))
		return;
	test_ok(execute(&r, pools[0], &kernels[0], &failed) == -EINVAL,
		"a parameter over its maximum is -EINVAL");
	r.params[0] = 5;
	for (unsigned p = 0; p < 2; p++) {
		x = (struct linnet_exec){ .k = &kernels[0], .s = r.s, .interrupt = &stop,
					  .team = linnet_pool_team(pools[p]) };
		memcpy(x.params, r.params, sizeof(x.params));
		memcpy(x.base, r.base, sizeof(x.base));
		ret = linnet_exec_begin(&x);
		linnet_pool_run(pools[p], &x);
		test_ok(!ret && linnet_exec_result(&x, &failed) == -EINTR && failed == 0,
			"interrupted before the first operation");
	}
	linnet_stream_free(r.s);
	data = plain_stream(LINNET_OP_MATMUL, &bytes);
	if (test_ok(!linnet_stream_parse(&r.s, data, bytes, NULL) && place_slots(&r, false),
		    "a product")) {
		x = (struct linnet_exec){ .k = &kernels[0], .s = r.s,
					  .team = linnet_pool_team(pools[1]) };
		memcpy(x.params, r.params, sizeof(x.params));
		memcpy(x.base, r.base, sizeof(x.base));
		x.scratch = scratch_memory.begin;
		x.scratch_bytes = linnet_exec_scratch(r.s, &kernels[0], 3) - 1;
		ret = linnet_exec_begin(&x);
		linnet_pool_run(pools[1], &x);
		test_ok(!ret && linnet_exec_result(&x, &failed) == -ENOSPC && failed == 1,
			"too little scratch is -ENOSPC");
		linnet_stream_free(r.s);
	}
	free(data);
}

int main(void)
{
	const bool long_run = getenv("LINNET_TEST_LONG"), sanitized = getenv("LINNET_SANITIZER");
	unsigned rounds = long_run ? 4000 : sanitized ? 40 : 150;

	for (uint32_t i = 0; i < N_SLOTS; i++)
		slots[i] = memory_new(SLOT_BYTES);
	scratch_memory = memory_new(SCRATCH_BYTES);
	/* the last is the reference, and results are compared with the first */
	for (const char *const *l = linnet_kernels_levels(); *l && n_kernels < 8; l++)
		if (linnet_kernels_init(&kernels[n_kernels++], *l))
			test_ok(false, "level %s", *l);
	if (linnet_pool_create(&pools[0], 1, NULL) || linnet_pool_create(&pools[1], 3, NULL)) {
		test_ok(false, "threads");
		return test_end();
	}
	if (!sanitized) {
		signal(SIGSEGV, crashed);
		signal(SIGBUS, crashed);
		signal(SIGFPE, crashed);
	}
	test_plain();
	test_extents();
	test_header();
	test_rules();
	test_limits();
	test_range();
	test_expert_twice();
	test_expert_left_out();
	test_positions_overwritten();
	test_huge_scratch();
	test_valid(rounds);
	test_hostile(rounds * 100, false);
	test_hostile(rounds, true);
	linnet_pool_destroy(pools[0]);
	linnet_pool_destroy(pools[1]);
	return test_end();
}
