// SPDX-License-Identifier: MIT
/* Keeps draft.h. */
#include "draft.h"
#include "tool.h"

#include <math.h>

/* Tokens of a draft where a pass costs the reading of weights. */
#define STREAMED 8
/* For the decision: part of a small model's tokens that are right, and how much faster
 * memory is read than a disk. Both on the careful side. */
#define ACCEPTED 0.6
#define MEMORY_PER_DISK 6.0

/* Memory and bytes read in every pass of a session. */
static struct linnet_memory_info memory_of(const struct linnet_model *m,
					   const struct session_args *sargs, uint64_t n_tokens)
{
	struct linnet_memory_info mem = LINNET_INIT(mem);

	if (model_memory(m, sargs, n_tokens, &mem, NULL))
		mem.total = 0;
	return mem;
}

/*
 * Does drafting pay? Passes are counted in bytes from the disk: one that checks a draft
 * reads what plain decoding reads for one token and, with the small model's memory set
 * aside, a little more; the small model is read from memory for each token drafted.
 */
static bool pays(const struct linnet_memory_info *alone, const struct linnet_memory_info *with,
		 const struct linnet_memory_info *small)
{
	const double tokens = (1 - pow(ACCEPTED, STREAMED + 1)) / (1 - ACCEPTED);
	const double pass = (double)with->streamed +
			    STREAMED * (double)small->weights / MEMORY_PER_DISK;

	return alone->streamed && with->total && tokens * (double)alone->streamed > pass;
}

static int open_draft(struct drafts *d, const struct draft_args *args, struct linnet_model *m,
		      const struct model_args *margs, const struct session_args *sargs,
		      uint64_t n_tokens)
{
	struct model_args own = *margs;
	struct session_args session = { .ctx = sargs->ctx };
	struct linnet_memory_info alone, with, small;
	struct linnet_error err = { 0 };
	uint64_t rest = 0;		/* of the budget */
	int status;

	own.path = args->path;
	/* its memory is part of the large model's budget */
	own.memory = LINNET_MEMORY_UNLIMITED;
	own.read_bandwidth = 0;
	status = model_open(&d->model, &own, false);
	if (status)
		return status;
	if (!session.ctx)
		session.ctx = model_context(m, sargs, n_tokens);
	small = memory_of(d->model, &session, n_tokens);
	alone = with = memory_of(m, sargs, n_tokens);
	if (alone.total && alone.budget != LINNET_MEMORY_UNLIMITED) {
		rest = alone.budget > small.total ? alone.budget - small.total : 1;
		if (linnet_model_set_memory(m, rest, &err)) {
			tool_error("%s", err.message);
			return TOOL_FAILED;
		}
		with = memory_of(m, sargs, n_tokens);
	}
	d->n_draft = args->n_max >= 0 ? (uint32_t)args->n_max :
		     pays(&alone, &with, &small) ? STREAMED : 0;
	if (d->n_draft && alone.total && !with.total) {
		model_memory(m, sargs, n_tokens, &with, &err);
		tool_error("%s: takes %llu bytes of memory; %s", args->path,
			   (unsigned long long)small.total, err.message);
		return TOOL_FAILED;
	}
	if (!d->n_draft) {
		if (rest)
			linnet_model_set_memory(m, alone.budget, NULL);
		linnet_model_close(d->model);
		d->model = NULL;
		if (args->n_max < 0)
			tool_note("%s: not used: %s (--draft-max N uses it)", args->path,
				  alone.streamed ? "the memory that it takes costs more than it gives" :
				  "all weights stay in memory, where no gain is to be expected");
		return TOOL_OK;
	}
	status = model_session(&d->session, d->model, &own, &session, n_tokens, 1);
	if (status)
		return status;
	if (linnet_draft_create(&d->draft, m, d->session, &err)) {
		tool_error("%s", err.message);
		return TOOL_FAILED;
	}
	return TOOL_OK;
}

int drafts_open(struct drafts *d, const struct draft_args *args, struct linnet_model *m,
		const struct model_args *margs, const struct session_args *sargs,
		uint64_t n_tokens)
{
	int status, ret;

	*d = (struct drafts){ 0 };
	if (args->path && args->n_max) {
		status = open_draft(d, args, m, margs, sargs, n_tokens);
		if (status)
			return status;
	}
	d->n_lookup = args->lookup >= 0 ? (uint32_t)args->lookup :
		      model_streams(m, sargs, n_tokens) ? STREAMED : 0;
	ret = d->n_lookup ? linnet_lookup_create(&d->lookup) : 0;
	if (ret) {
		tool_error_errno(margs->path, "cannot draft tokens", ret);
		return TOOL_FAILED;
	}
	return TOOL_OK;
}

void drafts_close(struct drafts *d)
{
	linnet_draft_destroy(d->draft);
	linnet_session_destroy(d->session);
	linnet_model_close(d->model);
	linnet_lookup_destroy(d->lookup);
	*d = (struct drafts){ 0 };
}

uint32_t drafts_rows(const struct drafts *d)
{
	return d->n_lookup > d->n_draft ? d->n_lookup : d->n_draft;
}

void drafts_truncate(struct drafts *d, size_t n)
{
	/* what was said once may be said again */
	if (d->draft)
		linnet_draft_truncate(d->draft, (uint32_t)n);
}

void drafts_push(struct drafts *d, int32_t id)
{
	/* without the token, drafts are only worse */
	if (d->lookup)
		linnet_lookup_push(d->lookup, id);
	if (d->draft)
		linnet_draft_push(d->draft, id);
}

uint32_t drafts_next(struct drafts *d, int32_t *ids, uint32_t cap)
{
	int64_t n = 0;

	/* what the text says itself costs nothing */
	if (d->lookup)
		n = (int64_t)linnet_lookup_draft(d->lookup, ids,
						 cap < d->n_lookup ? cap : d->n_lookup);
	d->kind = 0;
	if (!n && d->draft) {
		d->kind = 1;
		/* an error is one of speed alone */
		n = linnet_draft_next(d->draft, ids, cap < d->n_draft ? cap : d->n_draft, NULL);
		n = n < 0 ? 0 : n;
	}
	d->n_drafted[d->kind] += (uint64_t)n;
	return (uint32_t)n;
}

void drafts_accept(struct drafts *d)
{
	d->n_accepted[d->kind]++;
}
