/* SPDX-License-Identifier: MIT */
/* Writing text: sampling options, the loop from logits to text, Ctrl-C, the summary. */
#ifndef LINNET_TOOL_GENERATE_H
#define LINNET_TOOL_GENERATE_H

#include "draft.h"
#include "model.h"
#include "options.h"

#include <linnet/linnet.h>

struct sampling_args {
	float temp, top_p, min_p, repeat_penalty;
	int64_t top_k, repeat_last_n;
	struct opt_u64 seed;
	int64_t n_predict;
	bool ignore_eos;
};

#define SAMPLING_DEFAULTS { .temp = 0.8f, .top_k = 40, .top_p = 0.95f, .min_p = 0.05f,	\
			    .repeat_penalty = 1, .repeat_last_n = 64, .n_predict = -1 }

#define OPTS_SAMPLING(a)							\
	{ OPT_GROUP, .help = "Sampling" },					\
	{ OPT_FLOAT, 0, "temp", "T",							\
	  "temperature; 0: always the likeliest token (default: 0.8)",			\
	  &(a)->temp, 0, 100 },							\
	{ OPT_INT, 0, "top-k", "K", "choose among the K likeliest; 0: off (default: 40)",	\
	  &(a)->top_k, 0, INT32_MAX },						\
	{ OPT_FLOAT, 0, "top-p", "P", "choose among the likeliest that together have\n"	\
	  "probability P; 1: off (default: 0.95)", &(a)->top_p, 0, 1 },		\
	{ OPT_FLOAT, 0, "min-p", "P", "drop tokens less likely than P times the likeliest;\n"	\
	  "0: off (default: 0.05)", &(a)->min_p, 0, 1 },			\
	{ OPT_FLOAT, 0, "repeat-penalty", "X",						\
	  "make recent tokens less likely; 1: off (default: 1)",			\
	  &(a)->repeat_penalty, 0, 100 },					\
	{ OPT_INT, 0, "repeat-last-n", "N", "how many tokens are recent (default: 64)",	\
	  &(a)->repeat_last_n, 1, INT32_MAX },					\
	{ OPT_U64, 's', "seed", "N", "seed of the random choices (default: a random one,\n"	\
	  "which the summary names)", &(a)->seed },				\
	{ OPT_FLAG, 0, "ignore-eos", NULL, "go on after the model's end-of-text token",	\
	  &(a)->ignore_eos }

/* Draws a seed when none was given; the sampler's own errors give a message. */
int sampler_open(struct linnet_sampler **out, const struct linnet_model *m,
		 struct sampling_args *args);

/*
 * Ctrl-C: the first one makes a decode of s end and interrupted() true, a second
 * one ends the program as usual. interrupt_end() restores what was there before.
 */
void interrupt_begin(struct linnet_session *s);
void interrupt_end(void);
bool interrupted(void);

enum generate_end {
	GENERATE_TOKEN,		/* the model ended its text */
	GENERATE_COUNT,		/* n_predict tokens */
	GENERATE_CONTEXT,	/* the context is full */
	GENERATE_INTERRUPT,
	GENERATE_OUTPUT,	/* stdout cannot be written */
	GENERATE_FAILED,	/* err says why */
};

struct generate {
	struct linnet_session *session;
	const struct linnet_model *model;
	struct linnet_sampler *sampler;
	struct linnet_detok *detok;
	/* NULL: none. Knows the prompt already; the session has drafts_rows() rows more */
	struct drafts *drafts;
	int64_t n_predict;		/* < 0: no limit */
	bool ignore_eos;
	bool trim;			/* drop white space before the text; cleared by the first
					 * character that is none */
	/* NULL, or called with each token (text of n bytes, perhaps none). */
	void (*token)(void *ctx, int32_t id, const char *text, size_t n);
	void *ctx;

	/* results */
	uint64_t n_tokens, n_passes;
	uint64_t first_ns, end_ns;	/* first token, and when there were no more */
	bool newline;			/* the text so far ends a line */
};

/*
 * What comes before the text, for detokenizer (the first new token is not the beginning
 * of a text), sampler and drafts; the latter two know the first n_known already. 0 or
 * -errno.
 */
int generate_prompt(struct generate *g, const int32_t *ids, size_t n, size_t n_known);

/*
 * From the logits of the session's last decode on: sample, write to stdout, decode. With
 * drafts the text is the same, and a pass may give several tokens.
 */
enum generate_end generate(struct generate *g, struct linnet_error *err);

struct summary {
	uint64_t start_ns;		/* the program's start, or the message's */
	uint64_t opened_ns;		/* model opened and session made */
	uint64_t prefill_ns;		/* prompt computed */
	uint64_t n_prompt;		/* computed */
	uint64_t n_restored;		/* tokens before them that were saved */
	uint64_t prefill_read;		/* bytes of weights read until then */
	struct linnet_memory_info plan;	/* of the session; all zero: none was made */
};

/* "N tokens, X tokens/s" and the rest, on stderr unless quiet. */
void summary_print(const struct summary *s, const struct generate *g,
		   const struct sampling_args *args);

/* The same as one JSON object in a file. TOOL_OK, or TOOL_FAILED with a message. */
int summary_write(const struct summary *s, const struct generate *g,
		  const struct sampling_args *args, const char *path);

#endif
