/* SPDX-License-Identifier: MIT */
/* Inside runtime/session: what sizing a session has in common with running one. */
#ifndef LINNET_SESSION_SESSION_H
#define LINNET_SESSION_SESSION_H

#include "runtime/memory/prefix.h"
#include "runtime/model/graph.h"
#include "runtime/model/units.h"

/* Slots of the ring: one in use, two on their way. */
#define LINNET_RING_SLOTS 3

/*
 * Options with the defaults filled in, and what follows from them: what is resident,
 * what is streamed, and the streams. Made before anything is allocated.
 */
struct linnet_session_plan {
	uint32_t n_ctx, n_batch, n_outputs;
	uint32_t n_seqs, n_seq_pages;	/* sequences, and pages of the longest */
	uint32_t n_pages;		/* of the KV cache */
	bool n_batch_auto;		/* the caller left it open */
	uint32_t kv_type;
	struct linnet_kv_layer *kv;	/* [n_layer] */
	uint64_t kv_page_bytes;
	struct linnet_graph graph;
	struct linnet_units *units;	/* the plan's own, unless the model has some */
	struct linnet_memory_info memory;
	uint64_t least;			/* set when the budget is too small: what is not */
};

/* -ENOMEM: the model's memory budget is too small; the message says what is least. */
int linnet_session_plan_make(struct linnet_session_plan *p, const struct linnet_model *m,
			     const struct linnet_session_options *opts, struct linnet_error *err);
void linnet_session_plan_free(struct linnet_session_plan *p);

/* A sequence of tokens; its row of the page table is in the batch region. */
struct linnet_sequence {
	int32_t *ids;			/* [n_ctx] */
	uint32_t n_past, n_pages;
	uint32_t n_saved;		/* pages that are known to be among the saved prefixes */
};

struct linnet_session {
	struct linnet_model *m;
	struct linnet_session_plan plan;
	struct linnet_kv *kv;
	struct linnet_region *act, *batch;
	struct linnet_gather *gather;		/* of embeddings; NULL: they are in memory */
	struct linnet_engine_stream **stream;	/* as plan.graph.stream */
	struct linnet_job *job;
	struct linnet_binding *binding;		/* LINNET_SLOTS for each job */
	uint32_t n_jobs;
	uint32_t pending;			/* jobs submitted, not ended */
	int failed;				/* of the first job that failed */
	uint32_t failed_job;
	_Atomic int interrupt;			/* the caller's wish */
	_Atomic int stop;			/* jobs look at this one */
	struct linnet_sequence *seq;		/* [plan.n_seqs] */
	uint32_t current;			/* the selected sequence */
	struct linnet_prefix *prefix;		/* NULL: none are saved */
	uint64_t n_restored, n_saved;		/* positions */
	uint32_t n_logits;			/* rows of the last decode */
};

/* Page table of a sequence. */
int32_t *linnet_session_pages(const struct linnet_session *s, uint32_t seq);
/*
 * Let the sequence's page number i (at most its number of pages) be there and its own:
 * what other sequences share is copied. -ENOSPC: no page is free.
 */
int linnet_session_own_page(struct linnet_session *s, uint32_t seq, uint32_t i);

/* Open the folder of saved prefixes that the options name. */
int linnet_session_open_prefix(struct linnet_session *s, const struct linnet_session_options *opts,
			       struct linnet_error *err);

/* Open and allocate the weights as the plan says, unless that was done, and begin to
 * read them. The plan's units become the model's. */
int linnet_model_place(struct linnet_model *m, struct linnet_session_plan *p,
		       struct linnet_error *err);

/* Copy an option struct of an older or newer caller: what it does not have is zero.
 * -E2BIG: it has something set that this library does not know. */
int linnet_options_copy(void *to, size_t to_size, const void *from);

#endif
