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

/*
 * While a text is written: after so many passes of a kind its pace is known; of what was
 * before, each pass leaves this part. A kind of draft that is slower than none pauses, twice as
 * long each time; a small model that would pause longer than the longest gives its memory back.
 */
#define KNOWN 6
#define FADE 0.9
#define PAUSE 16
#define PAUSE_MAX 256

#define NO_DRAFT (-1)

/* Memory and bytes read in every pass of a session; a total of 0: there is too little. */
static struct linnet_memory_info memory_of(const struct linnet_model *m,
					   const struct session_args *sargs, uint64_t n_tokens,
					   uint32_t n_outputs)
{
	struct linnet_memory_info mem = LINNET_INIT(mem);

	if (model_memory(m, sargs, n_tokens, n_outputs, &mem, NULL))
		mem.total = 0;
	return mem;
}

uint32_t drafts_from_text(const struct linnet_model *m, const struct session_args *sargs,
			  uint64_t n_tokens)
{
	uint32_t n = STREAMED;

	if (!memory_of(m, sargs, n_tokens, 1).streamed)
		return 0;
	/* what nobody asked for must not be why a budget is refused */
	while (n && !memory_of(m, sargs, n_tokens, 1 + n).total)
		n /= 2;
	return n;
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

/* Give the small model's memory back. */
static void close_draft(struct drafts *d)
{
	linnet_draft_destroy(d->draft);
	linnet_session_destroy(d->session);
	linnet_model_close(d->model);
	d->draft = NULL;
	d->session = NULL;
	d->model = NULL;
	d->n_draft = 0;
	if (d->large)
		linnet_model_set_memory(d->large, d->budget, NULL);
	d->large = NULL;
}

static int open_draft(struct drafts *d, const struct draft_args *args, struct linnet_model *m,
		      const struct model_args *margs, const struct session_args *sargs,
		      uint64_t n_tokens)
{
	struct model_args own = *margs;
	struct session_args session = { .ctx = sargs->ctx };
	struct linnet_memory_info alone, with, small;
	struct linnet_error err = { 0 };
	/* of logits, as the session will have them */
	const uint32_t rows = 1 + (args->n_max >= 0 ? (uint32_t)args->n_max : STREAMED);
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
	small = memory_of(d->model, &session, n_tokens, 1);
	alone = with = memory_of(m, sargs, n_tokens, 1);
	if (alone.total && alone.budget != LINNET_MEMORY_UNLIMITED) {
		rest = alone.budget > small.total ? alone.budget - small.total : 1;
		if (linnet_model_set_memory(m, rest, &err)) {
			tool_error("%s", err.message);
			return TOOL_FAILED;
		}
		with = memory_of(m, sargs, n_tokens, rows);
	}
	if (rest) {
		d->large = m;
		/* an automatic budget follows the machine again */
		d->budget = margs->memory ? alone.budget : 0;
	}
	d->adapts[1] = args->n_max < 0;
	d->n_draft = args->n_max >= 0 ? (uint32_t)args->n_max :
		     pays(&alone, &with, &small) ? STREAMED : 0;
	if (d->n_draft && alone.total && !with.total) {
		model_memory(m, sargs, n_tokens, rows, &with, &err);
		tool_error("%s: takes %llu bytes of memory; %s", args->path,
			   (unsigned long long)small.total, err.message);
		return TOOL_FAILED;
	}
	if (!d->n_draft) {
		close_draft(d);
		if (args->n_max < 0)
			tool_note("%s: not used: %s (--draft-max N uses it)", args->path,
				  alone.streamed ?
					  "the memory that it takes costs more than it gives" :
					  "all weights stay in memory, where no gain is to be "
					  "expected");
		return TOOL_OK;
	}
	d->bytes = small.total;
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
	d->adapts[0] = args->lookup < 0;
	d->n_lookup = args->lookup >= 0 ? (uint32_t)args->lookup :
		      drafts_from_text(m, sargs, n_tokens);
	ret = d->n_lookup ? linnet_lookup_create(&d->lookup) : 0;
	if (ret) {
		tool_error_errno(margs->path, "cannot draft tokens", ret);
		return TOOL_FAILED;
	}
	return TOOL_OK;
}

void drafts_close(struct drafts *d)
{
	/* the large model ends, too */
	d->large = NULL;
	close_draft(d);
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

static double rate(const struct draft_pace *p)
{
	return p->seconds > 0 ? p->tokens / p->seconds : 0;
}

/* Is a draft of this kind to be made now? */
static bool wanted(struct drafts *d, int kind)
{
	struct draft_pace *p = &d->pace[1 + kind];

	if (!d->adapts[kind])
		return true;
	if (p->rest) {
		p->rest--;
		return false;
	}
	if (p->n < KNOWN)
		return true;
	/* there must be something to compare with */
	if (d->pace[0].n < KNOWN)
		return false;
	/* a pass that nothing came of took longer than one without, whatever a clock says */
	if (p->tokens > p->passes && rate(p) >= rate(&d->pace[0])) {
		p->pause = 0;
		return true;
	}
	p->pause = p->pause ? 2 * p->pause : PAUSE;
	if (p->pause > PAUSE_MAX && kind) {
		close_draft(d);
		return false;
	}
	p->pause = p->pause > PAUSE_MAX ? PAUSE_MAX : p->pause;
	p->rest = p->pause;
	/* then a few more, and another verdict */
	p->n = KNOWN / 2;
	d->n_pauses++;
	return false;
}

void drafts_passed(struct drafts *d, double seconds)
{
	struct draft_pace *p = &d->pace[1 + d->kind];

	p->passes = p->passes * FADE + 1;
	p->tokens = p->tokens * FADE + 1;
	p->seconds = p->seconds * FADE + seconds;
	p->n++;
}

uint32_t drafts_next(struct drafts *d, int32_t *ids, uint32_t cap)
{
	int64_t n = 0;

	/* what the text says itself costs nothing */
	if (d->lookup && wanted(d, 0))
		n = (int64_t)linnet_lookup_draft(d->lookup, ids,
						 cap < d->n_lookup ? cap : d->n_lookup);
	d->kind = 0;
	if (!n && d->draft && wanted(d, 1)) {
		d->kind = 1;
		/* an error is one of speed alone */
		n = linnet_draft_next(d->draft, ids, cap < d->n_draft ? cap : d->n_draft, NULL);
		n = n < 0 ? 0 : n;
	}
	if (n)
		d->n_drafted[d->kind] += (uint64_t)n;
	else
		d->kind = NO_DRAFT;
	return (uint32_t)n;
}

void drafts_accept(struct drafts *d)
{
	d->n_accepted[d->kind]++;
	d->pace[1 + d->kind].tokens++;
}
