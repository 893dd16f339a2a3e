// SPDX-License-Identifier: MIT
/*
 * Fuzz target: what kernels/stream.h accepts, kernels/exec.h can execute with any
 * parameters up to their maxima, in slots of exactly the extents it names, without
 * touching a byte outside (the address sanitizer watches). Input: level of the
 * kernels, how memory is filled, a seed of 4 bytes, two bytes not used; then the stream.
 */
#include "fuzz.h"

#include "kernels/exec.h"

#include <errno.h>
#include <string.h>

#define MAX_SLOT_BYTES	(1u << 18)
#define MAX_SCRATCH	(16u << 20)
#define MAX_WORK	(4u << 20)

/* An upper bound of the multiplications of one operation, roughly. */
static double work(const struct linnet_op *op, const uint32_t *params)
{
	double out = 0, longest = 1, n;
	uint32_t ne;

	for (uint32_t i = 0; i < op->n_operands; i++) {
		const struct linnet_operand *o = &op->operand[i];

		if (!linnet_operand_present(o))
			continue;
		n = 1;
		for (unsigned d = 0; d < LINNET_MAX_DIMS; d++) {
			ne = linnet_dim(o->ne[d], params);
			n *= ne;
			if (ne > longest)
				longest = ne;
		}
		if (n > out)
			out = n;
	}
	return out * longest * (op->code == LINNET_OP_ATTENTION ? LINNET_KV_PAGE : 1);
}

static void fill(char *p, size_t n, unsigned how, uint64_t *state)
{
	uint32_t v;
	float f;

	for (size_t i = 0; i + 4 <= n; i += 4) {
		v = fuzz_next(state);
		if (how % 4 == 1)
			v %= 4;			/* good for ids, pages and positions */
		if (how % 4 == 2) {
			f = (float)(int32_t)v / 0x1p31f;
			memcpy(&v, &f, 4);
		}
		if (how % 4 == 3)
			v = 0;
		memcpy(p + i, &v, 4);
	}
}

static void run(const struct linnet_stream *s, const uint8_t *head)
{
	const char *const *levels = linnet_kernels_levels();
	char *slot[LINNET_MAX_SLOTS] = { NULL };
	struct linnet_kernels k;
	struct linnet_exec x = { 0 };
	struct linnet_team team;
	size_t n_levels = 0, scratch;
	uint64_t state = 88172645463325252u;
	uint32_t seed, op = 0;
	double total = 0;
	int ret;

	memcpy(&seed, head + 2, 4);
	state ^= (uint64_t)seed << 7;
	while (levels[n_levels])
		n_levels++;
	must(!linnet_kernels_init(&k, levels[head[0] % n_levels]));
	for (uint32_t i = 0; i < s->n_params; i++)
		x.params[i] = seed & 1 ? s->param_max[i] :
			      (uint32_t)(fuzz_next(&state) % ((uint64_t)s->param_max[i] + 1));
	for (uint32_t i = 0; i < s->n_ops; i++)
		total += work(&s->op[i], s->param_max);
	for (uint32_t i = 0; i < s->n_slots; i++)
		if (s->slot[i].extent > MAX_SLOT_BYTES)
			return;
	scratch = linnet_exec_scratch(s, &k, 1);
	if (total > MAX_WORK || scratch > MAX_SCRATCH)
		return;

	for (uint32_t i = 0; i < s->n_slots; i++) {
		size_t extent = (size_t)s->slot[i].extent;

		if (!extent)
			continue;
		/* aligned as much as the stream asks for, and no more; ends at the block's end */
		must(s->slot[i].align <= 16);
		slot[i] = malloc(extent + s->slot[i].align % 16);
		must(slot[i]);
		x.base[i] = slot[i] + s->slot[i].align % 16;
		fill(x.base[i], extent, head[1] >> (2 * (i % 4)), &state);
	}
	must(!posix_memalign((void **)&x.scratch, 64, scratch ? scratch : 64));
	linnet_team_init(&team, 1);
	x.k = &k;
	x.s = s;
	x.team = &team;
	x.scratch_bytes = scratch;
	must(!linnet_exec_begin(&x));
	linnet_exec_run(&x, 0);
	ret = linnet_exec_result(&x, &op);
	must(!ret || (ret == -ERANGE && op < s->n_ops));
	free(x.scratch);
	for (uint32_t i = 0; i < s->n_slots; i++)
		free(slot[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct linnet_stream_error why = { -2, -2, NULL };
	struct linnet_stream_header h;
	struct linnet_stream *s = NULL;
	uint8_t *copy;
	int ret;

	if (n < 8 + sizeof(h))
		return 0;
	/* What no mutation would guess is put right. */
	copy = malloc(n - 8);
	must(copy);
	memcpy(copy, data + 8, n - 8);
	memcpy(&h, copy, sizeof(h));
	if (data[7] != 0xff) {
		h.magic = LINNET_STREAM_MAGIC;
		h.version = LINNET_STREAM_VERSION;
		h.bytes = (uint32_t)(n - 8);
		memcpy(copy, &h, sizeof(h));
	}
	ret = linnet_stream_parse(&s, copy, n - 8, &why);
	free(copy);
	if (ret) {
		must(!s && why.what && why.op >= -1 && why.operand >= -1);
		return 0;
	}
	for (uint32_t i = 0; i < s->n_ops; i++) {
		must(linnet_op_name(s->op[i].code));
		for (uint32_t j = 0; j < s->op[i].n_operands; j++)
			must(linnet_op_operand_name(s->op[i].code, j));
	}
	run(s, data);
	linnet_stream_free(s);
	return 0;
}
