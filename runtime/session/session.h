/* SPDX-License-Identifier: MIT */
/* Inside runtime/session: what sizing a session has in common with running one, and what
 * its files share. */
#ifndef LINNET_SESSION_SESSION_H
#define LINNET_SESSION_SESSION_H

#include "runtime/memory/experts.h"
#include "runtime/memory/gather.h"
#include "runtime/memory/prefix.h"
#include "runtime/memory/pressure.h"
#include "runtime/model/graph.h"
#include "runtime/model/units.h"

/* Slots of the ring: one in use, or waiting to be, and one on its way. A third would let
 * the disk run further ahead, but be read anew in every pass for want of its memory. */
#define LINNET_RING_SLOTS 2

/*
 * Options with the defaults filled in, and what follows from them: what is resident,
 * what is streamed, and the streams. Made before anything is allocated.
 */
struct linnet_session_plan {
	uint32_t n_ctx, n_batch, n_outputs;
	uint32_t n_seqs, n_seq_pages;	/* sequences, and pages of the longest */
	uint32_t n_pages;		/* of the KV cache */
	uint32_t n_frames;		/* those that are in memory */
	bool n_batch_auto;		/* the caller left it open */
	uint32_t kv_type;
	struct linnet_kv_layer *kv;	/* [n_layer] */
	uint64_t kv_page_bytes;
	uint32_t max_places;		/* of the cache of experts: it may grow to so many */
	struct linnet_graph graph;
	struct linnet_units *units;	/* with the choice that was made */
	struct linnet_memory_info memory;
	uint64_t session_bytes;		/* KV cache and scratch */
	uint64_t rows_bytes;		/* of embeddings, when they are read row by row */
	uint64_t least;			/* that would work */
};

/* -ENOMEM: the model's memory budget is too small; the message says what is least. */
int linnet_session_plan_make(struct linnet_session_plan *p, const struct linnet_model *m,
			     const struct linnet_session_options *opts, struct linnet_error *err);
void linnet_session_plan_free(struct linnet_session_plan *p);
/* See linnet_graph_whole(). */
int linnet_session_plan_whole(const struct linnet_session_plan *p, const struct linnet_model *m,
			      const struct linnet_graph_places *places, void **data, size_t *bytes);

struct linnet_session;

/* A sequence of tokens. */
struct linnet_sequence {
	int32_t *ids;			/* [n_ctx] */
	uint32_t n_past, n_pages;
	uint32_t n_saved;		/* pages that are known to be among the saved prefixes */
};

/* Page table of a sequence. */
int32_t *linnet_session_pages(const struct linnet_session *s, uint32_t seq);
/*
 * Let the sequence's page number i (at most its number of pages) be there, its own and
 * held: what other sequences share is copied. -ENOSPC: no page is free, or the disk is
 * full.
 */
int linnet_session_own_page(struct linnet_session *s, uint32_t seq, uint32_t i,
			    struct linnet_error *err);

/* Open the folder of saved prefixes that the options name. */
int linnet_session_open_prefix(struct linnet_session *s, const struct linnet_session_options *opts,
			       struct linnet_error *err);

/* Open and allocate the weights as the plan says, or change what is resident to what it
 * says, and begin to read. */
int linnet_model_place(struct linnet_model *m, struct linnet_session_plan *p,
		       struct linnet_error *err);

/* Add a session's memory to the model's, or take it away; under the lock. */
void linnet_model_count_session(struct linnet_model *m, struct linnet_session *s, bool add);

/* memory.c: who may decode, and following a changing budget. */
void linnet_model_lock(struct linnet_model *m);
void linnet_model_unlock(struct linnet_model *m);
/* Follow the budget, when it has changed; the caller holds the lock. ctx is the model. */
void linnet_model_follow(void *ctx);

/* A pass begins, or a load: an idle model has its weights again, or reads them; under the lock. */
void linnet_model_wake(struct linnet_model *m);

/* What the machine leaves to the process. */
uint64_t linnet_model_automatic_budget(const struct linnet_model *m);

/* Copy an option struct of an older or newer caller: what it does not have is zero.
 * -E2BIG: it has something set that this library does not know. */
int linnet_options_copy(void *to, size_t to_size, const void *from);

struct linnet_session {
	struct linnet_model *m;
	struct linnet_session_plan plan;
	struct linnet_kv *kv;
	struct linnet_region *act, *batch;
	struct linnet_gather *gather;		/* of embeddings; NULL: all are there first */
	struct linnet_engine_stream **stream;	/* as plan.graph.stream */
	struct linnet_engine_stream *whole;	/* a pass; NULL: passes are chains of jobs */

	/* pass.c */
	struct linnet_pass_job *job;		/* for each unit; a job may be of several */
	struct linnet_binding *binding;		/* LINNET_SLOTS for each job */
	uint32_t n_tokens;			/* of this pass */
	bool gathering;				/* their embeddings are read one by one */
	uint32_t pending;			/* jobs submitted, not ended */
	/* of short passes that wait for the disk */
	uint64_t starved_ns;			/* waits for reads while no job was pending */
	bool gentle;				/* its jobs are */
	uint32_t n_starved;			/* passes in a row that waited most of their time */
	uint32_t hurry, next_hurry;		/* passes before it may be gentle (again) */
	int failed;				/* of the first job that failed */
	const struct linnet_pass_job *failed_job;
	_Atomic int interrupt;			/* the caller's wish */
	_Atomic int stop;			/* jobs look at this one */

	bool counted;				/* in the model's memory */
	struct linnet_sequence *seq;		/* [plan.n_seqs] */
	/* [n_seqs][n_seq_pages]; NULL: in the batch region */
	int32_t *pages;
	uint32_t current;			/* the selected sequence */
	struct linnet_prefix *prefix;		/* NULL: none are saved */
	uint64_t n_restored, n_saved;		/* positions */
	uint32_t n_logits;			/* rows of the last decode */
};

static inline int32_t *linnet_batch_i32(const struct linnet_session *s, uint64_t offset)
{
	return (int32_t *)(s->batch->addr + offset);
}

/* pass.c: passes over the model. */
int linnet_pass_init(struct linnet_session *s, struct linnet_error *err);
void linnet_pass_free(struct linnet_session *s);
/* One pass over n tokens; the batch region says which. */
int linnet_pass_run(struct linnet_session *s, uint32_t n, uint32_t n_outputs,
		    struct linnet_error *err);

#endif
