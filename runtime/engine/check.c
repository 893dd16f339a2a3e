// SPDX-License-Identifier: MIT
/* Keeps check.h. Costs a comparison or two for each binding. */
#include "check.h"

#include "runtime/util/error.h"

#include <errno.h>

int linnet_engine_parse(struct linnet_stream **out, const void *data, size_t bytes,
			struct linnet_error *err)
{
	struct linnet_stream_error why = { -1, -1, "out of memory" };
	int ret = linnet_stream_parse(out, data, bytes, &why);

	if (ret)
		linnet_err(err, ret, "stream refused: operation %d, operand %d: %s", why.op,
			   why.operand, why.what);
	return ret;
}

int linnet_job_check(const struct linnet_stream *s, const struct linnet_job *job)
{
	uint64_t bound = 0;

	for (uint32_t i = 0; i < s->n_params; i++)
		if (job->params[i] > s->param_max[i])
			return -EINVAL;
	for (uint32_t i = 0; i < job->n_bindings; i++) {
		const struct linnet_binding *b = &job->binding[i];
		const struct linnet_slot_info *slot;

		if (b->slot >= s->n_slots || bound >> b->slot & 1)
			return -EINVAL;
		slot = &s->slot[b->slot];
		if (b->bytes < slot->extent || b->offset > b->region->bytes ||
		    b->bytes > b->region->bytes - b->offset ||
		    (uintptr_t)(b->region->addr + b->offset) % slot->align)
			return -EINVAL;
		bound |= 1ull << b->slot;
	}
	for (uint32_t i = 0; i < s->n_slots; i++)
		if (s->slot[i].extent && !(bound >> i & 1))
			return -EINVAL;
	return 0;
}
