// SPDX-License-Identifier: MIT
/*
 * The validator of command streams, keeps stream.h. A table gives each operation
 * its operands and attributes; a small function each checks how the shapes relate.
 * Shapes are compared as written: two dimensions are equal when both are the same
 * constant or the same parameter, so a relation that holds here holds for every
 * value of the parameters.
 */
#include "stream.h"
#include "kernels.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Classes of element types that an operand may have. */
enum {
	F32 = 1 << 0,
	I32 = 1 << 1,
	WEIGHT = 1 << 2,	/* every type with products */
	CACHE = 1 << 3,		/* types of the KV cache */
};

enum {
	WRITE = 1 << 0,
	OPTIONAL = 1 << 1,
};

/* No dimension is longer: products of two fit in 64 bits, sums of products in int32. */
#define DIM_MAX (1u << 26)

struct operand_spec {
	const char *name;
	uint8_t types, dims_min, dims_max, flags;
};

struct op_spec {
	const char *name;
	uint8_t n_operands;
	struct operand_spec operand[7];
	struct {
		const char *name;
		bool is_float;
	} attr[LINNET_OP_ATTRS];
	const char *(*check)(const struct linnet_op *op, const struct linnet_stream *s);
};

#define OPND(i) (&op->operand[i])

static bool same(const struct linnet_operand *a, unsigned i, const struct linnet_operand *b,
		 unsigned j)
{
	return a->ne[i] == b->ne[j];
}

static bool same_shape(const struct linnet_operand *a, const struct linnet_operand *b)
{
	return !memcmp(a->ne, b->ne, sizeof(a->ne));
}

static bool is_param(uint32_t ne)
{
	return ne & LINNET_DIM_PARAM;
}

static const char *check_get_rows(const struct linnet_op *op, const struct linnet_stream *s)
{
	const struct linnet_operand *dst = OPND(0), *table = OPND(1), *ids = OPND(2);

	if (!same(dst, 0, table, 0))
		return "dst and table differ in row length";
	if (!same(dst, 1, ids, 0))
		return "dst and ids differ in number of rows";
	return NULL;
}

static const char *check_rms_norm(const struct linnet_op *op, const struct linnet_stream *s)
{
	if (!same_shape(OPND(0), OPND(1)))
		return "dst and src differ in shape";
	if (is_param(OPND(0)->ne[0]))
		return "the row length is not a constant";
	if (linnet_operand_present(OPND(2)) && !same(OPND(0), 0, OPND(2), 0))
		return "weight and dst differ in row length";
	if (!(linnet_attr_f32(op, 0) >= 0))
		return "eps is negative";
	return NULL;
}

static const char *check_product(const struct linnet_operand *dst, const struct linnet_operand *w,
				 const struct linnet_operand *src)
{
	if (!same(w, 0, src, 0))
		return "weight and src differ in row length";
	if (!same(dst, 0, w, 1))
		return "dst's row length is not weight's number of rows";
	return NULL;
}

static const char *check_matmul(const struct linnet_op *op, const struct linnet_stream *s)
{
	const uint32_t n = op->attr[0];
	const struct linnet_operand *src = OPND(0);

	if (n < 1 || n > LINNET_MATMUL_MAX || op->n_operands != 1 + 3 * n)
		return "n does not fit the number of operands";
	for (uint32_t i = 0; i < n; i++) {
		const struct linnet_operand *dst = OPND(1 + 3 * i), *bias = dst + 2;
		const char *what = check_product(dst, dst + 1, src);

		if (what)
			return what;
		if (!same(dst, 1, src, 1))
			return "dst and src differ in number of tokens";
		if (linnet_operand_present(bias) && !same(bias, 0, dst, 0))
			return "bias and dst differ in row length";
	}
	return NULL;
}

static const char *check_matmul_experts(const struct linnet_op *op, const struct linnet_stream *s)
{
	const struct linnet_operand *dst = OPND(0), *src = OPND(1), *w = OPND(2), *ids = OPND(3);
	const char *what = check_product(dst, w, src);

	if (what)
		return what;
	if (!same(dst, 2, src, 2) || !same(dst, 2, ids, 1))
		return "dst, src and ids differ in number of tokens";
	if (!same(dst, 1, ids, 0))
		return "dst and ids differ in number of experts used";
	if (src->ne[1] != 1 && !same(src, 1, dst, 1))
		return "src has neither one row nor one for each expert used";
	if (is_param(dst->ne[1]) || is_param(w->ne[2]))
		return "a number of experts is not a constant";
	/* the executor numbers the rows */
	if ((uint64_t)dst->ne[1] * linnet_dim(dst->ne[2], s->param_max) > UINT32_MAX)
		return "too many rows";
	return NULL;
}

static const char *check_rope_table(const struct linnet_op *op, const struct linnet_stream *s)
{
	const struct linnet_operand *dst = OPND(0), *pos = OPND(1), *factors = OPND(2);

	if (is_param(dst->ne[0]) || dst->ne[0] % 2)
		return "the number of rotated elements is not an even constant";
	if (!same(dst, 1, pos, 0))
		return "dst and pos differ in number of tokens";
	if (linnet_operand_present(factors) && factors->ne[0] != dst->ne[0] / 2)
		return "factors are not half the rotated elements";
	if (!(linnet_attr_f32(op, 0) > 0))
		return "freq_base is not positive";
	return NULL;
}

static const char *check_rope(const struct linnet_op *op, const struct linnet_stream *s)
{
	const struct linnet_operand *dst = OPND(0), *table = OPND(2);

	if (!same_shape(dst, OPND(1)))
		return "dst and src differ in shape";
	if (is_param(dst->ne[0]) || is_param(table->ne[0]) || table->ne[0] > dst->ne[0] ||
	    table->ne[0] % 2)
		return "the number of rotated elements does not fit the head";
	if (!same(dst, 2, table, 1))
		return "dst and table differ in number of tokens";
	if (op->attr[0] > LINNET_ROPE_NEOX)
		return "unknown mode";
	return NULL;
}

/* pos [T], seq [T], pages [M, S]; every position that the table covers fits an int32. */
static const char *check_paged(const struct linnet_operand *tokens, unsigned dim,
			       const struct linnet_operand *pos, const struct linnet_operand *cache)
{
	const struct linnet_operand *seq = pos + 1;

	if (!same(tokens, dim, pos, 0) || !same(tokens, dim, seq, 0))
		return "src, pos and seq differ in number of tokens";
	if (is_param(cache->ne[0]) || is_param(cache->ne[2]))
		return "the head size or the number of heads is not a constant";
	if (cache->ne[1] != LINNET_KV_PAGE)
		return "cache pages are not of LINNET_KV_PAGE positions";
	if (cache->nb[0] != linnet_row_bytes(linnet_type_info(cache->type), cache->ne[0]))
		return "cache positions are not dense";
	return NULL;
}

static const char *check_kv_write(const struct linnet_op *op, const struct linnet_stream *s)
{
	const struct linnet_operand *cache = OPND(0), *src = OPND(1);

	if (!same(cache, 0, src, 0) || !same(cache, 2, src, 1))
		return "cache and src differ in heads";
	if (op->attr[0] > LINNET_KV_V)
		return "unknown role";
	return check_paged(src, 2, OPND(2), cache);
}

static const char *check_attention(const struct linnet_op *op, const struct linnet_stream *s)
{
	const struct linnet_operand *dst = OPND(0), *q = OPND(1), *k = OPND(2), *v = OPND(3);
	const char *what;

	if (!same(q, 0, k, 0) || !same(dst, 0, v, 0))
		return "head sizes of q and k, or of dst and v, differ";
	if (!same(dst, 1, q, 1) || !same(dst, 2, q, 2))
		return "dst and q differ in heads or tokens";
	if (k->type != v->type)
		return "k and v differ in type";
	if (!same(k, 2, v, 2) || !same(k, 3, v, 3))
		return "k and v differ in heads or pages";
	if (is_param(q->ne[1]) || is_param(k->ne[2]) || q->ne[1] % k->ne[2])
		return "query heads are not a multiple of KV heads";
	if (linnet_attr_f32(op, 1) < 0)
		return "softcap is negative";
	if (op->attr[2] > INT32_MAX)
		return "window is too large";
	what = check_paged(q, 2, OPND(4), k);
	return what ? what : check_paged(q, 2, OPND(4), v);
}

static const char *check_glu(const struct linnet_op *op, const struct linnet_stream *s)
{
	if (!same_shape(OPND(0), OPND(1)) || !same_shape(OPND(0), OPND(2)))
		return "dst, gate and up differ in shape";
	if (op->attr[0] > LINNET_GLU_GELU_TANH)
		return "unknown kind";
	return NULL;
}

static const char *check_add(const struct linnet_op *op, const struct linnet_stream *s)
{
	if (!same_shape(OPND(0), OPND(1)) || !same_shape(OPND(0), OPND(2)))
		return "dst, a and b differ in shape";
	return NULL;
}

static const char *check_softcap(const struct linnet_op *op, const struct linnet_stream *s)
{
	if (!same_shape(OPND(0), OPND(1)))
		return "dst and src differ in shape";
	if (!(linnet_attr_f32(op, 0) > 0))
		return "cap is not positive";
	return NULL;
}

static const char *check_route(const struct linnet_op *op, const struct linnet_stream *s)
{
	const struct linnet_operand *ids = OPND(0), *weights = OPND(1), *logits = OPND(2);

	if (!same_shape(ids, weights))
		return "ids and weights differ in shape";
	if (!same(ids, 1, logits, 1))
		return "ids and logits differ in number of tokens";
	if (is_param(ids->ne[0]) || is_param(logits->ne[0]) || ids->ne[0] > logits->ne[0])
		return "more experts are used than there are";
	if (op->attr[0] > 1)
		return "norm is neither 0 nor 1";
	return NULL;
}

static const char *check_combine(const struct linnet_op *op, const struct linnet_stream *s)
{
	const struct linnet_operand *dst = OPND(0), *src = OPND(1), *weights = OPND(2);

	if (!same(dst, 0, src, 0))
		return "dst and src differ in row length";
	if (!same(dst, 1, src, 2) || !same(dst, 1, weights, 1) || !same(src, 1, weights, 0))
		return "src and weights differ in experts or tokens";
	return NULL;
}

static const struct op_spec specs[LINNET_OP_COUNT] = {
	[LINNET_OP_GET_ROWS] = { "get_rows", 3,
		{ { "dst", F32, 2, 2, WRITE }, { "table", F32 | WEIGHT, 2, 2 },
		  { "ids", I32, 1, 1 } },
		{ { "scale", true } }, check_get_rows },
	[LINNET_OP_RMS_NORM] = { "rms_norm", 3,
		{ { "dst", F32, 2, 3, WRITE }, { "src", F32, 2, 3 },
		  { "weight", F32, 1, 1, OPTIONAL } },
		{ { "eps", true } }, check_rms_norm },
	[LINNET_OP_MATMUL] = { "matmul", 4,
		{ { "src", F32, 2, 2 }, { "dst", F32, 2, 2, WRITE }, { "weight", WEIGHT, 2, 2 },
		  { "bias", F32, 1, 1, OPTIONAL } },
		{ { "n", false } }, check_matmul },
	[LINNET_OP_MATMUL_EXPERTS] = { "matmul_experts", 5,
		{ { "dst", F32, 3, 3, WRITE }, { "src", F32, 3, 3 }, { "weight", WEIGHT, 3, 3 },
		  { "ids", I32, 2, 2 }, { "place", I32, 1, 1, OPTIONAL } },
		{ { NULL } }, check_matmul_experts },
	[LINNET_OP_ROPE_TABLE] = { "rope_table", 3,
		{ { "dst", F32, 2, 2, WRITE }, { "pos", I32, 1, 1 },
		  { "factors", F32, 1, 1, OPTIONAL } },
		{ { "freq_base", true }, { "freq_scale", true }, { "ext_factor", true },
		  { "corr_low", true }, { "corr_high", true }, { "m", true } }, check_rope_table },
	[LINNET_OP_ROPE] = { "rope", 3,
		{ { "dst", F32, 3, 3, WRITE }, { "src", F32, 3, 3 }, { "table", F32, 2, 2 } },
		{ { "mode", false } }, check_rope },
	[LINNET_OP_KV_WRITE] = { "kv_write", 5,
		{ { "cache", CACHE, 4, 4, WRITE }, { "src", F32, 3, 3 }, { "pos", I32, 1, 1 },
		  { "seq", I32, 1, 1 }, { "pages", I32, 2, 2 } },
		{ { "role", false } }, check_kv_write },
	[LINNET_OP_ATTENTION] = { "attention", 7,
		{ { "dst", F32, 3, 3, WRITE }, { "q", F32, 3, 3 }, { "k", CACHE, 4, 4 },
		  { "v", CACHE, 4, 4 }, { "pos", I32, 1, 1 }, { "seq", I32, 1, 1 },
		  { "pages", I32, 2, 2 } },
		{ { "scale", true }, { "softcap", true }, { "window", false } }, check_attention },
	[LINNET_OP_GLU] = { "glu", 3,
		{ { "dst", F32, 2, 3, WRITE }, { "gate", F32, 2, 3 }, { "up", F32, 2, 3 } },
		{ { "kind", false } }, check_glu },
	[LINNET_OP_ADD] = { "add", 3,
		{ { "dst", F32, 2, 2, WRITE }, { "a", F32, 2, 2 }, { "b", F32, 2, 2 } },
		{ { NULL } }, check_add },
	[LINNET_OP_SOFTCAP] = { "softcap", 2,
		{ { "dst", F32, 2, 2, WRITE }, { "src", F32, 2, 2 } },
		{ { "cap", true } }, check_softcap },
	[LINNET_OP_ROUTE] = { "route", 3,
		{ { "ids", I32, 2, 2, WRITE }, { "weights", F32, 2, 2, WRITE },
		  { "logits", F32, 2, 2 } },
		{ { "norm", false }, { "scale", true } }, check_route },
	[LINNET_OP_COMBINE] = { "combine", 3,
		{ { "dst", F32, 2, 2, WRITE }, { "src", F32, 3, 3 }, { "weights", F32, 2, 2 } },
		{ { NULL } }, check_combine },
};

static const struct op_spec *op_spec(uint32_t code)
{
	return code < LINNET_OP_COUNT && specs[code].name ? &specs[code] : NULL;
}

/* A product's operands repeat in groups of three after the first. */
static const struct operand_spec *operand_spec(const struct op_spec *spec, uint32_t code,
					       unsigned i)
{
	if (code == LINNET_OP_MATMUL && i > 3)
		i = 1 + (i - 1) % 3;
	return i < spec->n_operands ? &spec->operand[i] : NULL;
}

const char *linnet_op_name(uint32_t code)
{
	const struct op_spec *spec = op_spec(code);

	return spec ? spec->name : NULL;
}

const char *linnet_op_operand_name(uint32_t code, unsigned i)
{
	const struct op_spec *spec = op_spec(code);
	const struct operand_spec *o = spec ? operand_spec(spec, code, i) : NULL;

	return o ? o->name : NULL;
}

const char *linnet_op_attr_name(uint32_t code, unsigned i, bool *is_float)
{
	const struct op_spec *spec = op_spec(code);

	if (!spec || i >= LINNET_OP_ATTRS || !spec->attr[i].name)
		return NULL;
	*is_float = spec->attr[i].is_float;
	return spec->attr[i].name;
}

static bool type_allowed(uint32_t type, unsigned allowed)
{
	const struct linnet_type_info *info = linnet_type_info(type);

	if (!info)
		return false;
	if (type == LINNET_TYPE_I32)
		return allowed & I32;
	if (type == LINNET_TYPE_F32 && allowed & F32)
		return true;
	if (allowed & CACHE)
		return type == LINNET_TYPE_F32 || type == LINNET_TYPE_F16 ||
		       type == LINNET_TYPE_Q8_0 || type == LINNET_TYPE_Q4_0;
	return allowed & WEIGHT;
}

/*
 * Check one operand alone and raise its slot's extent. Returns what is wrong.
 */
static const char *check_operand(struct linnet_stream *s, const struct linnet_operand *o,
				 const struct operand_spec *spec)
{
	const struct linnet_type_info *info;
	struct linnet_slot_info *slot;
	uint64_t end, dense, ne0;

	if (o->slot == LINNET_SLOT_NONE) {
		static const struct linnet_operand none = { .slot = LINNET_SLOT_NONE };

		if (!(spec->flags & OPTIONAL))
			return "absent";
		return memcmp(o, &none, sizeof(none)) ? "absent, but not all zero" : NULL;
	}
	if (o->slot >= s->n_slots)
		return "slot out of range";
	if (o->reserved)
		return "reserved field is not zero";
	if (!type_allowed(o->type, spec->types))
		return "type is not allowed here";
	if (o->n_dims < spec->dims_min || o->n_dims > spec->dims_max)
		return "wrong number of dimensions";
	info = linnet_type_info(o->type);

	for (unsigned i = 0; i < LINNET_MAX_DIMS; i++) {
		uint32_t ne = o->ne[i], max = ne;

		if (is_param(ne)) {
			if ((ne & ~LINNET_DIM_PARAM) >= s->n_params)
				return "a dimension's parameter is out of range";
			max = s->param_max[ne & ~LINNET_DIM_PARAM];
			/* blocks must be whole for every value of the parameter */
			if (!i && info->block_elems != 1)
				return "the row length of blocks is not a constant";
		}
		if (i >= o->n_dims && ne != 1)
			return "a dimension beyond n_dims is not 1";
		if (!max || max > DIM_MAX)
			return "a dimension is zero or too large";
	}
	ne0 = linnet_dim(o->ne[0], s->param_max);
	if (ne0 % info->block_elems)
		return "the row length is not a multiple of the type's block";

	dense = linnet_row_bytes(info, ne0);
	end = dense;
	for (unsigned i = 1; i < LINNET_MAX_DIMS; i++) {
		uint64_t ne = linnet_dim(o->ne[i], s->param_max), step;
		uint64_t nb = o->nb[i - 1];

		if (i >= o->n_dims) {
			if (nb)
				return "a stride beyond n_dims is not zero";
			continue;
		}
		if (spec->flags & WRITE && nb < dense)
			return "rows that are written overlap";
		if (spec->types & WEIGHT && nb < dense)
			return "rows of weights overlap";
		if (nb > INT64_MAX || __builtin_mul_overflow(ne, nb, &dense) ||
		    __builtin_mul_overflow(ne - 1, nb, &step) ||
		    __builtin_add_overflow(end, step, &end))
			return "the size overflows";
	}
	if (__builtin_add_overflow(end, o->offset, &end) || end > INT64_MAX)
		return "the size overflows";

	slot = &s->slot[o->slot];
	if (info->block_elems == 1 && info->block_bytes == 4) {
		if (o->offset % 4 || o->nb[0] % 4 || o->nb[1] % 4 || o->nb[2] % 4)
			return "offset or stride is not a multiple of 4";
		if (slot->align < 4)
			slot->align = 4;
	}
	if (slot->extent < end)
		slot->extent = end;
	slot->written |= spec->flags & WRITE;
	return NULL;
}

static const char *check_attrs(const struct op_spec *spec, const struct linnet_op *op)
{
	for (unsigned i = 0; i < LINNET_OP_ATTRS; i++) {
		if (!spec->attr[i].name && op->attr[i])
			return "an unused attribute is not zero";
		if (spec->attr[i].name && spec->attr[i].is_float &&
		    !isfinite(linnet_attr_f32(op, i)))
			return "an attribute is not a finite number";
	}
	return NULL;
}

static int refuse(struct linnet_stream_error *why, int code, int op, int operand, const char *what)
{
	if (why)
		*why = (struct linnet_stream_error){ op, operand, what };
	return code;
}

/* Decode the operations of s->copy at `at`; everything is checked. */
static int parse_ops(struct linnet_stream *s, size_t at, size_t bytes,
		     struct linnet_stream_error *why)
{
	const char *base = s->copy;

	for (uint32_t n = 0; n < s->n_ops; n++) {
		const struct linnet_stream_op *head;
		struct linnet_op *op = &s->op[n];
		const struct op_spec *spec;
		const char *what;

		if (bytes - at < sizeof(*head))
			return refuse(why, -EINVAL, n, -1, "truncated");
		head = (const void *)(base + at);
		at += sizeof(*head);
		spec = op_spec(head->code);
		if (!spec)
			return refuse(why, -ENOTSUP, n, -1, "unknown operation");
		if (head->n_operands > LINNET_MAX_OPERANDS ||
		    (head->code != LINNET_OP_MATMUL && head->n_operands != spec->n_operands))
			return refuse(why, -EINVAL, n, -1, "wrong number of operands");
		if (bytes - at < head->n_operands * sizeof(struct linnet_operand))
			return refuse(why, -EINVAL, n, -1, "truncated");
		op->code = head->code;
		op->n_operands = head->n_operands;
		op->attr = head->attr;
		op->operand = (const void *)(base + at);
		at += head->n_operands * sizeof(struct linnet_operand);

		what = check_attrs(spec, op);
		if (what)
			return refuse(why, -EINVAL, n, -1, what);
		for (uint32_t i = 0; i < op->n_operands; i++) {
			what = check_operand(s, &op->operand[i],
					     operand_spec(spec, op->code, i));
			if (what)
				return refuse(why, -EINVAL, n, i, what);
		}
		what = spec->check(op, s);
		if (what)
			return refuse(why, -EINVAL, n, -1, what);
	}
	if (at != bytes)
		return refuse(why, -EINVAL, -1, -1, "bytes after the last operation");
	return 0;
}

int linnet_stream_parse(struct linnet_stream **out, const void *data, size_t bytes,
			struct linnet_stream_error *why)
{
	struct linnet_stream_header h;
	const struct linnet_stream_param *param;
	struct linnet_stream *s;
	size_t at = sizeof(h);
	int ret;

	if (bytes < sizeof(h))
		return refuse(why, -EINVAL, -1, -1, "truncated header");
	memcpy(&h, data, sizeof(h));
	if (h.magic != LINNET_STREAM_MAGIC)
		return refuse(why, -EINVAL, -1, -1, "wrong magic");
	if (h.version != LINNET_STREAM_VERSION)
		return refuse(why, -ENOTSUP, -1, -1, "unknown version");
	if (h.bytes != bytes)
		return refuse(why, -EINVAL, -1, -1, "wrong length");
	if (h.n_params > LINNET_MAX_PARAMS || h.n_slots > LINNET_MAX_SLOTS ||
	    h.n_ops > LINNET_MAX_OPS || !h.n_ops)
		return refuse(why, -EINVAL, -1, -1, "a count is out of range");
	if (bytes - at < h.n_params * sizeof(*param))
		return refuse(why, -EINVAL, -1, -1, "truncated parameters");

	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->n_params = h.n_params;
	s->n_slots = h.n_slots;
	s->n_ops = h.n_ops;
	s->copy = malloc(bytes);
	s->op = calloc(h.n_ops, sizeof(*s->op));
	ret = -ENOMEM;
	if (!s->copy || !s->op)
		goto err_free;
	memcpy(s->copy, data, bytes);

	param = (const void *)((const char *)s->copy + at);
	for (uint32_t i = 0; i < h.n_params; i++, at += sizeof(*param)) {
		ret = -EINVAL;
		if (!param[i].max || param[i].max > DIM_MAX || param[i].reserved) {
			refuse(why, ret, -1, -1, "a parameter's maximum is out of range");
			goto err_free;
		}
		s->param_max[i] = param[i].max;
	}
	for (uint32_t i = 0; i < LINNET_MAX_SLOTS; i++)
		s->slot[i].align = 1;
	ret = parse_ops(s, at, bytes, why);
	if (ret)
		goto err_free;
	*out = s;
	return 0;

err_free:
	linnet_stream_free(s);
	return ret;
}

void linnet_stream_free(struct linnet_stream *s)
{
	if (!s)
		return;
	free(s->op);
	free(s->copy);
	free(s);
}
