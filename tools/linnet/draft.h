/* SPDX-License-Identifier: MIT */
/*
 * Drafted tokens for the subcommands that write text: from the text itself and from a
 * small model. Which of them are worth it is decided here: at first by the plan, then by what
 * passes with and without a draft really take and give.
 */
#ifndef LINNET_TOOL_DRAFT_H
#define LINNET_TOOL_DRAFT_H

#include "model.h"
#include "options.h"

#include <linnet/linnet.h>

struct draft_args {
	int64_t lookup;		/* tokens; < 0: as many as pay */
	const char *path;	/* of a small model; NULL: none */
	int64_t n_max;		/* tokens it drafts; < 0: as many as pay */
};

#define DRAFT_DEFAULTS { .lookup = -1, .n_max = -1 }

/* Longest draft that can be asked for. */
#define DRAFT_MAX 32

#define OPTS_DRAFT(a)								\
	{ OPT_INT, 0, "lookup", "N",						\
	  "draft up to N tokens from what the text has said before\n"		\
	  "and check them in one pass; the text is the same\n"			\
	  "(default: 8 when weights are read in every pass, as long\n"	\
	  "as that pays, else 0)",		\
	  &(a)->lookup, 0, DRAFT_MAX },						\
	{ OPT_TEXT, 0, "draft", "FILE",						\
	  "draft tokens with the small model in FILE, which has the\n"		\
	  "same vocabulary; the text is the same. Also -md FILE", &(a)->path, .alias = "-md" },	\
	{ OPT_INT, 0, "draft-max", "N",						\
	  "tokens that --draft drafts at once; 0: none (default: 8\n"		\
	  "when a gain is to be expected, as long as there is one,\n"	\
	  "else 0)", &(a)->n_max, 0, DRAFT_MAX }

/* Passes of one kind, the tokens that they gave, the time that they took; late ones count more. */
struct draft_pace {
	double passes, tokens, seconds;
	unsigned n;
	unsigned rest, pause;		/* passes that go without, now and the last time */
};

struct drafts {
	struct linnet_lookup *lookup;
	struct linnet_draft *draft;
	struct linnet_session *session;	/* of the small model */
	struct linnet_model *model;
	uint32_t n_lookup, n_draft;	/* tokens of a draft; 0: not this kind */
	/* drafted and accepted: from the text, from the model */
	uint64_t n_drafted[2], n_accepted[2];
	/* of the last draft: an index of these; -1: there was none */
	int kind;
	bool adapts[2];			/* nobody said how long they are to be */
	struct draft_pace pace[3];	/* without a draft; with one: 1 + kind */
	unsigned n_pauses;
	struct linnet_model *large;	/* whose budget the small model takes a part of, or NULL */
	uint64_t budget;		/* that it had */
	uint64_t bytes;			/* that the small model takes */
};

/*
 * Decide what is drafted for sessions of m that hold n_tokens. A small model's memory is
 * set aside from m's budget, so this comes before the first session. A status, with a
 * message unless it is TOOL_OK; drafts_close() in any case.
 */
int drafts_open(struct drafts *d, const struct draft_args *args, struct linnet_model *m,
		const struct model_args *margs, const struct session_args *sargs,
		uint64_t n_tokens);
void drafts_close(struct drafts *d);

/*
 * Tokens that a session which holds n_tokens drafts from its own text when nobody says how many:
 * some where weights are streamed and the budget has room for their logits.
 */
uint32_t drafts_from_text(const struct linnet_model *m, const struct session_args *sargs,
			  uint64_t n_tokens);

/* Rows of logits that a draft needs besides its token's own. */
uint32_t drafts_rows(const struct drafts *d);
/* The text is another from token n on: what comes next is pushed. */
void drafts_truncate(struct drafts *d, size_t n);
/* A token of the text. */
void drafts_push(struct drafts *d, int32_t id);
/* Tokens that may follow the text, at most cap. Returns how many. */
uint32_t drafts_next(struct drafts *d, int32_t *ids, uint32_t cap);
/* The pass with the tokens of the last drafts_next(), that included, took so long. */
void drafts_passed(struct drafts *d, double seconds);
/* A token of the last draft was right. */
void drafts_accept(struct drafts *d);

#endif
